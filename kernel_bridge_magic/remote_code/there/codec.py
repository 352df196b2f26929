"""Write Python values as JSON and buffers, and read them again. Both sides of a copy run this very text.

A *node* is what stands in the JSON for one value: a scalar as it is, a dict whose keys are texts as an object, and
everything else as a list that begins with the tag of its format. What is large stands in a buffer, which the node names
by its number.

What is read is hostile until it is checked: whatever is wrong with it ends in `Refused`, and nothing that it says about
its own size is believed. Only exact types are written: a subclass may mean anything.
"""

import array
import base64
import datetime
import decimal
import json
import math
import pathlib
import re
import sys
import time
import uuid
import zlib

DEPTH = 100  # levels of containers
EXACT = 2**53  # JSON readers hold integers up to here
ALIGNED = 64  # bytes: Arrow wants its buffers there, and numpy likes it
PACKED = 64  # items from which on a list of equal scalars goes as one buffer
SMALL = 512  # bytes that stand in the JSON itself
KEPT = 1 << 24  # bytes from which on a buffer may be kept
NODE = 64  # bytes that a value takes at least, as Python holds it
UNLIKE = "is not what it says it is"
HALVES = re.compile("[\ud800-\udfff]")
COPYING_SECONDS = 20  # of work: whose kernel it is waits meanwhile, and nobody can stop it
UNSEEN = 1 << 16  # bytes of values, about a thousand of them, until somebody looks at the clock
# The bytes of UTF-8 that begin no character, and those of texts that Python holds in one byte a character, or in two.
CONTINUED, BELOW_TWO, BELOW_FOUR = bytes(range(0x80, 0xC0)), bytes(range(0xC4)), bytes(range(0xF0))


# -- formats: what a type is written as, and how that is read

WRITERS = {}  # by the first part of a type's module and its name: the module that has it, the tag, the function
READERS = {}  # by tag


def add_format(tag, write, read, *types):
    """Add a format. Each of `types` is "module:Name"; no module is imported for it.

    `write(writer, value)` returns the parts of the node behind the tag, or a dict, which is the node.
    `read(reader, *parts)` returns the value; what it raises becomes `Refused`.
    """
    for name in types:
        module, _, kind = name.partition(":")
        WRITERS[module.partition(".")[0], kind] = (module, tag, write)
    READERS[tag] = read


class Budget(object):
    """How many bytes there were, `size`, of at most `most`; `notes` say what did not stay what it was.

    `used` are those and `passing` ones, which are taken only until all is written.
    """

    def __init__(self, most):
        self.most = most
        self.used = 0
        self.passing = 0
        self.notes = []
        self._began = time.thread_time()
        self._look_at = min(most, UNSEEN)

    @property
    def size(self):
        return self.used - self.passing

    def spend(self, size):
        """Count bytes that a value has, or is about to take here.

        Raises:
            TooLarge: they are too many.
            TooLong: all of it takes too long.
        """
        self.used += size
        if self.used > self._look_at:
            self.look()

    def pass_by(self, size):
        """Count bytes that are taken only until all is written."""
        self.passing += size
        self.spend(size)

    def check(self, size):
        """Refuse bytes that are too many, before they take memory. They are not counted."""
        if self.used + size > self.most:
            raise TooLarge(self.used + size, self.most)

    def look(self):
        """Give up what is too large or takes too long."""
        self.check(0)
        if time.thread_time() - self._began > COPYING_SECONDS:
            raise TooLong
        self._look_at = min(self.most, self.used + UNSEEN)


class Writer(Budget):
    """Write values. `buffers` are what their nodes name by number.

    `has` maps the libraries of the other side to their versions, such as {"pyarrow": "15.0.2"}. `most` is how many
    bytes all of it may have. `pickles` is whether what cannot be copied otherwise may be pickled.
    """

    def __init__(self, has, most, pickles=False):
        Budget.__init__(self, most)
        self.has = has
        self.pickles = pickles
        self.buffers = []
        self._above = {}  # by their id, the containers around the value that is being written
        self._formats = {}  # by type, of those that were written

    def write(self, value):
        """Return the node of a value.

        Raises:
            Refused: it cannot be copied.
        """
        kind = type(value)
        if kind is str:
            if len(value) > SMALL or not value.isascii():
                return self._write_str(value)
            self.spend(len(value) + 8)
            return value
        if value is None or kind is bool:
            self.spend(8)
            return value
        if kind is int:
            self.spend(8 + value.bit_length() // 4)
            return value if -EXACT <= value <= EXACT else ["int", "%x" % value]
        if kind is float:
            self.spend(16)
            return value if math.isfinite(value) else ["float", repr(value)]
        if not self.pickles:
            return self._write_other(value)
        before = len(self.buffers), len(self.notes), self.used, self.passing
        try:
            return self._write_other(value)
        except Refused as problem:
            is_within = id(value) in self._above or getattr(problem, "container", value) is not value
            if problem.is_final or is_within:  # what contains itself is pickled as a whole
                raise
            del self.buffers[before[0] :], self.notes[before[1] :]
            self.used, self.passing = before[2:]
            return write_pickle(self, value, problem)

    def _write_other(self, value):
        self.spend(NODE)
        self.pass_by(3 * NODE)  # its node, as Python holds it
        key = id(value)
        if key in self._above:
            raise Cycle(value)
        if len(self._above) >= DEPTH:
            raise Refused("is nested deeper than %d levels, and cannot be copied" % DEPTH)
        self._above[key] = value
        try:
            tag, write = self._format(type(value))
            parts = write(self, value)
        except BaseException as problem:
            raise refused_for(problem, "cannot be copied") from None
        finally:
            del self._above[key]
        return parts if type(parts) is dict else [tag, *parts]

    def write_all(self, values, keys=None, step="[%s]"):
        """Return the nodes of the values in a container.

        For errors, `step` leads to each by its key; without `keys`, that is its number.
        """
        self.pass_by(NODE // 2 * len(values))
        nodes = []
        try:
            for value in values:
                nodes.append(self.write(value))
        except Refused as problem:
            number = len(nodes)
            raise problem.within(step % (number if keys is None else short(keys[number])))
        return nodes

    def _write_str(self, value):
        if is_plain_text(value):
            self.spend(len(value) + 8)
            return value
        self.spend(NODE)
        return ["str", self.add_text(value)]

    def add_text(self, text):
        """Add a text as a buffer and return its number."""
        self.spend(len(text))  # at least, before it is written
        data = text.encode("utf-8", "surrogatepass")
        self.spend(memory_of_text(memoryview(data)) - len(text) - len(data))
        return self.add(data)

    def add(self, buffer):
        """Add a buffer and return its number. It is bytes-like, or has a `size` and `write_to(file)`."""
        self.spend(buffer.size if hasattr(buffer, "write_to") else memoryview(buffer).nbytes)
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _format(self, kind):
        """Return the tag of a type's format, and the function that writes it."""
        if kind not in self._formats:
            name = kind.__qualname__
            module, tag, write = WRITERS.get((kind.__module__.partition(".")[0], name), ("", "", None))
            if getattr(sys.modules.get(module), name, None) is not kind:
                remedy = remedy_for(kind) + ("" if self.pickles else ", or pickle it (--pickle)")
                raise Refused("is of the type %s, which cannot be copied" % name_of(kind), remedy)
            self._formats[kind] = tag, write
        return self._formats[kind]


class Reader(Budget):
    """Read nodes. `buffers` are memoryviews; `most` is how many bytes the values may take here, about.

    `pickles` is whether a pickle may be read: it can run anything. `is_ours` is whether a value may stand where a
    buffer does, since nobody else writes there.
    """

    def __init__(self, buffers, most, pickles=False, is_ours=False):
        Budget.__init__(self, most)
        self.buffers = buffers
        self.is_ours = is_ours
        self.pickles = pickles
        self.comparisons = 0  # of keys with one another, see `hash_all`
        self.hashing = 0.0  # seconds that keys have taken
        self._depth = 0
        self._nodes = 0

    def read(self, node):
        """Return the value of a node.

        Raises:
            Refused: it is none that `Writer` writes.
        """
        kind = type(node)
        if node is None or kind in (bool, int, float, str):
            return node
        if self._depth > DEPTH:
            raise Refused("is nested deeper than %d levels" % DEPTH)
        self._depth += 1
        self._nodes += 1
        if not self._nodes % 1000:
            self.look()
        try:
            if kind is dict:
                return {key: self.read(item) for key, item in node.items()}
            read = READERS.get(node[0]) if node and type(node[0]) is str else None
            if read is None:
                raise Refused(
                    "has a format that is not known here", "install the same kernel_bridge_magic on both sides"
                )
            return read(self, *node[1:])
        except BaseException as problem:
            raise refused_for(problem, UNLIKE) from None
        finally:
            self._depth -= 1

    def text(self, value):
        """Return a value that must be a text."""
        if type(value) is not str:
            raise Refused(UNLIKE)
        return value

    def whole(self, value, least=0, most=2**62):
        """Return a value that must be an integer in a range."""
        if type(value) is not int or not least <= value <= most:
            raise Refused(UNLIKE)
        return value

    def buffer(self, number):
        """Return a buffer by its number, as a memoryview of bytes."""
        return self.buffers[self.whole(number, 0, len(self.buffers) - 1)]

    def may_keep(self, view):
        """Return whether a value may stand in a buffer, which saves a copy of it.

        All buffers go with the last such value, so that it must be most of what came. Each holds a descriptor, too.
        """
        if not self.is_ours or len(view) < KEPT:
            return False
        return 2 * len(view) > sum(len(other) for other in self.buffers)

    def long_text(self, number, more=0):
        """Return the text in a buffer, once its bytes here, and `more`, are counted."""
        view = self.buffer(number)
        self.spend(memory_of_text(view) + more)
        return str(view, "utf-8", "surrogatepass")


def memory_of_text(view):
    """Return how many bytes the text in a buffer takes, as UTF-8 or as Python holds it. It is not decoded for it."""
    characters, width = 0, 1
    for start in range(0, view.nbytes, 2**20):
        part = bytes(view[start : start + 2**20])
        if not part.isascii():
            width = max(width, 4 if part.translate(None, BELOW_FOUR) else 2 if part.translate(None, BELOW_TWO) else 1)
            part = part.translate(None, CONTINUED)
        characters += len(part)
    return max(characters * width, view.nbytes)


def is_plain_text(value):
    """Return whether a value is a text that can stand in the JSON as it is."""
    return type(value) is str and len(value) <= SMALL and (value.isascii() or not HALVES.search(value))

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
NODE = 64  # bytes that a value takes at least, as Python holds it
HASHING_SECONDS = 2.0  # for the keys of a message: a million of them take a tenth of that
UNLIKE = "is not what it says it is"
HALVES = re.compile("[\ud800-\udfff]")


class Refused(Exception):
    """A value that cannot be copied, or a message that no other side of ours has written.

    `what` is the end of a sentence whose subject is the value: "is a torch.Tensor, which cannot be copied". `remedy` is
    what to do, in which `{}` stands for the value. `path` leads from the variable to the value: "['model'][3]".
    """

    def __init__(self, what, remedy=""):
        Exception.__init__(self, what)
        self.what = what
        self.remedy = remedy
        self.path = ""

    def within(self, step):
        """Return this error, seen from one container further out."""
        self.path = step + self.path if len(self.path) < 200 else self.path
        return self


class TooLarge(Refused):
    """More bytes than are allowed: `size` at least."""

    def __init__(self, size, limit):
        Refused.__init__(self, "is larger than %d bytes" % limit)
        self.size = size


# -- formats: what a type is written as, and how that is read

WRITERS = {}  # by the first part of a type's module and its name: the module that has it, the tag, the function
READERS = {}  # by tag
HINTS = {}  # by the first part of a type's module: what to do with its values


def add_format(tag, write, read, *types):
    """Add a format. Each of `types` is "module:Name"; no module is imported for it.

    `write(writer, value)` returns the parts of the node behind the tag. `read(reader, *parts)` returns the value; what
    it raises becomes `Refused`.
    """
    for name in types:
        module, _, kind = name.partition(":")
        WRITERS[module.partition(".")[0], kind] = (module, tag, write)
    READERS[tag] = read


class Budget(object):
    """How many bytes there were, `size`, of at most `most`; `notes` say what did not stay what it was."""

    def __init__(self, most):
        self.most = most
        self.size = 0
        self.notes = []

    def spend(self, size):
        """Count bytes that a value has, or is about to take here.

        Raises:
            TooLarge: they are too many.
        """
        self.size += size
        if self.size > self.most:
            raise TooLarge(self.size, self.most)


class Writer(Budget):
    """Write values. `buffers` are what their nodes name by number.

    `has` maps the libraries of the other side to their versions, such as {"pyarrow": "15.0.2"}. `most` is how many
    bytes all of it may have. `pickles` is whether what no format knows may be pickled.
    """

    def __init__(self, has, most, pickles=False):
        Budget.__init__(self, most)
        self.has = has
        self.pickles = pickles
        self.buffers = []
        self._above = []  # the containers around the value that is being written

    def write(self, value):
        """Return the node of a value.

        Raises:
            Refused: it cannot be copied.
        """
        kind = type(value)
        if value is None or kind is bool:
            self.spend(8)
            return value
        if kind is str:
            return self._write_str(value)
        if kind is int:
            self.spend(8 + value.bit_length() // 4)
            return value if -EXACT <= value <= EXACT else ["int", "%x" % value]
        if kind is float:
            self.spend(16)
            return value if math.isfinite(value) else ["float", repr(value)]
        self.spend(NODE)
        tag, write = self._format(value)
        if any(value is one for one in self._above):
            raise Refused("contains itself, and cannot be copied")
        if len(self._above) >= DEPTH:
            raise Refused("is nested deeper than %d levels, and cannot be copied" % DEPTH)
        self._above.append(value)
        try:
            parts = write(self, value)
        finally:
            self._above.pop()
        return dict(parts) if tag == "object" else [tag, *parts]

    def write_item(self, value, key, step="[%s]"):
        """Return the node of a value in a container; for errors, `step` leads to it by `key`."""
        try:
            return self.write(value)
        except Refused as problem:
            raise problem.within(step % short(key))

    def _write_str(self, value):
        if len(value) <= SMALL and not HALVES.search(value):
            self.spend(len(value) + 8)
            return value
        self.spend(3 * len(value) + NODE)
        return ["str", self.add_text(value)]

    def add_text(self, text):
        """Add a text as a buffer and return its number; three bytes for each character were counted before."""
        data = text.encode("utf-8", "surrogatepass")
        self.spend(3 * (len(data) - len(text)))  # whoever reads it expects four bytes for each of these
        return self.add(data)

    def add(self, buffer):
        """Add a buffer and return its number. It is bytes-like, or has a `size` and `write_to(file)`."""
        self.spend(buffer.size if hasattr(buffer, "write_to") else memoryview(buffer).nbytes)
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _format(self, value):
        kind = type(value)
        module, tag, write = WRITERS.get((kind.__module__.partition(".")[0], kind.__qualname__), ("", "", None))
        if getattr(sys.modules.get(module), kind.__qualname__, None) is kind:
            if kind is dict and all(map(is_plain_key, value)):
                return "object", write_object
            return tag, write
        if self.pickles:
            return "pickle", write_pickle
        raise Refused("is a %s, which cannot be copied" % name_of(kind), remedy_for(kind))


class Reader(Budget):
    """Read nodes. `buffers` are memoryviews; `most` is how many bytes the values may take here, about.

    `pickles` is whether a pickle may be read: it can run anything.
    """

    def __init__(self, buffers, most, pickles=False):
        Budget.__init__(self, most)
        self.buffers = buffers
        self.pickles = pickles
        self._depth = 0
        self._hashing = 0.0  # seconds

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
        try:
            if kind is dict:
                return {key: self.read(item) for key, item in node.items()}
            read = READERS.get(node[0]) if node and type(node[0]) is str else None
            if read is None:
                raise Refused(
                    "has a format that is not known here", "install the same kernel_bridge_magic on both sides"
                )
            return read(self, *node[1:])
        except Refused:
            raise
        except Exception as problem:
            # Whatever a library says of what it was given; its text may be the other side's.
            raise Refused("%s (%s)" % (UNLIKE, type(problem).__name__)) from problem
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

    def hash_all(self, keys, put):
        """Put keys into a set or dict, by `put(start, stop)` for some of them at a time.

        Whoever chooses keys can choose them so that each collides with all others: then it is given up after a while.
        """
        if len(keys) < 100:
            put(0, len(keys))
            return
        began = time.thread_time()
        for start in range(0, len(keys), 64):
            put(start, start + 64)
            now = time.thread_time()
            self._hashing += now - began
            began = now
            if self._hashing > HASHING_SECONDS + self.size * 2e-8:
                raise Refused("has keys that are chosen so that they take for ever, and is not read")


def is_plain_key(key):
    """Return whether a key can stand in the JSON as it is."""
    return type(key) is str and len(key) <= SMALL and not HALVES.search(key)


def name_of(kind):
    """Return what users call a type: `torch.Tensor`, `dict`."""
    return kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else "%s.%s" % (
        kind.__module__.partition(".")[0], kind.__qualname__)  # fmt: skip


def remedy_for(kind):
    """Return what to do with a value of a type that has no format."""
    names = [base.__module__.partition(".")[0] + "." + base.__qualname__ for base in kind.__mro__[:-1]]
    for name in names:
        if name in HINTS:
            return HINTS[name]
    for known in (dict, list, tuple, set, frozenset, str, bytes, bytearray, int, float, complex):
        if issubclass(kind, known):
            return "copy %s({})" % known.__name__
    if hasattr(kind, "__dataclass_fields__"):
        return "copy dataclasses.asdict({})"
    for method in ("to_pandas", "to_numpy", "numpy", "tolist", "to_dict"):
        if callable(getattr(kind, method, None)):
            return "copy {}.%s()" % method
    return "copy what you need of it, as numbers, texts, lists or arrays"


HINTS.update({
    "torch.Tensor": "copy {}.numpy(force=True)",
    "xarray.DataArray": "copy {}.to_pandas()",
    "xarray.Dataset": "copy {}.to_pandas()",
    "dask.DataFrame": "copy {}.compute()",
    "dask.Array": "copy {}.compute()",
    "polars.LazyFrame": "copy {}.collect()",
    "builtins.generator": "copy list({})",
    "enum.Enum": "copy {}.value",
})  # fmt: skip


# -- texts, numbers


def read_str(reader, number):
    view = reader.buffer(number)
    reader.spend(4 * view.nbytes)
    return str(view, "utf-8", "surrogatepass")


def read_float(reader, written):
    if written not in ("nan", "inf", "-inf"):
        raise Refused(UNLIKE)
    return float(written)  # each not-a-number is one of its own: a set may hold several


READERS["str"] = read_str
READERS["float"] = read_float
READERS["int"] = lambda reader, digits: int(reader.text(digits), 16)
add_format(
    "complex",
    lambda writer, value: [writer.write(value.real), writer.write(value.imag)],
    lambda reader, real, imag: complex(float(reader.read(real)), float(reader.read(imag))),
    "builtins:complex",
)
add_format(
    "Decimal",
    lambda writer, value: [str(value)],
    lambda reader, digits: decimal.Decimal(reader.text(digits)),
    "decimal:Decimal",
)


# -- bytes


def write_bytes(writer, value):
    if len(value) <= SMALL:
        writer.spend(2 * len(value))
        return [base64.b64encode(value).decode()]
    return [writer.add(value)]


def bytes_of(reader, part):
    if type(part) is str:
        return base64.b64decode(part, validate=True)
    view = reader.buffer(part)
    reader.spend(view.nbytes)
    return view


add_format("bytes", write_bytes, lambda reader, part: bytes(bytes_of(reader, part)), "builtins:bytes")
add_format("bytearray", write_bytes, lambda reader, part: bytearray(bytes_of(reader, part)), "builtins:bytearray")


# -- containers


def packed(writer, values):
    """Return what a list of equal scalars is written as, in one or two buffers; None if it is no such list."""
    kinds = set(map(type, values)) if len(values) >= PACKED else set()
    if kinds in ({int}, {float}):
        writer.spend(5 * 8 * len(values))  # what they take as Python holds them
    if kinds == {float}:
        return ["d", writer.add(little(array.array("d", values)))]
    if kinds == {int}:
        try:
            return ["q", writer.add(little(array.array("q", values)))]
        except OverflowError:
            return None
    if kinds == {str}:
        writer.spend((NODE + 4 * 8) * len(values) + 3 * sum(map(len, values)))
        lengths = writer.add(little(array.array("q", map(len, values))))
        return ["s", lengths, writer.add_text("".join(values))]
    return None


def little(numbers):
    """Return an array in little-endian order; it is changed in place."""
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def unpacked(reader, kind, number, texts=None):
    view = reader.buffer(number)
    reader.spend(view.nbytes * 5)
    values = array.array({"d": "d", "q": "q", "s": "q"}[kind])
    values.frombytes(view)
    values = little(values).tolist()
    if kind != "s":
        return values
    view = reader.buffer(texts)
    reader.spend(4 * view.nbytes + NODE * len(values))
    whole, start, found = str(view, "utf-8", "surrogatepass"), 0, []
    if min(values, default=0) < 0 or sum(values) != len(whole):
        raise Refused(UNLIKE)
    for length in values:
        found.append(whole[start : start + length])
        start += length
    return found


def write_items(writer, values):
    parts = packed(writer, values)
    if parts is None:
        return [[writer.write_item(item, number) for number, item in enumerate(values)]]
    return parts


def read_items(reader, *parts):
    if type(parts[0]) is str:
        return unpacked(reader, *parts)
    (nodes,) = parts
    if type(nodes) is not list:
        raise Refused(UNLIKE)
    return [reader.read(node) for node in nodes]


def write_object(writer, value):
    writer.spend(sum(map(len, value)))
    return [(key, writer.write_item(item, key)) for key, item in value.items()]


def write_pairs(writer, value):
    keys = [writer.write_item(key, key, " key %s") for key in value]
    return [keys, [writer.write_item(item, key) for key, item in value.items()]]


def read_pairs(reader, keys, items):
    keys, items = read_items(reader, keys), read_items(reader, items)
    found = {}
    reader.hash_all(keys, lambda start, stop: found.update(zip(keys[start:stop], items[start:stop])))
    if not len(found) == len(keys) == len(items):
        raise Refused(UNLIKE)
    return found


def write_set(writer, values):
    return write_items(writer, list(values))


def read_set(reader, *parts):
    items = read_items(reader, *parts)
    found = set()
    reader.hash_all(items, lambda start, stop: found.update(items[start:stop]))
    if len(found) != len(items):
        raise Refused(UNLIKE)
    return found


def read_frozenset(reader, *parts):
    return frozenset(read_set(reader, *parts))


def short(key):
    """Return a key as it stands in an error."""
    if type(key) in (str, bytes):
        text = repr(key[:50])
    else:
        is_short = key is None or type(key) in (float, bool) or (type(key) is int and key.bit_length() < 100)
        text = repr(key) if is_short else "a %s" % name_of(type(key))
    return text if len(text) <= 40 else text[:39] + "…"


add_format("list", write_items, read_items, "builtins:list")
add_format("tuple", write_items, lambda reader, *parts: tuple(read_items(reader, *parts)), "builtins:tuple")
add_format("set", write_set, read_set, "builtins:set")
add_format("frozenset", write_set, read_frozenset, "builtins:frozenset")
add_format("dict", write_pairs, read_pairs, "builtins:dict")
add_format(
    "range",
    lambda writer, value: list(map(writer.write, (value.start, value.stop, value.step))),
    lambda reader, *parts: range(*map(reader.read, parts)),
    "builtins:range",
)

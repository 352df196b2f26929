"""Keep the messages that answer a guest's cell, until its guest has fetched those that a broken link lost.

The kernel's `session.send` is wrapped, on that one object, while at least one cell is kept. An error in here never
reaches a cell: the message is then sent as if nobody kept it.
"""

import base64
import collections
import os
import threading
import time
import zlib

OLDEST = (7,)  # the first ipykernel with a control channel that is served while a cell runs
MOST_LEFT = 3  # cells that have ended, and that nobody has come for
LEFT_SECONDS = 3600  # for how long one of those is kept


class Spools(object):
    """What stands in the place of `session.send`, and what it keeps of each cell. All guests of a kernel share one."""

    def __init__(self, session):
        self.session = session
        self.cells = {}  # by the `msg_id` of the cell
        self.pid = os.getpid()  # a forked child sends as if nobody kept anything
        self.lock = threading.RLock()
        self.found = {name: value for name, value in vars(session).items() if name == "send"}  # the owner's
        self.send = session.send

        def send(stream, msg_or_type, content=None, parent=None, ident=None, buffers=None, track=False, header=None,
                 metadata=None):  # fmt: skip
            message = msg_or_type
            if self.cells and os.getpid() == self.pid:
                try:
                    if self.is_quiet(message, content, parent):
                        return None
                    if isinstance(message, str):
                        message = session.msg(message, content=content, parent=parent, header=header, metadata=metadata)
                    self.keep(message, buffers)
                except Exception:
                    message = msg_or_type
            return self.send(stream, message, content, parent, ident, buffers, track, header, metadata)

        send.spools = self
        self.hook = vars(session)["send"] = send

    def is_quiet(self, message, content, parent):
        """Return whether this is the busy or idle of a request whose `msg_id` is a cell's, a hyphen and a word.

        A server would take that idle for the kernel's own. The idle of the word `drop` ends the keeping.
        """
        if message != "status":
            return False
        asked = (parent or {}).get("header", parent or {}).get("msg_id", "")
        key, _, word = asked.rpartition("-")
        if key not in self.cells:
            return False
        if word == "drop" and content["execution_state"] == "idle":
            self.drop(key)
        return True

    def keep(self, message, buffers):
        cell = self.cells.get((message.get("parent_header") or {}).get("msg_id"))
        kind = message["header"]["msg_type"]
        if cell is None or kind == "input_request":
            return
        channel = "shell" if kind == "execute_reply" else "iopub"
        parts = [base64.b64encode(bytes(part)).decode() for part in buffers or message.get("buffers") or ()]
        fields = [message[name] for name in ("header", "parent_header", "metadata", "content")]
        packed = self.session.pack([channel, *fields, parts])
        with self.lock:
            cell["ring"].append(packed)
            cell["size"] += len(packed)
            while cell["size"] > cell["most"] and cell["ring"]:
                cell["size"] -= len(cell["ring"].popleft())
                cell["base"] += 1
        if kind == "status" and message["content"].get("execution_state") == "idle":
            cell["ended"] = time.monotonic()
            cell["timer"] = threading.Timer(LEFT_SECONDS, self.drop, [message["parent_header"]["msg_id"]])
            cell["timer"].daemon = True
            cell["timer"].start()

    def fetch(self, key, start, chunk):
        """Return the messages from number `start` on, at most `chunk` bytes of them but at least one."""
        cell = self.cells[key]
        with self.lock:
            base, end = cell["base"], cell["base"] + len(cell["ring"])
            start, taken, size = max(start, base), [], 0
            for number in range(start - base, len(cell["ring"])):
                size += len(cell["ring"][number])
                if taken and size > chunk:
                    break
                taken.append(cell["ring"][number])
        head = "[%d,%d,%d,[" % (base, start, end)
        return base64.b64encode(zlib.compress(head.encode() + b",".join(taken) + b"]]", 1)).decode()

    def drop(self, key):
        """Forget a cell; with the last one put back what was found, unless the owner put something there since."""
        with self.lock:
            cell = self.cells.pop(key, None)
            if cell and cell.get("timer"):
                cell["timer"].cancel()
            places = vars(self.session)
            if not self.cells and places.get("send") is self.hook:
                if self.found:
                    places.update(self.found)
                else:
                    del places["send"]


def arm(key, most):
    """Keep the messages of the cell with that `msg_id` from now on, in a ring of `most` bytes."""
    if __import__("ipykernel").version_info < OLDEST:
        return "too old"
    session = __import__("IPython").get_ipython().kernel.session
    spools = getattr(session.send, "spools", None) or Spools(session)
    with spools.lock:
        left = sorted((cell["ended"], other) for other, cell in spools.cells.items() if cell["ended"])
        spools.cells[key] = {"ring": collections.deque(), "size": 0, "base": 0, "most": most, "ended": 0}
    for _, other in left[:-MOST_LEFT]:
        spools.drop(other)
    return "armed"

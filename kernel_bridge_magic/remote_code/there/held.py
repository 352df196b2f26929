# What waits in the other kernel while variables are on their way: outside its namespace, and not for long. It runs
# behind parcel.py and shared_file.py, in the same namespace.
import threading
import time

NO_MEMORY = "needs more memory than that kernel has"
HELD_SECONDS = 60  # since the last request for it
MOST_HELD = 8  # of all guests; the oldest goes


class Held(object):
    """What waits, by token: bytes that have come or are to go. It stands on the shell object while there is any."""

    def __init__(self, shell):
        self.shell = shell
        self.items = {}  # by token: [what, when it was asked for last]
        self.lock = threading.RLock()
        self.timer = None

    def add(self, token, what):
        with self.lock:
            self.drop(token)
            self.items[token] = [what, time.monotonic()]
            for oldest in list(self.items)[:-MOST_HELD]:
                self.drop(oldest)
            vars(self.shell)["kernel_bridge_held"] = self
            self.watch()

    def get(self, token):
        """Return what is held; None if it was dropped."""
        with self.lock:
            item = self.items.get(token)
            if item is None:
                return None
            item[1] = time.monotonic()
            return item[0]

    def drop(self, token):
        with self.lock:
            what, _ = self.items.pop(token, (None, 0))
            if hasattr(what, "close"):
                what.close()
            if self.items:
                return
            if self.timer is not None:  # its thread would wait for nothing
                self.timer.cancel()
                self.timer = None
            if vars(self.shell).get("kernel_bridge_held") is self:
                del vars(self.shell)["kernel_bridge_held"]

    def watch(self):
        """Look in a while what has been forgotten; one thread does so, however many things wait."""
        if self.timer is None:
            self.timer = threading.Timer(HELD_SECONDS / 4, self.look)
            self.timer.daemon = True
            self.timer.start()

    def look(self):
        with self.lock:
            self.timer = None
            now = time.monotonic()
            for token, (_, asked) in list(self.items.items()):
                if now - asked >= HELD_SECONDS:
                    self.drop(token)
            if self.items:
                self.watch()

    # -- what small requests call, see pieces.py

    def piece(self, token, start, stop):
        what = self.get(token)
        if what is None:
            return b""
        return what.read(start, stop) if hasattr(what, "read") else bytes(memoryview(what)[start:stop])

    def checksum(self, token, size):
        """Return the checksum of `size` bytes that wait."""
        crc = 0
        for start in range(0, size, 1 << 20):
            crc = zlib.crc32(self.piece(token, start, min(start + (1 << 20), size)), crc)
        return crc

    def fill(self, token, start, data):
        """Put bytes where they belong; return whether that is held."""
        what = self.get(token)
        view = memoryview(data).cast("B")
        if what is None or start < 0 or start + view.nbytes > len(what):
            return False
        what[start : start + view.nbytes] = view
        return True


def held_of(shell):
    """Return what the kernel holds for guests."""
    return vars(shell).get("kernel_bridge_held") or Held(shell)


class Answer(object):
    """A text that becomes the value of a user expression as it is: no `repr`, which costs more than the text."""

    def __init__(self, text):
        self.text = text

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": self.text}


def answer(**parts):
    return Answer(json.dumps(parts))


def refusal(problem):
    size = getattr(problem, "size", 0)
    return answer(refused=[problem.path, problem.what, problem.remedy, size])


def give(names, token, order, kept=""):
    """Return an answer with these variables, or with where they wait; the keys of `order` are those of `Order`.

    `kept` is the token of an answer for which they were too large: they are what they were then.
    """
    shell = __import__("IPython").get_ipython()
    found = held_of(shell).get(kept) if kept else shell.user_ns
    if found is None:
        return answer(dropped=True)
    missing = [name for name in names if name not in found]
    if missing:
        return answer(missing=missing)
    values = {name: found[name] for name in names}
    if kept:
        held_of(shell).drop(kept)
    try:
        parcel = pack(values, order["has"], order["most"], order["pickles"])
        about = {"sizes": parcel.sizes, "notes": parcel.notes, "weights": parcel.weights}
        if parcel.size <= order["inline"]:
            data = parcel.to_bytes()
            return answer(crc=parcel.crc, data=base64.b64encode(data).decode(), **about)
        what, place, crc = put_aside(parcel, order["folder"])
        held_of(shell).add(token, what)
        return answer(crc=crc, place=place, **about)
    except Refused as problem:
        if order["keeps"] and getattr(problem, "size", 0):
            held_of(shell).add(token, values)
        return refusal(problem)
    except MemoryError:
        return refusal(Refused(NO_MEMORY).within(names[0]))


def put_aside(parcel, folder):
    """Return a snapshot of a parcel, the place of its file if it has one, and its checksum."""
    if folder is not None:
        try:
            file = share(parcel, folder)
            return file, file.place, file.crc
        except OSError:
            pass  # no room for a file
    return parcel.to_bytes(may_change()), None, parcel.crc


def make_room(token, size):
    """Make room for bytes that are about to come."""
    shell = __import__("IPython").get_ipython()
    try:
        held_of(shell).add(token, bytearray(size))
    except MemoryError:
        return refusal(Refused(NO_MEMORY))
    return answer(ready=True)


def bind(token, sizes, crc, data, place, order):
    """Read what has come and bind it, all or nothing; the answer says which names had a variable."""
    shell = __import__("IPython").get_ipython()
    held = held_of(shell)
    if data is not None:
        whole = base64.b64decode(data)
    elif place is not None:
        whole = open_shared(place, end_of(sizes), order["folder"])
        if whole is None:
            return answer(unreachable=True)
    else:
        whole = held.get(token)
        if whole is None:
            return answer(dropped=True)
    try:
        in_pieces = data is None and place is None
        values, notes = unpack(memoryview(whole), sizes, crc, order["most"], order["pickles"], in_pieces)
    except Refused as problem:
        return refusal(problem)
    except MemoryError:
        return refusal(Refused(NO_MEMORY))
    finally:
        del whole
        held.drop(token)
    replaced = [name for name in values if name in shell.user_ns]
    shell.push(values)
    return answer(replaced=replaced, notes=notes)


def tell():
    """Return the libraries that this side has."""
    return answer(has=libraries())

# What goes from one side to the other: the JSON of some values and their buffers, one behind the other, each aligned.
# It runs behind the codec, in the same namespace, on both sides.


class Parcel(object):
    """Values that were written. `sizes` has the bytes of each part: the JSON, then the buffers. `size` is all of it.
    `weights` has the bytes of each variable, about.

    The buffers may be somebody's live memory: it is a snapshot once `write_to` or `to_bytes` has run.
    """

    def __init__(self, nodes, buffers, notes, weights):
        head = json.dumps(nodes, separators=(",", ":")).encode()
        self.parts = [head, *buffers]
        self.notes = notes
        self.weights = weights
        self.sizes = [part.size if hasattr(part, "write_to") else memoryview(part).nbytes for part in self.parts]
        self.size = end_of(self.sizes)
        self.crc = 0  # once it was written

    def write_to(self, file):
        """Write all of it to a file, and count its checksum."""
        out = Counted(file.write)
        for part, size in zip(self.parts, self.sizes):
            if hasattr(part, "write_to"):
                part.write_to(out)
            else:
                out.write(flat(part))
            out.write(bytes(-size % ALIGNED))
        if out.size != self.size:
            raise Refused("has changed while it was copied", "try again")
        self.crc = out.crc

    def to_bytes(self):
        """Return all of it."""
        whole = Filled(self.size)
        self.write_to(whole)
        return whole.data


class Counted(object):
    """A file that counts what is written to it."""

    def __init__(self, write):
        self.put = write
        self.size = self.crc = 0
        self.closed = False

    def write(self, data):
        view = flat(data)
        self.size += view.nbytes
        self.crc = zlib.crc32(view, self.crc)
        self.put(view)
        return view.nbytes

    def tell(self):
        return self.size

    def flush(self):
        pass

    def close(self):
        pass

    def readable(self):
        return False

    def writable(self):
        return True

    def seekable(self):
        return False


class Filled(object):
    """A file in memory whose size is known."""

    def __init__(self, size):
        self.data = bytearray(size)
        self.end = 0

    def write(self, view):
        if self.end + view.nbytes > len(self.data):
            raise Refused("has changed while it was copied", "try again")
        self.data[self.end : self.end + view.nbytes] = view
        self.end += view.nbytes


def flat(data):
    """Return a view of bytes. numpy's arrays with unusual types come as bytes already."""
    view = memoryview(data)
    return view if view.format == "B" and view.ndim == 1 else view.cast("B")


def end_of(sizes):
    """Return how many bytes parts of these sizes take together, each aligned."""
    return sum(size + -size % ALIGNED for size in sizes)


def pack(values, has, most, pickles=False):
    """Write variables by their names.

    Raises:
        Refused: one of them cannot be copied; `path` begins with its name.
    """
    writer = Writer(has, most, pickles)
    nodes, weights = {}, {}
    for name, value in values.items():
        before = writer.size
        try:
            nodes[name] = writer.write(value)
            weights[name] = writer.size - before
        except Refused as problem:
            raise problem.within(name)
        except RecursionError:
            raise Refused("is nested deeper than %d levels, and cannot be copied" % DEPTH).within(name)
        except RuntimeError:  # a dict that another thread works on
            raise Refused("has changed while it was copied", "try again").within(name)
    parcel = Parcel(nodes, writer.buffers, writer.notes, weights)
    writer.spend(weight_of(parcel.parts[0]))  # so that whoever reads it does not count more
    return parcel


def weight_of(head):
    """Return how many bytes JSON takes once it is read, at most: each value in it takes some."""
    return len(head) + NODE * sum(map(head.count, (b",", b":", b"[", b"{")))


def are_sizes(sizes, size):
    """Return whether parts of these sizes can be what `size` bytes hold; a part that is empty never stands alone."""
    if type(sizes) is not list or not 0 < len(sizes) <= size // ALIGNED + 1:
        return False
    return all(type(one) is int and one >= 0 for one in sizes) and end_of(sizes) == size


def unpack(whole, sizes, crc, most, pickles=False):
    """Return variables by their names, of what came, and notes about them.

    `whole` is a memoryview, which nothing of the values refers to afterwards.

    Raises:
        Refused: it is not what `pack` has made.
    """
    if not are_sizes(sizes, whole.nbytes) or zlib.crc32(whole) != crc:
        raise Refused("was damaged on its way", "try again")
    views, start = [], 0
    for size in sizes:
        views.append(whole[start : start + size])
        start += size + -size % ALIGNED
    head = bytes(views[0])
    reader = Reader(views[1:], most, pickles)
    reader.spend(weight_of(head))
    try:
        nodes = json.loads(head.decode("utf-8", "strict"), parse_constant=no_number, parse_int=short_integer)
    except (ValueError, RecursionError):
        raise Refused(UNLIKE)
    if type(nodes) is not dict:
        raise Refused(UNLIKE)
    return {name: read_variable(reader, name, node) for name, node in nodes.items()}, reader.notes


def read_variable(reader, name, node):
    try:
        return reader.read(node)
    except Refused as problem:
        raise problem.within(name)
    except RecursionError:
        raise Refused("is nested deeper than %d levels" % DEPTH).within(name)


def short_integer(digits):
    if len(digits) > 17:  # larger ones stand in hexadecimal: Python takes ages for decimal digits
        raise ValueError("too long")
    return int(digits)


def no_number(name):
    raise ValueError(name)


def libraries():
    """Return what a writer needs to know of this side: the versions of libraries that can be imported here."""
    metadata = __import__("importlib.metadata").metadata
    found = {"python": "%d.%d.%d" % sys.version_info[:3]}
    for name in ("numpy", "pandas", "pyarrow", "polars", "pillow", "matplotlib"):
        try:
            found[name] = str(metadata.version(name))
        except metadata.PackageNotFoundError:
            pass
    return found

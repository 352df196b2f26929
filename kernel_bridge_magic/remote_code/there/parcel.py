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
        self.crc = None  # the checksum of what was written last, if it was counted

    def write_to(self, file, counts=True):
        """Write all of it to a file, and count its checksum.

        Each buffer is counted before it is written: one that changes meanwhile does not fit its checksum.
        """
        out = Counted(file.write, counts)
        end = 0
        for part, size in zip(self.parts, self.sizes):
            if hasattr(part, "write_to"):
                part.write_to(out)
            else:
                out.write(flat(part))
            end += size
            if out.size != end:
                raise Refused("has changed while it was copied", "try again")
            out.write(bytes(-size % ALIGNED))
            end = out.size
        self.crc = out.crc

    def to_bytes(self, counts=True):
        """Return all of it; `counts` is as for `write_to`."""
        try:
            whole = Filled(self.size)
            self.write_to(whole, counts)
        except BaseException as problem:
            raise refused_for(problem, "cannot be copied") from None
        return whole.data


class Counted(object):
    """A file that counts what is written to it."""

    def __init__(self, write, counts):
        self.put = write
        self.size = 0
        self.crc = 0 if counts else None
        self.closed = False

    def write(self, data):
        view = flat(data)
        self.size += view.nbytes
        if self.crc is not None:
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
    """A file in memory of a size at most. It grows: to fill its memory with zeros before would take as long."""

    def __init__(self, size):
        self.data = bytearray()
        self.size = size

    def write(self, view):
        if len(self.data) + view.nbytes > self.size:
            raise Refused("has changed while it was copied", "try again")
        self.data += view


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
        except BaseException as problem:
            raise refused_for(problem, "cannot be copied").within(name) from None
    try:
        parcel = Parcel(nodes, writer.buffers, writer.notes, weights)
    except BaseException as problem:
        raise refused_for(problem, "cannot be copied") from None
    writer.pass_by(-writer.passing)
    writer.spend(weight_of(parcel.parts[0]))  # so that whoever reads it does not count more
    return parcel


def weight_of(head):
    """Return how many bytes JSON takes once it is read, at most: each value in it takes some.

    One character that is no ASCII may make four bytes of each other one of its text.
    """
    escaped = head.count(b"\\u")
    width = 4 if escaped or not head.isascii() else 1
    return width * (len(head) - 5 * escaped) + NODE * sum(map(head.count, (b",", b":", b"[", b"{")))


def are_sizes(sizes, size):
    """Return whether parts of these sizes can be what `size` bytes hold; a part that is empty never stands alone."""
    if type(sizes) is not list or not 0 < len(sizes) <= size // ALIGNED + 1:
        return False
    return all(type(one) is int and one >= 0 for one in sizes) and end_of(sizes) == size


def unpack(whole, sizes, crc, most, pickles=False, checked=False):
    """Return variables by their names, of what came, and notes about them.

    `whole` is a memoryview. Where it may be written, values may stand there, so that it must be theirs alone. `crc` is
    its checksum; None where each piece of it was `checked` as it came, or for a file in memory that is sealed: the
    system itself sees to it that nobody has changed that.

    Raises:
        Refused: it is not what `pack` has made.
    """
    is_whole = checked or is_sealed(whole) if crc is None else zlib.crc32(whole) == crc
    if not are_sizes(sizes, whole.nbytes) or not is_whole:
        raise Refused("was changed while it was copied, or damaged on its way", "try again")
    try:
        views, start = [], 0
        for size in sizes:
            views.append(whole[start : start + size])
            start += size + -size % ALIGNED
        head = bytes(views[0])
        reader = Reader(views[1:], most, pickles, is_ours=not whole.readonly)
        reader.spend(weight_of(head))
        nodes = json.loads(head.decode("utf-8", "strict"), parse_constant=no_number, parse_int=short_integer)
    except BaseException as problem:
        raise refused_for(problem, UNLIKE) from None
    if type(nodes) is not dict:
        raise Refused(UNLIKE)
    return {name: read_variable(reader, name, node) for name, node in nodes.items()}, reader.notes


def read_variable(reader, name, node):
    try:
        return reader.read(node)
    except BaseException as problem:
        raise refused_for(problem, UNLIKE).within(name) from None


def short_integer(digits):
    if len(digits) > 17:  # larger ones stand in hexadecimal: Python takes ages for decimal digits
        raise ValueError("too long")
    return int(digits)


def no_number(name):
    raise ValueError(name)


VERSIONS = {}  # of libraries that were found: to look for them takes 3 ms each


def libraries():
    """Return what a writer needs to know of this side: the versions of libraries that can be imported here."""
    metadata = __import__("importlib.metadata").metadata
    for name in ("numpy", "pandas", "pyarrow", "polars", "pillow", "matplotlib"):
        if name not in VERSIONS:
            try:
                VERSIONS[name] = str(metadata.version(name))
            except metadata.PackageNotFoundError:
                pass
    return dict(VERSIONS, python="%d.%d.%d" % sys.version_info[:3])

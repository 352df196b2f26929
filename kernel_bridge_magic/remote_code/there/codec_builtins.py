# Formats for Python's own types: texts, numbers, bytes, containers. It runs behind codec.py, in the same namespace.


# -- texts, numbers


def read_float(reader, written):
    if written not in ("nan", "inf", "-inf"):
        raise Refused(UNLIKE)
    return float(written)  # each not-a-number is one of its own: a set may hold several


READERS["str"] = lambda reader, number: reader.long_text(number)
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


def write_bytearray(writer, value):
    writer.check(len(value))
    return write_bytes(writer, bytes(value))  # a snapshot: it may change, and grow


def bytes_of(reader, part):
    if type(part) is str:
        return base64.b64decode(part, validate=True)
    view = reader.buffer(part)
    reader.spend(view.nbytes)
    return view


add_format("bytes", write_bytes, lambda reader, part: bytes(bytes_of(reader, part)), "builtins:bytes")
add_format("bytearray", write_bytearray, lambda reader, part: bytearray(bytes_of(reader, part)), "builtins:bytearray")


# -- containers
#
# What another thread may change meanwhile is copied before anything looks at it: so each container is whole.


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
        writer.spend((NODE + 4 * 8) * len(values) + sum(map(len, values)))
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
    whole, start, found = reader.long_text(texts, NODE * len(values)), 0, []
    if min(values, default=0) < 0 or sum(values) != len(whole):
        raise Refused(UNLIKE)
    for length in values:
        found.append(whole[start : start + length])
        start += length
    return found


def write_items(writer, values):
    """Return the parts of a list or tuple."""
    if type(values) is not tuple:
        writer.check(8 * len(values))
        values = list(values)
    return packed(writer, values) or [writer.write_all(values)]


def read_items(reader, *parts):
    if type(parts[0]) is str:
        return unpacked(reader, *parts)
    (nodes,) = parts
    if type(nodes) is not list:
        raise Refused(UNLIKE)
    return [reader.read(node) for node in nodes]


def write_dict(writer, value):
    """Return a dict whose keys can stand in the JSON as such a dict; the parts of another."""
    writer.check(NODE * len(value))
    value = value.copy()
    keys, items = list(value), list(value.values())
    if all(map(is_plain_text, keys)):
        writer.spend(sum(map(len, keys)))
        return dict(zip(keys, writer.write_all(items, keys)))
    return [writer.write_all(keys, keys, " key %s"), writer.write_all(items, keys)]


def read_pairs(reader, keys, items):
    keys, items = read_items(reader, keys), read_items(reader, items)
    found = {}
    hash_all(reader, keys, lambda start, stop: found.update(zip(keys[start:stop], items[start:stop])))
    if not len(found) == len(keys) == len(items):
        raise Refused(UNLIKE)
    return found


def read_set(reader, *parts):
    items = read_items(reader, *parts)
    found = set()
    hash_all(reader, items, lambda start, stop: found.update(items[start:stop]))
    if len(found) != len(items):
        raise Refused(UNLIKE)
    return found


def read_frozenset(reader, *parts):
    return frozenset(read_set(reader, *parts))


add_format("list", write_items, read_items, "builtins:list")
add_format("tuple", write_items, lambda reader, *parts: tuple(read_items(reader, *parts)), "builtins:tuple")
add_format("set", write_items, read_set, "builtins:set")
add_format("frozenset", write_items, read_frozenset, "builtins:frozenset")
add_format("dict", write_dict, read_pairs, "builtins:dict")
add_format(
    "range",
    lambda writer, value: list(map(writer.write, (value.start, value.stop, value.step))),
    lambda reader, *parts: range(*map(reader.read, parts)),
    "builtins:range",
)

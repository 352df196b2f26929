# Formats for pyarrow. It runs behind codec_numpy.py, in the same namespace.
#
# An array goes as its buffers, as they lie in memory; its type as Arrow's own description of a schema. There are no
# messages of Arrow's with rows in them: so nothing is compressed, no dictionary is named by a number, and each buffer
# has the size that came. What is built of them is checked wholly before anything reads it: of a text whose offset is
# wrong, Arrow reads what is elsewhere in memory.

ARROW_LEAST = (14, 0, 1)  # older ones run pickles that stand in a schema
ARROW_KINDS = (
    "NA", "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "HALF_FLOAT", "FLOAT",
    "DOUBLE", "BINARY", "STRING", "LARGE_BINARY", "LARGE_STRING", "FIXED_SIZE_BINARY", "DATE32", "DATE64", "TIMESTAMP",
    "TIME32", "TIME64", "DURATION", "INTERVAL_MONTH_DAY_NANO", "DECIMAL32", "DECIMAL64", "DECIMAL128", "DECIMAL256",
    "LIST", "LARGE_LIST", "FIXED_SIZE_LIST", "MAP", "STRUCT", "DICTIONARY", "SPARSE_UNION", "DENSE_UNION",
)  # fmt: skip
SCHEMA_MOST = 4 * 2**20  # bytes


def parts_of_version(text):
    """Return a version as numbers: "15.0.2.dev1" is (15, 0, 2)."""
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


def arrow_is_there(writer):
    """Return whether the other side has a pyarrow that is used."""
    return parts_of_version(writer.has.get("pyarrow", "0")) >= ARROW_LEAST


def need_arrow(writer, remedy=""):
    """Refuse what goes through Arrow if the other side has none."""
    if not arrow_is_there(writer):
        raise Refused("needs pyarrow 14.0.1 or newer on the other side", "install pyarrow there" + remedy)


def arrow_here():
    """Return pyarrow."""
    try:
        pyarrow = __import__("pyarrow")
    except ImportError:
        raise Refused("needs pyarrow, which the receiving side does not have", "install pyarrow there")
    if parts_of_version(pyarrow.__version__) < ARROW_LEAST:
        raise Refused("needs pyarrow 14.0.1 or newer on the receiving side", "install a newer pyarrow there")
    return pyarrow


# -- types


def check_arrow_type(pyarrow, kind, depth=0):
    """Refuse types whose arrays are not copied."""
    if isinstance(kind, pyarrow.BaseExtensionType):
        raise Refused("has the extension type %s, which cannot be copied" % short(kind.extension_name),
                      "copy its storage")  # fmt: skip
    if kind.id not in [getattr(pyarrow.lib, "Type_" + name, None) for name in ARROW_KINDS] or depth > DEPTH:
        text = str(kind)
        raise Refused("has the type %s, which cannot be copied" % (text if len(text) <= 40 else text[:39] + "…"),
                      "cast it to another type")  # fmt: skip
    check_names(lambda: names_within(pyarrow, kind))
    for inner in types_within(pyarrow, kind):
        check_arrow_type(pyarrow, inner, depth + 1)


def check_names(read):
    """Refuse names that are no UTF-8: a file may hold such, and libraries trust that they are."""
    try:
        read()
    except UnicodeDecodeError:
        raise Refused("has a name in it that is no UTF-8, which cannot be copied", "rename it")


def names_within(pyarrow, kind):
    """Return the texts that a type has: names of its children, or of its time zone."""
    if pyarrow.types.is_timestamp(kind):
        return [kind.tz]
    if pyarrow.types.is_map(kind):
        return [kind.key_field.name, kind.item_field.name]
    if pyarrow.types.is_struct(kind) or pyarrow.types.is_union(kind):
        return [kind.field(number).name for number in range(kind.num_fields)]
    return [kind.value_field.name] if kind.num_fields else []


def types_within(pyarrow, kind):
    """Return the types of an array's children; of a dictionary, those of its indices and its values."""
    if pyarrow.types.is_dictionary(kind):
        return [kind.index_type, kind.value_type]
    if pyarrow.types.is_map(kind):
        return [pyarrow.struct([kind.key_field, kind.item_field])]
    if pyarrow.types.is_struct(kind) or pyarrow.types.is_union(kind):
        return [kind.field(number).type for number in range(kind.num_fields)]
    return [kind.value_type] if kind.num_fields else []


def write_schema(writer, schema):
    pyarrow = sys.modules["pyarrow"]
    check_names(lambda: schema.names)
    for field in schema:
        try:
            check_arrow_type(pyarrow, field.type)
        except Refused as problem:
            raise problem.within(": column %s" % short(field.name) if len(schema) > 1 or field.name else "")
    data = schema.serialize().to_pybytes()
    if b"ARROW:extension" in data:
        raise Refused("has a schema that tells of an extension type, which cannot be copied", "remove its metadata")
    return write_bytes(writer, data)[0]


def read_schema(reader, part):
    pyarrow, data = arrow_here(), bytes(bytes_of(reader, part))
    # A type that somebody has registered here would read what stands there, perhaps as a pickle.
    if len(data) > SCHEMA_MOST or b"ARROW:extension" in data:
        raise Refused(UNLIKE)
    schema = pyarrow.ipc.read_schema(pyarrow.py_buffer(data))
    check_names(lambda: schema.names)
    for field in schema:
        check_arrow_type(pyarrow, field.type)
    return schema


def write_type(writer, kind):
    pyarrow = sys.modules["pyarrow"]
    return write_schema(writer, pyarrow.schema([pyarrow.field("", kind)]))


def read_type(reader, part):
    (field,) = read_schema(reader, part)
    return field.type


# -- arrays


def write_arrow(writer, array):
    """Return an array of Arrow's as JSON: its length, its buffers, its children. Its type goes elsewhere."""
    pyarrow = sys.modules["pyarrow"]
    writer.spend(NODE)
    if pyarrow.types.is_dictionary(array.type):
        return [len(array), [], [write_arrow(writer, part) for part in (array.indices, array.dictionary)]]
    array = compact(pyarrow, array)
    buffers = [None if buffer is None else write_bytes(writer, memoryview(buffer))[0]
               for buffer in array.buffers()[: array.type.num_buffers]]  # fmt: skip
    return [len(array), buffers, [write_arrow(writer, child) for child in children_of(pyarrow, array)]]


def compact(pyarrow, array):
    """Return an array that begins where its buffers do, and has no more of them than it needs, about."""
    spare = array.get_total_buffer_size() - array.nbytes
    if array.offset or spare > array.nbytes // 8 + 4096:
        array = pyarrow.concat_arrays([array, array[:0]])
    if array.offset:
        raise Refused("is a part of an array, which this version of pyarrow does not separate", "install a newer one")
    return array


def children_of(pyarrow, array):
    kind = array.type
    if pyarrow.types.is_struct(kind) or pyarrow.types.is_union(kind):
        return [array.field(number) for number in range(kind.num_fields)]
    return [array.values] if kind.num_fields else []


def read_arrow(reader, pyarrow, kind, node):
    """Return an array of Arrow's that was checked wholly."""
    array = build_arrow(reader, pyarrow, kind, node)
    array.validate(full=True)
    return array


def build_arrow(reader, pyarrow, kind, node):
    length, buffers, children = node
    # Some arrays have no buffers, and any length.
    reader.spend(NODE + reader.whole(length))
    kinds = types_within(pyarrow, kind)
    if type(children) is not list or len(children) != len(kinds):
        raise Refused(UNLIKE)
    children = [build_arrow(reader, pyarrow, *pair) for pair in zip(kinds, children)]
    if pyarrow.types.is_dictionary(kind):
        for child in children:
            child.validate(full=True)
        found = pyarrow.DictionaryArray.from_arrays(children[0], children[1], ordered=kind.ordered, safe=True)
        if len(found) != length:
            raise Refused(UNLIKE)
        return found
    check_layout(pyarrow, kind, buffers, children)
    own = [None if part is None else own_buffer(reader, pyarrow, part) for part in buffers]
    return pyarrow.Array.from_buffers(kind, length, own, -1, 0, children or None)


def check_layout(pyarrow, kind, buffers, children):
    """Refuse what Arrow does not check but ends the process for."""
    is_right = type(buffers) is list and len(buffers) == kind.num_buffers
    if pyarrow.types.is_null(kind) or pyarrow.types.is_union(kind):
        is_right = is_right and buffers[0] is None
    if pyarrow.types.is_map(kind) and is_right:
        children[0].validate(full=True)
        is_right = not children[0].null_count and not children[0].field(0).null_count
    if not is_right:
        raise Refused(UNLIKE)


def own_buffer(reader, pyarrow, part):
    """Return a buffer of Arrow's with a copy of some bytes."""
    data = bytes_of(reader, part)
    found = pyarrow.allocate_buffer(len(data))
    if len(data):
        memoryview(found).cast("B")[:] = data
    return found


def write_chunks(writer, chunked):
    return [write_arrow(writer, chunk) for chunk in chunked.chunks]


def read_chunks(reader, pyarrow, kind, chunks):
    if type(chunks) is not list:
        raise Refused(UNLIKE)
    return pyarrow.chunked_array([read_arrow(reader, pyarrow, kind, chunk) for chunk in chunks], kind)


# -- what users have


def write_arrow_array(writer, value):
    need_arrow(writer, ", or copy {}.to_pylist()")
    return [write_type(writer, value.type), write_arrow(writer, value)]


def read_arrow_array(reader, part, node):
    return read_arrow(reader, arrow_here(), read_type(reader, part), node)


def write_chunked(writer, value):
    need_arrow(writer, ", or copy {}.to_pylist()")
    return [write_type(writer, value.type), write_chunks(writer, value)]


def read_chunked(reader, part, chunks):
    return read_chunks(reader, arrow_here(), read_type(reader, part), chunks)


def write_arrow_table(writer, value):
    """Return the parts of a Table or a RecordBatch."""
    need_arrow(writer, ", or copy {}.to_pydict()")
    if value.num_rows and not value.num_columns:
        raise Refused("has rows and no columns, and cannot be copied", "copy {}.num_rows")
    schema = write_schema(writer, value.schema)
    if type(value).__name__ == "RecordBatch":
        return [schema, [write_arrow(writer, column) for column in value.columns]]
    return [schema, [write_chunks(writer, column) for column in value.columns]]


def read_columns(reader, kind, read, part, columns):
    """Return a table or a batch of pyarrow, whose name is `kind`; `read` reads one of its columns."""
    pyarrow, schema = arrow_here(), read_schema(reader, part)
    if len(columns) != len(schema):
        raise Refused(UNLIKE)
    arrays = [read(reader, pyarrow, field.type, column) for field, column in zip(schema, columns)]
    found = getattr(pyarrow, kind).from_arrays(arrays, schema=schema)
    found.validate(full=True)
    return found


def read_table(reader, part, columns):
    return read_columns(reader, "Table", read_chunks, part, columns)


def read_batch(reader, part, columns):
    return read_columns(reader, "RecordBatch", read_arrow, part, columns)


def write_arrow_schema(writer, value):
    need_arrow(writer)
    return [write_schema(writer, value)]


add_format("pyarrow.Array", write_arrow_array, read_arrow_array, *map("pyarrow:{}Array".format, (
    "Null", "Boolean", "UInt8", "UInt16", "UInt32", "UInt64", "Int8", "Int16", "Int32", "Int64", "HalfFloat", "Float",
    "Double", "Binary", "String", "LargeBinary", "LargeString", "FixedSizeBinary", "Date32", "Date64", "Timestamp",
    "Time32", "Time64", "Duration", "MonthDayNanoInterval", "Decimal32", "Decimal64", "Decimal128", "Decimal256",
    "List", "LargeList", "FixedSizeList", "Map", "Struct", "Dictionary", "Union")))  # fmt: skip
add_format("pyarrow.ChunkedArray", write_chunked, read_chunked, "pyarrow:ChunkedArray")
add_format("pyarrow.Table", write_arrow_table, read_table, "pyarrow:Table")
add_format("pyarrow.RecordBatch", write_arrow_table, read_batch, "pyarrow:RecordBatch")
add_format("pyarrow.Schema", write_arrow_schema, read_schema, "pyarrow:Schema")
HINTS.update({
    "pyarrow.Scalar": "copy {}.as_py()",
    "pyarrow.Array": "copy {}.cast(...) to another type, or {}.to_pylist()",
    "pyarrow.DataType": "copy pyarrow.schema([('', {})])",
    "pyarrow.Field": "copy pyarrow.schema([{}])",
})  # fmt: skip

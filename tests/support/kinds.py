"""Kinds of values for two environments: what makes one of each, as text that is evaluated on either side."""

from __future__ import annotations

from tests.support import tables, values
from tests.support.described import source_for_there

#: kinds that the tables and values of other tests do not have, and those that were lost once: what makes one
MORE = (
    "Image.new('CMYK', (3, 2), (1, 2, 3, 4))",
    "Image.new('RGB', (3, 2)).quantize(4)",
    "[Image.new(mode, (9, 2)) for mode in ('1', 'LA', 'I', 'F', 'LAB', 'I;16', 'PA', 'RGBa', 'HSV')]",
    # labels: some that are equal and of different types, some that are no UTF-8
    "pandas.DataFrame([[1, 2, 3]], columns=pandas.Index([1, True, 1.0], dtype=object))",
    "pandas.Series([1, 2, 3], index=pandas.Index([1, True, 1.0], dtype=object))",
    "pandas.DataFrame([[1, 2]], columns=pandas.Index(['\\udc80', 'a'], dtype=object))",
    "pandas.Categorical(pandas.Series(['\\udc80', 'a'], dtype=object))",
    "pandas.MultiIndex(levels=[pandas.Index(['\\udc80', 'a'], dtype=object), [1]], codes=[[0, 1], [0, 0]])",
    "pandas.Series(['a\\ud800', None], dtype='string[python]', name='\\udc80')",
    "pandas.Series(['a\\0', None], dtype='string[pyarrow]')",
    "pandas.Index(['a', 'b'], dtype='string')",
    "pandas.Series([], dtype=object)",
    "pandas.Series([numpy.str_('a'), 'b', numpy.float64(1), 1.0, 2**64], dtype=object)",
    # moments
    "[pandas.Timestamp.min, pandas.Timestamp.max, pandas.Timedelta.min, pandas.Timedelta.max]",
    "[pandas.Timestamp('2020-01-01', tz=one) for one in (pytz.timezone('Europe/Berlin'), 'Asia/Tokyo', '+05:30')]",
    "[pandas.Timestamp('2020-01-01'), pandas.Timestamp(0), pandas.Timestamp(1, unit='s'), pandas.Timedelta('1s')]",
    "pandas.Series(pandas.date_range('2020-03-28', periods=3, tz=pytz.timezone('Europe/Berlin')))",
    "pandas.date_range('2020-03-28', periods=4, freq='24h', tz='Europe/Berlin')",
    "[pandas.to_datetime(['2020-01-01', None]), pandas.to_timedelta([1, 2], unit='s')]",
    "[pandas.date_range('2020-01-31', periods=3, freq=one) for one in [getattr(pandas.offsets, name)() for name in"
    " ('MonthEnd QuarterEnd YearEnd BMonthEnd BQuarterEnd BYearEnd CBMonthEnd SemiMonthEnd MonthBegin QuarterBegin'"
    " ' YearBegin BMonthBegin BQuarterBegin BYearBegin CBMonthBegin SemiMonthBegin BusinessHour CustomBusinessHour'"
    " ' BusinessDay Day Hour Minute Second Milli Micro').split()]]",
    "[pandas.period_range('2020', periods=3, freq=one) for one in ('2M', 'W-WED', 'min', '5min', 'ms', 'Q', '2h')]",
    "[pandas.Period('2020', 'Y'), pandas.Period('2020Q1', 'Q-FEB'), pandas.Period('2020-01-01', 'W-SUN')]",
    "pandas.CategoricalIndex(pandas.period_range('2020', periods=2, freq='h'))",
    # Arrow
    "[pyarrow.array([[1, None], None, []])[start:] for start in (0, 1)]",
    "[pyarrow.array([('a', None), None], pyarrow.struct([('x', pyarrow.string()), ('y', pyarrow.int8())]))]",
    "pyarrow.array([[('a', 1)], None, []], pyarrow.map_(pyarrow.string(), pyarrow.int64()))[1:]",
    "pyarrow.chunked_array([pyarrow.array([one]).dictionary_encode() for one in ('a', 'b')])",
    "pyarrow.UnionArray.from_sparse(pyarrow.array([0, 1], pyarrow.int8()), [pyarrow.array([1, 2])] * 2)",
    "pyarrow.table({'a': [1, None], 'b': [{'c': 'x'}, None]}).replace_schema_metadata({'k': 'v'})",
    "pyarrow.RecordBatch.from_pydict({'a': pyarrow.array(['x', 'y', 'x']).dictionary_encode()})",
    "pyarrow.Table.from_pandas(pandas.DataFrame({'a': ['x', None], 'b': [1, 2]}))",
    "pyarrow.schema([pyarrow.field('a', pyarrow.decimal128(5, 2), nullable=False)])",
    "pandas.DataFrame({'i': pandas.array([1, None], dtype='int64[pyarrow]'),"
    " 's': pandas.array(['a', None], dtype=pandas.ArrowDtype(pyarrow.string()))})",
    "pandas.Series(pyarrow.array([1, None], pyarrow.timestamp('us', 'Europe/Berlin')),"
    " dtype=pandas.ArrowDtype(pyarrow.timestamp('us', 'Europe/Berlin')))",
    # numpy
    "[numpy.dtype(it) for it in ('<i4', '>f8', 'S3', 'M8[ns]', 'i4,f8', 'l', 'q')]",
    "[numpy.array([1, 2], 'g'), numpy.longdouble('1.1'), numpy.clongdouble(1j), numpy.longlong(3), numpy.intc(3)]",
    "numpy.rec.array([(1, 2.5)], dtype=[('a', '<i4'), ('b', '<f8')])[0]",
    "[numpy.str_('é\\ud800'), numpy.bytes_(b'a\\0b'), numpy.void(b'abc'), numpy.timedelta64(5, 'M')]",
)
POLARS = (
    "[polars.Series('n', [1, None], dtype=one) for one in (polars.Int8, polars.UInt64, polars.Float32)]",
    "polars.Series('nan', [1.5, float('nan'), None, -0.0])",
    "polars.Series('s', ['x' * 100, None, 'ä\\0'])",
    "polars.Series('b', [b'x', None, b''])",
    "[polars.Series('?', [True, None]), polars.Series('null', [None, None])]",
    "polars.Series('d', [datetime.date(2020, 1, 1), None])",
    "[polars.Series('t', [datetime.time(1, 2, 3, 4), None]), polars.Series('td', [datetime.timedelta(1), None])]",
    "[polars.Series('m', [0, None], dtype=polars.Datetime(one, 'Europe/Berlin')) for one in ('ms', 'us', 'ns')]",
    "polars.Series('l', [[1, None], None, []])",
    "polars.Series('of texts', [['x', None], None, [], ['y' * 20]])",
    "polars.Series('of lists', [[['x', None], []], None])",
    "polars.Series('of structs', [[{'a': 'x', 'b': [1]}], None])",
    "polars.Series('a', [[1, 2], None], dtype=polars.Array(polars.Int64, 2))",
    "polars.Series('st', [{'a': 1, 'b': ['x']}, {'a': None, 'b': None}])",
    "polars.Series('dec', ['1.50', None]).cast(polars.Decimal(10, 2))",
    "polars.Series('e', ['x', None, 'x'], dtype=polars.Enum(['y', 'x']))",
    "polars.Series('none', [], dtype=polars.List(polars.String))",
    "polars.DataFrame({'a': [1, None, 3], 'b': ['x', None, 'y']})[1:]",
    "polars.concat([polars.DataFrame({'a': ['x']}), polars.DataFrame({'a': ['y', None]})], rechunk=False)",
    "polars.Series('c', ['x', None, 'y'], dtype=polars.Categorical)",
)
#: what is refused on both sides: what makes it, and what the error says to do
REFUSED = {
    "numpy.ma.array([1, 2], mask=[0, 1])": "filled",
    "numpy.array([None])": "tolist",
    "pandas.Series([1], dtype='>i8')": "astype",
    "pandas.DataFrame({'first': [1], 'other': [len]})": "column 'other'",
    "pandas.Timestamp('2020-01-01', tz=pytz.FixedOffset(90))": "tz_convert",
    "pandas.date_range('2020-01-31', periods=3, freq=pandas.offsets.LastWeekOfMonth(weekday=2))": "set its freq",
    "pandas.date_range('2020-01-31', periods=3, freq=pandas.offsets.DateOffset(months=1))": "set its freq",
}
#: what a kernel without any library lacks for a value
LACKS = {
    "numpy.arange(3)": "numpy",
    "numpy.float64(1)": "numpy",
    "{'a': [numpy.dtype('i4')]}": "numpy",
    "pandas.DataFrame({'a': [1]})": "pandas",
    "pandas.Series(['a'])": "pandas",
    "pandas.Index([1])": "pandas",
    "[pandas.Timestamp('2020'), pandas.NaT]": "pandas",
    "pandas.NA": "pandas",
    "pandas.Categorical(['a'])": "pandas",
    "pyarrow.array([1])": "pyarrow",
    "pyarrow.table({'a': [1]})": "pyarrow",
    "polars.DataFrame({'a': [1]})": "polars",
    "polars.Series([1])": "polars",
    "Image.new('RGB', (2, 2))": "pillow",
}
#: what runs on both sides before anything else
PREPARE = """
def prepare(sources, more):
    space = {}
    for name in more:
        try:
            exec(name, space)
        except ImportError:
            pass
    for name, source in sources.items():
        inner = {"__name__": name}
        exec(source, inner)
        space[name] = inner
    return space
"""
IMPORTS = [
    *("import numpy", "import pandas", "import polars", "import pyarrow", "import pytz", "from PIL import Image"),
    "import datetime",
]
OF_VALUES = ("BERLIN", "EXAMPLES", "_picture")
SOURCES = {"values": source_for_there(values, *OF_VALUES), "tables": source_for_there(tables)}


def expressions() -> dict[str, str]:
    """Return what makes one value of each kind, by name."""
    made = {f"value {name}": f"values['EXAMPLES'][{name!r}]()" for name in values.EXAMPLES}
    for name in tables.EXAMPLES:
        frame = f"tables['EXAMPLES'][{name!r}]()"
        made[f"frame {name}"] = frame
        made[f"series {name}"] = f"[column for _, column in {frame}.items()]"
        made[f"arrays {name}"] = f"[column.array for _, column in {frame}.items()]"
    made |= {f"index {number}": f"tables['indexes']()[{number}]" for number in range(len(tables.indexes()))}
    made |= {f"scalar {number}": f"tables['scalars']()[{number}]" for number in range(len(tables.scalars()))}
    return made | {one: one for one in MORE}

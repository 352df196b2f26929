"""Variables between two environments, the oldest libraries there and the newest here: each kind, by every road.

Values are made on both sides by the same source, described on both sides by the same source, and the descriptions
compared line by line. What may differ stands in one table, with the reason.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import fcntl
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import BadVariable
from tests.real.venvs import make_venv
from tests.support import described, kinds, values
from tests.support.described import describe
from tests.support.kinds import IMPORTS, LACKS, POLARS, PREPARE, REFUSED, SOURCES
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import connect_over, found

#: by environment: what is installed there
ENVIRONMENTS = {
    "oldest": [
        *("ipykernel==6.29.5", "numpy==1.26.0", "pandas==2.1.0", "pyarrow==15.0.0", "pillow==10.1.0"),
        "matplotlib==3.8.0",
    ],
    "polars": ["ipykernel==6.29.5", "polars==1.0.0", "pyarrow==15.0.0", "numpy==1.26.0"],
    "bare": ["ipykernel==6.29.5"],
}
#: how bytes go: the transport, whether by a file, and whether messages carry buffers
ROADS = {
    "file": ("zmq", True, True),
    "zmq": ("zmq", False, True),
    "ws": ("ws", False, True),
    "text": ("ws", False, False),
}
#: larger than what goes in the answer itself
BALLAST = bytes(range(256)) * 2000
EXPRESSIONS = kinds.expressions()


@dataclass
class Environment:
    """A server with a kernel of one environment."""

    server: JupyterServer
    kernel_id: str

    def connect(self, road: str) -> KernelConnection:
        transport_name, _, carries_buffers = ROADS[road]
        connection, transport = connect_over(self.server, found(self.server, self.kernel_id), transport_name)
        if not carries_buffers:
            transport.carries_buffers = False
        return connection


@pytest.fixture(scope="module")
def environments(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[dict[str, Environment]]:
    """Return by name a kernel of each environment. The environments stay for the next run."""
    cache = pytestconfig.cache.mkdir("environments")
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pythons = {name: make_venv(cache, name, packages) for name, packages in ENVIRONMENTS.items()}
    with JupyterServer(tmp_path_factory.mktemp("environments")) as server:
        ids = {name: _start(server, name, python) for name, python in pythons.items()}
        for kernel_id in ids.values():
            server.wait_for_kernel(kernel_id)
        yield {name: Environment(server, kernel_id) for name, kernel_id in ids.items()}


def _start(server: JupyterServer, name: str, python: Path) -> str:
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    folder = Path(server.env["JUPYTER_DATA_DIR"]) / "kernels" / name
    folder.mkdir(parents=True)
    # What is compiled stays in the environment, for the next run.
    spec = {"argv": argv, "display_name": name, "language": "python", "env": {"PYTHONDONTWRITEBYTECODE": ""}}
    (folder / "kernel.json").write_text(json.dumps(spec))
    return server.start_kernel(name)


class There:
    """The other side of a copy."""

    def __init__(self, kernel: KernelConnection, road: str) -> None:
        self.kernel = kernel
        self.options = {"by_file": ROADS[road][1]}

    def prepare(self, sources: Mapping[str, str]) -> None:
        """Have it make and describe values."""
        texts = f"exec({described.SOURCE!r}, described_there := {{'__name__': 'described'}})\nexec({PREPARE!r})"
        self.run(f"{texts}\nspace_there = prepare({dict(sources)!r}, {IMPORTS!r})")

    def run(self, code: str) -> str:
        result = self.kernel.execute(code)
        return result.text

    def make(self, name: str, made: Mapping[str, str]) -> None:
        """Bind a variable to a dict of the values of expressions."""
        self.run(f"{name} = {{key: eval(one, space_there) for key, one in {dict(made)!r}.items()}}")

    def describe(self, name: str) -> dict[str, str]:
        """Return the descriptions of the values of a dict."""
        told = f"{{key: described_there['describe'](one) for key, one in {name}.items()}}"
        return dict(json.loads(ast.literal_eval(self.run(f"__import__('json').dumps({told})"))))

    def put(self, name: str, value: Any) -> None:
        self.kernel.put(name, value, **self.options)

    def get(self, name: str) -> Any:
        return self.kernel.get(name, **self.options)


@contextlib.contextmanager
def prepared(environment: Environment, sources: Mapping[str, str]) -> Iterator[There]:
    """Connect to a kernel that can make and describe values from now on."""
    there = There(environment.connect("zmq"), "zmq")
    with contextlib.closing(there.kernel):
        there.prepare(sources)
        yield there


@pytest.fixture(scope="module")
def oldest(environments: dict[str, Environment]) -> Iterator[There]:
    with prepared(environments["oldest"], SOURCES) as there:
        yield there


@pytest.fixture(scope="module")
def older_polars(environments: dict[str, Environment]) -> Iterator[There]:
    with prepared(environments["polars"], {}) as there:
        yield there


@pytest.fixture(scope="module")
def bare(environments: dict[str, Environment]) -> Iterator[There]:
    with prepared(environments["bare"], {"values": SOURCES["values"]}) as there:
        yield there


@pytest.fixture(params=ROADS)
def there(request: pytest.FixtureRequest, oldest: There, environments: dict[str, Environment]) -> Iterator[There]:
    """The kernel with the oldest libraries, by each road."""
    connection = environments["oldest"].connect(request.param)
    yield There(connection, request.param)
    connection.close()


@pytest.fixture(scope="module")
def space() -> dict[str, Any]:
    """Return the names in which expressions have their values here."""
    namespace: dict[str, Any] = {}
    exec(PREPARE, namespace)
    return dict(namespace["prepare"](SOURCES, IMPORTS))


@pytest.fixture(scope="module")
def made(space: dict[str, Any]) -> dict[str, Any]:
    """Return one value of each kind, made here."""
    return {name: eval(one, space) for name, one in EXPRESSIONS.items()} | {"ballast": BALLAST}


#: what a line has in the newer pandas, what in the older, and why that is right
DIFFERENT = [
    (
        r"pandas\.(Arrow)?StringArray(NumpySemantics)? (python|pyarrow|pyarrow_numpy) nan",
        "pandas.NumpyExtensionArray |O O",
        "a column of texts arrives in that side's default dtype for texts; pandas 2 has none, and uses objects",
    ),
    (r"Categorical$", "Categorical(ordering='physical')", "polars 1 told of an order that is the only one since"),
]


def explained(line: str, newer: str) -> bool:
    """Return whether a line of the older side's description may stand where the newer has another one."""
    return any(re.sub(pattern, older, newer) == line for pattern, older, _ in DIFFERENT)


def differences(older: Mapping[str, str], newer: Mapping[str, str]) -> dict[str, list[str]]:
    """Return by name the lines that differ, but for what is right."""
    assert set(older) == set(newer)
    told: dict[str, list[str]] = {}
    for name in older:
        pairs = itertools.zip_longest(older[name].splitlines(), newer[name].splitlines(), fillvalue="")
        lines = [f"{line} | {its}" for line, its in pairs if line != its and not explained(line, its)]
        if lines:
            told[name] = lines
    return told


def described_here(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: describe(value) for name, value in values.items()}


@pytest.fixture(scope="module")
def described_made(made: dict[str, Any]) -> dict[str, str]:
    return described_here(made)


def test_what_is_made_here_arrives_and_comes_back(
    made: dict[str, Any], described_made: dict[str, str], there: There
) -> None:
    there.put("x_there", made)
    here = described_made
    assert not differences(there.describe("x_there"), here)
    # Objects that are all texts come back in the default dtype: there nothing tells one from the other.
    assert not differences(here, described_here(there.get("x_there")))


@pytest.fixture(scope="module")
def made_there(oldest: There) -> dict[str, str]:
    """Make one value of each kind there, and return their descriptions."""
    oldest.make("y_there", EXPRESSIONS | {"ballast": "bytes(range(256)) * 2000"})
    return oldest.describe("y_there")


def test_what_is_made_there_arrives_and_goes_back(made_there: dict[str, str], there: There) -> None:
    got = there.get("y_there")
    assert not differences(made_there, described_here(got))
    there.put("z_there", got)
    assert made_there == there.describe("z_there")
    wait_for(lambda: there.run("'kernel_bridge_held' in vars(get_ipython())") == "False", "a kernel that holds nothing")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1], (1,)),
        ([1], [1.0]),
        (0.0, -0.0),
        (pd.Series([1], dtype=object), pd.Series([np.int64(1)], dtype=object)),
        (pd.Series([None], dtype=object), pd.Series([float("nan")], dtype=object)),
        (pd.Series([[1]]), pd.Series([np.array([1])])),
        (pd.date_range("2020", periods=3), pd.DatetimeIndex(pd.date_range("2020", periods=3).to_numpy())),
        (pd.Timestamp("2020").as_unit("s"), pd.Timestamp("2020").as_unit("ns")),
        (pd.Series([1]), pd.Series([1]).rename(1)),
        (pd.Series([1]), pd.Series([1], index=[0])),
        (pd.Series(["a"], dtype=object), pd.Series(["a"], dtype="string[python]")),
        (pd.Series([1], dtype="category"), pd.Series([1], dtype=pd.CategoricalDtype([1], ordered=True))),
        (np.zeros((2, 2)), np.zeros((2, 2), order="F")),
        (np.zeros(1, "<i8"), np.zeros(1, ">i8")),
    ],
    ids=repr,
)
def test_a_description_tells_apart_what_others_call_equal(one: Any, other: Any) -> None:
    assert describe(one) == describe(copy.deepcopy(one))
    assert differences(described_here({"x": one}), described_here({"x": other}))


def test_a_column_of_texts_without_a_text_comes_back_as_objects(oldest: There) -> None:
    """Nobody can tell there that it was one of texts."""
    empty, missing = pd.Series([], dtype="str"), pd.Series([float("nan")], dtype="str")
    oldest.put("x_there", {"empty": empty, "missing": missing})
    found = oldest.get("x_there")
    assert [str(one.dtype) for one in found.values()] == ["object", "object"]
    assert describe(found["missing"].tolist()) == describe(missing.tolist())


@pytest.mark.parametrize("expression", REFUSED)
def test_what_is_not_kept_is_refused_by_its_name(expression: str, oldest: There, space: dict[str, Any]) -> None:
    oldest.run("x_there = 'old'")
    with pytest.raises(BadVariable, match=re.escape(REFUSED[expression])) as caught:
        oldest.put("x_there", [eval(expression, space)])
    assert "x_there" in str(caught.value) and oldest.run("x_there") == "'old'"
    oldest.run(f"y_there = [eval({expression!r}, space_there)]")
    with pytest.raises(BadVariable, match=re.escape(REFUSED[expression])) as caught:
        oldest.get("y_there")
    assert "y_there[0]" in str(caught.value)  # the side that writes knows where it is


def test_a_figure_arrives_as_a_picture(oldest: There) -> None:
    make = "__import__('matplotlib.figure').figure.Figure((1, 2), dpi=50)"
    oldest.put("x_there", {"figure": eval(make)})
    oldest.run(f"y_there = {{'figure': {make}}}")
    for told in (oldest.describe("x_there"), described_here(oldest.get("y_there"))):
        assert told["figure"].startswith("PIL.Image RGBA (50, 100)")


# -- polars


def test_tables_of_polars_go_there_and_come_back(older_polars: There, space: dict[str, Any]) -> None:
    made = {one: eval(one, space) for one in POLARS}
    older_polars.put("x_there", made)
    assert not differences(older_polars.describe("x_there"), described_here(made))
    assert not differences(described_here(made), described_here(older_polars.get("x_there")))


def test_tables_of_an_older_polars_come_and_go_back(older_polars: There) -> None:
    older_polars.make("y_there", {one: one for one in POLARS})
    was = older_polars.describe("y_there")
    got = older_polars.get("y_there")
    assert not differences(was, described_here(got))
    older_polars.put("z_there", got)
    assert was == older_polars.describe("z_there")


# -- without any library

PLAIN = {name: one for name, one in EXPRESSIONS.items() if name.startswith("value ") and "array" not in name}
for needy in ("value numpy scalar", "value picture"):
    PLAIN.pop(needy)


@pytest.mark.parametrize("road", ROADS)
def test_plain_values_need_no_library_there(
    road: str, bare: There, environments: dict[str, Environment], space: dict[str, Any]
) -> None:
    made = {name: eval(one, space) for name, one in PLAIN.items()} | {"ballast": BALLAST}
    there = There(environments["bare"].connect(road), road)
    with contextlib.closing(there.kernel):
        there.put("x_there", made)
        assert not differences(there.describe("x_there"), described_here(made))
        there.make("y_there", PLAIN | {"ballast": "bytes(range(256)) * 2000"})
        assert not differences(there.describe("y_there"), described_here(there.get("y_there")))
    libraries = "numpy", "pandas", "pyarrow", "polars", "PIL"
    assert bare.run(f"[one for one in {libraries} if one in __import__('sys').modules]") == "[]"


@pytest.mark.parametrize("expression", LACKS)
def test_what_needs_a_library_says_which_and_where(expression: str, bare: There, space: dict[str, Any]) -> None:
    library = LACKS[expression]
    with pytest.raises(BadVariable, match=f"needs {library}.* in the other kernel; install {library} there"):
        bare.put("x_there", eval(expression, space))


# -- properties

FEW = 5  # examples: each is a list of many, since what takes time is the way
CELLS = st.one_of(values.SCALARS, st.sampled_from([pd.NA, pd.NaT]), st.lists(st.integers(), max_size=2))
ARRAYS = st.one_of(arrays.integer_dtypes(), arrays.floating_dtypes(), arrays.unicode_string_dtypes(max_len=3)).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, max_side=3))
)


def there_and_back(there: There, value: Any) -> None:
    there.put("p_there", {"value": value})
    here = described_here({"value": value})
    assert not differences(there.describe("p_there"), here)
    assert not differences(here, described_here(there.get("p_there")))


@settings(max_examples=FEW)
@given(value=st.lists(values.VALUES, min_size=5, max_size=20))
def test_values_of_any_kind_go_there_and_back(value: Any, oldest: There) -> None:
    there_and_back(oldest, value)


@settings(max_examples=FEW)
@given(value=st.lists(ARRAYS, min_size=5, max_size=20))
def test_arrays_of_any_dtype_go_there_and_back(value: Any, oldest: There) -> None:
    there_and_back(oldest, value)


@settings(max_examples=FEW)
@given(cells=st.lists(CELLS, min_size=1, max_size=6), labels=st.lists(values.HASHABLE, min_size=1, max_size=3))
def test_columns_with_any_cells_and_labels_go_there_and_back(cells: Any, labels: Any, oldest: There) -> None:
    frame = pd.DataFrame({number: pd.Series(cells, dtype=object) for number in range(len(labels))})
    frame.columns = pd.Index(labels, dtype=object, tupleize_cols=False)
    there_and_back(oldest, frame)

"""Variables to and from the kernels of a server: what its front end, or a gateway behind it, must carry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.errors import BadVariable
from kernel_bridge_magic.protocol.events import Started
from kernel_bridge_magic.transfer.variables import Variables, variables_with

__all__ = ["copies"]

HELD = "'kernel_bridge_held' in vars(get_ipython())"
LARGE = bytes(range(256)) * 20_000  # 5 MB: in pieces, and more of them than are under way at once


def copies(connection: KernelConnection, owner: KernelConnection) -> None:
    """Copy small and large variables both ways, alone and with a cell; `owner` is another client of the kernel."""
    for value in ({"a": [1, None, "é"]}, LARGE, LARGE[: 1 << 20], LARGE[: (1 << 20) + 1], LARGE[: 300 << 10]):
        connection.put("x_there", value)
        assert connection.execute(f"len(x_there) == {len(value)}").text == "True"
        assert connection.get("x_there") == value
    _frame(connection)
    _with_a_cell(connection, owner)
    try:
        connection.get("no_such_name")
    except BadVariable as error:
        assert "no_such_name" in str(error)
    else:
        raise AssertionError("what is not there was copied")
    assert connection.execute(HELD).text == "False", "something waits there"


def _frame(connection: KernelConnection) -> None:
    """Copy a table of some MB, where that side has a library for it; else its refusal names what to install."""
    import numpy
    import pandas

    rows = numpy.arange(200_000)
    columns: dict[str, Any] = {"number": rows, "half": rows / 2, "text": [f"row {row} é" for row in rows]}
    frame = pandas.DataFrame(columns)
    here = "__import__('importlib.util').util.find_spec('pandas') is not None"
    if connection.execute(here).text == "True":
        connection.put("frame_there", frame)
        assert connection.execute("frame_there.number.sum()").text.rstrip(")").endswith(str(rows.sum()))
        back = connection.get("frame_there")
        pandas.testing.assert_frame_equal(back, frame)
        return
    try:
        connection.put("frame_there", frame)
    except BadVariable as error:
        assert "pandas" in str(error), error
    else:
        raise AssertionError("a table without pandas there")
    assert connection.execute("'frame_there' in globals()").text == "False"


def _with_a_cell(connection: KernelConnection, owner: KernelConnection) -> None:
    """Copy with a cell, behind which another client's cell waits that rebinds the names."""
    code = "import time; time.sleep(1)\ny_there = bytearray(sent_there)\nsmall_there = len(sent_there)"
    variables = replace(variables_with({"sent_there": LARGE}), wanted={"y": "y_there", "small": "small_there"})
    execution = connection.start(Cell(code, variables=variables))
    behind = None
    for event in execution:
        if isinstance(event, Started) and behind is None:
            behind = owner.start(Cell("y_there[:] = b'theirs'; y_there = small_there = 'theirs'"))
    result = execution.result
    assert result is not None and result.error is None, result
    assert result.variables["y"].value == bytearray(LARGE) and result.variables["small"].value == len(LARGE)
    assert behind is not None
    for _ in behind:
        pass
    assert behind.result is not None and behind.result.error is None, behind.result
    assert connection.get_all(Variables(wanted={"y": "y_there"}))["y"].value == "theirs"

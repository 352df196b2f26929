"""Where the cursor stands in a cell of ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.ipython.cells import InCode, InLine, spot
from kernel_bridge_magic.ipython.options import parser_of

REMOTE = parser_of("remote")
assert REMOTE is not None


def at(marked: str) -> InLine | InCode | None:
    """Return where the cursor, which is written as ‸, stands."""
    assert REMOTE is not None
    return spot(marked.replace("‸", ""), marked.index("‸"), REMOTE)


@pytest.mark.parametrize(
    ("marked", "found"),
    [
        ("%%remote ‸", InLine("remote", True, " ", 1, 8)),
        ("%%remote no‸\nx", InLine("remote", True, " no", 3, 8)),
        ("%kernels ‸", InLine("kernels", False, " ", 1, 8)),
        ("x = 1\n%kernels no‸ # all\ny", InLine("kernels", False, " no # all", 3, 14)),
        ("ks = %kernels ‸", InLine("kernels", False, " ", 1, 13)),
        ("%%remote north\n‸", InCode(" north", "", 0, 15)),
        ("%%remote north\ndf.‸\n1", InCode(" north", "df.\n1", 3, 15)),
        ("\n \n%%remote -q north\na\nb‸", InCode(" -q north", "a\nb", 3, 21)),
        ("%%remote north\n%time df.‸", InCode(" north", "%time df.", 9, 15)),
        ("%remote north df.‸", InCode(" north", "df.", 3, 14)),
        ("x = %remote -s lab 'my notes'  df.‸a", InCode(" -s lab 'my notes'", "df.a", 3, 31)),
        ("%remote nor‸th df", InLine("remote", False, " north df", 4, 7)),
        ("%remote north‸", InLine("remote", False, " north", 6, 7)),
        ("%remote north ‸", InCode(" north", "", 0, 14)),
        ("%%timeit\n%remote north x‸", InCode(" north", "x", 1, 23)),
        ("%%time\n%%remote north\ndf.‸", InCode(" north", "df.", 3, 22)),
        ("%time x = %remote north df.‸", InCode(" north", "df.", 3, 24)),
        ("%time  %kernels no‸", InLine("kernels", False, " no", 3, 15)),
        ("%%local\n%%time\n\n%%remote no‸", InLine("remote", True, " no", 3, 24)),
        ("%%capture\n%%timeit -n 1\n%%remote a b\nx‸\ny", InCode(" a b", "x\ny", 1, 37)),
        ("%autoremote -‸", InLine("autoremote", False, " -", 2, 11)),
        # nothing of ours
        ("%%remo‸te north\nx", None),
        ("%%remote‸ north\nx", None),
        ("%%time\ndf.‸", None),
        ("df.‸", None),
        ("‸", None),
        ("%kernel‸s", None),
        ("print('%remote x ‸')", None),
        ("%%bash\n%remote north x‸", None),
        ("%timeit df.‸", None),
        ("%%time\nx\n%%remote north\ndf.‸", None),  # no cell magic there
        ("%%time\n%%bash\n%remote north x‸", None),
        ("%%time\n%%rem‸ote north\nx", None),
        ("%%timeit -n ‸", None),
        ("%cd ‸", None),
        ("!ls ‸", None),
        ("%%remote?‸", None),
        ("%%remote‸?", None),
    ],
)
def test_where_it_is(marked: str, found: InLine | InCode | None) -> None:
    assert at(marked) == found


@given(st.text(), st.data())
def test_whatever_is_typed(text: str, data: st.DataObject) -> None:
    assert REMOTE is not None
    cursor = data.draw(st.integers(0, len(text)))
    for head in ("", "%%remote x\n", "%remote x ", "\n\n%%remote -q 'a b'\n", "%%time\n\n%%remote x\n"):
        found = spot(head + text, len(head) + cursor, REMOTE)
        if head.endswith("\n"):
            assert isinstance(found, InCode)
            assert found.code == text and found.cursor == cursor and found.start == len(head)
        if isinstance(found, InCode):
            assert (head + text)[found.start :].startswith(found.code)
            assert found.start + found.cursor == len(head) + cursor
        elif found is not None:
            assert (head + text)[found.start : found.start + len(found.line)] == found.line
            assert found.start + found.cursor == len(head) + cursor


def test_a_long_line_of_blanks_takes_no_time() -> None:
    assert at(" " * 100_000 + "x‸") is None
    assert at("a, " * 50_000 + "‸") is None
    assert at("%time" + " " * 100_000 + "x = " + " " * 100_000 + "‸") is None

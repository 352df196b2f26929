"""Which names of variables may be set, and how several of them are written."""

from __future__ import annotations

import builtins
import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.errors import BadOption
from kernel_bridge_magic.transfer.names import check, parse


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("a", {"a": "a"}),
        ("a,b", {"a": "a", "b": "b"}),
        ("df=frame", {"df": "frame"}),
        ("a=x,b=x", {"a": "x", "b": "x"}),
        ("größe,match", {"größe": "größe", "match": "match"}),
        ("ﬁt", {"fit": "fit"}),
    ],
)  # fmt: skip
def test_names_are_written_like_assignments(text: str, means: dict[str, str]) -> None:
    assert parse(text, "-i") == parse(text, "-o") == means


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "-o names no variable. Write -o a,b or -o new=old"),
        ("a,,b", "-o 'a,,b' lacks a name. Write -o a,b or -o new=old"),
        ("a=", "-o 'a=' lacks a name. Write -o a,b or -o new=old"),
        ("=a", "-o '=a' lacks a name. Write -o a,b or -o new=old"),
        ("a, b", "-o 'a, b' has blanks between its names. Write -o a,b or -o new=old"),
        ("a=b=c", "-o 'a=b=c' has more than one = in 'a=b=c'. Write -o a,b or -o new=old"),
        ("a,a", "-o 'a,a' sets 'a' twice. Name it once"),
        ("fi,ﬁ", "-o 'fi,ﬁ' sets 'fi' twice. Name it once"),
        ("x=_1", "-o '_1' is not a variable name that can be copied. Give it another name there"),
        ("print", "-o 'print' is not a variable name that can be set. Choose another name"),
    ],
)
def test_what_cannot_be_used_is_one_line(text: str, says: str) -> None:
    with pytest.raises(BadOption) as refused:
        parse(text, "-o")
    assert str(refused.value) == says


@pytest.mark.parametrize("name", ["'5'", "print", "_1", "class", "In"])
def test_a_name_that_cannot_be_copied_is_changed_where_it_is(name: str) -> None:
    for option, side in (("-i", "here"), ("-o", "there")):
        with pytest.raises(BadOption, match=f"that can be copied. Give it another name {side}$"):
            parse(f"x={name}", option)


RESERVED = ["In", "Out", "get_ipython", "exit", "quit", "_", "_1", "__name__", "", "1a", "a b", "a.b", "\ud800", "a\0"]


@pytest.mark.parametrize("name", [*RESERVED, *keyword.kwlist, *dir(builtins)])
@pytest.mark.parametrize("is_read", [False, True])
def test_names_that_mean_something_else_are_refused(name: str, is_read: bool) -> None:
    with pytest.raises(BadOption, match="is not a variable name that can be"):
        check(name, "--result", is_read=is_read)


@given(st.text(max_size=20))
def test_a_name_that_is_taken_is_one_that_python_takes(name: str) -> None:
    try:
        normal = check(name, "-o")
    except BadOption as refused:
        assert "\n" not in str(refused)
        return
    assert normal.isidentifier()
    space: dict[str, int] = {}
    exec(f"{name} = 1", space)
    assert space[normal] == 1


@pytest.mark.parametrize("name", ["my.data", ".hidden", "class", "x1"])
def test_names_of_other_languages_may_have_dots(name: str) -> None:
    assert check(name, "-o", foreign=True) == name
    assert parse(f"here={name}", "-o", foreign=True) == {"here": name}
    assert parse(f"{name}=here", "-i", foreign=True) == {name: "here"}


@pytest.mark.parametrize("name", ["...", "..1", ".1", "1x", "_x", "TRUE", "function", "a b", "a`b", "a;b", "a$b", ""])
def test_names_of_other_languages_are_names(name: str) -> None:
    with pytest.raises(BadOption):
        check(name, "-o", foreign=True)


def test_dots_are_for_the_other_side_only() -> None:
    for text, option in (("a.b=x", "-o"), ("x=a.b", "-i")):
        with pytest.raises(BadOption):
            parse(text, option, foreign=True)

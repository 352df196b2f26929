"""`-i` and `-o`: which variables go with a cell, and where those that come are bound."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from kernel_bridge_magic.errors import BadOption, BadVariable
from kernel_bridge_magic.ipython.options import remote_parser
from kernel_bridge_magic.ipython.variables import asked_for, bind, bind_many, check_names, larger, sent_lines
from kernel_bridge_magic.models import Kernel, KernelSpec
from kernel_bridge_magic.results import Copied
from kernel_bridge_magic.transfer.variables import MAX_SIZE

HERE = {"a": 1, "frame": "a table", "big": b"x" * 2000}


def options(*words: str) -> argparse.Namespace:
    return remote_parser().parse_args(list(words))


def kernel(language: str) -> Kernel:
    return Kernel(id="1", spec=KernelSpec("k", language=language))


def test_names_of_all_options_go_together() -> None:
    asked = asked_for(options("-i", "a", "-i", "df=frame", "-o", "x,y=z"), HERE)
    assert asked.sent is not None
    assert (asked.sent.values, asked.wanted) == ({"a": 1, "df": "a table"}, {"x": "x", "y": "z"})
    assert (asked.most, asked.pickles, asked.by_file) == (MAX_SIZE, False, True)


def test_options_of_a_copy_reach_it() -> None:
    asked = asked_for(options("-o", "x", "--max-size", "2kB", "--pickle", "--transport", "zmq"), HERE)
    assert (asked.sent, asked.most, asked.pickles, asked.by_file) == (None, 2000, True, False)


def test_nothing_is_asked_for_without_names() -> None:
    assert not asked_for(options(), HERE)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--pickle",), "--pickle goes with -i NAMES or -o NAMES"),
        (("--max-size", "5MB"), "--max-size goes with -i NAMES or -o NAMES"),
        (("-o", "x", "-o", "x"), "-o 'x,x' sets x twice. Name it once"),
        (("-o", "list"), "-o list is not a variable name that can be set"),
        (("-i", "In=a"), "-i 'In' is not a variable name that can be set"),
    ],
)
def test_what_cannot_be_meant_is_one_line(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(BadOption) as raised:
        asked_for(options(*words), HERE)
    assert says.replace("'", "") in str(raised.value).replace("'", "")


def test_a_variable_that_is_not_here_is_named_before_anything_runs() -> None:
    with pytest.raises(BadVariable, match="there is no variable missing here, so nothing was run") as raised:
        asked_for(options("-i", "a,x=missing"), HERE)
    assert raised.value.name == "missing"


def test_names_with_dots_are_for_other_languages() -> None:
    asked = asked_for(options("-i", "my.data=a", "-o", "here=their.data"), HERE)
    check_names(asked, [kernel("r")])
    for language in ("python", ""):
        with pytest.raises(BadOption):
            check_names(asked, [kernel("r"), kernel(language)])


# -- sizes


TOO_LARGE = BadVariable("big is larger than 1 kB", name="big", size=2000)


def test_a_larger_copy_is_asked_for() -> None:
    asked = asked_for(options("-i", "big", "-o", "x", "--max-size", "1kB"), HERE)
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return " Yes"

    too_large = BadVariable("big is larger than 1 kB", name="big", size=2000)
    too_large.kept = "token"
    allowed = larger(asked, too_large, ask)
    assert questions == ["big is larger than 1 kB (2 kB at least). Copy up to 4 kB? [y/N] "]
    assert (allowed.most, allowed.wanted, allowed.kept) == (4000, asked.wanted, "token")
    assert allowed.sent is not None and allowed.sent.values == {"big": HERE["big"]} and allowed.sent.most == 4000


@pytest.mark.parametrize(
    ("words", "name", "says"),
    [
        (("-i", "a,there=big", "-o", "x"), "there", "a, there are larger than 1.0 GB"),
        (("-i", "a", "-o", "x=y"), "y", "y is larger"),
        (("-o", "x=y,z=y,w"), "w", "y, w are larger"),
        (("-i", "a"), "", "it is larger"),
    ],
)
def test_the_question_names_all_that_the_size_is_of(words: tuple[str, ...], name: str, says: str) -> None:
    def ask(question: str) -> str:
        assert question.startswith(says)
        return "y"

    larger(asked_for(options(*words), HERE), BadVariable("too large", name=name, size=2000), ask)


@pytest.mark.parametrize("answer", ["", "n", "what?"])
def test_without_a_yes_it_stays_an_error(answer: str) -> None:
    asked = asked_for(options("-i", "big"), HERE)
    with pytest.raises(BadVariable) as raised:
        larger(asked, TOO_LARGE, lambda question: answer)
    assert raised.value is TOO_LARGE


def test_where_nobody_can_be_asked_it_is_an_error() -> None:
    with pytest.raises(BadVariable, match="larger than 1 kB"):
        larger(asked_for(options("-i", "big"), HERE), TOO_LARGE, None)


def test_another_error_asks_nothing() -> None:
    problem = BadVariable("a is a thing, which cannot be copied", name="a")
    with pytest.raises(BadVariable) as raised:
        larger(asked_for(options("-i", "a"), HERE), problem, lambda question: pytest.fail(question))
    assert raised.value is problem


# -- lines


class Result:
    """What a cell leaves, as far as variables are concerned."""

    def __init__(self, **variables: Copied) -> None:
        self.kernel = Kernel(id="1", name="there")
        self.variables, self.sent = variables, {"a": Copied("a", 1, 8, replaced=True)}


def test_what_comes_is_bound_with_a_line_each() -> None:
    namespace: dict[str, Any] = {"x": "before"}
    result: Any = Result(x=Copied("x", [1], 30), y=Copied("y", 2, 8))
    lines = bind(namespace, result)
    title = result.kernel.title
    assert lines == [f"x: list of 1, 30 bytes ← {title} (replaced)", f"y: int ← {title}"]
    assert namespace == {"x": [1], "y": 2}


def test_what_has_gone_has_a_line_each() -> None:
    assert sent_lines(Result().sent, "there") == ["a: int → there (replaced)"]


def test_of_many_kernels_those_that_lack_it_are_named_and_are_not_in_the_dict() -> None:
    namespace: dict[str, Any] = {"x": "an array", "y": "before"}
    asked = asked_for(options("-i", "a", "-o", "x,y"), HERE)
    results: Any = {
        "one": Result(x=Copied("x", [1], 3000)),
        "two": Result(x=Copied("x", [2], 4000)),
        "three": Result(),
    }
    results["three"].sent = {}
    assert bind_many(namespace, asked, results) == [
        "a: int → 2 of 3 kernels (replaced); not to three",
        "x: from 2 of 3 kernels, 7 kB in all (replaced); not from three",
        "y: from 0 of 3 kernels",
    ]
    assert namespace == {"x": {"one": [1], "two": [2]}, "y": "before"}


@pytest.mark.parametrize("before", [None, 0, [], "text"])
def test_that_a_dict_of_many_has_replaced_something_is_said(before: Any) -> None:
    results: Any = {"one": Result(x=Copied("x", 1, 8))}
    asked = asked_for(options("-o", "x"), HERE)
    assert bind_many({}, asked, results) == ["x: from 1 kernel"]
    assert bind_many({"x": before}, asked, results) == ["x: from 1 kernel (replaced)"]

"""What one cell came to on many kernels."""

from __future__ import annotations

import pickle

import pytest

from kernel_bridge_magic.errors import BadVariable, Fate, NotCopied, NotRun, remote_error
from kernel_bridge_magic.jobs.results import RemoteErrors, RemoteResults
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from tests.support.matches import ANALYSIS, GPU, OTHER, kernel


def ok(at: Kernel, text: str = "", seconds: float = 1.0) -> RemoteResult:
    value = RemoteValue({"text/plain": text}) if text else None
    return RemoteResult("ok", Fate.OK, at, value=value, seconds=seconds)


def failed(at: Kernel, evalue: str = "division by zero") -> RemoteResult:
    error = remote_error("ZeroDivisionError", evalue, ["\x1b[31mline 1\x1b[0m", f"ZeroDivisionError: {evalue}"])
    return RemoteResult("error", Fate.FAILED, at, error=error, seconds=0.25)


BUSY = RemoteResult("error", Fate.NOT_RUN, OTHER, error=NotRun("work/other.ipynb is busy, and was skipped"))


def test_an_outcome_is_found_by_its_title_and_as_a_match() -> None:
    results = RemoteResults([ok(ANALYSIS, "1"), BUSY])
    assert list(results) == ["work/analysis.ipynb", "work/other.ipynb"]
    for match in ("work/analysis.ipynb", "analysis", "anal", ANALYSIS.id, "lab::analysis"):
        assert results[match].text == "1"
    for match, why in [
        ("work", "'work' means 2 of these kernels: work/analysis.ipynb, work/other.ipynb"),
        ("nobody", "'nobody' is none of these kernels: work/analysis.ipynb, work/other.ipynb"),
        ("re:(", "is none of these kernels"),
    ]:
        with pytest.raises(KeyError, match=why.replace("(", r"\(")):
            results[match]
    assert "nobody" not in results and results.get("nobody") is None
    there = kernel(1, "work/analysis.ipynb", at=GPU)
    assert list(RemoteResults([ok(ANALYSIS), ok(there)])) == ["lab::work/analysis.ipynb", "gpu::work/analysis.ipynb"]


def test_it_shows_itself_as_a_table() -> None:
    printed = RemoteResult("ok", Fate.OK, kernel(3, "c.ipynb"), outputs=[
        {"output_type": "stream", "name": "stdout", "text": "two\nlines\n"}
    ], seconds=0.5)  # fmt: skip
    results = RemoteResults([ok(ANALYSIS, "<b>42</b>"), BUSY, failed(kernel(2, "b.ipynb"), "\x1b[1mx\x1b[0m"), printed])
    assert repr(results).splitlines() == [
        "name      result                                     seconds  state",
        "analysis  <b>42</b>                                      1.0  ok",
        "other     work/other.ipynb is busy, and was skipped        –  not run",
        "b         ZeroDivisionError: x                           0.2  failed",
        "c         two lines                                      0.5  ok",
    ]
    assert "&lt;b&gt;42" in results._repr_html_() and "<b>42" not in results._repr_html_()
    assert repr(RemoteResults([])) == "no kernel"


def test_one_error_tells_of_all() -> None:
    RemoteResults([ok(ANALYSIS)]).raise_for_error()
    results = RemoteResults([ok(ANALYSIS), BUSY, failed(kernel(2, "b.ipynb"), "one\ntwo")])
    with pytest.raises(RemoteErrors) as raised:
        results.raise_for_error()
    assert not isinstance(raised.value, BaseExceptionGroup)  # IPython sends no error message for one
    assert raised.value._render_traceback_() == [
        "RemoteErrors: the cell did not end well on 2 of 3 kernels",
        "  work/other.ipynb: it is busy, and was skipped",
        "  b.ipynb: ZeroDivisionError: one",
        "One of them whole: import sys; raise sys.last_value.errors['other']",
    ]
    assert raised.value.errors["b.ipynb"] is raised.value.errors["b"] is results["b"].error
    for name, why in (("nobody", "none of these kernels"), ("analysis", "ended well")):
        with pytest.raises(KeyError, match=why):
            raised.value.errors[name]
    assert pickle.loads(pickle.dumps(results.errors)).keys() == results.errors.keys()
    assert raised.value.results is results


def test_cells_whose_variables_did_not_come_have_ended_well() -> None:
    gone, missing = NotCopied("the cell has run, but its link broke"), BadVariable("the cell has run, but b has no x")
    results = RemoteResults([ok(ANALYSIS), *(RemoteResult("ok", Fate.OK, OTHER, error=it) for it in (gone, missing))])
    assert str(RemoteErrors(results)).startswith("variables did not come from ")
    results = RemoteResults([failed(ANALYSIS), RemoteResult("ok", Fate.OK, OTHER, error=gone)])
    assert str(RemoteErrors(results)).startswith("the cell did not end well on 2 of 2 kernels")


def test_of_many_some_are_named() -> None:
    results = RemoteResults([failed(kernel(n, f"{n}.ipynb")) for n in range(30)])
    assert str(RemoteErrors(results)).endswith(" 8.ipynb, 9.ipynb and 20 more")


def test_it_can_be_pickled() -> None:
    results = RemoteResults([failed(ANALYSIS)])
    again = pickle.loads(pickle.dumps(RemoteErrors(results)))
    assert str(again) == str(RemoteErrors(results)) and list(again.results) == ["work/analysis.ipynb"]

"""Before one cell runs on many kernels somebody is asked."""

from __future__ import annotations

import pytest

from kernel_bridge_magic.errors import NotRun
from kernel_bridge_magic.jobs.consent import confirm
from kernel_bridge_magic.models import Kernel
from tests.support.matches import ANALYSIS, CAFE, kernel

TEN = [kernel(n, f"{n}.ipynb") for n in range(10)]


def never(question: str) -> str:
    raise AssertionError(question)


@pytest.mark.parametrize("kernels", [TEN, [ANALYSIS]])
def test_few_kernels_of_one_server_are_not_asked_for(kernels: list[Kernel]) -> None:
    confirm(kernels, yes=False, ask=never)
    confirm(kernels, yes=False, ask=None)


@pytest.mark.parametrize(
    ("kernels", "which"),
    [
        ([*TEN, ANALYSIS], "11 kernels (0.ipynb, 1.ipynb, 2.ipynb, 3.ipynb, 4.ipynb and 6 more)"),
        ([ANALYSIS, CAFE], "2 kernels on 2 servers (work/analysis.ipynb, café.ipynb)"),
    ],
)
def test_many_kernels_or_several_servers_are(kernels: list[Kernel], which: str) -> None:
    confirm(kernels, yes=True, ask=never)
    asked: list[str] = []
    for answer in ("y", "YES ", "Yes"):
        confirm(kernels, yes=False, ask=lambda question, answer=answer: asked.append(question) or answer)  # type: ignore[misc]
    assert set(asked) == {f"run this on {which}? [y/N] "}
    for answer in ("", "n", "what?"):
        with pytest.raises(NotRun, match="nothing was sent"):
            confirm(kernels, yes=False, ask=lambda question, answer=answer: answer)  # type: ignore[misc]
    with pytest.raises(NotRun) as raised:
        confirm(kernels, yes=False, ask=None)
    assert str(raised.value) == (
        f"this would run on {which}, and nobody can be asked here; nothing was run. Add --yes to run it"
    )


def test_the_end_of_input_is_no() -> None:
    def ends(question: str) -> str:
        raise EOFError

    with pytest.raises(NotRun):
        confirm([ANALYSIS, CAFE], yes=False, ask=ends)

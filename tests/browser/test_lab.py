from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.browser.lab import Lab

pytestmark = pytest.mark.browser


def test_runs_cells(lab: Lab) -> None:
    lab.write("one.ipynb", ["1+1", "print('a'); print('b')"])
    page = lab.open("one.ipynb")
    page.run_all()
    assert page.outputs(0) == [
        {"output_type": "execute_result", "execution_count": 1, "data": {"text/plain": "2"}, "metadata": {}}
    ]
    assert page.outputs(1) == [{"output_type": "stream", "name": "stdout", "text": "a\nb\n"}]
    assert page.text(1) == "a\nb"
    assert (page.execution_count(0), page.execution_count(1)) == (1, 2)
    page.run_cell(2, "40 + 2")
    assert page.outputs(2)[0]["data"]["text/plain"] == "42"
    assert page.save()["cells"][2]["source"] == "40 + 2"
    assert not page.errors


def test_input_is_answered(lab: Lab) -> None:
    lab.write("ask.ipynb", ["name = input('who? ')", "name.upper()"])
    page = lab.open("ask.ipynb")
    page.run_cell(0, wait=False)
    page.answer_input("ann")
    page.wait_idle()
    page.run_cell(1)
    assert page.outputs(1)[0]["data"]["text/plain"] == "'ANN'"


def test_stop_button(lab: Lab) -> None:
    lab.write("stop.ipynb", ["print('on', flush=True)\nimport time\ntime.sleep(60)"])
    page = lab.open("stop.ipynb")
    page.run_cell(0, wait=False)
    page.wait_text(0, "on")
    page.stop_button()
    page.wait_idle()
    assert page.outputs(0)[-1]["ename"] == "KeyboardInterrupt"


def test_two_notebooks(lab: Lab) -> None:
    for name in ("left", "right"):
        lab.write(f"two/{name}.ipynb", [f"x = {name!r}", "x"])
    window, other = lab.open("two/left.ipynb"), lab.open("two/right.ipynb")
    other.run_all()
    window.run_all()
    assert window.outputs(1)[0]["data"]["text/plain"] == "'left'"
    window.open("two/right.ipynb")  # the same notebook and kernel, seen in the first window beside the left one
    window.run_cell(1)
    assert window.outputs(1)[0]["data"]["text/plain"] == "'right'"
    window.choose("two/left.ipynb")
    window.run_cell(1, "x * 2")
    assert window.outputs(1)[0]["data"]["text/plain"] == "'leftleft'"


def test_theme_and_pictures(lab: Lab, tmp_path: Path) -> None:
    lab.write("look.ipynb", ["1"])
    page = lab.open("look.ipynb")
    page.set_theme("JupyterLab Dark")
    page.screenshot(tmp_path / "window.png")
    page.screenshot(tmp_path / "cell.png", 0)
    page.set_theme("JupyterLab Light")
    assert (tmp_path / "window.png").stat().st_size > (tmp_path / "cell.png").stat().st_size > 100


def test_leaves_no_event_loop_behind(lab: Lab) -> None:
    async def two() -> int:
        return 2

    assert asyncio.run(two()) == 2


def test_notebook_7(lab: Lab) -> None:
    lab.write("sub/a b.ipynb", ["1+1"])
    page = lab.open("sub/a b.ipynb", "notebook")
    page.run_cell(0)
    assert page.outputs(0)[0]["data"]["text/plain"] == "2"
    page.run_cell(1, "input()", wait=False)
    page.answer_input("x")
    page.wait_text(1, "'x'")

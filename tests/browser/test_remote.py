"""`%kernels` and `%%remote` in a real JupyterLab: what somebody with two notebooks open sees.

The notebooks `a` and `b` are open side by side in one window for the whole file: opening them takes longer than all
that is done in them. `a` has been run once with Run All; the tests look at what that left, or add cells below.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.browser.lab import Lab, Page

FAILING = "def share(n):\n    return 12 / n\n\nshare(0)"
CELLS = {
    "load": "%load_ext kernel_bridge_magic",
    "kernels": "%kernels",
    "streams": "%%remote b\n"
    "import sys\n"
    "for n in range(3):\n"
    "    print('out', n, flush=True)\n"
    "    print('err', n, file=sys.stderr, flush=True)",
    "table": "%%remote b\nimport pandas as pd\npd.DataFrame({'city': ['Oslo', 'Lima'], 'rain': [763, 16]})",
    "picture": "%%remote b\nimport matplotlib.pyplot as plt\nplt.figure(figsize=(2, 1))\nplt.plot([1, 3, 2]);",
    "result": "%%remote b\n6 * 7",
    "last": "_",
    "bar": "%%remote b\n"
    "import time\n"
    "for n in range(1, 6):\n"
    "    print(f'\\rstep {n}/5', end='', flush=True)\n"
    "    time.sleep(0.05)",
    "display": "%%remote b\nshown = display('before', display_id=True)",
    "clear": "%%remote b\n"
    "from IPython.display import clear_output\n"
    "for n in range(3):\n"
    "    clear_output(wait=True)\n"
    "    print('round', n)",
    "line": "x = %remote b 1+1\nprint(type(x).__name__, x)",
    "time": "%%remote b\n%%time\nprint('timed')",
    "fails": f"%%remote b\n{FAILING}",
    "never": "print('not reached')",
}
PLACES = {name: place for place, name in enumerate(CELLS)}
# The other kernels of the server: their notebooks are nowhere open.
NAMES = ["my report.ipynb", "🚀 report.ipynb", "דוח שנתי.ipynb"]


class Desk:
    """The window, in which `a` is chosen, and how to get at `b`."""

    def __init__(self, lab: Lab, page: Page) -> None:
        self.lab = lab
        self.page = page
        self._next = len(CELLS)

    def new(self, source: str, *, wait: bool = True) -> int:
        """Run `source` in a new cell of `a`; give the cell's place."""
        place, self._next = self._next, self._next + 1
        self.page.run_cell(place, source, wait=wait)
        return place

    def outputs(self, source: str) -> list[dict[str, Any]]:
        """Run `source` in a new cell of `a`; give what it left."""
        return self.page.outputs(self.new(source))

    def error(self, source: str) -> str:
        """Run `source`, which is refused; give what is shown of that."""
        outputs = self.outputs(source)
        assert [output["output_type"] for output in outputs] == ["error"]
        return "\n".join(outputs[0]["traceback"])

    def text(self, place: int) -> str:
        """What can be read below a cell, without the gaps between outputs."""
        return re.sub(r"\n+", "\n", self.page.text(place))

    @contextlib.contextmanager
    def at_b(self) -> Iterator[Page]:
        """Act on `b` for a while."""
        self.page.choose("remote/b.ipynb")
        try:
            yield self.page
        finally:
            self.page.choose("remote/a.ipynb")

    def kernel_of(self, path: str) -> dict[str, Any]:
        return next(
            dict(session["kernel"]) for session in self.lab.rest("GET", "api/sessions") if session["path"] == path
        )


@pytest.fixture(scope="module")
def room(lab: Lab) -> Iterator[Desk]:
    lab.end_sessions()  # of other tests: their `b` would be meant as well
    lab.write("remote/b.ipynb", ["print('mine')"])
    lab.write("remote/a.ipynb", list(CELLS.values()))
    page = lab.open("remote/b.ipynb", keep=True)
    page.run_cell(0)
    assert page.execution_count(0) == 1
    page.open("remote/a.ipynb")
    page.run_all()
    yield Desk(lab, page)
    page.close()
    lab.end_sessions()


@pytest.fixture
def desk(room: Desk, request: pytest.FixtureRequest) -> Iterator[Desk]:
    failed = request.session.testsfailed
    yield room
    if request.session.testsfailed > failed:
        # A cell that still waits would fail all that comes after.
        room.page.js("document.querySelectorAll('.jp-Dialog .jp-mod-reject, .jp-Dialog .jp-mod-accept')[0]?.click()")
        room.page.js("kernel?.interrupt()")


def plain(text: str) -> str:
    """Take colours away."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_kernels_table(desk: Desk) -> None:
    place = PLACES["kernels"]
    rows: list[str] = desk.page.js(
        "[...cells[arg].outputArea.node.querySelectorAll('.jp-RenderedHTMLCommon table tbody tr')]"
        ".map(row => row.innerText)",
        place,
    )
    assert len(rows) == 2
    mine, other = rows
    assert "remote/a.ipynb" in mine and "this kernel" in mine
    number, name, state, _, kernel_id = other.split("\t")  # kernelspec and server are those of all, and left out
    assert (number, name, state) == ("2", "remote/b.ipynb", "● idle")
    assert kernel_id == desk.kernel_of("remote/b.ipynb")["id"][:8]
    output = desk.page.outputs(place)[0]
    assert output["output_type"] == "execute_result"
    assert "remote/b.ipynb" in output["data"]["text/plain"]  # for whoever reads the file without a browser
    assert desk.lab.token not in str(desk.page.outputs(place))


def test_streams_in_order(desk: Desk) -> None:
    outputs = desk.page.outputs(PLACES["streams"])
    lines = "".join(output["text"] for output in outputs)
    assert lines == "out 0\nerr 0\nout 1\nerr 1\nout 2\nerr 2\n"
    assert {output["name"] for output in outputs if "out" in output["text"]} == {"stdout"}
    assert {output["name"] for output in outputs if "err" in output["text"]} == {"stderr"}
    assert desk.text(PLACES["streams"]).endswith(lines.strip())


def test_nothing_of_ours_stands_below_a_cell_that_names_its_kernel(desk: Desk) -> None:
    outputs = [output for place in range(len(CELLS)) for output in desk.page.outputs(place)]
    assert not any("kernel-bridge:" in output.get("text", "") for output in outputs)
    assert not any("kernel_bridge" in output.get("metadata", {}) for output in outputs)


GREY = "getComputedStyle(cells[arg].outputArea.node.querySelector('.jp-RenderedHTMLCommon div')).color"
THEME = """(() => {
  const probe = document.body.appendChild(document.createElement('i'));
  probe.style.color = 'var(--jp-ui-font-color2)';
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
})()"""


@pytest.mark.parametrize(("theme", "match"), [("JupyterLab Dark", "te/b"), ("JupyterLab Light", "mote/b")])
def test_which_kernel_a_part_means_is_a_grey_line_of_the_theme(desk: Desk, theme: str, match: str) -> None:
    desk.page.js("window.jupyterapp.commands.execute('apputils:change-theme', {theme: arg}).then(() => true)", theme)
    desk.page.wait_for("document.body.dataset.jpThemeName === arg", theme)
    place = desk.new(f"%remote {match} 1;")
    (output,) = desk.page.outputs(place)
    assert output["metadata"] == {"kernel_bridge": {"line": "kernel"}}
    line = rf"'{match}' → remote/b\.ipynb \(Python 3, localhost:{desk.lab.port}\)"
    assert re.fullmatch(line, desk.text(place)) and re.fullmatch(line, output["data"]["text/plain"])
    assert desk.page.js(GREY, place) == desk.page.js(THEME)


@pytest.mark.parametrize(
    "around",
    ["{}", "import ipywidgets\nout = ipywidgets.Output()\ndisplay(out)\nwith out:\n    {}"],
    ids=["a cell", "with Output()"],
)
def test_what_a_cell_waits_for_is_a_line_that_goes_when_it_begins(desk: Desk, tmp_path: Path, around: str) -> None:
    with desk.at_b() as page:
        wait = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.02)"
        page.run_cell(1, wait, wait=False)
        page.wait_for("kernel?.status === 'busy'")
    place = desk.new(around.format("get_ipython().run_cell_magic('remote', 'b', 'print(6 * 7)')"), wait=False)
    desk.page.wait_text(place, "remote/b.ipynb")
    assert desk.page.js(GREY, place) == desk.page.js(THEME)
    (tmp_path / "go").touch()
    desk.page.wait_text(place, "42")
    desk.page.wait_idle()
    assert desk.text(place) == "42"
    assert {"output_type": "display_data", "data": {}, "metadata": {"kernel_bridge": {"line": "queued"}}} in (
        desk.page.outputs(place)
    )
    nbformat.validate(nbformat.from_dict(desk.page.save()))


def test_table_of_pandas(desk: Desk) -> None:
    place = PLACES["table"]
    (output,) = desk.page.outputs(place)
    assert output["output_type"] == "execute_result"
    assert {"text/plain", "text/html"} <= set(output["data"])
    cells = desk.page.js(
        "[...cells[arg].outputArea.node.querySelectorAll('.jp-RenderedHTMLCommon table td')].map(it => it.innerText)",
        place,
    )
    assert cells == ["Oslo", "763", "Lima", "16"]


def test_picture_of_matplotlib(desk: Desk) -> None:
    place = PLACES["picture"]
    assert [output["output_type"] for output in desk.page.outputs(place)] == ["display_data"]  # `;` was obeyed there
    width = desk.page.js("cells[arg].outputArea.node.querySelector('.jp-RenderedImage img').naturalWidth", place)
    assert width > 100


def test_result_is_a_result_here(desk: Desk) -> None:
    place = PLACES["result"]
    count = place + 1  # each cell of Run All counts one
    assert desk.page.outputs(place) == [
        {"output_type": "execute_result", "execution_count": count, "data": {"text/plain": "42"}, "metadata": {}}
    ]
    prompt = desk.page.js("cells[arg].outputArea.node.querySelector('.jp-OutputPrompt').innerText", place)
    assert prompt == f"[{count}]:"
    assert desk.page.outputs(PLACES["last"])[0]["data"] == {"text/plain": "42"}
    assert desk.outputs(f"Out[{count}]")[0]["data"] == {"text/plain": "42"}


def test_progress_bar(desk: Desk) -> None:
    (output,) = desk.page.outputs(PLACES["bar"])
    assert output["text"].strip() == "step 5/5"
    assert desk.page.text(PLACES["bar"]) == "step 5/5"


def test_traceback_is_the_other_kernels_own_and_run_all_stops(desk: Desk) -> None:
    (here,) = desk.page.outputs(PLACES["fails"])
    with desk.at_b() as page:
        page.run_cell(1, FAILING)
        (there,) = page.outputs(1)
        page.run_cell(2, "len(In) - 1")
        count = page.execution_count(2)
        assert page.outputs(2)[0]["data"]["text/plain"] == str(count)
    assert here["ename"] == there["ename"] == "ZeroDivisionError"
    assert here["evalue"] == there["evalue"] == "division by zero"

    def normal(output: dict[str, Any]) -> str:
        return re.sub(r"In\[\d+\]", "In[n]", plain("\n".join(output["traceback"])))

    assert normal(here) == normal(there)
    assert "share(0)" in normal(here)
    assert any("\x1b[" in line for line in here["traceback"])  # its colours, too
    assert desk.page.outputs(PLACES["never"]) == []
    assert desk.page.execution_count(PLACES["never"]) is None


def test_display_updated_by_a_later_cell(desk: Desk) -> None:
    place = PLACES["display"]
    assert desk.page.outputs(place)[0]["data"]["text/plain"] in ("'before'", "'after'")
    assert desk.outputs("%%remote b\nshown.update('after')") == []
    assert desk.page.outputs(place)[0]["data"]["text/plain"] == "'after'"
    assert desk.page.text(place) == "'after'"


def test_clear_output(desk: Desk) -> None:
    assert desk.page.outputs(PLACES["clear"]) == [{"output_type": "stream", "name": "stdout", "text": "round 2\n"}]


def test_line_magic_binds(desk: Desk) -> None:
    assert desk.page.text(PLACES["line"]) == "RemoteValue 2"
    (output,) = desk.outputs("%remote b 40+2")
    assert output["output_type"] == "execute_result"
    assert output["data"]["text/plain"] == "42"


def test_a_cell_magic_in_the_body_is_the_other_kernels(desk: Desk) -> None:
    text = desk.page.text(PLACES["time"])
    assert text.startswith("timed\n")
    assert "Wall time" in text


def test_input_and_getpass(desk: Desk) -> None:
    asks = desk.new("%%remote b\nname = input('who? ')\nprint('hello', name)", wait=False)
    desk.page.wait_text(asks, "who?")
    assert desk.page.answer(asks, "ann") == "text"
    desk.page.wait_idle()
    assert desk.text(asks).endswith("hello ann")

    secret = desk.new("%%remote b\nimport getpass\nprint(len(getpass.getpass('secret: ')))", wait=False)
    desk.page.wait_text(secret, "secret:")
    assert desk.page.answer(secret, "hunter22") == "password"
    desk.page.wait_idle()
    assert desk.text(secret).endswith("8")
    assert "hunter22" not in str(desk.page.outputs(secret))


def test_stop_while_input_is_asked(desk: Desk) -> None:
    place = desk.new("%%remote b\ninput('stuck? ')", wait=False)
    desk.page.wait_text(place, "stuck?")
    desk.page.stop_button()
    desk.page.wait_idle()
    assert desk.page.outputs(place)[-1]["ename"] == "KeyboardInterrupt"
    assert desk.page.outputs(desk.new("%%remote b\n'usable'"))[0]["data"]["text/plain"] == "'usable'"


def test_stop_button_interrupts_the_remote_cell(desk: Desk) -> None:
    with desk.at_b() as page:
        page.run_cell(3, "'before'")
        before = page.execution_count(3)
    assert before
    place = desk.new("%%remote b\nimport time\nprint('on')\ntime.sleep(60)", wait=False)
    desk.page.wait_text(place, "on")
    desk.page.stop_button()
    desk.page.wait_idle()
    error = desk.page.outputs(place)[-1]
    assert error["ename"] == "KeyboardInterrupt"
    assert "time.sleep(60)" in plain("\n".join(error["traceback"]))  # it stopped over there, not only here
    with desk.at_b() as page:
        page.run_cell(4, "'after'")
        assert page.outputs(4)[0]["data"]["text/plain"] == "'after'"
        assert page.execution_count(4) == before + 1


def test_queued_behind_the_owners_cell(desk: Desk) -> None:
    go = desk.lab.root_dir / "remote/go"
    with desk.at_b() as page:
        page.set_cell(5, "import os, time\nprint('at it', flush=True)\nwhile not os.path.exists('go'):\n"
                         "    time.sleep(0.02)\nprint('done')")  # fmt: skip
        page.run_cell(5, wait=False)
        page.wait_text(5, "at it")
    place = desk.new("%%remote b\nwaited = True", wait=False)
    desk.page.wait_text(place, "waiting: remote/b.ipynb is running another client's cell (since ")
    started = time.monotonic()
    desk.page.stop_button()
    desk.page.wait_for("kernel?.status === 'idle' && cells[arg].model.executionCount", place)
    assert time.monotonic() - started < 5
    error = desk.page.outputs(place)[-1]
    assert error["ename"] == "LeftRunning"
    assert "waiting: " not in desk.text(place)
    assert "The cell is still queued (behind another client's cell) and cannot be withdrawn" in error["evalue"]
    with desk.at_b() as page:
        assert page.text(5) == "at it"
        go.touch()
        page.wait_idle()
        assert page.text(5) == "at it\ndone"
        page.run_cell(6, "waited")  # its turn came
        assert page.outputs(6)[0]["data"]["text/plain"] == "True"


def test_the_owners_count_stands_still(desk: Desk) -> None:
    with desk.at_b() as page:
        page.run_cell(7, "1")
        before = page.execution_count(7)
        assert before
    for _ in range(3):
        desk.outputs("%%remote b\n1 + 1")
    desk.outputs("%%remote b\n1 / 0")
    with desk.at_b() as page:
        page.run_cell(8, "In[-2], len(In) - 1")
        assert page.execution_count(8) == before + 1
        assert page.outputs(8)[0]["data"]["text/plain"] == f"('1', {before + 1})"


def test_over_a_websocket(desk: Desk) -> None:
    outputs = desk.outputs("%%remote --transport ws -q b\nprint('by the server')\n'too'")
    assert outputs[0]["text"] == "by the server\n"
    assert outputs[1]["data"]["text/plain"] == "'too'"


def test_odd_names_and_what_is_refused(desk: Desk) -> None:
    for name in NAMES:
        model = {"path": f"remote/{name}", "name": name, "type": "notebook", "kernel": {"name": "python3"}}
        desk.lab.rest("POST", "api/sessions", model)
    for name in NAMES:
        for match in (name, name.removesuffix(".ipynb"), f'"remote/{name}"'):
            code = "import os\nos.environ['JPY_SESSION_NAME']"
            (output,) = desk.outputs(f"%%remote -q {match}\n{code}")
            assert name in output["data"]["text/plain"], match

    own = desk.kernel_of("remote/a.ipynb")["id"]
    other = desk.kernel_of("remote/b.ipynb")
    assert desk.error("%%remote bee_keeper\n1") == (
        "KernelNotFound: no running kernel matches 'bee_keeper' (looked at 4 other kernels on 1 server)."
        " %kernels lists them"
    )
    assert desk.error("%%remote my raport\n1") == (
        "KernelNotFound: no running kernel matches 'my raport' (looked at 4 other kernels on 1 server)."
        ' Did you mean "remote/my report.ipynb" or "remote/🚀 report.ipynb" ? %kernels lists them'
    )
    several = desk.error("%%remote report\n1").splitlines()
    assert several[0] == "AmbiguousKernel: 'report' matches 2 kernels, so nothing was run. Use one of:"
    *choices, all_of_them = several[1:]
    assert all_of_them == "or --all to run it on all of them"
    selectors = [re.split(r"  +", line.strip())[0] for line in choices]
    assert sorted(selectors) == ['"remote/my report.ipynb"', '"remote/🚀 report.ipynb"']
    pasted = desk.outputs(f"%%remote -q {selectors[0]}\n1 + 1")
    assert pasted[0]["data"]["text/plain"] == "2"
    assert desk.error("%%remote re:[\n1") == (
        "BadMatch: bad regular expression '[': unterminated character set at position 0"
    )
    assert "a repeat inside a repeat" in desk.error("%%remote re:(a+)+$\n1")
    for name in ("a", own):
        assert desk.error(f"%%remote {name}\n1") == (
            f"OwnKernel: '{name}' matches only this notebook's own kernel. Run the cell without %%remote"
        )
    assert "nothing to run" in desk.error("%%remote b\n   \n")
    assert "nothing to run. Write %remote b CODE, or %%remote b with the code below it" in desk.error("%remote b")
    assert desk.error("%%remote --timeuot 5 b\n1") == ("BadOption: unknown option --timeuot; did you mean --timeout ?")
    (empty,) = desk.outputs("%%remote b")
    assert empty["name"] == "stderr" and empty["text"].startswith("UsageError: %%remote is a cell magic")
    for line in ("%%remote bee_keeper\n1", "%%remote re:[\n1", "%%remote b\n   \n"):
        assert len(desk.error(line).splitlines()) == 1
    # What was refused was not sent: nothing at all has happened in b.
    assert desk.kernel_of("remote/b.ipynb")["last_activity"] == other["last_activity"]


def test_a_chain_back_to_here_is_refused(desk: Desk) -> None:
    outputs = desk.outputs("%%remote b\n%load_ext kernel_bridge_magic\n%remote a 1")
    assert outputs[-1]["ename"] == "OwnKernel"
    assert outputs[-1]["evalue"] == "remote/a.ipynb waits for this cell already: it would wait for itself"
    desk.outputs("%%remote b\n%unload_ext kernel_bridge_magic")


def test_unload(desk: Desk) -> None:
    assert desk.outputs("%unload_ext kernel_bridge_magic") == []
    for magic in ("%kernels", "%remote b 1", "%%remote b\n1", "%servers"):
        text = "".join(output.get("text", "") for output in desk.outputs(magic))
        assert re.match(r"UsageError: (Line|Cell) magic", text), magic
        assert "not found" in text
    assert desk.outputs("%load_ext kernel_bridge_magic\n%remote -q b 1+1")[0]["data"]["text/plain"] == "2"
    assert not desk.page.errors

"""`%autoremote` with real kernels: in a shell of this process, and in that of a kernel whose front end is a client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.blocking.client import BlockingKernelClient

from kernel_bridge_magic.errors import BadInput, FateUnknown, KernelDied, KernelNotFound, NotRun, TimedOut
from kernel_bridge_magic.ipython.autoremote import AutoRemote
from kernel_bridge_magic.text import without_colours
from tests.support.clients import client_of
from tests.support.hostile import HostileServer
from tests.support.kernels import Kernels
from tests.support.scripted import ScriptedCell
from tests.support.servers import JupyterServer
from tests.support.shells import bridged_shell, run
from tests.support.typed import BEGUN, CELLS, HERE, NAME, SETUP, THERE

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def north(jupyter_server: JupyterServer) -> Iterator[str]:
    """The id of the kernel where cells run; no test ends it."""
    with jupyter_server.kernel(f"{NAME}.ipynb") as kernel_id:
        yield kernel_id


@pytest.fixture
def shell(jupyter_server: JupyterServer, north: str, tmp_path: Path) -> Iterator[InteractiveShell]:
    with bridged_shell(tmp_path, jupyter_server.runtime_dir) as made:
        yield made


def magics(shell: InteractiveShell) -> Any:
    return shell.magics_manager.registry["BridgeMagics"]


def auto(shell: InteractiveShell) -> AutoRemote:
    found: AutoRemote = magics(shell).auto
    return found


def place(shell: InteractiveShell) -> str:
    """The id of the kernel where cells run, "" for this one."""
    kernel = auto(shell).kernel
    return "" if kernel is None else kernel.id


def shown(capsys: Capture) -> str:
    out, err = capsys.readouterr()
    return without_colours(out + err)


def test_all_that_somebody_types_in_a_shell(
    jupyter_server: JupyterServer, north: str, tmp_path: Path, capsys: Capture
) -> None:
    with bridged_shell(tmp_path, jupyter_server.runtime_dir) as shell:
        for code in SETUP:
            run(shell, code)
        assert BEGUN in shown(capsys)
        for typed in CELLS:
            outcome = shell.run_cell(typed.code, store_history=True)
            text = shown(capsys)
            assert outcome.success is not typed.fails, f"{typed.code}:\n{text}"
            assert re.search(typed.shows, text) if typed.shows else not text, f"{typed.code}:\n{text}"
            assert "→" not in text  # the prompt says it


# -- which cells


class Front:
    """A kernel, and its front end."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client

    def run(self, code: str, **how: Any) -> tuple[bool, list[str], dict[str, Any]]:
        """Run a cell; give whether it succeeded, the texts of its outputs, and its reply."""
        texts: list[str] = []
        last = ""

        def take(message: dict[str, Any]) -> None:
            nonlocal last
            content, before = message["content"], last
            last = content.get("name", "")
            text = (
                content.get("text")
                or content.get("data", {}).get("text/plain")
                or "\n".join(content.get("traceback", ()))
            )
            if text and last and last == before:  # what is printed may come in parts
                texts[-1] += without_colours(text)
            elif text and message["msg_type"] != "execute_input":
                texts.append(without_colours(text))

        reply = self._client.execute_interactive(code, output_hook=take, timeout=60, allow_stdin=False, **how)
        content = reply["content"]
        texts += [page["data"]["text/plain"] for page in content.get("payload", ()) if page["source"] == "page"]
        return content["status"] == "ok", texts, content


@pytest.fixture(scope="module")
def kernel(jupyter_server: JupyterServer, spare_kernels: Kernels, north: str) -> Iterator[Front]:
    kernel_id = spare_kernels.take()
    client = client_of(jupyter_server.connection_file(kernel_id))
    yield Front(client)
    client.stop_channels()
    client.context.destroy(linger=0)
    spare_kernels.give_back(kernel_id, sound=False)


@pytest.fixture
def front(kernel: Front) -> Front:
    """That kernel, with cells that run here."""
    kernel.run("%reload_ext kernel_bridge_magic")
    return kernel


def test_all_that_somebody_types_at_a_kernel(kernel: Front) -> None:
    for code in SETUP:
        ok, texts, _ = kernel.run(code)
        assert ok, texts
    assert texts == [BEGUN]
    for typed in CELLS:
        ok, texts, _ = kernel.run(typed.code)
        text = "\n".join(texts)
        assert ok is not typed.fails, f"{typed.code}:\n{text}"
        assert re.search(typed.shows, text) if typed.shows else not text, f"{typed.code}:\n{text}"
        assert (f"→ {NAME}.ipynb" in texts) is (bool(text) and not typed.here), f"{typed.code}:\n{text}"


def test_what_nobody_has_typed_runs_here(front: Front) -> None:
    front.run("who = 'here'\nip = get_ipython()\nimport asyncio")
    front.run(f"%remote {NAME} who = 'there'")
    front.run(f"%autoremote -q {NAME}")
    assert front.run("who")[1] == [THERE]
    # what a front end asks by itself
    reply = front.run("x = 1", silent=True, user_expressions={"who": "who, x"})[2]
    assert reply["user_expressions"]["who"]["data"]["text/plain"] == "('here', 1)"
    assert front.run("print(who)", store_history=False)[1] == ["here\n"]
    # what a task runs, also as if it was typed, and what a function runs that IPython calls after a cell
    front.run(
        "%%local\nasync def later():\n    await asyncio.sleep(0)\n    ip.run_cell('a = who', store_history=True)\n"
        "    ip.run_cell('b = who')\ntask = asyncio.ensure_future(later())\n"
        "def after(_):\n    ip.events.unregister('post_run_cell', after); ip.run_cell('c = who')\n"
        "ip.events.register('post_run_cell', after)"
    )
    assert front.run("%%local\nawait task\na, b, c")[1] == ["('here', 'here', 'here')"]
    # a file, and what %%local reruns
    front.run("%%local\nfrom pathlib import Path\n_ = Path('auto.ipy').write_text('d = who\\n!true\\n')")
    assert front.run("%%local\n%run auto.ipy\nd")[1] == [HERE]
    front.run("e = who")
    assert front.run("%%local\nPath('auto.ipy').unlink()\n%rerun -l 1")[0]


def test_what_is_recalled_is_put_here(front: Front) -> None:
    front.run(f"%autoremote -q {NAME}")
    number = front.run("'recalled'")[2]["execution_count"]
    payload = front.run(f"%recall {number}")[2]["payload"]
    assert [(it["source"], it["text"]) for it in payload] == [("set_next_input", "'recalled'")]


# -- the stay


def test_where_cells_run_changes_only_when_the_other_kernel_is_reached(
    shell: InteractiveShell, own_kernel: str, capsys: Capture
) -> None:
    run(shell, f"%autoremote {NAME}")
    north = place(shell)
    for line in ("nobody", f"{NAME},{own_kernel}", f"--transport ws --if-busy sometimes {own_kernel}", "-s nowhere x"):
        with pytest.raises(BadInput) as problem:
            run(shell, f"%autoremote {line}")
        assert "\n" not in str(problem.value)
        assert place(shell) == north
    capsys.readouterr()
    run(shell, f"%autoremote {own_kernel}")
    assert re.fullmatch(r"cells now run in .+ until %autoremote off \(%%local runs one here\)\n", shown(capsys))
    assert place(shell) == own_kernel
    run(shell, "%autoremote off")
    assert place(shell) == ""


def test_code_below_it_is_refused(shell: InteractiveShell) -> None:
    with pytest.raises(BadInput, match=r"^%autoremote is for the cells that follow\. Put the code below it into the"):
        run(shell, f"before = 1\n%autoremote {NAME}\n# really\nafter = 1")
    assert place(shell) == "" and "after" not in shell.user_ns
    run(shell, f"%load_ext kernel_bridge_magic\n%autoremote {NAME}\n\n# at home there from here on\n")
    assert place(shell)
    # once more, as Run All has it
    run(shell, f"%load_ext kernel_bridge_magic\n%autoremote {NAME}")
    run(shell, "%autoremote off\nafter = 2")
    assert shell.user_ns["after"] == 2


def test_each_option_holds_for_each_cell(shell: InteractiveShell, north: str, capsys: Capture) -> None:
    run(shell, f"%autoremote --no-raise-error --timeout 0.3 --history {north}")
    run(shell, "1 / 0")
    assert "ZeroDivisionError" in shown(capsys)
    count = "get_ipython().execution_count"
    first, second = (int(run(shell, count).text) for _ in range(2))
    assert second == first + 1
    outcome = shell.run_cell("import time; time.sleep(2)", store_history=True)
    assert outcome.success and "no result within 0.3 s" in shown(capsys)
    run(shell, f"%autoremote --if-busy fail {north}")
    with pytest.raises(NotRun):
        run(shell, "1")
    run(shell, f"%autoremote --transport ws --timeout 5m {north}")
    assert run(shell, "1").text == "1"
    kinds = {it.transport for it in magics(shell).bridge.pool.connections if it.is_open}
    assert "ws" in kinds


def test_a_cell_that_is_left_running_raises(shell: InteractiveShell) -> None:
    run(shell, f"%autoremote --timeout 0.1 {NAME}")
    with pytest.raises(TimedOut):
        run(shell, "import time; time.sleep(0.5)")


def test_a_restart_is_told_before_the_next_output(jupyter_server: JupyterServer, front: Front, own_kernel: str) -> None:
    front.run(f"%autoremote -q {own_kernel}")
    front.run("x = 1")
    jupyter_server.rest("POST", f"api/kernels/{own_kernel}/restart")
    texts = [text for text in front.run("print('x' in dir())")[1] if not text.startswith("waiting:")]
    told = r"kernel-bridge: .+: it was restarted .*since the last cell\. Its variables are gone\n"
    assert re.fullmatch(told, texts[0]) and texts[1:] == ["False\n"]
    assert front.run("1")[1] == ["1"]


def test_a_death_is_told_again_with_the_next_cell(shell: InteractiveShell, own_kernel: str, capsys: Capture) -> None:
    run(shell, f"%autoremote -q {own_kernel}")
    with pytest.raises((KernelDied, FateUnknown), match=r"Its variables are gone"):
        run(shell, "import os; os.kill(os.getpid(), 9)")
    capsys.readouterr()
    assert run(shell, "'x' in dir()").text == "False"
    assert re.search(r"kernel-bridge: .+ ended during an earlier cell\. Its variables are gone\n", shown(capsys))
    run(shell, "1")
    assert "gone" not in shown(capsys)


def test_a_kernel_that_is_gone_is_an_error_and_never_another_one(
    jupyter_server: JupyterServer, shell: InteractiveShell, capsys: Capture
) -> None:
    path = "auto-gone.ipynb"
    first = jupyter_server.start_kernel(path=path)
    jupyter_server.wait_for_kernel(first)
    run(shell, "%autoremote auto-gone")
    run(shell, "x = 1")
    jupyter_server.delete_kernel(first)
    second = jupyter_server.start_kernel(path=path)
    try:
        gone = rf"^{path} is gone \(.*\), so nothing was run\. %autoremote off runs cells here again"
        for _ in range(2):
            with pytest.raises(KernelNotFound, match=gone):
                run(shell, "x = 2")
        assert "x" not in shell.user_ns
        run(shell, "%autoremote")
        assert f"cells run in {path} until" in shown(capsys)
        jupyter_server.wait_for_kernel(second)
        run(shell, "%autoremote auto-gone")
        assert run(shell, "'x' in dir()").text == "False"
    finally:
        jupyter_server.delete_kernel(second)


def test_a_server_that_is_removed_or_trusted_no_more_counts_from_the_next_cell_on(
    tmp_path: Path, capsys: Capture
) -> None:
    def script(cell: ScriptedCell) -> None:
        cell.busy()
        cell.send("iopub", "stream", {"name": "stdout", "text": "\x1b]0;title\x07\n"})
        cell.reply()
        cell.idle()

    with HostileServer(script) as server, bridged_shell(tmp_path, tmp_path / "none") as shell:
        server.state = "idle"
        run(shell, f"%servers --add {server.url} --name lab --trust")
        run(shell, "%autoremote scripted")
        capsys.readouterr()
        run(shell, "1")
        assert "\x1b]0;title" in capsys.readouterr().out
        run(shell, "%servers --remove lab")
        with pytest.raises(KernelNotFound, match="is gone"):
            run(shell, "1")
        run(shell, f"%servers --add {server.url} --name lab")
        capsys.readouterr()
        run(shell, "1")
        assert "^[]0;title" in capsys.readouterr().out, "it is sandboxed"


def test_this_kernel_is_no_other_one(front: Front, jupyter_server: JupyterServer) -> None:
    own = front.run("print(get_ipython().kernel.config['IPKernelApp']['connection_file'])")[1][0]
    own_id = Path(own.strip()).stem.removeprefix("kernel-")
    ok, texts, _ = front.run(f"%autoremote {own_id}")
    assert not ok and texts[-1].strip() == "OwnKernel: that is this notebook's own kernel, where cells run anyway"
    front.run(f"%autoremote {NAME}")
    ok, texts, _ = front.run(f"%autoremote {own_id}")
    assert not ok and texts[-1].strip() == "OwnKernel: that is this notebook's own kernel. Write %autoremote off"


@pytest.mark.parametrize("code", ["exit", "quit", "exit()", "exit;", "%autoremote off"])
def test_what_ends_the_stay_is_counted(shell: InteractiveShell, code: str) -> None:
    run(shell, f"%autoremote {NAME}")
    run(shell, code)
    run(shell, "'after'")
    assert len(shell.user_ns["In"]) == shell.execution_count and shell.user_ns["In"][-1] == "'after'"


def test_local_within_a_cell_shows_an_error_once(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, f"%autoremote {NAME}")
    with pytest.raises(ZeroDivisionError):
        run(shell, "%%local\n%%local\nx = 5\n1 / 0")
    assert shown(capsys).count("division by zero") == 1 and shell.user_ns["x"] == 5


def test_unloading_ends_the_stay(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, f"%autoremote {NAME}")
    run(shell, "%reload_ext kernel_bridge_magic")
    assert f"cells run here again, no longer in {NAME}.ipynb" in shown(capsys)
    assert run(shell, "6 * 7") == 42
    with pytest.raises(BadInput, match=r"^%autoremote is off\. Write %%remote NAME"):
        run(shell, "%%autoremote\n1")

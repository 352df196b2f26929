"""The magics in a real IPython shell, over a real server."""

from __future__ import annotations

import contextlib
import getpass
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipykernel
import pytest
import trustme
from IPython.core.error import StdinNotImplementedError, UsageError
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.errors import (
    BadCell,
    BadInput,
    BadOption,
    BadServer,
    Fate,
    LeftRunning,
    NotRun,
    OwnKernel,
    RemoteError,
)
from kernel_bridge_magic.ipython.magics import BridgeMagics
from kernel_bridge_magic.protocol.events import Stream
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.text import without_colours
from tests.support.owner import Owner
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.servers import JupyterServer, private_env, wait_for
from tests.support.shells import bridged_shell, run
from tests.support.transports import connect_over, found

Capture = pytest.CaptureFixture[str]
NAMES = {
    "line": {"kernels", "servers", "remote", "jobs", "autoremote"},
    "cell": {"remote", "autoremote", "local"},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with JupyterServer(tmp_path_factory.mktemp("magics")) as server:
        yield server


@pytest.fixture(scope="module")
def ids(server: JupyterServer) -> dict[str, str]:
    return server.start_kernels("work/analysis.ipynb", "My Notebook-2024.ipynb")


@pytest.fixture
def shell(server: JupyterServer, ids: dict[str, str], tmp_path: Any) -> Iterator[InteractiveShell]:
    """A shell with the extension loaded, whose runtime directory is the server's."""
    with bridged_shell(tmp_path, server.runtime_dir) as made:
        yield made


def magics(shell: InteractiveShell) -> BridgeMagics:
    return shell._kernel_bridge_magics


def registered(shell: InteractiveShell) -> dict[str, set[str]]:
    return {kind: NAMES[kind] & set(shell.magics_manager.magics[kind]) for kind in NAMES}


# -- Ctrl-C before anything was sent


@pytest.mark.parametrize("line", ["%kernels -s {url}", "%servers --check {url}", "%remote -s {url} x 1"])
def test_ctrl_c_before_anything_was_sent_is_one_line(shell: InteractiveShell, capsys: Capture, line: str) -> None:
    """A server that takes connections and never answers: while it is waited for, Ctrl-C comes."""
    with socket.create_server(("127.0.0.1", 0)) as mute:

        def press() -> None:
            with mute.accept()[0]:
                os.kill(os.getpid(), signal.SIGINT)
                over.wait(30)

        over = threading.Event()
        pressing = threading.Thread(target=press)
        pressing.start()
        outcome = shell.run_cell(line.format(url=f"http://127.0.0.1:{mute.getsockname()[1]}/"))
        over.set()
        pressing.join()
    assert isinstance(outcome.error_in_exec, KeyboardInterrupt)
    out, err = capsys.readouterr()
    assert without_colours(out + err).strip() == "KeyboardInterrupt: interrupted; nothing was run"


# -- loading


def test_the_extension_comes_and_goes(shell: InteractiveShell) -> None:
    for _ in range(2):
        assert registered(shell) == NAMES
        run(shell, "%load_ext kernel_bridge_magic")
        run(shell, "%reload_ext kernel_bridge_magic")
        assert registered(shell) == NAMES
        run(shell, "%unload_ext kernel_bridge_magic")
        assert registered(shell) == {"line": set(), "cell": set()}
        assert not hasattr(shell, "_kernel_bridge_magics")
        assert "BridgeMagics" not in shell.magics_manager.registry
        run(shell, "%load_ext kernel_bridge_magic")


def test_unloading_closes_the_connections(shell: InteractiveShell) -> None:
    run(shell, "%remote analysis 1")
    bridge = magics(shell).bridge
    (connection,) = bridge.pool.connections
    assert connection.is_open
    run(shell, "%unload_ext kernel_bridge_magic")
    wait_for(lambda: not connection.is_open, "the end of the connection")
    run(shell, "%load_ext kernel_bridge_magic")
    assert magics(shell).bridge is not bridge


def test_after_a_reset_everything_still_works(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, "%remote analysis 1")
    run(shell, "%reset -f")
    assert run(shell, "%remote analysis 40 + 2").text == "42"
    run(shell, "%%remote analysis\nprint('still')")
    assert "still" in capsys.readouterr().out


# -- %%remote


def test_a_cell_runs_there_and_shows_here(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, "x = 'here'")
    count = shell.execution_count
    run(shell, "%%remote analysis\nimport sys\nx = 'there'\nprint(x)\nprint('err', file=sys.stderr)\nx.upper()")
    out, err = capsys.readouterr()
    assert out.startswith("there\n")
    assert f"Out[{count}]: 'THERE'" in out
    assert "err\n" in err
    assert shell.user_ns["x"] == "here"
    assert isinstance(shell.user_ns["Out"][count], RemoteValue)
    assert shell.user_ns["_"].text == "'THERE'"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("get_ipython().set_next_input('x = 1\\nx')", "into the next cell. Nothing was changed here; copy it if"),
        ("get_ipython().set_next_input('x = 1\\nx', replace=True)", "in place of its own"),
        ("%recall 1-2", "into the next cell"),
        ("%edit /tmp/some.py", "asked for an editor on /tmp/some.py. Nothing was opened"),
        ("get_ipython().payload_manager.write_payload({'source': 'odd'})", "asked its front end for 'odd'. Nothing"),
    ],
)
def test_what_a_cell_asks_its_front_end_to_do_is_told_and_not_done(
    shell: InteractiveShell, capsys: Capture, monkeypatch: pytest.MonkeyPatch, code: str, told: str
) -> None:
    monkeypatch.setattr(shell, "set_next_input", lambda *args, **kwargs: pytest.fail("it was done"))
    run(shell, f"%%remote --history analysis\n{code}")
    err = capsys.readouterr().err
    assert told in err
    assert err.count("Nothing was") == 1
    if "x = 1" in code:
        assert "x = 1\nx\n" in err


@pytest.mark.parametrize(
    ("options", "ending"),
    [("", "1 / 0"), ("", "raise SystemExit('bye')"), ("--timeout 1", "import time; time.sleep(3)")],
)
def test_a_result_before_an_error_is_shown_though_it_cannot_be_returned(
    shell: InteractiveShell, capsys: Capture, options: str, ending: str
) -> None:
    run(shell, "%remote analysis get_ipython().ast_node_interactivity = 'all'")
    try:
        with pytest.raises((RemoteError, LeftRunning)):
            run(shell, f"value = %remote -q {options} analysis 'kept' + '!'; {ending}")
    finally:
        run(shell, "%remote analysis get_ipython().ast_node_interactivity = 'last_expr'")
    out = without_colours(capsys.readouterr().out)
    assert out.count("'kept!'") == 1
    assert "value" not in shell.user_ns


@pytest.mark.parametrize("code", ["display(41)", "display(41, display_id='d')"])
def test_a_publisher_that_raises_leaves_the_cell_running_and_says_so(
    shell: InteractiveShell, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: str
) -> None:
    def publish(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no publisher")

    go = tmp_path / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="no publisher"):
        patch.setattr(shell.display_pub, "publish", publish)
        run(shell, f"%%remote analysis\n{code}\n{wait}")
    go.touch()
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "still running there" in line]
    assert told.endswith(": RuntimeError was raised here, so it is not waited for; the cell is still running there")
    run(shell, "%%remote analysis\ndisplay('well')")
    assert "well" in capsys.readouterr().out


def test_an_error_with_a_plot_behind_it_is_shown_once_and_raised(shell: InteractiveShell, capsys: Capture) -> None:
    plot = "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2]);\n1 / 0"
    with pytest.raises(RemoteError):
        run(shell, f"%%remote analysis\n{plot}")
    out = without_colours(capsys.readouterr().out)
    assert out.count("ZeroDivisionError: division by zero") == 1
    assert out.index("ZeroDivisionError: division by zero") < out.index("<Figure size")
    run(shell, f"%%remote --no-raise-error analysis\n{plot}")
    out = without_colours(capsys.readouterr().out)
    assert out.count("ZeroDivisionError: division by zero") == 1
    assert "_showtraceback" not in shell.__dict__


def test_a_busy_kernel_is_left_alone_or_run_beside(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, "%remote analysis 1")
    (connection,) = magics(shell).bridge.pool.connections
    busy = iter(connection.start(Cell("print('on', flush=True)\nimport time; time.sleep(3)")))
    assert any(isinstance(event, Stream) for event in busy)
    with pytest.raises(NotRun, match="busy"):
        run(shell, "%%remote --if-busy fail analysis\nran = 1")
    if ipykernel.version_info >= (7,):
        run(shell, "%%remote --if-busy subshell analysis\nprint('ran' in globals())")
        assert "False" in capsys.readouterr().out
    for _ in busy:
        pass


@pytest.mark.skipif(ipykernel.version_info < (7,), reason="needs ipykernel 7, which keeps output")
def test_a_durable_cell_shows_what_any_cell_shows(shell: InteractiveShell, capsys: Capture) -> None:
    result = run(shell, "%%remote --durable analysis\nprint('kept')\n6 * 7")
    assert "kept\n" in capsys.readouterr().out
    assert result.text == "42"


def test_a_remote_error_is_the_remote_s_own_and_fails_the_cell(shell: InteractiveShell, capsys: Capture) -> None:
    with pytest.raises(RemoteError) as raised:
        run(shell, "%%remote analysis\ndef f():\n    return 1 / 0\nf()")
    assert type(raised.value).__name__ == "ZeroDivisionError"
    out = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "return 1 / 0" in out
    assert "ZeroDivisionError: division by zero" in out
    assert "magics.py" not in out, "our own frames explain nothing"
    # raised outside any except block
    assert raised.value.__context__ is None
    body = "get_ipython().run_cell_magic('remote', 'analysis', '1 / 0')"
    run(shell, f"try:\n    {body}\nexcept Exception as error:\n    name = type(error).__name__")
    assert shell.user_ns["name"] == "ZeroDivisionError"


def test_the_body_is_sent_verbatim(shell: InteractiveShell) -> None:
    body = "s = r'''{x} $HOME {{}} \\d{4} %time !ls\tå'''\ns"
    run(shell, f"%%remote --result r analysis\n{body}")
    assert eval(shell.user_ns["r"].text) == r"{x} $HOME {{}} \d{4} %time !ls" + "\tå"


def test_another_cell_magic_in_the_body_runs_there(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, "%%remote analysis\n%%time\n'timed'")
    out = capsys.readouterr().out
    assert "Wall time" in out
    assert "'timed'" in out


def test_an_update_reaches_an_earlier_cell_s_display(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, "%%remote analysis\nh = display('one', display_id='d')")
    run(shell, "%%remote analysis\nh.update('two')")
    assert capsys.readouterr().out == "'one'\n'two'\n"


@pytest.mark.parametrize("body", [" ", "\n\n", "\t\n"])
def test_an_empty_body_is_not_sent(shell: InteractiveShell, body: str) -> None:
    with pytest.raises(BadCell, match="nothing to run"):
        shell.run_cell_magic("remote", "analysis", body)


def test_only_a_comment_is_code(shell: InteractiveShell) -> None:
    run(shell, "%%remote analysis --result r\n# nothing")
    assert shell.user_ns["r"].fate is Fate.OK


# -- %remote


def test_a_line_s_value_is_its_result(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, "x = %remote analysis 40 + 2")
    assert isinstance(shell.user_ns["x"], RemoteValue)
    assert shell.user_ns["x"].text == "42"
    assert "42" not in capsys.readouterr().out, "it is bound, not shown"
    run(shell, "y = %remote -q analysis z = 1")
    assert shell.user_ns["y"] is None


def test_a_line_s_value_is_shown_once(shell: InteractiveShell, capsys: Capture) -> None:
    count = shell.execution_count
    value = run(shell, "%remote analysis 'once ' + 'only'")
    out = capsys.readouterr().out
    assert value.text == "'once only'"
    assert out.count("once only") == 1
    assert f"Out[{count}]: 'once only'" in out
    assert shell.user_ns["Out"][count] is value


def test_of_several_results_the_last_is_the_value_and_the_others_are_shown(
    shell: InteractiveShell, capsys: Capture
) -> None:
    code = "get_ipython().ast_node_interactivity = 'all'"
    run(shell, f"%remote analysis {code}")
    try:
        run(shell, "x = %remote analysis 'first'; 'second'")
    finally:
        run(shell, f"%remote analysis {code.replace('all', 'last_expr')}")
    assert shell.user_ns["x"].text == "'second'"
    out = capsys.readouterr().out
    assert "'first'" in out
    assert "'second'" not in out


def test_a_line_of_code_is_kept_as_it_is(shell: InteractiveShell) -> None:
    assert run(shell, "%remote analysis  '{a}  $b' + \"-s --result\"").text == "'{a}  $b-s --result'"
    assert run(shell, "%remote analysis -1").text == "-1"


# -- options


def test_the_outcome_is_bound_to_a_name(shell: InteractiveShell) -> None:
    run(shell, "%%remote analysis --result r\nprint('a')\n1")
    result = shell.user_ns["r"]
    assert isinstance(result, RemoteResult)
    assert (result.status, result.fate, result.text) == ("ok", Fate.OK, "1")
    assert [item["output_type"] for item in result.outputs] == ["stream", "execute_result"]
    assert result.kernel.title == "work/analysis.ipynb"


def test_the_outcome_is_bound_when_the_cell_fails_too(shell: InteractiveShell) -> None:
    with pytest.raises(RemoteError):
        run(shell, "%%remote analysis --result r\n1 / 0")
    assert (shell.user_ns["r"].status, shell.user_ns["r"].fate) == ("error", Fate.FAILED)


@pytest.mark.parametrize("name", ["2x", "a.b", "class", "In", "Out", "_", "_1", "get_ipython", "''", "exit"])
def test_names_that_are_not_one_s_own_are_refused(shell: InteractiveShell, name: str) -> None:
    with pytest.raises(BadInput) as caught:
        run(shell, f"%%remote --result {name} analysis\nran = True")
    told = repr(name.strip("'"))
    assert str(caught.value) == f"--result {told} is not a variable name that can be set. Choose another name"


def test_an_error_can_be_let_pass(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, "%%remote --no-raise-error analysis\n1 / 0")
    assert "ZeroDivisionError" in capsys.readouterr().out
    run(shell, "x = %remote --no-raise-error analysis 1 / 0")
    assert shell.user_ns["x"] is None


def test_the_owner_s_history_is_left_alone_unless_asked(shell: InteractiveShell) -> None:
    counted = "%remote -q analysis get_ipython().execution_count"
    before = int(run(shell, counted).text)
    run(shell, "%%remote analysis\n1")
    assert int(run(shell, counted).text) == before
    run(shell, "%%remote --history analysis\n1")
    assert int(run(shell, counted).text) == before + 1


def test_waiting_has_an_end(shell: InteractiveShell) -> None:
    with pytest.raises(LeftRunning, match=r"no result within 0\.3 s\. The cell is still running there"):
        run(shell, "%%remote --timeout 300ms analysis\nimport time; time.sleep(1); late = 1")
    assert run(shell, "%remote analysis late").text == "1"


def test_quiet_leaves_our_notes_out(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, "%remote --quiet analysis 1")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("transport_name", ["zmq", "ws"])
def test_a_transport_can_be_chosen(shell: InteractiveShell, transport_name: str) -> None:
    assert run(shell, f"%remote --transport {transport_name} analysis 1 + 1").text == "2"
    (connection,) = magics(shell).bridge.pool.connections
    assert connection.transport == transport_name


def test_a_server_can_be_named(shell: InteractiveShell, server: JupyterServer) -> None:
    assert run(shell, f"%remote -s {server.url} analysis 1 + 1").text == "2"
    with pytest.raises(BadInput, match="no server is called 'nowhere'"):
        run(shell, "%remote -s nowhere analysis 1")


@pytest.mark.parametrize(
    "match",
    [
        "work/analysis.ipynb",
        "analysis.ipynb",
        "analysis",
        "'analysis'",
        "{id}",
        "{server}::analysis",
        "'{server}::{id}'",
    ],
)
def test_nothing_is_said_of_a_kernel_that_match_names_in_full(
    shell: InteractiveShell, capsys: Capture, server: JupyterServer, ids: dict[str, str], match: str
) -> None:
    match = match.format(id=ids["work/analysis.ipynb"], server=server.url)
    run(shell, f"%remote {match} 1;")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("match", ["anal", "ANALYSIS", "{id:.8}", "re:^work/", "#1", "{server}::anal", "'k/ana'"])
def test_which_kernel_is_meant_is_said_once_where_match_does_not_name_it(
    shell: InteractiveShell, capsys: Capture, server: JupyterServer, ids: dict[str, str], match: str
) -> None:
    match = match.format(id=ids["work/analysis.ipynb"], server=server.url)
    run(shell, "%kernels work/")
    capsys.readouterr()
    run(shell, f"%remote {match} 1;")
    out, err = capsys.readouterr()
    bare = re.escape(match.strip("'"))
    assert out == ""
    assert re.fullmatch(rf"'{bare}' → work/analysis\.ipynb \(Python 3, localhost:{server.port}\)\n", err), err
    run(shell, f"%remote {match} 1;")
    assert capsys.readouterr() == ("", "")


def test_quiet_leaves_out_which_kernel_is_meant(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, "%remote -q anal 1;")
    assert capsys.readouterr() == ("", "")


# -- what is wrong is one line


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("%remote --serber x analysis 1", "unknown option --serber; did you mean --server ?"),
        (
            "%remote --timeout abc analysis 1",
            "'abc' is not a duration: use seconds (30), 5m or 2h, or leave --timeout out (",
        ),
        ("%remote --timeout", "--timeout needs a value"),
        ("%remote --transport pigeon analysis 1", "--transport takes auto, zmq or ws, not 'pigeon' ("),
        ("%remote", "which kernel? Write %%remote NAME; a notebook's name will do. %kernels lists them"),
        ("%remote -q # a comment", "which kernel?"),
        (
            "%remote analysis",
            "nothing to run. Write %remote analysis CODE, or %%remote analysis with the code below it",
        ),
        (
            "%remote no-such-kernel 1",
            "no running kernel matches 'no-such-kernel' (looked at 2 kernels on 1 server). %kernels lists them",
        ),
        ("%remote re:[ 1", "unterminated character set at position 0"),
        ("%remote #1 1", "there is no row #1: no %kernels has shown any. Run %kernels first"),
        ("%remote #99 1", "there is no row #99: no %kernels has shown any"),
        ("%remote $nothing 1", "$nothing has no value here"),
        ("%remote {1/0} 1", "ZeroDivisionError"),
        ("%kernels --wat", "unknown option --wat; did you mean --watch ?"),
        ("%kernels --unheard", "unknown option --unheard (%kernels -h lists the options)"),
        ("%kernels -s nowhere", "no server is called"),
        ("%servers lab", "unexpected 'lab'. To add a server write %servers --add URL --name NAME"),
        ("%servers http://h/?token=abc", "unexpected 'http://h/?token=***'."),
        ("%servers --name lab", "go with --add URL"),
        ("%servers --add lab.example:8888", "http://"),
        ("%servers --remove lab", "no added server is called"),
        ("%servers --add http://lab.example/ --token 0123456789abcdef", "env:VAR"),
        ("%servers --add http://lab.example/ --password 0123456789abcdef", "--password env:VAR"),
        ("%servers --add http://lab.example/ --token ask --password ask", "not allowed with"),
        ("%servers --add https://lab.example/ --ca-file /no/such.pem", "missing or no PEM file"),
        ("%servers --add https://lab.example/ --name all", "reserved"),
        ("%servers --save", "go with --add URL"),
    ],
)
def test_a_bad_line_is_explained_in_one_line(shell: InteractiveShell, capsys: Capture, line: str, says: str) -> None:
    with pytest.raises(BadInput) as raised:
        run(shell, line)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
    out = capsys.readouterr().out
    assert "Traceback" not in out
    assert len(out.splitlines()) == 1


def test_several_kernels_are_a_table_and_nothing_runs(shell: InteractiveShell, capsys: Capture) -> None:
    with pytest.raises(BadInput, match=r"'ipynb' matches 2 kernels, so nothing was run\. Use one of:"):
        run(shell, "%%remote ipynb\nran = True")
    out = capsys.readouterr().out
    assert "work/analysis.ipynb" in out
    assert "My Notebook-2024.ipynb" in out
    with pytest.raises(RemoteError):
        run(shell, "%remote work/analysis.ipynb ran")


def test_a_literal_token_is_not_repeated(shell: InteractiveShell, capsys: Capture) -> None:
    with pytest.raises(BadInput):
        run(shell, "%servers --add http://lab.example/ --name lab --token 0123456789abcdef")
    assert "0123456789abcdef" not in "".join(capsys.readouterr())


# -- help


@pytest.mark.parametrize("line", ["%remote -h", "%remote --help", "%%remote -h\nx", "%kernels -h", "%servers --help"])
def test_help_is_printed_and_nothing_runs(shell: InteractiveShell, capsys: Capture, line: str) -> None:
    assert run(shell, line) is None
    out = capsys.readouterr().out
    assert "usage:" in out
    assert "examples:" in out
    assert len(magics(shell).bridge.pool) == 0


@pytest.mark.parametrize("line", ["%%remote?", "%remote?", "%kernels?", "%servers?"])
def test_the_question_mark_shows_the_same(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    pages: list[Any] = []
    shell.set_hook("show_in_pager", lambda self, data, start, screen_lines: pages.append(data))
    run(shell, line)
    (page,) = pages
    text = page["text/plain"] if isinstance(page, dict) else page
    assert "usage:" in text
    assert "examples:" in text


def test_the_help_tells_of_every_option(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, "%remote -h")
    out = capsys.readouterr().out
    for option in ("--server", "--result", "--timeout", "--no-raise-error", "--history", "--transport", "--quiet"):
        assert option in out
    assert "100%%" not in out
    assert "%%remote [options] MATCH" in out


# -- expansion


def test_a_whole_word_is_expanded(shell: InteractiveShell) -> None:
    shell.user_ns.update(nb="analysis", parts=["work", "analysis.ipynb"])
    assert run(shell, "%remote $nb 1 + 1").text == "2"
    assert run(shell, "%remote {parts[1]} 1 + 2").text == "3"
    run(shell, "%%remote --result r $nb\n'{nb} $nb'")
    assert shell.user_ns["r"].text == "'{nb} $nb'"


def test_a_kernel_that_was_listed_can_be_meant(shell: InteractiveShell) -> None:
    run(shell, "ks = %kernels")
    title = shell.user_ns["ks"][0].title
    run(shell, "%%remote {ks[0]} --result r\n1")
    assert shell.user_ns["r"].kernel.title == title
    run(shell, "k = ks[1]")
    run(shell, "%%remote $k --result r\n1")
    assert shell.user_ns["r"].kernel.id == shell.user_ns["ks"][1].id


def test_a_regular_expression_survives(shell: InteractiveShell) -> None:
    assert run(shell, r"%remote re:-\d{4}\.ipynb$ 6 * 7").text == "42"
    shell.user_ns["d"] = "no"
    assert run(shell, r"%remote re:^work/[a-z]{3,}\.ipynb$ 6 * 7").text == "42"


def test_a_quoted_word_means_itself(shell: InteractiveShell) -> None:
    shell.user_ns["nb"] = "analysis"
    with pytest.raises(BadInput, match=r"\$nb"):
        run(shell, "%remote '$nb' 1")
    assert run(shell, "%remote 'My Notebook-2024.ipynb' 6 * 7").text == "42"
    run(shell, "%%remote My Notebook-2024.ipynb --result r\n1")
    assert shell.user_ns["r"].kernel.title == "My Notebook-2024.ipynb"


# -- %kernels and %servers


def test_kernels_are_listed_and_rows_are_meant(shell: InteractiveShell, capsys: Capture, ids: dict[str, str]) -> None:
    listed = run(shell, "%kernels")
    assert {kernel.id for kernel in listed} == set(ids.values())
    out = capsys.readouterr().out
    for path, kernel_id in ids.items():
        assert path in out
        assert kernel_id[:8] in out
    for number, kernel in enumerate(listed, 1):
        run(shell, f"%%remote #{number} --result r\n1")
        assert shell.user_ns["r"].kernel.id == kernel.id
    assert [kernel.title for kernel in run(shell, "%kernels analysis")] == ["work/analysis.ipynb"]


def test_servers_are_shown_without_their_secrets(
    shell: InteractiveShell, server: JupyterServer, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_TOKEN", "canary-token")
    run(shell, "%servers --add http://127.0.0.1:9/ --name lab --token env:LAB_TOKEN")
    shown = run(shell, "%servers")
    texts = [*capsys.readouterr(), repr(shown), shown._repr_html_()]
    assert any("lab" in text for text in texts)
    for text in texts:
        assert "canary-token" not in text
        assert server.token not in text
    run(shell, "%servers --remove lab")
    assert "lab" not in [report.server.name for report in run(shell, "%servers")]


def test_a_server_that_was_added_is_used(
    shell: InteractiveShell, server: JupyterServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("LAB_TOKEN", server.token)
    run(shell, f"%servers --add {server.url} --name lab --token env:LAB_TOKEN")
    assert run(shell, "%remote lab::analysis 1 + 1").text == "2"
    # it is not known to be one's own: what could act is put into a sandbox
    run(shell, "%%remote -s lab analysis --result r\nfrom IPython.display import HTML\nHTML('<b onclick=x>x</b>')")
    assert "<iframe sandbox" in shell.user_ns["_"].data["text/html"]
    run(shell, f"%servers --add {server.url} --name lab --token env:LAB_TOKEN --trust")
    run(shell, "%%remote -s lab analysis\nHTML('<b>x</b>')")
    assert shell.user_ns["_"].data["text/html"] == "<b>x</b>"


def test_a_check_says_step_by_step(shell: InteractiveShell, server: JupyterServer, capsys: Capture) -> None:
    for line in ("%servers --check", f"%servers --check {server.url}"):
        (checkup,) = run(shell, line)
        assert checkup.ok
        assert re.search(r"ok +auth +token accepted", capsys.readouterr().out)
    with pytest.raises(BadInput, match="no server is called 'nowhere'"):
        run(shell, "%servers --check nowhere")


@pytest.fixture
def password_server(tmp_path: Any) -> Iterator[JupyterServer]:
    with JupyterServer(tmp_path / "pw", token="", password="pass word", base_url="/a/b%20c/") as server:
        yield server


def test_a_password_server_is_logged_in_to_when_it_is_needed(
    shell: InteractiveShell, password_server: JupyterServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "nothing"))
    monkeypatch.setenv("LAB_PASSWORD", "pass word")
    shown = run(shell, f"%servers --add {password_server.url} --name lab --password env:LAB_PASSWORD")
    assert [(report.server.name, report.problem) for report in shown] == [("lab", "")]
    bridge = magics(shell).bridge
    (server,) = bridge.registry.servers()
    with ServerAPI(server, bridge.vault) as api:
        kernel_id = api.start(path="there.ipynb")["id"]  # POST: the login's XSRF cookie is needed
    assert run(shell, "%remote lab::there 6 * 7").text == "42"
    # Whatever ends the login, the next question logs in again: the reference is still good.
    bridge.vault.put_cookies(server.origin, {})
    assert [kernel.id for kernel in run(shell, "%kernels")] == [kernel_id]
    assert "pass word" not in repr(shown) + repr(bridge.vault) + repr(server)


def test_a_password_that_was_typed_is_for_one_login_and_a_wrong_one_for_one_try(
    shell: InteractiveShell, password_server: JupyterServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "nothing"))
    typed = iter(["wrong", "pass word"])
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(typed))
    (report,) = run(shell, f"%servers --add {password_server.url} --name lab --password ask")
    assert (report.problem, report.remedy) == (
        "password not accepted (401)",
        "give the right one with --password env:VAR",
    )
    assert password_server.log_text().count("POST /a/b%20c/login") == 1
    run(shell, "%kernels")
    assert password_server.log_text().count("POST /a/b%20c/login") == 1  # a second try might lock somebody out
    (report,) = run(shell, f"%servers --add {password_server.url} --name lab --password ask")
    assert report.problem == ""
    bridge = magics(shell).bridge
    assert bridge.vault.password(report.server.origin) is None
    assert bridge.vault.auth_method(report.server.origin) == "password"


def keep(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, **servers: dict[str, Any]) -> None:
    """Save these servers for this test."""
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    file = tmp_path / "kernel_bridge.json"
    file.write_text(json.dumps({"servers": servers}))
    file.chmod(0o600)


@pytest.mark.parametrize("how", ["--bg --result outcome", "--all", ""])
def test_a_cell_on_a_server_that_is_named_asks_for_its_secret(
    shell: InteractiveShell,
    ids: dict[str, str],
    server: JupyterServer,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    keep(tmp_path, monkeypatch, lab={"url": f"http://localhost:{server.port}/", "token": "ask"})
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "nothing"))
    monkeypatch.setattr("getpass.getpass", lambda prompt: server.token)
    answer = run(shell, f"answer = %remote {how} -s lab analysis 6 * 7\nanswer")
    if how == "--all":
        answer = answer["analysis"]
    elif how:
        answer = answer.result(60)
    assert str(answer) == "42" or answer.text == "42"


def test_a_prompt_says_whose_secret_it_asks_for(
    shell: InteractiveShell, server: JupyterServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://localhost:{server.port}/"
    keep(tmp_path, monkeypatch, lab={"url": url, "token": "ask"})
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "nothing"))
    prompts = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: prompts.append(prompt) or server.token)
    (report,) = run(shell, "%servers")
    assert (prompts, report.problem) == ([f"token of lab ({url}): "], "")


@pytest.mark.parametrize("line", ["%servers", "%servers --check", "%kernels -s lab"])
@pytest.mark.parametrize(
    "refusal", [StdinNotImplementedError("no stdin"), EOFError(), OSError("no tty"), getpass.GetPassWarning()]
)
def test_where_nobody_can_be_asked_one_line_says_so_and_the_rest_works(
    shell: InteractiveShell, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture, line: str, refusal: Any
) -> None:
    def refuse(prompt: str) -> str:
        raise refusal

    monkeypatch.setattr("getpass.getpass", refuse)
    with RawServer(http(body=b'{"version": "2"}')) as raw:
        keep(tmp_path, monkeypatch, lab={"url": raw.server().url, "token": "ask"})
        run(shell, line)
    lines = capsys.readouterr().out.splitlines()
    assert [text for text in lines if "nobody can be asked for its secret here" in text and "env:VAR" in text]
    if line == "%servers":
        assert len(run(shell, line)) == 2, "the server that was found here is listed all the same"
    with pytest.raises(BadServer, match="nobody can be asked"):
        run(shell, f"%servers --add http://127.0.0.1:{free_port()}/ --name other --token ask")


def test_what_no_terminal_asks_is_not_read_from_a_script(tmp_path: Any) -> None:
    env = private_env(tmp_path)
    (tmp_path / "config" / "kernel_bridge.json").write_text(
        json.dumps({"servers": {"lab": {"url": "http://127.0.0.1:9/", "token": "ask"}}})
    )
    (tmp_path / "config" / "kernel_bridge.json").chmod(0o600)
    script = "%load_ext kernel_bridge_magic\n%servers\nprint('the ' + 'rest')\n"
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--simple-prompt", "--colors=NoColor"],
        input=script, env=env, capture_output=True, text=True, timeout=60, check=False, start_new_session=True,
    )  # fmt: skip
    assert "nobody can be asked" in done.stdout
    assert "the rest" in done.stdout


def test_a_server_with_a_ca_of_its_own(
    shell: InteractiveShell, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "my ca.pem"))
    cert = str(tmp_path / "cert.pem")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "nothing"))
    with JupyterServer(tmp_path / "tls", certfile=cert, keyfile=cert) as server:
        monkeypatch.setenv("LAB_TOKEN", server.token)
        server.start_kernel(path="secure.ipynb")
        (report,) = run(shell, f"%servers --add {server.url} --name lab --token env:LAB_TOKEN")
        assert "--ca-file" in report.problem + report.remedy
        ca = f"--ca-file '{tmp_path}/my ca.pem'"
        (report,) = run(shell, f"%servers --add {server.url} --name lab --token env:LAB_TOKEN {ca}")
        assert report.problem == ""
        assert run(shell, "%remote secure 6 * 7").text == "42"


def test_what_is_saved_is_there_in_another_process(
    shell: InteractiveShell, server: JupyterServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {**private_env(tmp_path / "other"), "LAB_TOKEN": server.token}
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", env["JUPYTER_CONFIG_DIR"])
    monkeypatch.setenv("LAB_TOKEN", server.token)
    run(shell, f"%servers --add {server.url} --name lab --token env:LAB_TOKEN --save")
    command = [sys.executable, "-m", "kernel_bridge_magic", "exec", "--kernel-match", "lab::analysis", "--code", "6*7"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "42\n")
    assert server.token not in (tmp_path / "other" / "config" / "kernel_bridge.json").read_text()
    run(shell, "%servers --remove lab")
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2


def test_a_broken_file_is_said_and_the_rest_works(
    shell: InteractiveShell, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    (tmp_path / "kernel_bridge.json").write_text('{"servers": {\n"lab": {"url": "https://x.example/",}\n}}')
    (tmp_path / "kernel_bridge.json").chmod(0o600)
    shown = run(shell, "%servers")
    assert [line for line in repr(shown).splitlines() if line.startswith("kernel_bridge.json, line 2: ")]
    assert "kernel_bridge.json, line 2: " in repr(run(shell, "%kernels"))
    assert run(shell, "%remote analysis 1").text == "1"


def test_servers_from_the_configuration(
    shell: InteractiveShell, server: JupyterServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setenv("LAB_TOKEN", server.token)
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    run(shell, "%unload_ext kernel_bridge_magic")
    # as ipython_config.py does
    shell.config.KernelBridge.servers = {"lab": {"url": server.url, "token": "env:LAB_TOKEN"}}
    run(shell, "%load_ext kernel_bridge_magic")
    assert run(shell, "%remote lab::analysis 6 * 7").text == "42"
    (report,) = run(shell, "%servers")
    assert (report.server.name, report.server.source) == ("lab", "config")
    run(shell, "%config KernelBridge.servers = {}")
    assert list(run(shell, "%servers")) == []
    run(shell, "%config KernelBridge")
    assert "env:VAR" in capsys.readouterr().out
    run(shell, "%unload_ext kernel_bridge_magic")
    with pytest.raises(UsageError):
        run(shell, "%config KernelBridge")
    run(shell, "%load_ext kernel_bridge_magic")


@pytest.mark.parametrize("wrong", ["wrong/", "a/lab/tree/x.ipynb"])
def test_a_wrong_url_of_a_server_of_ours_runs_nothing(
    shell: InteractiveShell, server: JupyterServer, wrong: str
) -> None:
    where = f"a Jupyter server is at {server.url}: use that URL"
    for host in ("localhost", "127.0.0.1"):
        url = f"http://{host}:{server.port}/"
        with pytest.raises(BadInput, match=where):
            run(shell, f"%remote -s {url}{wrong} analysis 1")
        listed = run(shell, f"%kernels -s {url}{wrong}")
        assert list(listed) == []
        for text in (repr(listed), repr(run(shell, f"%servers --check {url}{wrong}"))):
            assert where in " ".join(text.split())
        assert run(shell, f"%remote -s {url}lab/tree/x.ipynb analysis 1").text == "1"


def test_how_long_a_lost_link_is_waited_for_is_a_time_or_refused_in_one_line(
    shell: InteractiveShell, caplog: pytest.LogCaptureFixture
) -> None:
    for text, seconds in (("'5m'", 300.0), ("90", 90.0), ("'none'", None), ("None", None), ("0.5", 0.5)):
        run(shell, f"%config KernelBridge.reconnect_timeout = {text}")
        assert run(shell, "%config KernelBridge.reconnect_timeout") == seconds
    for text in ("'soon'", "-3", "0", "True", "[]"):
        caplog.clear()
        run(shell, f"%config KernelBridge.reconnect_timeout = {text}")
        (said,) = caplog.messages
        assert (
            said.startswith("c.KernelBridge.reconnect_timeout=")
            and "is not a duration: use seconds (30), 5m or 2h, or none" in said
        )
        assert run(shell, "%config KernelBridge.reconnect_timeout") == 0.5, "as before"


@pytest.mark.parametrize(("name", "value"), [("reconnect_timeout", "soon"), ("max_output", "x"), ("servers", 7)])
def test_a_configuration_that_cannot_be_used_is_one_line(shell: InteractiveShell, name: str, value: object) -> None:
    run(shell, "%unload_ext kernel_bridge_magic")
    setattr(shell.config.KernelBridge, name, value)
    try:
        with pytest.raises(BadOption, match=name) as caught:
            run(shell, "%load_ext kernel_bridge_magic")
        assert len(caught.value._render_traceback_()) == 1 and "\n" not in str(caught.value)
    finally:
        del shell.config.KernelBridge[name]
    run(shell, "%load_ext kernel_bridge_magic")


def test_the_help_of_remote_says_how_long_a_lost_link_is_waited_for(shell: InteractiveShell, capsys: Capture) -> None:
    run(shell, "%remote -h")
    assert "c.KernelBridge.reconnect_timeout" in capsys.readouterr().out


# -- our own kernel


def test_a_kernel_that_waits_for_us_is_refused(shell: InteractiveShell, ids: dict[str, str]) -> None:
    # what ipykernel's shell knows of the cell that runs: it was sent by a kernel that waits for it
    parent = {"metadata": {"kernel_bridge": {"chain": [ids["work/analysis.ipynb"]]}}}
    shell.get_parent = lambda: parent
    with pytest.raises(OwnKernel, match="wait for itself"):
        run(shell, "%remote analysis 1")
    assert run(shell, "%remote 'My Notebook-2024.ipynb' 1").text == "1"
    for nonsense in (None, {}, {"metadata": None}, {"metadata": {"kernel_bridge": {"chain": "x"}}}):
        shell.get_parent = lambda nonsense=nonsense: nonsense
        assert run(shell, "%remote analysis 1").text == "1"


@pytest.mark.parametrize(("code", "error"), [("1\0", BadCell), ("'\ud800'", BadCell), (" ", BadCell)])
def test_a_cell_that_cannot_be_sent_is_refused_before_it_waits_for_a_busy_kernel(
    shell: InteractiveShell, server: JupyterServer, tmp_path: Path, code: str, error: type[Exception]
) -> None:
    kernel_id = server.start_kernel(path="never-opened.ipynb")
    server.wait_for_kernel(kernel_id)
    connection, _ = connect_over(server, found(server, kernel_id), "zmq")
    with connection:
        owner = Owner(connection, tmp_path / "go")
        with contextlib.redirect_stderr(io.StringIO()) as screen, pytest.raises(error):
            shell.run_cell_magic("remote", "--transport ws never-opened", code)
        assert screen.getvalue() == ""
        assert owner.unharmed()
    server.delete_kernel(kernel_id)


FIRST_USE = """
import signal, sys
from IPython.core.interactiveshell import InteractiveShell

class CtrlC:
    def find_spec(self, name, *given):
        if name == sys.argv[2]:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

shell = InteractiveShell()
shell.run_line_magic("load_ext", "kernel_bridge_magic")
sys.meta_path.insert(0, CtrlC())
shell.run_cell(sys.argv[1])
shell.run_cell("%servers")
"""


@pytest.mark.parametrize(
    ("line", "imports"), [("%kernels --start python3", "bridge.pool"), ("%autoremote north", "display.relay")]
)
def test_ctrl_c_at_the_first_use_is_one_line(tmp_path: Path, line: str, imports: str) -> None:
    env = private_env(tmp_path, tmp_path / "none")
    command = [sys.executable, "-c", FIRST_USE, line, f"kernel_bridge_magic.{imports}"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    first, second = without_colours(done.stdout).splitlines()
    assert first == "KeyboardInterrupt: interrupted; nothing was run"
    assert "no server" in second, "the next use is as the first"

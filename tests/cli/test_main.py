"""The command line, run for real."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pexpect
import pyte
import pytest

from kernel_bridge_magic.cli.main import main
from kernel_bridge_magic.contract import json_contract
from tests.support.asked import answered
from tests.support.forked import Forked
from tests.support.hostile import Answer, HostileServer
from tests.support.scripted import AskingKernel, ScriptedCell, ScriptedKernel
from tests.support.servers import ConsoleKernel, JupyterServer, private_env, wait_for

CANARY = "canary-5d02"
SCHEMA = json.loads((Path(json_contract.__file__).parent / "contract.schema.json").read_text("utf-8"))
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A token server with two notebooks, a password server below a base path, and a console kernel: all one user's."""
    folder = tmp_path_factory.mktemp("cli")
    runtime = folder / "runtime"
    with (
        JupyterServer(folder / "token", runtime_dir=runtime) as token,
        JupyterServer(folder / "password", token="", password="pass word", base_url="/a/b%20c/") as password,
        ConsoleKernel(runtime, "4711") as console,
        Forked(private_env(folder / "user", runtime), folder / "streams") as forked,
    ):
        ids = token.start_kernels("work/analysis.ipynb", "work/training run.ipynb")
        yield {
            "analysis": ids["work/analysis.ipynb"],
            "training": ids["work/training run.ipynb"],
            "forked": forked,
            "token": token,
            "password": password,
            "console": console,
            "env": private_env(folder / "user", runtime),
        }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "kernel_bridge_magic", *arguments]


def watched(place: dict[str, Any], code: str) -> subprocess.Popen[str]:
    """Run code in `training`, to be read from and signalled while it runs."""
    return subprocess.Popen(
        command("exec", "--kernel-match", "training", "--code", code),
        env=place["env"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def run(place: dict[str, Any]) -> Run:
    def run_one(
        *arguments: str, stdin: str | None = None, env: Mapping[str, str | None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        if env is None:
            forked: Forked = place["forked"]
            return forked.run(*arguments, stdin=stdin or "")
        merged = {key: value for key, value in {**place["env"], **env}.items() if value is not None}
        return subprocess.run(
            command(*arguments), input=stdin or "", env=merged, capture_output=True, text=True, timeout=60, check=False
        )

    return run_one


def parsed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object on stdout, which is as the schema says."""
    model: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(model, SCHEMA)
    return model


# -- the commands that README and the guide name


@pytest.mark.bounded  # a kernel without a server is listed if its heartbeat answers within a second
def test_list_as_text_and_as_json(run: Run, place: dict[str, Any]) -> None:
    text = run("list")
    assert text.returncode == 0
    for name in ("work/analysis.ipynb", "work/training run.ipynb"):
        assert name in text.stdout
    assert "training" in (filtered := run("list", "training")).stdout
    assert "analysis" not in filtered.stdout
    model = parsed(run("list", "--json"))
    assert {kernel["id"] for kernel in model["kernels"]} == {place["analysis"], place["training"], "4711"}, model
    assert [server["problem"] for server in model["servers"]] == [None]


def test_exec_by_match(run: Run) -> None:
    done = run("exec", "--kernel-match", "analysis", "--code", "print('hello')")
    assert (done.returncode, done.stdout) == (0, "hello\n")
    assert run("exec", "--kernel-match", "work/analysis.ipynb", "--code", "1 + 1").stdout == "2\n"


def test_exec_by_match_as_a_word(run: Run, tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text("print('from a file')")
    for line, stdin, out in (
        (("analysis", "-c", "print('hello')"), None, "hello\n"),
        (("-c", "6 * 7", "work/training run.ipynb"), None, "42\n"),
        (("re:^work/anal", "--timeout", "60", "-f", str(job)), None, "from a file\n"),
        (("analysis", "-"), "print('piped')", "piped\n"),
        (("-f", "-", "analysis"), "print('piped')", "piped\n"),
        (("--kernel-match", "analysis", "-"), "print('piped')", "piped\n"),
    ):
        done = run("exec", *line, stdin=stdin)
        assert (done.returncode, done.stdout, done.stderr) == (0, out, ""), line


def test_history_counts_in_the_other_kernel(run: Run) -> None:
    counted = [run("exec", "training", *more, "-c", "len(In)").stdout for more in ((), ("--history",), ())]
    before, within, after = map(int, counted)
    assert (within, after) == (before + 1, before + 1)
    assert run("exec", "training", "-c", "In[-1]").stdout == "'len(In)'\n"


def test_exec_says_why_a_file_was_passed_over(run: Run, tmp_path: Path) -> None:
    names = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")
    with socket.create_server(("127.0.0.1", 0)) as sock:  # it accepts, and is no kernel
        info = {**dict.fromkeys(names, sock.getsockname()[1]), "ip": "127.0.0.1", "key": "k"}
        files = {
            "1": info,
            "2": info | {"key": ""},
            "3": info | {"transport": "ipc", "ip": "x"},
            "4": info | {"ip": "10.0.0.7"},
        }
        for number, content in files.items():
            (tmp_path / f"kernel-{number}.json").write_text(json.dumps(content))
        env = {"JUPYTER_RUNTIME_DIR": str(tmp_path)}
        for number, reason in (
            ("1", "its heartbeat does not answer"),
            ("2", "it has no key"),
            ("3", "the kernel has ended"),
            ("4", "listens beyond this machine"),
        ):
            done = run("exec", "--kernel-match", number, "--code", "1", env=env)
            assert done.returncode == 2 and done.stdout == "" and len(done.stderr.splitlines()) == 1
            assert f"kernel-{number}.json was skipped ({reason}" in done.stderr.replace("its kernel ", "")
        done = run("exec", "--code", "1", env=env)
        assert done.returncode == 2 and "kernel-2.json was skipped (it has no key" in done.stderr
        assert "has ended" not in done.stderr and len(done.stderr.splitlines()) == 1


def test_exec_by_url_token_and_id_from_a_file_as_json(run: Run, place: dict[str, Any], tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text("x = 'é'\nprint(x)\nx", encoding="utf-8")
    server = place["token"]
    done = run(
        *("exec", "--base-url", server.url, "--token", "env:TOKEN", "--kernel-id", place["analysis"]),
        *("--code-file", str(job), "--json", "--timeout", "60"),
        env={"TOKEN": server.token, "JUPYTER_RUNTIME_DIR": str(tmp_path)},
    )
    model = parsed(done)
    assert done.returncode == 0
    assert (model["status"], model["fate"], model["result"], model["error"]) == ("ok", "ok", "'é'", None)
    assert [item["output_type"] for item in model["outputs"]] == ["stream", "execute_result"]
    assert model["outputs"][0]["text"] == "é\n"
    assert model["kernel"]["paths"] == ["work/analysis.ipynb"]
    assert model["seconds"] > 0


def test_exec_from_standard_input(run: Run) -> None:
    code = "for n in range(3):\n    print(n)\n\n'end'\n"
    done = run("exec", "--kernel-match", "re:^work/anal", "--code-stdin", stdin=code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n1\n2\n'end'\n", "")


def test_interrupt(run: Run, place: dict[str, Any]) -> None:
    busy = watched(place, "print('on'); import time; time.sleep(60)")
    assert busy.stdout is not None
    while busy.stdout.readline() != "on\n":
        pass
    done = run("interrupt", "training", "--json")
    assert done.returncode == 0
    assert (parsed(done)["kernel"]["id"], parsed(done)["interrupted"]) == (place["training"], True)
    _, stderr = busy.communicate(timeout=20)
    assert busy.returncode == 1
    assert "KeyboardInterrupt" in stderr


@pytest.mark.parametrize("match", ["work/training run.ipynb", "4711"])
def test_an_idle_kernel_is_not_interrupted_and_that_is_said(run: Run, match: str) -> None:
    code = "import signal; came = []; before = signal.signal(signal.SIGINT, lambda *a: came.append(1))"
    assert run("exec", match, "-c", code).returncode == 0
    done = run("interrupt", match)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.endswith(" is idle; there was nothing to interrupt\n") and done.stderr.count("\n") == 1
    model = parsed(run("interrupt", match, "--json"))
    assert (model["status"], model["interrupted"]) == ("ok", False)
    done = run("exec", match, "-c", "signal.signal(signal.SIGINT, before); came")
    assert (done.returncode, done.stdout) == (0, "[]\n"), done


@pytest.mark.bounded  # as above
def test_a_console_kernel_without_a_server(run: Run) -> None:
    done = run("exec", "--kernel-match", "4711", "--code", "6 * 7")
    assert done.stdout == "42\n", done.stderr


def test_a_password_server_below_a_base_path(run: Run, place: dict[str, Any]) -> None:
    server = place["password"]
    refused = run("exec", "--base-url", server.url, "--code", "1")
    assert refused.returncode == 2
    assert "token or password" in refused.stderr
    wrong = run("exec", "--base-url", server.url, "--password", "env:PW", "--code", "1", env={"PW": "no"})
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "password not accepted" in wrong.stderr
    asking = ("--base-url", server.url, "--password", "env:PW")
    env = {"PW": "pass word"}
    none = run("exec", *asking, "--code", "1", env=env)
    assert none.returncode == 2
    assert "no kernel is running" in none.stderr


def test_exec_on_a_password_server(place: dict[str, Any], run: Run) -> None:
    from kernel_bridge_magic.access.urls import parse_base_url
    from kernel_bridge_magic.access.vault import Secret, Vault
    from kernel_bridge_magic.models import Server
    from kernel_bridge_magic.servers.rest import ServerAPI

    server = place["password"]
    base = parse_base_url(server.url)
    api = ServerAPI(Server(base.url, "pw", base.origin), Vault())
    api.log_in(Secret("pass word"))
    kernel_id = api.start(path="x.ipynb")["id"]
    done = run("exec", "--base-url", server.url, "--password", "env:PW", "--code", "2 + 2", env={"PW": "pass word"})
    assert (done.returncode, done.stdout) == (0, "4\n")
    api.interrupt(kernel_id)
    api.delete(kernel_id)


@pytest.mark.parametrize(
    "wrong", ["http://localhost:{}/wrong/", "http://127.0.0.1:{}/x/lab/tree/", "https://localhost:{}/"]
)
def test_a_wrong_url_of_a_server_of_ours_runs_nothing(
    wrong: str, run: Run, place: dict[str, Any], tmp_path: Path
) -> None:
    """Its runtime file is there, so that the server is known: that another URL has its host and port is no reason."""
    url = wrong.format(place["token"].port)
    marker = tmp_path / "it ran"
    commands: list[tuple[str, ...]] = [
        ("exec", "--kernel-match", "analysis", "--code", f"open({str(marker)!r}, 'w')"),
        ("exec", "--kernel-id", place["analysis"], "--code", f"open({str(marker)!r}, 'w')", "--json"),
        ("list",),
    ]
    tls = wrong.startswith("https")
    for command in commands[: 1 if tls else None]:  # a server waits for the rest of what it takes for HTTP: seconds
        done = run(*command, "--base-url", url)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert f"a Jupyter server is at {place['token'].url}: use that URL" in done.stderr
    assert not marker.exists()
    if tls:
        return
    checked = run("servers", "--check", url)
    assert checked.returncode == 2
    assert f"a Jupyter server is at {place['token'].url}: use that URL" in checked.stdout
    assert place["analysis"][:8] not in checked.stdout


def test_servers_are_listed_and_checked(run: Run, place: dict[str, Any], tmp_path: Path) -> None:
    server = place["token"]
    assert server.url in run("servers").stdout
    (known,) = parsed(run("servers", "--json"))["servers"]
    assert (known["url"], known["problem"]) == (server.url, None)
    (checked,) = parsed(run("servers", "--check", "--json"))["checks"]
    assert checked["ok"] and {step["ok"] for step in checked["steps"]} == {True, None}
    env = {"JUPYTER_RUNTIME_DIR": str(tmp_path), "TOKEN": server.token, "PW": "pass word"}
    assert run("servers", "--check", server.url, "--token", "env:TOKEN", env=env).returncode == 0
    done = run("servers", "--check", place["password"].url, "--password", "env:PW", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert "password accepted" in done.stdout and "pass word" not in done.stdout
    done = run("servers", "--check", server.url, "--json", env=env)
    assert done.returncode == 2
    (checked,) = parsed(done)["checks"]
    assert [step["name"] for step in checked["steps"] if step["ok"] is False] == ["auth"]
    done = run("servers", "--check", "nowhere")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_server_is_added_for_all_and_removed(run: Run, place: dict[str, Any], tmp_path: Path) -> None:
    server = place["token"]
    env = {"JUPYTER_RUNTIME_DIR": str(tmp_path), "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "TOKEN": server.token}
    assert parsed(run("servers", "--json", env=env))["servers"] == []
    done = run("servers", "--add", server.url, "--name", "lab", "--token", "env:TOKEN", "--trust", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (f"kernel-bridge: added lab ({server.url}), for notebooks, terminals and the command line\n")
    assert "lab" in done.stdout and server.token not in done.stdout
    (kept,) = json.loads((tmp_path / "config" / "kernel_bridge.json").read_text())["servers"].items()
    assert kept == ("lab", {"url": server.url, "token": "env:TOKEN", "trust": True})
    (known,) = parsed(run("servers", "--json", env=env))["servers"]
    assert (known["name"], known["problem"]) == ("lab", None)
    assert run("exec", "lab::analysis", "-c", "6 * 7", env=env).stdout == "42\n", "another process"
    done = run("servers", "--remove", "lab", "--json", env=env)
    assert (done.returncode, parsed(done)["servers"]) == (0, [])
    assert done.stderr == f"kernel-bridge: removed lab ({server.url})\n"
    done = run("servers", "--remove", "lab", "--json", env=env)
    assert (done.returncode, parsed(done)["error"]["name"]) == (2, "BadServer")
    done = run("servers", "--add", "http://127.0.0.1:1/", "--json", env=env)  # told of, and kept all the same
    (known,) = parsed(done)["servers"]
    assert (done.returncode, bool(known["problem"])) == (0, True)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (("--add", "http://x/", "--token", CANARY), "a token never is. Write where it is: --token env:VAR, file:PATH"),
        (("--add", "http://x/", "--password", CANARY), "a password never is. Write where it is: --password env:VAR"),
        (("--add", f"http://x/?token={CANARY}"), "the URL's token is not saved"),
        (("--add", "http://x/", "--token", "ask"), "nobody can be asked for the token of x:80 (http://x/) here"),
        (("--add", "http://x/", "--token", "env:NOT_SET"), "NOT_SET"),
        (("--add", "http://x/", "--base-url", "http://y/"), "--base-url names a server for this command only"),
        (("--remove", "x", "--base-url", "http://y/"), "--base-url names a server for this command only"),
        (("--remove", "x", "--token", "env:X"), "go with --base-url"),
        (("--name", "lab"), "--name and --trust go with --add URL"),
        (("--check", "--trust"), "--name and --trust go with --add URL"),
        (("--add", "http://x/", "--remove", "x"), "--add and --remove cannot be given together"),
    ],
)
def test_a_server_that_cannot_be_added_is_not(run: Run, tmp_path: Path, line: tuple[str, ...], says: str) -> None:
    done = run("servers", *line, env={"JUPYTER_CONFIG_DIR": str(tmp_path / "config")})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert says in done.stderr and CANARY not in done.stderr
    assert not (tmp_path / "config").exists()


# -- exit statuses


@pytest.mark.parametrize(
    ("arguments", "status", "fate"),
    [
        (("--code", "1"), 0, "ok"),
        (("--code", "1 / 0"), 1, "failed"),
        (("--code", "import time; time.sleep(5)", "--timeout", "0.5"), 124, "left running"),
        (("--code", ""), 2, "not run"),
        (("--code", "\ufeff \n"), 2, "not run"),
    ],
)
def test_exit_status_and_fate(run: Run, arguments: tuple[str, ...], status: int, fate: str) -> None:
    done = run("exec", "--kernel-match", "training", "--json", *arguments)
    assert done.returncode == status
    assert parsed(done)["fate"] == fate


CAUGHT = "try:\n    1 / 0\nexcept ArithmeticError:\n    get_ipython().showtraceback()\nprint('on')\n"


@pytest.mark.parametrize(("more", "status", "errors"), [("", 0, 1), ("{}['key']", 1, 2), ("%no_such_magic", 1, 1)])
def test_each_error_is_shown_where_it_came_and_the_reply_gives_the_status(
    run: Run, more: str, status: int, errors: int
) -> None:
    done = run("exec", "--kernel-match", "training", "--code", CAUGHT + more)
    assert (done.returncode, done.stdout) == (status, "on\n")
    assert done.stderr.count("Traceback (most recent call last)") == errors
    assert done.stderr.count("ZeroDivisionError: division by zero") == 1
    model = parsed(run("exec", "--kernel-match", "training", "--json", "--code", CAUGHT + more))
    assert (model["fate"], model["error"] is None) == ("failed" if status else "ok", not status)
    assert [output["output_type"] for output in model["outputs"]][:2] == ["error", "stream"]


def test_json_says_which_displays_of_earlier_code_were_changed(run: Run) -> None:
    run("exec", "--kernel-match", "training", "--code", "shown = display(1, display_id='d')")
    model = parsed(run("exec", "--kernel-match", "training", "--json", "--code", "shown.update(2)"))
    assert model["outputs"] == []
    assert model["updates"] == [{"display_id": "d", "data": {"text/plain": "2"}, "metadata": {}}]


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_what_the_code_asks_a_front_end_to_do_is_told_on_stderr(run: Run, tmp_path: Path, more: tuple[str]) -> None:
    file = tmp_path / "loaded.py"
    file.write_text("answer = 42\n\tprint(answer)\n")
    done = run("exec", "--kernel-match", "training", "--code", f"%load {file}", *more)
    assert done.returncode == 0
    assert done.stdout == "" if not more else parsed(done)["outputs"] == []
    assert "asked to put this text in place of its own" in done.stderr
    assert "answer = 42\n\tprint(answer)\n" in done.stderr


@pytest.mark.parametrize(
    ("ending", "status"),
    [
        *(("sys.exit(0)", 0), ("sys.exit()", 0), ("sys.exit(None)", 0), ("raise SystemExit(None)", 0)),
        *(
            ("sys.exit(False)", 0),
            ("sys.exit(3)", 1),
            ("sys.exit('no')", 1),
            ("sys.exit(True)", 1),
            ("sys.exit(0.0)", 1),
        ),
    ],
)
def test_code_that_exits_with_0_is_ok(run: Run, ending: str, status: int) -> None:
    done = run("exec", "--kernel-match", "training", "--json", "--code", f"import sys; print('kept')\n{ending}")
    model = parsed(done)
    assert done.returncode == status
    assert (model["status"], model["fate"]) == (("error", "failed") if status else ("ok", "ok"))
    assert (model["error"] is None) is (status == 0)
    assert model["outputs"][0] == {"output_type": "stream", "name": "stdout", "text": "kept\n"}


def test_an_error_of_a_shell_is_its_exit_status(run: Run, place: dict[str, Any]) -> None:
    kernel_id = place["token"].start_kernel("bash", "shell.ipynb")
    try:
        for code, status in (("echo on; no_such_command 2>/dev/null", 127), ("(exit 42)", 42), ("false", 1)):
            done = run("exec", "shell.ipynb", "-c", code)
            assert (done.returncode, done.stdout) == (1, "on\n" if "on" in code else "")
            assert done.stderr.splitlines()[-1].endswith(f"exit status {status} (in shell.ipynb)")
    finally:
        place["token"].delete_kernel(kernel_id)


def test_code_that_exits_with_0_is_no_error_as_text(run: Run) -> None:
    for _ in range(2):  # IPython warns once, below the error, which is shown in its place then
        done = run("exec", "--kernel-match", "training", "--code", "import sys; print('kept'); sys.exit(0)")
    assert (done.returncode, done.stdout) == (0, "kept\n")
    assert "SystemExit" not in done.stderr
    assert run("exec", "--kernel-match", "training", "--code", "sys.exit('bye')").returncode == 1


def test_a_kernel_that_dies_is_3(run: Run, place: dict[str, Any]) -> None:
    kernel_id = place["token"].start_kernel(path="dies.ipynb")
    code = "print('x', flush=True); import time, os; time.sleep(0.5); os._exit(1)"
    done = run("exec", "--kernel-match", "dies.ipynb", "--json", "--code", code)
    model = parsed(done)
    assert (done.returncode, model["fate"], model["error"]["kind"]) == (3, "died", "fate")
    place["token"].delete_kernel(kernel_id)


def test_ctrl_c_interrupts_there_and_is_130(place: dict[str, Any]) -> None:
    process = watched(place, "print('on')\nimport time; time.sleep(60)")
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "KeyboardInterrupt" in stderr


def test_a_busy_kernel_is_2_where_the_cell_shall_not_wait(run: Run, place: dict[str, Any], tmp_path: Path) -> None:
    go = tmp_path / "go"
    code = f"print('on', flush=True)\nimport os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)"
    busy = watched(place, code)
    assert busy.stdout is not None
    assert busy.stdout.readline() == "on\n"
    done = run("exec", "--kernel-match", "training", "--code", "ran = 1", "--if-busy", "fail")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "busy" in done.stderr
    refused = parsed(run("exec", "training", "-c", "ran = 1", "--if-busy", "fail", "--json"))
    assert (refused["fate"], refused["kernel"]["id"]) == ("not run", place["training"])
    beside = run("exec", "--kernel-match", "training", "--code", "'ran' in globals()", "--if-busy", "subshell")
    assert (beside.returncode, beside.stdout) == (0, "False\n")
    go.touch()
    busy.communicate(timeout=20)
    assert busy.returncode == 0


def test_a_durable_cell_gives_what_any_cell_gives(run: Run) -> None:
    for durable in ([], ["--durable"]):
        done = run("exec", "--kernel-match", "analysis", *durable, "--code", "print('kept')\n6 * 7")
        assert (done.returncode, done.stdout, done.stderr) == (0, "kept\n42\n", "")
    refused = run("exec", "--kernel-match", "analysis", "--durable", "--if-busy", "subshell", "--code", "1")
    assert (refused.returncode, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)


def test_a_second_ctrl_c_detaches(place: dict[str, Any]) -> None:
    code = (
        "print('on', flush=True)\nimport time\nfor n in range(30):\n"
        "    try: time.sleep(0.1)\n    except KeyboardInterrupt: print('no', flush=True)"
    )
    process = watched(place, code)
    assert process.stdout is not None
    assert process.stdout.readline() == "on\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "no\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "no longer waiting; the cell is still running there" in stderr


# -- signals, whenever they come


def started(place: dict[str, Any], *arguments: str) -> subprocess.Popen[str]:
    """Start the command line, and wait until its first line makes signals wait."""
    process = subprocess.Popen(
        command(*arguments), env=place["env"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # They wait while the rest is imported; then they are caught.
    while signal.SIGTERM not in signals(process.pid, "SigBlk") | signals(process.pid, "SigCgt"):
        assert process.poll() is None
    return process


# As a kernel that asks though it was told not to.
_ASKS = "import getpass\nget_ipython().kernel._allow_stdin = True\n"
# A question is answered behind all that came before it: from then on the client knows that the cell runs.
_KNOWN_TO_RUN = f"{_ASKS}try: input()\nexcept EOFError: pass\n"


@pytest.fixture
def go(tmp_path: Path) -> Iterator[Path]:
    """What a cell waits for; there at the latest when the test is over, so that the next one has the kernel."""
    path = tmp_path / "go"
    yield path
    path.touch()


def signals(pid: int, which: str) -> set[int]:
    """The signals that a process blocks (`SigBlk`), catches (`SigCgt`) or ignores (`SigIgn`)."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(which):
                return {number for number in range(1, 32) if int(line.split()[1], 16) >> number - 1 & 1}
    return set()


def ended(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
    """The status, the one JSON object on stdout, and stderr of a process that was signalled."""
    out, err = process.communicate(timeout=30)
    assert "Traceback" not in err
    return process.returncode, parsed(subprocess.CompletedProcess([], process.returncode, out, err)), err


def test_ctrl_c_held_down_from_the_first_line_on_is_told_once(place: dict[str, Any]) -> None:
    for arguments in (("exec", "--kernel-match", "training", "--code", "1"), ("list",), ("servers", "--check")):
        process = started(place, *arguments, "--json")
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
        status, model, err = ended(process)
        assert (status, model["fate"], model["started"]) == (130, "not run", False)
        assert err == "kernel-bridge: interrupted; nothing was run\n"


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_ctrl_c_three_times_tells_the_true_fate(
    place: dict[str, Any], tmp_path: Path, go: Path, more: tuple[str, ...]
) -> None:
    on = tmp_path / "on"
    code = (
        f"{_KNOWN_TO_RUN}import os, signal, time\n"
        f"before = signal.signal(signal.SIGINT, lambda *a: None)\nopen({str(on)!r}, 'w')\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.05)\nsignal.signal(signal.SIGINT, before)"
    )
    process = started(place, "exec", "--kernel-match", "training", "--code", code, *more)
    wait_for(on.exists, "the cell")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        wait_for(lambda: process.poll() is not None or signal.SIGINT not in signals(process.pid, "SigPnd"), "it")
        wait_for(lambda: process.poll() is not None or signal.SIGINT not in signals(process.pid, "ShdPnd"), "it")
    if more:
        status, model, _ = ended(process)
        assert (model["fate"], model["started"]) == ("left running", True)
    else:
        _, err = process.communicate(timeout=30)
        status = process.returncode
        assert "the cell is still running there" in err and "nothing was run" not in err
    assert status == 130


def test_ctrl_c_held_down_while_the_connection_closes_changes_no_fate(place: dict[str, Any], tmp_path: Path) -> None:
    on = tmp_path / "on"
    process = started(
        place, "exec", "--json", "--kernel-match", "training", "--code", f"open({str(on)!r}, 'w'); 41 + 1"
    )
    wait_for(on.exists, "the cell")
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
    status, model, _ = ended(process)
    assert model["started"] is not False
    assert (model["fate"], status) in {("ok", 0), ("failed", 130), ("left running", 130)}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_to_end_leaves_the_cell_running_and_says_so(
    place: dict[str, Any], tmp_path: Path, go: Path, number: int, status: int
) -> None:
    on = tmp_path / "on"
    code = (
        f"{_KNOWN_TO_RUN}import os, time\nprint('before')\nopen({str(on)!r}, 'w')\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.05)\nprint('after')"
    )
    process = started(place, "exec", "--kernel-match", "training", "--code", code, "--json")
    wait_for(on.exists, "the cell")
    queued = started(place, "exec", "--kernel-match", "training", "--code", "mine = 1", "--json", "--timeout", "60")
    assert queued.stderr is not None
    assert any(line.startswith("kernel-bridge: waiting: ") for line in queued.stderr)
    for one in (process, queued):
        one.send_signal(number)
    for one, begun in ((process, True), (queued, False)):
        got, model, _ = ended(one)
        assert (got, model["fate"], model["started"]) == (status, "left running", begun)
        assert signal.Signals(number).name in model["error"]["message"]


def test_a_signal_to_end_before_anything_was_sent_is_one_object_too(place: dict[str, Any]) -> None:
    for arguments in (("exec", "--kernel-match", "training", "--code", "1"), ("list",), ("interrupt", "training")):
        process = started(place, *arguments, "--json")
        process.send_signal(signal.SIGTERM)
        status, model, err = ended(process)
        assert (status, model["fate"], model["started"]) == (143, "not run", False)
        assert err == "kernel-bridge: told to end (SIGTERM); nothing was run\n"


def test_a_process_that_is_told_to_end_ends_wherever_it_is_stuck() -> None:
    """In a write that nobody reads, after a signal that came while a thread was being started."""
    code = (
        "import os, threading\nfrom kernel_bridge_magic.cli import main\n"
        "main._LAST_SECONDS = 0.2\n"
        "with threading._active_limbo_lock:\n    main._end_soon(15)\n"
        "out = os.pipe()[1]\nwhile True: os.write(out, bytes(65536))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=30, check=False).returncode == 143


def test_nohup_stays_deaf_to_the_end_of_its_terminal(place: dict[str, Any], tmp_path: Path, go: Path) -> None:
    on = tmp_path / "on"
    code = f"import os, time\nopen({str(on)!r}, 'w')\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)\n5"
    process = subprocess.Popen(
        ["nohup", *command("exec", "--kernel-match", "training", "--code", code, "--json")],
        env=place["env"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(on.exists, "the cell")
    process.send_signal(signal.SIGHUP)
    go.touch()
    status, model, _ = ended(process)
    assert (status, model["fate"], model["result"]) == (0, "ok", "5")


def test_a_terminal_that_goes_while_the_cell_asks_leaves_no_question_open(place: dict[str, Any]) -> None:
    code = "try:\n    input('name? ')\nexcept EOFError:\n    gone = 'yes'"
    child = pexpect.spawn(
        sys.executable, command("exec", "--kernel-match", "training", "--code", code)[1:],
        env=place["env"], encoding="utf-8", timeout=30,
    )  # fmt: skip
    child.expect_exact("name? ")
    child.kill(signal.SIGHUP)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 129
    done = subprocess.run(
        command("exec", "--kernel-match", "training", "--code", "gone"),
        env=place["env"],
        capture_output=True,
        timeout=60,
    )
    assert done.stdout == b"'yes'\n"


# -- streams, input, terminals


def test_streams_come_as_they_are_printed(place: dict[str, Any], go: Path) -> None:
    code = f"import os, time\nprint('first', flush=True)\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    process = subprocess.Popen(
        command("exec", "--kernel-match", "training", "--code", code), env=place["env"], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"first\n", "it came while the code was still waiting for the file"
    go.touch()
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_stdout_and_stderr_are_kept_apart(run: Run) -> None:
    done = run("exec", "--kernel-match", "training", "--code", "import sys; print('o'); print('e', file=sys.stderr)")
    assert (done.stdout, done.stderr.splitlines()[-1]) == ("o\n", "e")


def test_input_is_refused_without_a_terminal_and_asked_on_one(run: Run, place: dict[str, Any]) -> None:
    arguments = ("exec", "--kernel-match", "training", "--code", "'<' + input('name? ') + '>'")
    refused = run(*arguments)
    assert refused.returncode == 1
    assert "StdinNotImplementedError" in refused.stderr
    assert answered(command(*arguments), place["env"], "name? ", "ann", "'<ann>'")[0] == 0


@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize("question", ["input('name? ')", "getpass.getpass('word? ')"])
def test_a_kernel_that_asks_all_the_same_has_no_line_of_our_stdin(
    place: dict[str, Any], question: str, more: tuple[str, ...]
) -> None:
    code = f"{_ASKS}try:\n    {question}\nexcept EOFError:\n    print('end of input')"
    line = shlex.join(command("exec", "--kernel-match", "training", "--code", code, *more))
    loop = f'printf "one\\ntwo\\n" | while read host; do {line}; echo "- $host"; done'
    done = subprocess.run(["sh", "-c", loop], env=place["env"], capture_output=True, text=True, timeout=60)
    assert done.stdout.count("end of input") == 2, done
    assert [text for text in done.stdout.splitlines() if text.startswith("- ")] == ["- one", "- two"]


def test_a_kernel_that_asks_once_more_is_interrupted(run: Run) -> None:
    code = f"{_ASKS}while True:\n    try:\n        input('name? ')\n    except EOFError:\n        print('end')"
    done = run("exec", "--kernel-match", "training", "--code", code, stdin="A\nB\n")
    assert (done.returncode, done.stdout) == (1, "end\n")
    assert "asks for input again" in done.stderr and "KeyboardInterrupt" in done.stderr
    assert done.stderr.splitlines()[-1] == "(in work/training run.ipynb)"  # by us, and by nobody else
    assert run("exec", "--kernel-match", "training", "--code", "6 * 7").stdout == "42\n"


def test_no_line_of_our_stdin_goes_to_a_kernel_that_asks_all_the_same(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    env = private_env(tmp_path / "home", runtime)
    codes = ("ask", "ask for a secret", "ask late")
    script = ["%load_ext kernel_bridge_magic"]
    script += [line for code in codes for line in (f"%remote -q scripted {code}", f"print('behind', {code!r})")]
    ipython = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor"]
    with AskingKernel(runtime) as kernel:
        done = subprocess.run(
            ipython, input="\n".join(script) + "\n", env=env, capture_output=True, text=True, timeout=60
        )
        assert all(f"behind {code}" in done.stdout for code in codes) and "name?" not in done.stdout
        for code in codes:
            line = command("exec", "--kernel-match", "scripted", "--code", code)
            done = subprocess.run(line, input="A\nB\n", env=env, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert kernel.answers == ["\x04"] * 6


def test_of_a_cell_that_ends_its_kernel_that_is_said_since_no_next_cell_will_tell(tmp_path: Path) -> None:
    def quit_or_not(cell: ScriptedCell) -> None:
        cell.busy()
        exits = cell.content["code"] == "quit()"
        cell.reply(payload=[{"source": "ask_exit", "keepkernel": not exits}])
        cell.idle()

    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    env = private_env(tmp_path / "home", runtime)
    with ScriptedKernel(quit_or_not, runtime) as kernel:
        told = "kernel exited after this cell; its variables are gone"
        for code, end in {"quit()": f": {told}\n", "exit_later()": ""}.items():
            line = command("exec", str(kernel.connection_file), "-c", code)
            done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=60)
            assert (done.returncode, done.stdout, told in done.stderr) == (0, "", bool(end)), done.stderr
            assert done.stderr.endswith(end)


def test_a_token_is_asked_for_on_a_terminal(place: dict[str, Any], tmp_path: Path) -> None:
    server = place["password"]
    env = {**place["env"], "JUPYTER_RUNTIME_DIR": str(tmp_path)}
    asking = command("list", "--base-url", server.url)
    status, _, after = answered(asking, env, "token or password: ", "pass word", "no kernels are running")
    assert status == 0
    assert "pass word" not in after


def test_a_literal_token_works_with_a_warning(run: Run, place: dict[str, Any], tmp_path: Path) -> None:
    server = place["token"]
    done = run(
        *("exec", "--base-url", server.url, "--token", server.token, "--kernel-match", "analysis", "--code", "1"),
        env={"JUPYTER_RUNTIME_DIR": str(tmp_path)},
    )
    assert (done.returncode, done.stdout) == (0, "1\n")
    warning = "warning: a token on the command line can be read by other users; use env:VAR or file:PATH"
    assert warning in done.stderr.splitlines()
    assert server.token not in done.stderr


def test_a_server_s_own_file_gives_its_token(run: Run, place: dict[str, Any]) -> None:
    url = place["token"].url.replace("127.0.0.1", "localhost") + "lab/tree/x.ipynb"
    done = run("exec", "--base-url", url, "--kernel-id", place["analysis"], "--code", "3")
    assert (done.returncode, done.stdout) == (0, "3\n")


@pytest.mark.parametrize(
    "env", [{"HOME": None}, {"LANG": "C", "LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"TERM": "dumb"}]
)
def test_poor_environments_crash_nothing(run: Run, env: dict[str, str | None]) -> None:
    done = run("exec", "--kernel-match", "training", "--code", "print('é ☃')", env=env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("é ☃", r"\xe9 \u2603")
    assert run("list", env=env).returncode == 0


@pytest.mark.parametrize("name", ["list", "exec"])
@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_full_disk_behind_stdout_is_told_in_a_line_and_so_is_a_cell_s_fate(
    place: dict[str, Any], name: str, more: tuple[str, ...], tmp_path: Path
) -> None:
    go = tmp_path / "go"
    arguments: tuple[str, ...] = (name,)
    if name == "exec":
        code = f"print(1)\nimport os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.05)"
        arguments += ("--kernel-match", "training", "--code", "print(1)" if more else code)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(*arguments, *more), env=place["env"], stdout=full, stderr=subprocess.PIPE)
    go.touch()
    assert done.returncode == 3
    *fate, told = done.stderr.decode().splitlines()
    problem = "the output could not be written (No space left on device)"
    assert told == f"kernel-bridge: {problem}. Make room there, or write it elsewhere"
    # With --json the cell is over by the time at which anything is written.
    expected = ["the cell is still running there" in line for line in fate]
    assert expected == ([True] if name == "exec" and not more else [])


@pytest.mark.parametrize("json", [(), ("--json",)])
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("-c", " "), "the cell is empty, so there is nothing to run"),
        (
            ("-c", "1", "--durable", "--if-busy", "subshell"),
            "a durable cell runs in the main shell: leave out --durable, or --if-busy subshell",
        ),
        (("-f", "bad.py"), "a NUL character (line 2, column 3) cannot be sent to a kernel; take it out"),
    ],
)
def test_what_a_kernel_cannot_be_given_names_the_kernel(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], told: str, json: tuple[str, ...]
) -> None:
    (tmp_path / "bad.py").write_text("1\nx \0")
    arguments = tuple(str(tmp_path / word) if word == "bad.py" else word for word in arguments)
    done = run("exec", "training", *arguments, *json)
    assert (done.returncode, done.stderr) == (2, f"kernel-bridge: work/training run.ipynb: {told}\n")


@pytest.mark.parametrize(
    ("code", "last"),
    [
        ("1 / 0", ["ZeroDivisionError: division by zero", "(in work/training run.ipynb)"]),
        ("raise ValueError", ["ValueError: ", "(in work/training run.ipynb)"]),
        (
            "raise KeyboardInterrupt('of its own')",
            [
                "KeyboardInterrupt: of its own",
                "(in work/training run.ipynb, interrupted there by another client, or by its own code)",
            ],
        ),
    ],
)
def test_a_traceback_names_its_kernel(run: Run, code: str, last: list[str]) -> None:
    done = run("exec", "training", "-c", code)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-2:] == last


def test_json_has_the_error_as_it_came_and_a_line_tells_of_an_interrupt(run: Run) -> None:
    done = run("exec", "training", "-c", "raise KeyboardInterrupt('x')", "--json")
    assert json.loads(done.stdout)["error"]["message"] == "x"
    said = "the cell was interrupted there by another client, or by its own code"
    assert done.stderr == f"kernel-bridge: work/training run.ipynb: {said}\n"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.py", None, "'{path}' cannot be read (No such file or directory), so nothing was run. Check the path"),
        ("\0", None, "'{path}' cannot be read (no file has such a name), so nothing was run. Check the path"),
        ("bad.py", b"\xff", "the code is not UTF-8 text, so nothing was run. Save it as UTF-8"),
    ],
)
def test_code_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, told: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main(["exec", "training", "-f", str(path)]) == 2
    told = told.replace("'{path}'", repr(str(path)))
    assert capsys.readouterr().err == f"kernel-bridge: {told}\n"


def test_a_closed_pipe_is_no_traceback(place: dict[str, Any]) -> None:
    process = subprocess.Popen(
        command("exec", "--kernel-match", "training", "--code", "for n in range(100_000): print(n)"),
        env=place["env"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    stderr = process.stderr.read().decode()
    assert process.wait(30) == 141
    assert "Traceback" not in stderr
    process.stderr.close()


CLOSED = "standard input is closed, so nothing was run. Give the code with -c CODE or -f FILE"


@pytest.mark.parametrize(
    ("line", "status", "out", "err"),
    [
        ("list >&-", 0, "", ""),
        ("list --json >&-", 0, "", ""),
        ("list 2>&-", 0, "NAMES", ""),
        ("exec --kernel-match training --code '1' >&- 2>&-", 0, "", ""),
        ("exec --kernel-match training --code '1 / 0' >&- 2>&-", 1, "", ""),
        ("exec --kernel-match training --code '6 * 7' <&-", 0, "42\n", ""),
        ("exec --kernel-match training --code-stdin <&-", 2, "", f"kernel-bridge: {CLOSED}\n"),
        ("exec --kernel-match training --code-stdin <&- >&- 2>&-", 2, "", ""),
        ("exec --kernel-match no-such --code 1 --json 2>&-", 2, "JSON", ""),
        ("exec --help >&-", 0, "", ""),
    ],
)
def test_closed_streams_are_no_traceback(place: dict[str, Any], line: str, status: int, out: str, err: str) -> None:
    script = f"exec {shlex.join(command())} {line}"
    done = subprocess.run(
        ["sh", "-c", script], env=place["env"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == status
    assert done.stderr.endswith(err) and done.stderr.count("\n") == bool(err)
    if out == "JSON":
        assert parsed(done)["error"]["name"] == "KernelNotFound"
    elif out == "NAMES":
        assert "work/analysis.ipynb" in done.stdout
    else:
        assert done.stdout == out


# -- output that is too much for one JSON object


LINES = 2_500_000
LINE = "0123456789"


def test_output_that_was_cut_is_told_and_the_whole_is_in_a_file(run: Run, place: dict[str, Any]) -> None:
    whole = f"{LINE}\n" * LINES
    done = run("exec", "analysis", "--json", "-c", f"print('{LINE}\\n' * {LINES}, end='')\n'end'")
    model = parsed(done)
    assert (done.returncode, model["status"], model["result"]) == (0, "ok", "'end'")
    assert (model["truncated"], model["output_characters"]) == (True, len(whole))
    file = Path(model["output_file"])
    assert file.read_text() == whole, "the process that wrote it has ended"
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent == Path(place["env"]["JUPYTER_RUNTIME_DIR"])
    small = parsed(run("exec", "analysis", "--json", "-c", "print('é' * 9); display(1)"))
    assert (small["truncated"], small["output_characters"], small["output_file"]) == (False, 10, None)
    os.utime(file, (0, 0))
    again = run("exec", "analysis", "--json", "-c", f"print('{LINE}\\n' * {LINES}, end='')\n1 / 0")
    assert (again.returncode, parsed(again)["truncated"]) == (1, True)
    assert not file.exists(), "it is of another day"
    Path(parsed(again)["output_file"]).unlink()  # other tests share the directory


def test_the_file_of_a_foreign_kernel_s_output_acts_on_no_terminal(tmp_path: Path) -> None:
    def script(cell: Any) -> None:
        cell.busy()
        for _ in range(18):
            cell.print(f"\x1b]0;title\x07{LINE * 100_000}")
        cell.reply()
        cell.idle()

    with HostileServer(script) as server:
        line = command("exec", "scripted", "--base-url", server.url, "-c", "run", "--json")
        done = subprocess.run(line, env=private_env(tmp_path), capture_output=True, text=True, timeout=60)
    model = parsed(done)
    assert model["output_file"] and model["output_characters"] == 18 * (1_000_000 + len("\x1b]0;title\x07"))
    text = Path(model["output_file"]).read_text()
    assert text == f"^[]0;title^G{LINE * 100_000}" * 18


def test_output_that_could_not_be_kept_whole_has_no_file(place: dict[str, Any]) -> None:
    line = command("exec", "analysis", "--json", "-c", f"print('{LINE}' * 2_500_000)")
    limited = ["bash", "-c", f"ulimit -f 1000; trap '' XFSZ; {shlex.join(line)} | cat"]  # KiB
    done = subprocess.run(limited, env=place["env"], capture_output=True, text=True, timeout=60)
    model = parsed(done)
    assert (model["truncated"], model["output_file"]) == (True, None)
    assert not list(Path(place["env"]["JUPYTER_RUNTIME_DIR"]).glob("kernel-bridge-*"))


# -- an assistant's dialogue, with nothing but the documented JSON


@pytest.mark.parametrize(
    ("line", "kind", "name"),
    [
        (("training", "-c", ""), "bridge", "BadCell"),
        (("4711", "--transport", "ws", "-c", "1"), "bridge", "CannotConnect"),
        (("training", "--durable", "--if-busy", "subshell", "-c", "1"), "bridge", "BadOption"),
    ],
)
def test_a_failure_names_the_kernel_that_was_found(
    run: Run, place: dict[str, Any], line: tuple[str, ...], kind: str, name: str
) -> None:
    model = parsed(run("exec", "--json", *line))
    assert (model["fate"], model["error"]["kind"], model["error"]["name"]) == ("not run", kind, name)
    assert model["kernel"]["id"] == ("4711" if "4711" in line else place["training"])


@pytest.mark.parametrize(("state", "name"), [("idle", "CannotConnect"), ("dead", "CannotConnect")])
def test_a_kernel_that_cannot_be_connected_to_is_named(state: str, name: str, tmp_path: Path) -> None:
    with HostileServer() as server:
        server.doors, server.kernels[0]["execution_state"] = 0, state
        line = command("exec", "scripted", "--base-url", server.url, "-c", "1", "--json")
        done = subprocess.run(line, env=private_env(tmp_path), capture_output=True, text=True, timeout=60)
        assert parsed(done)["kernel"]["id"] == "scripted"
        assert (done.returncode, parsed(done)["error"]["name"], server.received) == (2, name, [])
        refused: dict[str, Answer] = {"/api/kernels/scripted/interrupt": (500, {}, "")}
        server.paths.update(refused)
        line = command("interrupt", "scripted", "--base-url", server.url, "--json")
        done = subprocess.run(line, env=private_env(tmp_path), capture_output=True, text=True, timeout=60)
        assert (done.returncode, parsed(done)["kernel"]["id"]) == (2, "scripted")


@pytest.mark.parametrize(
    ("ends", "status"), [("--timeout", 2), ("--if-busy", 2), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_kernel_that_nobody_is_let_in_to_is_named(ends: Any, status: int, tmp_path: Path) -> None:
    let_in = threading.Event()
    with HostileServer() as server:
        server.waits = let_in
        more = {"--timeout": ("--timeout", "1"), "--if-busy": ("--if-busy", "fail")}.get(ends, ())
        line = command("exec", "scripted", "--base-url", server.url, "-c", "1", "--json", *more)
        process = subprocess.Popen(
            line, env=private_env(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        wait_for(lambda: server.waiting, "the handshake")
        if not more:
            process.send_signal(ends)
        got, model, _ = ended(process)
        let_in.set()
    assert (got, model["fate"], model["kernel"]["id"]) == (status, "not run", "scripted")


def test_of_an_interrupt_that_is_not_clear_it_is_said_that_there_was_none(run: Run) -> None:
    done = run("interrupt", "work")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "kernel-bridge: 'work' matches 2 kernels, so nothing was interrupted. Use one of:"
    )


def test_a_server_that_is_not_known_can_be_added_here(run: Run) -> None:
    done = run("servers", "--check", "nosuch")
    assert done.returncode == 2
    assert done.stderr.startswith("kernel-bridge: no server is called 'nosuch' (known: ")
    assert done.stderr.endswith("); add it with kernel-bridge servers --add URL --name NAME\n")


def test_an_assistant_finds_its_kernel_with_one_question(run: Run) -> None:
    kernels = parsed(run("list", "--json"))["kernels"]
    assert len(kernels) == 3
    unsure = run("exec", "--kernel-match", "work", "--code", "1", "--json")
    assert unsure.returncode == 2
    said = parsed(unsure)["error"]["message"]
    assert said.startswith("'work' matches 2 kernels")
    assert said.endswith(". Give the 'select' of one of 'candidates' as MATCH")
    assert unsure.stderr == f"kernel-bridge: {said}\n"
    candidates = parsed(unsure)["candidates"]
    assert sorted(item["name"] for item in candidates) == ["work/analysis.ipynb", "work/training run.ipynb"]
    (chosen,) = (item["select"] for item in candidates if "training" in item["name"])
    good = parsed(run("exec", "--kernel-match", chosen, "--code", "y = 20\ny + 1", "--json"))
    assert (good["status"], good["result"], good["kernel"]["name"]) == ("ok", "21", "work/training run.ipynb")
    done = run("exec", "--kernel-match", chosen, "--code", "print(y)\nundefined_name", "--json")
    bad = parsed(done)
    assert done.returncode == 1
    assert (bad["error"]["kind"], bad["error"]["name"]) == ("remote", "NameError")
    assert "undefined_name" in "\n".join(bad["error"]["traceback"])
    assert "\x1b" not in json.dumps(bad["error"])
    assert bad["outputs"][0] == {"output_type": "stream", "name": "stdout", "text": "20\n"}


def test_the_id_that_a_listing_shows_is_told_whole(run: Run, place: dict[str, Any]) -> None:
    whole = place["analysis"]
    for short in (whole[:8], whole[:14], whole.upper()):
        for where in ((), ("--base-url", place["token"].url, "--token", "env:TOKEN")):
            done = run("exec", *where, "--kernel-id", short, "--code", "1", env={"TOKEN": place["token"].token})
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr == (
                f"kernel-bridge: --kernel-id takes a whole id; did you mean {whole} ? (--kernel-match takes a part)\n"
            )
    assert run("exec", "--kernel-id", whole, "--code", "1").stdout == "1\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("exec", "--kernel-match", "no-such", "--code", "1"),
        ("exec", "--kernel-match", "no-such::work", "--code", "1"),
        ("exec", "--kernel-match", "#1", "--code", "1"),
        ("exec", "--kernel-match", "''", "--code", "1"),
        ("exec", "--kernel-match", "work", "--code", "1"),
        ("exec", "--kernel-match", "analysis,training run", "--code", "1"),
        ("exec", "--kernel-id", "no-such", "--code", "1"),
        ("exec", "--code", "1"),
        ("interrupt", "no-such"),
        ("list", "no-such"),
    ],
)
def test_the_command_line_is_told_of_no_magic(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert "%" not in done.stdout + done.stderr
    assert "no-such" not in arguments or "kernel-bridge list" in done.stdout + done.stderr


def test_one_candidate_is_used_and_none_says_what_helps(place: dict[str, Any], run: Run, tmp_path: Path) -> None:
    none = run("exec", "--code", "1", env={"JUPYTER_RUNTIME_DIR": str(tmp_path)})
    assert none.returncode == 2
    assert "Open a notebook" in none.stderr
    several = run("exec", "--code", "1")
    assert several.returncode == 2
    assert "work/analysis.ipynb" in several.stderr
    with ConsoleKernel(tmp_path / "runtime", "only"):
        done = run("exec", "--code", "'me'", env={"JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime")})
        assert (done.returncode, done.stdout) == (0, "'me'\n")


# -- bad command lines

WORDS = [
    *("-c", "-f", "-", "--history", "north"),
    *("exec", "list", "interrupt", "lst", "--json", "--code", "--kernel-match", "--kernel-id", "--base-url"),
    *("--token", "--password", "--timeout", "--code-file", "--transport", "--no-such", "-x", "--", "re:(", "re:(a+)+$"),
    *("ftp://x", "host:99999", "http://u:p@h/", "-1", "nan", "", "\ud83d", "--code=1", "--timeout=soon", "--js"),
]


def test_bad_command_lines_are_one_line_and_2(
    place: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr("sys.stdin", None)
    chance = random.Random(1)
    for _ in range(300):
        line = [chance.choice(WORDS) for _ in range(chance.randint(0, 6))]
        if line[:1] == ["list"]:
            line.append("--no-such")
        status = main(line)
        out, err = capsys.readouterr()
        assert status == 2, line
        assert "Traceback" not in out + err
        lines = [text for text in err.splitlines() if "on the command line can be read by" not in text]
        assert len(lines) == 1 and lines[0].startswith("kernel-bridge: "), (line, err)
        if "--json" in line:
            jsonschema.validate(json.loads(out), SCHEMA)
        else:
            assert not out


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["exec", "--code-file", "/no/such/file"], "No such file"),
        (["exec", "--code", "1", "--timeout", "-1"], "is not a duration: use seconds (30), 5m or 2h, or "),
        (["exec", "--code", "1", "--reconnect-timeout", "soon"], "is not a duration: use seconds (30), 5m or 2h, or "),
        (
            ["exec", "--code", "1", "--reconnect-timeout", "0"],
            "'0' is not a duration: use seconds (30), 5m or 2h, or none",
        ),
        (["exec", "--code", "1", "--token", "x"], "go with --base-url"),
        (["exec", "--code", "1", "--base-url", "localhost:8888"], "http://localhost:8888/ or https://"),
        (
            ["exec", "--code", "1", "--base-url", "http://127.0.0.1:1/"],
            "nothing is listening on 127.0.0.1:1: the server has stopped, or the URL is wrong",
        ),
        (["exec", "--code", "1", "--base-url", "http://127.0.0.1:1/", "--token", "env:NOT_SET_AT_ALL"], "not set"),
    ],
)
def test_each_mistake_is_explained(
    line: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    assert main(line) == 2
    assert says in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["exec", "--help"])
    assert ended.value.code == 0
    assert 'kernel-bridge exec analysis -c "df.shape"' in capsys.readouterr().out


def test_it_imports_no_ipython() -> None:
    code = "import sys; from kernel_bridge_magic.cli.main import main; main(['list']); print('IPython' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_jupyter_knows_the_command() -> None:
    assert os.path.exists(os.path.join(os.path.dirname(sys.executable), "jupyter-kernel-bridge"))


def test_code_has_an_end_wherever_it_is_read_from(tmp_path: Path) -> None:
    """A process that may have 1 GB: what is read without an end does not fit."""
    huge, tight, folder, fifo = (tmp_path / name for name in ("huge", "tight", "folder", "fifo"))
    with huge.open("wb") as file:
        file.truncate(10 << 30)
    tight.write_bytes(b"#" * (64 << 20))
    folder.mkdir()
    os.mkfifo(fifo)
    too_long = "is longer than 64 MiB, so nothing was sent"
    cases = {
        "exec --code-file /dev/zero": too_long,
        f"exec --code-file {huge}": too_long,
        "exec --json --code-file /dev/zero": too_long,
        "exec --code-stdin </dev/zero": too_long,
        f"exec --code-file {fifo} & exec 3>{fifo}; yes >&3": too_long,
        f"exec --code-file {folder}": "Is a directory",
        f"exec --code-file {tight}": "no kernel",
        f"exec --code-file {fifo} & echo 1 >{fifo}; wait $!": "no kernel",
    }
    env = private_env(tmp_path / "home")
    for line, says in cases.items():
        shell = f"ulimit -v 1000000; {shlex.join(command())} {line}"
        done = subprocess.run(["bash", "-c", shell], env=env, capture_output=True, text=True, timeout=60, check=False)
        wrong = [text for text in done.stderr.splitlines() if text.startswith("kernel-bridge: ")]
        assert len(wrong) == 1 and says in wrong[0], (line, done.stderr)
        assert "Traceback" not in done.stderr
        if "--json" in line:
            assert parsed(done)["error"]["name"] == "BadInput"


def drawn(sent: str) -> list[tuple[str, bool]]:
    """The lines that a terminal shows of what it was sent, and whether all letters of each have its usual colours."""
    screen = pyte.Screen(200, 40)
    pyte.Stream(screen).feed(sent)
    lines = []
    for row, line in enumerate(screen.display):
        letters = [screen.buffer[row][column] for column in range(len(line.rstrip()))]
        plain = all((letter.fg, letter.bg, letter.reverse) == ("default", "default", False) for letter in letters)
        lines.append((line.rstrip(), plain))
    return [line for line in lines if line[0]]


@pytest.mark.parametrize("left", ["\x1b[8;30;40m", "said\x1b[7m", "\x1b[3"], ids=["concealed", "in a line", "half"])
def test_what_a_kernel_leaves_open_conceals_neither_its_prompt_s_label_nor_its_fate(left: str, tmp_path: Path) -> None:
    asked = threading.Event()

    def script(cell: Any) -> None:
        cell.busy()
        cell.print("first\n" + left)
        cell.send("stdin", "input_request", {"prompt": "Password:", "password": True})
        asked.wait(30)
        cell.print("second\n" + left)
        cell.iopub("status", {"execution_state": "dead"})

    with HostileServer(script) as server:
        argv = command("exec", "--base-url", server.url, "--kernel-id", "scripted", "--code", "run")
        env = {**private_env(tmp_path), "TERM": "xterm-256color"}
        child = pexpect.spawn(argv[0], argv[1:], env=env, encoding="utf-8", timeout=60, dimensions=(40, 200))
        child.expect_exact("Password:")
        shown = drawn(f"{child.before}Password:")
        child.sendline("secret")
        wait_for(lambda: any(m.msg_type == "input_reply" for m in server.received), "the answer")
        asked.set()
        child.expect(pexpect.EOF)
        rest = drawn(str(child.before))
        child.close()
    assert shown[0] == ("first", True)
    label = next(line for line in shown if "scripted" in line[0])
    assert label[0].startswith("[") and label[0].endswith("Password:") and label[1], shown
    fate = rest[-1]
    told = "kernel-bridge: scripted: its kernel process ended for good during this cell. Its variables are gone"
    assert fate == (told, True), rest

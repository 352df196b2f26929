"""`kernel-bridge interrupt`, `restart`, `shutdown` and `start`, as processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kernel_bridge_magic.contract import json_contract
from tests.support.asked import answered
from tests.support.forked import Forked
from tests.support.hostile import HostileServer
from tests.support.servers import ConsoleKernel, JupyterServer, private_env, wait_for

SCHEMA = json.loads((Path(json_contract.__file__).parent / "contract.schema.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def forked(jupyter_server: JupyterServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forked]:
    folder = tmp_path_factory.mktemp("life")
    with Forked(private_env(folder / "user", jupyter_server.runtime_dir), folder / "streams") as forked:
        yield forked


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "kernel_bridge_magic", *arguments]


def parsed(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON object on stdout, which is as the schema says."""
    model: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(model, SCHEMA)
    return model


def test_a_kernel_from_its_start_to_its_end(forked: Forked, jupyter_server: JupyterServer, shared_kernel: str) -> None:
    where = f"localhost:{jupyter_server.port}"
    forked.run("exec", "shared", "-c", "beside = 3")
    done = forked.run("start", "python3", "--name", "from-a-command")
    told = f"started from-a-command on {where}: kernel-bridge exec from-a-command -c CODE runs code in it"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"kernel-bridge: {told}\n")
    assert forked.run("exec", "from-a-command", "-c", "life = 1; life").stdout == "1\n"
    done = forked.run("restart", "from-a-command", "--yes")
    assert done.returncode == 0 and done.stderr.endswith(" s; its variables are gone\n"), done.stderr
    assert forked.run("exec", "from-a-command", "-c", "'life' in globals()").stdout == "False\n"
    done = forked.run("shutdown", "from-a-command", "--yes")
    assert (done.returncode, done.stderr) == (0, "kernel-bridge: shut down from-a-command\n")
    assert forked.run("exec", "from-a-command", "-c", "1").returncode == 2
    assert forked.run("exec", "shared", "-c", "beside").stdout == "3\n", "the other kernel is as it was"


def test_json_has_what_was_done(forked: Forked) -> None:
    started = parsed(forked.run("start", "python3", "--name", "from-json", "--json"))
    kernel = started["kernel"]
    assert (started["status"], started["action"], kernel["name"]) == ("ok", "started", "from-json")
    assert kernel["display_name"] and kernel["language"] == "python"
    for verb, action in (("restart", "restarted"), ("shutdown", "shut down")):
        refused = forked.run(verb, "from-json", "--json")
        model = parsed(refused)
        assert (refused.returncode, model["status"], model["kernel"]["id"]) == (2, "error", kernel["id"])
        assert model["error"]["message"].endswith("nothing was done to from-json. Add --yes to do it")
        done = forked.run(verb, kernel["id"], "--json", "--yes")
        model = parsed(done)
        assert (done.returncode, model["action"], model["kernel"]["id"]) == (0, action, kernel["id"])
        assert model["seconds"] > 0 and not done.stderr
    gone = forked.run("shutdown", "from-json", "--json", "--yes")
    assert (gone.returncode, parsed(gone)["error"]["name"]) == (2, "KernelNotFound")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (["restart", "shared"], "nobody can be asked here, so nothing was done to shared.ipynb. Add --yes to do it"),
        (["shutdown", "shared"], "nobody can be asked here, so nothing was done to shared.ipynb. Add --yes to do it"),
        (["restart", "--yes", "share"], "'share' is not the whole name of a kernel, so nothing was restarted. Did you"),
        (["shutdown", "--yes", "re:share"], "not the whole name of a kernel, so nothing was shut down. Did you"),
        (["restart", "--yes", "#1"], "#1 is a row of a listing in a notebook. Here, name the kernel by its path or id"),
        (["start", "shared.ipynb"], "To run code in it: kernel-bridge exec shared.ipynb -c CODE"),
        (["start", "python3", "--name", "shared"], "use that one: kernel-bridge exec shared -c CODE"),
        (["start", "python3", "--name", "a b"], "'a b' cannot be a kernel's name"),
        (["start", "no-such-kind"], "has no kernel called 'no-such-kind', so nothing was started. It has: "),
        (["restart"], "which kernel? Write kernel-bridge restart NAME; kernel-bridge list lists them"),
        (["start"], "what is to be started? Write kernel-bridge start north.ipynb, or a kernel's kind: python3"),
        (["start", "python3", "twice"], "unexpected argument 'twice'"),
        (["shutdown", "a", "b"], "unexpected argument 'b'; did you mean `shutdown 'a b'`?"),
    ],
)
def test_what_is_refused_is_one_line_and_changes_nothing(
    forked: Forked, jupyter_server: JupyterServer, shared_kernel: str, line: list[str], says: str
) -> None:
    before = {it["id"] for it in jupyter_server.rest("GET", "api/kernels")}
    forked.run("exec", "shared", "-c", "beside = 4")
    done = forked.run(*line)
    assert done.returncode == 2 and not done.stdout
    assert says in done.stderr and done.stderr.count("\n") == 1
    assert forked.run("exec", "shared", "-c", "beside").stdout == "4\n"
    assert {it["id"] for it in jupyter_server.rest("GET", "api/kernels")} == before


def test_somebody_at_a_terminal_is_asked(forked: Forked, own_kernel: str) -> None:
    forked.run("exec", own_kernel, "-c", "life = 5")
    question = "[y/N] "
    status, before, _ = answered(command("restart", own_kernel), forked.env, question, "n", "nothing was done to")
    assert status == 2 and before.startswith("restart own-")
    status, _, _ = answered(
        command("shutdown", own_kernel), forked.env, question, "\x03", "interrupted; nothing was done"
    )
    assert status == 130
    assert forked.run("exec", own_kernel, "-c", "life").stdout == "5\n"
    status, _, after = answered(command("restart", own_kernel), forked.env, question, "y", "restarted own-")
    assert status == 0 and after.rstrip().endswith("s; its variables are gone")
    assert forked.run("exec", own_kernel, "-c", "'life' in globals()").stdout == "False\n"


def test_without_a_server(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    with (
        ConsoleKernel(runtime, "4711") as console,
        Forked(private_env(tmp_path / "user", runtime), tmp_path / "streams") as alone,
    ):
        refused = alone.run("start", "python3")
        assert refused.returncode == 2 and "would end with this command" in refused.stderr
        refused = alone.run("restart", "kernel-4711", "--yes")
        assert refused.returncode == 2 and "cannot be restarted from here: it has no server" in refused.stderr
        assert alone.run("exec", "kernel-4711", "-c", "6 * 7").stdout == "42\n"
        done = alone.run("shutdown", "kernel-4711", "--yes")
        assert done.returncode == 0 and done.stderr.startswith("kernel-bridge: shut down ")
        wait_for(lambda: console.process.poll() is not None, "its end")


@pytest.mark.parametrize(
    ("verb", "number", "status"),
    [("restart", signal.SIGINT, 130), ("restart", signal.SIGTERM, 143), ("interrupt", signal.SIGINT, 130)],
)
def test_ctrl_c_ends_the_wait_for_a_server(tmp_path: Path, verb: str, number: signal.Signals, status: int) -> None:
    with HostileServer() as hostile:
        hostile.state = "busy"
        hostile.kernels[0]["execution_state"] = "busy"
        waiting: list[subprocess.Popen[str]] = []

        def act(request: object) -> None:
            waiting[0].send_signal(number)
            waiting[0].wait(30)  # before it has an answer

        hostile.paths[f"/api/kernels/scripted/{verb}"] = act
        yes = ["--yes"] if verb == "restart" else []
        line = command(verb, "scripted", *yes, "--json", "--base-url", hostile.url)
        env = private_env(tmp_path, tmp_path / "none")
        waiting.append(subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        out, err = waiting[0].communicate(timeout=60)
        assert waiting[0].returncode == status
        assert err.endswith(f"; scripted may still be {verb}ed\n") and err.count("\n") == 1
        model = json.loads(out)
        jsonschema.validate(model, SCHEMA)
        assert model["kernel"]["id"] == "scripted"

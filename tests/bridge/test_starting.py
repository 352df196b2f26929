"""Starting kernels: what is meant by a word, who starts it, and what is not started."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.starting import Wanted, wanted
from kernel_bridge_magic.errors import BadInput, KernelNotFound, ServerError
from kernel_bridge_magic.faces import COMMAND_LINE, MAGICS
from kernel_bridge_magic.reports import Listing
from kernel_bridge_magic.servers.entries import Entry
from tests.support.hostile import JSON, HostileServer
from tests.support.servers import JupyterServer
from tests.support.told import told

NOTEBOOK = {"cells": [], "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}

# -- what is asked for


@pytest.mark.parametrize(
    ("what", "name", "means"),
    [
        ("north.ipynb", "", Wanted(notebook="north.ipynb")),
        ("students/north.ipynb", "n", Wanted(notebook="students/north.ipynb", name="n")),
        ("./a//b.ipynb", "", Wanted(notebook="a/b.ipynb")),
        ("/home/me/b.ipynb", "", Wanted(notebook="/home/me/b.ipynb")),
        ('"my notebook.ipynb"', "", Wanted(notebook="my notebook.ipynb")),
        ("python3", "", Wanted(spec="python3")),
        (" ir ", "größe-2.x", Wanted(spec="ir", name="größe-2.x")),
    ],
)
def test_what_is_to_be_started(what: str, name: str, means: Wanted) -> None:
    assert wanted(what, name) == means


@pytest.mark.parametrize(
    "name", ["a b", "#2", "-x", "re:x", "lab::x", "a,b", "../x", "a/b", "$x", '"x"', ".", "\x1b[2J"]
)
def test_a_name_that_could_not_be_typed_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="cannot be a kernel's name: use letters"):
        wanted("python3", name)


@pytest.mark.parametrize("what", ["", "  ", "''"])
def test_nothing_is_refused(what: str) -> None:
    with pytest.raises(BadInput, match=r"^which one"):
        wanted(what)


@pytest.mark.parametrize(
    "what", ["http://lab/notebooks/a.ipynb?token=abc", "lab/tree/a.ipynb?TOKEN=abc", "file:///a.ipynb"]
)
def test_a_url_is_refused_and_its_token_not_shown(what: str) -> None:
    with pytest.raises(BadInput, match=r"^a URL is no notebook's path\. Write the path from") as refused:
        wanted(what)
    assert "abc" not in str(refused.value)


# -- a server that does what a test says


def test_what_is_open_or_taken_is_not_started(bridge: Bridge, hostile: HostileServer) -> None:
    hostile.sessions = [
        {"path": "students/north.ipynb", "name": "north.ipynb", "type": "notebook", "kernel": hostile.kernels[0]}
    ]
    for path in ("students/north.ipynb", "./students/north.ipynb"):
        line = told(functools.partial(bridge.starting.start, wanted(path), as_child=True))
        assert line == (
            "students/north.ipynb is open already, so nothing was started. To run code in it: "
            "%%remote students/north.ipynb"
        )
    line = told(lambda: bridge.starting.start(wanted("python3", "north"), as_child=True))
    assert line == (
        "a kernel is called north already, so nothing was started. Give another --name, or use that one: %%remote north"
    )
    own = dataclasses.replace(bridge.find("north"), is_this_kernel=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bridge.search, "look", lambda *given: Listing((own,)))
        line = told(lambda: bridge.starting.start(wanted("students/north.ipynb"), as_child=True))
    assert line.endswith("is open already, so nothing was started. It is this kernel's own notebook")
    line = told(lambda: bridge.starting.start(wanted("julia"), as_child=True))
    assert line == "lab has no kernel called 'julia', so nothing was started. It has: ir, python3"
    line = told(lambda: bridge.starting.start(wanted("north.ipynb"), as_child=True))
    assert line == "lab has no notebook north.ipynb; write its path from the server's root"
    assert not [request for request in hostile.requests if request[0] != "GET"]


def test_a_server_that_does_not_answer_may_still_start_it(
    bridge: Bridge, hostile: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kernel_bridge_magic.servers import rest

    monkeypatch.setattr(rest, "SLOW_SECONDS", 3.1)
    let_go = threading.Event()

    def start(request: Any) -> Any:
        if request.method == "GET":
            return 200, JSON, "[]"
        let_go.wait(30)
        return 200, JSON, "{}"

    hostile.paths["/api/sessions"] = start
    line = told(lambda: bridge.starting.start(wanted("python3", "scratch"), as_child=True))
    let_go.set()
    assert line == "lab: no answer within 3.1 s; it may still start the kernel, and %kernels shows it then"


def test_several_servers_are_asked_for_and_listed(hostile: HostileServer) -> None:
    with HostileServer() as second, HostileServer() as broken:
        broken.paths["/api/kernels"] = 500, {}, ""
        urls = ", ".join(sorted([hostile.url, second.url]))
        for face, named in ((MAGICS, "-s NAME: gpu, lab"), (COMMAND_LINE, f"--base-url URL: {urls}")):
            with contextlib.closing(Bridge(face=face)) as bridge:
                for name, server in (("lab", hostile), ("gpu", second), ("broken", broken)):
                    bridge.add_server(Entry(name, server.url))
                line = told(lambda: bridge.starting.start(wanted("python3"), as_child=True))
                assert line == f"2 servers are in reach, so nothing was started. Choose one with {named}"
                with pytest.raises(ServerError, match="broken"):
                    bridge.starting.start(wanted("python3"), "broken", as_child=True)
                assert "no server is called 'nosuch'" in told(
                    lambda: bridge.starting.start(wanted("ir"), "nosuch", as_child=True)
                )


def test_without_a_server_a_command_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    with contextlib.closing(Bridge(face=COMMAND_LINE)) as bridge:
        assert told(lambda: bridge.starting.start(wanted("python3"), as_child=False)) == (
            "no server is in reach, and a kernel without one would end with this command. Start a Jupyter server, or "
            "name one with --base-url URL"
        )
        for path, why in (
            ("missing.ipynb", "No such file or directory"),
            (str(tmp_path / "b.ipynb"), "not a notebook"),
        ):
            (tmp_path / "b.ipynb").write_text("oops")
            assert f"cannot be read ({why}), so nothing was started" in told(
                functools.partial(bridge.starting.start, wanted(path), as_child=True)
            )


# -- a real server


def test_a_kernel_is_started_found_and_ended(
    at_home: Bridge, jupyter_server: JupyterServer, shared_kernel: str
) -> None:
    folder = jupyter_server.root / "life"
    folder.mkdir(exist_ok=True)
    for name, spec in (("north", "python3"), ("shell", "bash")):
        (folder / f"{name}.ipynb").write_text(json.dumps(NOTEBOOK | {"metadata": {"kernelspec": {"name": spec}}}))
    (folder / "lost.ipynb").write_text(json.dumps(NOTEBOOK | {"metadata": {"kernelspec": {"name": "no-such"}}}))
    before = {it["id"] for it in jupyter_server.rest("GET", "api/kernels")}
    with pytest.raises(KernelNotFound):
        at_home.find("scratch-life")
    started = [
        at_home.starting.start(wanted("life/shell.ipynb"), as_child=True),
        at_home.starting.start(wanted("python3", "scratch-life"), as_child=True),
        at_home.starting.start(wanted("bash"), jupyter_server.url, as_child=True),
    ]
    assert [it.kernel.name for it in started] == ["bash", "python3", "bash"], "a notebook says itself which it wants"
    assert [it.select for it in started[:2]] == ["life/shell.ipynb", "scratch-life"]
    for it in started:
        assert at_home.find(it.select).id == it.kernel.id
    assert at_home.find("shell").id == started[0].kernel.id
    assert told(lambda: at_home.starting.start(wanted("life/lost.ipynb"), as_child=True)).endswith(
        " has no kernel called 'no-such', so nothing was started. It has: bash, deno, ir, python3"
    )
    scratch = at_home.find_to("shutdown", "scratch-life")
    connection = at_home.pool.connect(scratch)
    assert connection.execute("6 * 7", timeout=60).text == "42"
    at_home.life.shutdown(scratch)
    assert not connection.is_open and not at_home.pool.known(scratch)
    with pytest.raises(KernelNotFound):
        at_home.find("scratch-life")
    assert told(lambda: at_home.life.shutdown(scratch)).endswith(" any more; list the kernels again")
    for it in (started[0], started[2]):
        at_home.life.shutdown(it.kernel)
    assert {it["id"] for it in jupyter_server.rest("GET", "api/kernels")} == before

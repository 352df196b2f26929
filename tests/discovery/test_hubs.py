"""A hub as JupyterHub 6.1 answers, by raw sockets; `python -m tests.servers` asks a real one the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from kernel_bridge_magic.auth import Secret, Vault
from kernel_bridge_magic.discovery import look
from kernel_bridge_magic.doctor import check
from kernel_bridge_magic.levels import is_server
from kernel_bridge_magic.models import Listing, Server
from kernel_bridge_magic.urls import parse_base_url
from tests.support.raw import RawServer, http

TOKENS = {"of-ann": "ann", "of-bob": "bob", "no-list": "ann"}
CANARY = "canary-hub1"
KERNEL = json.dumps([{"id": "3f9c1c0e-0000-4000-8000-000000000001", "name": "python3"}]).encode()


class Hub(RawServer):
    """ann has a default server that is stopped, and `gpu`, which runs; bob's runs."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.running = {"/base/user/ann/gpu/": "ann", "/base/user/bob/": "bob", "/base/user/ann@x/": "ann@x"}
        self.servers: Any = {
            "": {"name": "", "ready": False, "stopped": True, "pending": None, "url": "/base/user/ann/"},
            "gpu": {"name": "gpu", "ready": True, "pending": None, "url": "/base/user/ann/gpu/"},
        }

    def _answer(self, connection: socket.socket, request: bytes) -> None:
        path = request.split(b" ")[1].decode()
        token = request.partition(b"Authorization: token ")[2].partition(b"\r\n")[0].decode()
        connection.sendall(self._reply(path, token))

    def _reply(self, path: str, token: str) -> bytes:
        if path == "/base/hub/api":
            return http(body=b'{"version": "6.1.1"}')
        if path.startswith("/base/hub/api/user?"):
            if token not in TOKENS:
                return http("403 Forbidden", b'{"status": 403}')
            servers = {} if token == "no-list" else {"servers": self.servers}
            return http(body=json.dumps({"name": TOKENS[token], "kind": "user", **servers}).encode())
        for base, user in self.running.items():
            if path.startswith(base):
                if TOKENS.get(token) != user:
                    return http("403 Forbidden", b"{}")
                return http(body=KERNEL if path.endswith("kernels") else b"[]")
        return http("302 Found", b"", Location=f"/base/hub{path.removeprefix('/base')}")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[Hub]:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with Hub() as made:
        yield made


def added(hub: Hub, path: str, token: str, **more: Any) -> tuple[Server, Vault]:
    base = parse_base_url(f"http://127.0.0.1:{hub.port}{path}")
    vault = Vault()
    if token:
        vault.put(base.origin, Secret(token))
    return Server(base.url, "hub", base.origin, **more), vault


def seen(hub: Hub, path: str, token: str, **more: Any) -> Listing:
    server, vault = added(hub, path, token, **more)
    return look([server], vault)


def problem(listing: Listing) -> str:
    (report,) = listing.servers
    assert report.remedy
    return report.problem


@pytest.mark.parametrize("path", ["/base/", "/base/hub/home", "/base/hub/token"])
def test_a_hub_s_url_means_all_servers_of_its_user(hub: Hub, path: str) -> None:
    listing = seen(hub, path, "of-ann", ca_file="/ca.pem", trusted=True)
    gpu, stopped = listing.servers
    assert (gpu.server.name, gpu.kernels, gpu.problem) == ("hub/gpu", 1, "")
    assert (stopped.server.name, stopped.problem) == ("hub", "it is stopped")
    assert stopped.remedy.endswith("/base/hub/home")
    assert gpu.server.url.endswith("/base/user/ann/gpu/")
    assert (gpu.server.ca_file, gpu.server.trusted) == ("/ca.pem", True)
    (kernel,) = listing.kernels
    assert kernel.server == gpu.server
    # By the hub's name or URL all of them are meant.
    base = f"http://127.0.0.1:{hub.port}/base/"
    assert all(is_server(name, gpu.server) for name in ("hub", "hub/gpu", base, gpu.server.url))


def test_what_else_a_hub_may_say(hub: Hub) -> None:
    assert "may not list servers" in problem(seen(hub, "/base/", "no-list"))
    assert "does not know this token" in problem(seen(hub, "/base/", "wrong"))
    assert "wants a token" in problem(seen(hub, "/base/", ""))
    hub.servers = {}
    assert "none of its servers is running" in problem(seen(hub, "/base/", "of-ann"))
    hub.servers = {"": {"name": "", "ready": False, "pending": "spawn", "url": "/base/user/ann/"}}
    assert "starting or stopping" in problem(seen(hub, "/base/", "of-ann"))


@pytest.mark.parametrize(
    "url", ["//evil.example/user/ann/", "http://evil.example/", "/x\\y/user/a/", None, "/elsewhere/"]
)
def test_a_hub_cannot_send_the_token_elsewhere(hub: Hub, url: Any) -> None:
    hub.servers = {"": {"name": "", "ready": True, "url": url}}
    listing = seen(hub, "/base/", "of-ann")
    assert listing.kernels == ()
    assert {report.server.origin[:3] for report in listing.servers} == {("http", "127.0.0.1", hub.port)}


def test_a_stopped_server_by_its_own_url(hub: Hub) -> None:
    assert problem(seen(hub, "/base/user/ann/", "of-ann")) == "its server is stopped"


def test_another_user_s_server_gets_nothing(hub: Hub) -> None:
    said = problem(seen(hub, "/base/user/bob/", "of-ann"))
    assert said == "it is the server of bob, who would get the token of ann: nothing was sent"
    checkup = check(*added(hub, "/base/user/bob/", "of-ann"))
    assert [step.name for step in checkup.steps if step.ok is False] == ["auth"]
    sent = [head for head in hub.requests if b"/user/bob/" in head]
    assert sent and not [head for head in sent if b"of-ann" in head]
    # Who is meant to get it gets it, and --trust says that both are one.
    assert len(seen(hub, "/base/user/bob/", "of-bob").kernels) == 1
    assert "token not accepted" in problem(seen(hub, "/base/user/bob/", "of-ann", trusted=True))


def test_it_is_asked_once_whose_token_it_is(hub: Hub) -> None:
    server, vault = added(hub, "/base/user/ann/gpu/", "of-ann")
    for _ in range(3):
        assert len(look([server], vault).kernels) == 1
    assert len([head for head in hub.requests if b"/hub/api/user" in head]) == 1
    vault.put(server.origin, Secret("of-bob"))  # another token may be another user's
    assert look([server], vault).kernels == ()


def test_names_that_are_encoded_in_the_path(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOKENS, "of-x", "ann@x")
    assert len(seen(hub, "/base/user/ann@x/", "of-x").kernels) == 1
    monkeypatch.setitem(TOKENS, "of-x", "ann x")
    hub.running["/base/user/ann%20x/"] = "ann x"
    assert len(seen(hub, "/base/user/ann%20x/", "of-x").kernels) == 1


def test_a_token_that_the_hub_does_not_know_goes_no_further(hub: Hub) -> None:
    assert "does not know this token" in problem(seen(hub, "/base/user/bob/", CANARY))
    assert not [head for head in hub.requests if b"/user/bob/" in head]


def test_a_check_of_a_hub_says_what_the_hub_says(hub: Hub) -> None:
    steps = {step.name: step for step in check(*added(hub, "/base/", "no-list")).steps}
    assert steps["base URL"].seen.endswith("a JupyterHub")
    assert steps["auth"].seen == "this token may not list servers"


def test_a_path_like_a_hub_s_without_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    answers = {"kernels": http(body=KERNEL), "sessions": http(), "kernelspecs": http(body=b"{}")}
    with RawServer(answers) as raw:
        base = parse_base_url(f"http://127.0.0.1:{raw.port}/user/bob/")
        vault = Vault()
        vault.put(base.origin, Secret("any"))
        assert len(look([Server(base.url, "x", base.origin)], vault).kernels) == 1

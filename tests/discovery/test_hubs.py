"""A hub as JupyterHub 6.1 answers, by raw sockets; `python -m tests.real` asks a real one the same."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from kernel_bridge_magic.access.urls import is_server, parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.doctor import check
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.errors import KernelBridgeError
from kernel_bridge_magic.models import Server
from kernel_bridge_magic.reports import Listing
from tests.support.raw import RawServer, http

TOKENS = {"of-ann": "ann", "of-bob": "bob", "no-list": "ann"}
CANARY = "canary-hub1"
KERNEL = json.dumps([{"id": "3f9c1c0e-0000-4000-8000-000000000001", "name": "python3"}]).encode()


class Hub(RawServer):
    """ann has a default server that is stopped, and `gpu`, which runs; bob's runs."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.says = b""  # in the place of all that the hub itself says
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
        if self.says and path.startswith("/base/hub/"):
            return self.says
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
    assert problem(seen(hub, "/base/", "wrong")) == "the hub does not know this token (403)"
    (none,) = seen(hub, "/base/", "").servers
    page = f"http://127.0.0.1:{hub.port}/base/hub/token"
    assert none.problem == "this hub wants a token"
    assert none.remedy == f"make one on {page}, and give it with --token env:VAR"
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
    assert said == "it is the server of bob, who would get the token of ann, so nothing was sent"
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
    assert problem(seen(hub, "/base/user/bob/", CANARY)) == "the hub does not know this token (403)"
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


# -- nothing goes to another user's server, whatever the hub does and however the URL is spelt


def sent_to(hub: Hub, path: str) -> list[bytes]:
    """The requests for something below a path that had a token."""
    return [head for head in hub.requests if path.encode() in head.partition(b"\r\n")[0] and b"Authorization" in head]


@pytest.mark.parametrize(
    "answer",
    [
        http("503 Service Unavailable", b"{}"),
        http("429 Too Many Requests", b"{}"),
        http("302 Found", b"", Location="https://sso.example/"),
        http("403 Forbidden", b"{}"),
    ],
)
@pytest.mark.parametrize("how", ["look", "reach", "by id", "check"])
def test_a_hub_that_does_not_say_is_no_reason_to_send_anything(hub: Hub, answer: bytes, how: str) -> None:
    hub.says = answer
    server, vault = added(hub, "/base/user/bob/", "of-ann")
    if how == "look":
        assert look([server], vault).servers[0].problem
    elif how == "check":
        assert any(step.ok is False for step in check(server, vault).steps)
    else:
        bridge = Bridge()
        bridge.vault.put(server.origin, Secret("of-ann"))
        with pytest.raises(KernelBridgeError):
            bridge.reach(server.url) if how == "reach" else bridge.find_by_id("3f9c", server.url)
        bridge.close()
    assert not sent_to(hub, "/user/bob/")
    hub.says = b""  # it is back, and nothing was concluded from its silence
    assert "server of bob" in problem(look([server], vault))
    assert not sent_to(hub, "/user/bob/")


@pytest.mark.parametrize(
    "path",
    [
        "/base/user/bob/files/x.ipynb",
        "/base/user/bob/proxy/8888/",
        "/base/%75ser/bob/",
        "/base/user/%62ob/",
        "/base/user/bob/user/ann/",
    ],
)
def test_the_spelling_of_a_url_does_not_matter(hub: Hub, path: str) -> None:
    assert "it is the server of bob" in problem(seen(hub, path, "of-ann"))
    assert {head.split(b" ")[1].split(b"?")[0] for head in hub.requests if b"Authorization" in head} == {
        b"/base/hub/api/user"
    }


def test_the_hub_is_asked_with_the_very_token_that_would_be_sent(hub: Hub) -> None:
    base = parse_base_url(f"http://127.0.0.1:{hub.port}/base/")
    server, vault = added(hub, "/base/user/bob/", "of-bob")
    vault.put(base.origin, Secret("of-ann"))
    assert len(look([server], vault).kernels) == 1
    server, vault = added(hub, "/base/user/bob/", "of-ann")
    vault.put(base.origin, Secret("of-bob"))
    assert "server of bob" in problem(look([server], vault))
    assert vault.headers(base.origin)["Authorization"] == "token of-bob"


@pytest.mark.parametrize("name", [None, "", 7])
def test_a_hub_that_names_nobody_is_not_believed(hub: Hub, name: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TOKENS, "of-nobody", name)
    assert "does not say whose token" in problem(seen(hub, "/base/user/bob/", "of-nobody"))
    assert not sent_to(hub, "/user/bob/")


def test_a_hub_that_names_thousands_of_servers_gets_no_thousands_of_threads(hub: Hub) -> None:
    many = {
        str(n): {"name": f"s{n}", "ready": False, "pending": None, "url": f"/base/user/ann/s{n}/"} for n in range(2000)
    }
    hub.servers = many
    reports = seen(hub, "/base/", "of-ann").servers
    assert len(reports) == 101
    assert any(report.problem == "1900 more of its servers are not asked" for report in reports)


def test_a_surrogate_in_what_a_hub_says_is_left_out(hub: Hub) -> None:
    hub.servers = {"": {"name": "", "ready": True, "url": "/base/user/\ud800/"}}
    assert "none of its servers" in problem(seen(hub, "/base/", "of-ann"))


def test_a_server_of_a_hub_that_was_silent_is_not_asked_again_at_once(hub: Hub) -> None:
    server, vault = added(hub, "/base/", "of-ann")
    gpu = next(report.server for report in look([server], vault).servers if report.server.name == "hub/gpu")
    hub.requests.clear()
    listing = look([server], vault, skip={gpu.origin: "did not answer"})
    assert "did not answer" in [report.problem for report in listing.servers]
    assert not sent_to(hub, "/user/ann/gpu/")

"""`--check`: real servers, and scripted ones that are wrong at one step each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.doctor import STEPS, check
from kernel_bridge_magic.models import Origin, Server
from kernel_bridge_magic.reports import Checkup, Step
from tests.support.ports import free_port
from tests.support.raw import RawServer, http
from tests.support.servers import JupyterServer

CANARY = "canary-d0c7"
NONE = http("404 Not Found", b"{}")
JSON = {"api": http(body=b'{"version": "2.1"}'), "kernels": http(), "sessions": http(), "interrupt": NONE}


def known(url: str, token: str = "", **more: object) -> tuple[Server, Vault]:
    base = parse_base_url(url)
    vault = Vault()
    if token:
        vault.put(base.origin, Secret(token))
    return Server(base.url, "lab", base.origin, **more), vault  # type: ignore[arg-type]


def by_name(checkup: Checkup) -> dict[str, Step]:
    assert [step.name for step in checkup.steps] == sorted((s.name for s in checkup.steps), key=STEPS.index)
    assert set(STEPS) == {step.name for step in checkup.steps}
    for step in checkup.steps:
        assert "\n" not in step.seen + step.remedy and CANARY not in step.seen + step.remedy
        assert step.seen
    return {step.name: step for step in checkup.steps}


def failed(checkup: Checkup) -> Step:
    """The one step that failed; nothing behind it is said to have worked."""
    by_name(checkup)
    (step,) = [step for step in checkup.steps if step.ok is False]
    assert not checkup.ok
    return step


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with JupyterServer(tmp_path_factory.mktemp("doctor"), base_url="/a/b%20c/") as server:
        yield server


def test_a_server_where_all_is_well(server: JupyterServer) -> None:
    kernel_id = server.start_kernel(path="a.ipynb")
    before = server.log_text().count("/channels")
    steps = by_name(checkup := check(*known(server.url, server.token)))
    assert checkup.ok
    assert all(step.ok for name, step in steps.items() if name != "TLS")
    assert (steps["TLS"].ok, steps["DNS"].seen) == (None, "127.0.0.1")
    assert f"pid {server.pid}" in steps["peer"].seen
    assert "version 2." in steps["base URL"].seen
    assert steps["kernels"].seen == "1 kernel, 1 session"
    assert steps["WebSocket"].seen == "opened (the server's events)"
    # A kernel's own WebSocket is left alone: opening it would throw a closed tab's output away.
    assert server.log_text().count("/channels") == before
    server.delete_kernel(kernel_id)


def test_a_server_that_was_found_here(server: JupyterServer) -> None:
    where, vault = known(server.url, server.token, source="runtime", pid=server.pid)
    assert by_name(check(where, vault))["peer"].seen == f"process {server.pid}, ours, as its runtime file says"
    assert failed(check(replace(where, pid=os.getpid()), vault)).name == "peer"


def test_a_wrong_base_url_is_told_the_right_one(tmp_path: Path) -> None:
    with JupyterServer(tmp_path) as there:
        where, vault = known(f"{there.url}wrong/", there.token)
        step = failed(check(where, vault))
        assert step.name == "base URL"
        assert there.url in step.remedy


def test_a_wrong_token_and_none(server: JupyterServer) -> None:
    step = failed(check(*known(server.url, CANARY)))
    assert (step.name, step.seen) == ("auth", "token not accepted (403)")
    step = failed(check(*known(server.url)))
    assert (step.name, step.seen) == ("auth", "it wants a token or password (403)")
    step = failed(check(*known(server.url), unready="the environment variable LAB is not set"))
    assert (step.name, step.seen) == ("auth", "the environment variable LAB is not set")


def test_a_password_and_an_open_server_on_a_socket(tmp_path: Path) -> None:
    with JupyterServer(tmp_path / "pw", token="", password="pass word") as there:
        where, vault = known(there.url)
        vault.put_password(where.origin, lambda: Secret("pass word"))
        steps = by_name(check(where, vault))
        assert (steps["auth"].seen, steps["XSRF"].ok, steps["WebSocket"].ok) == ("password accepted", True, True)
    path = str(tmp_path / "j.sock")
    with JupyterServer(tmp_path / "open", sock=path, token=""):
        origin = Origin("unix", path, 0, "/")
        steps = by_name(check(Server("http://localhost/", "sock", origin, socket_path=path), Vault()))
        assert "everybody" in steps["auth"].seen
        assert f"uid {os.getuid()}" in steps["peer"].seen
        assert steps["XSRF"].seen == "our cookie and header are accepted"
        assert steps["WebSocket"].ok


def test_tls_step_by_step(tmp_path: Path) -> None:
    cert, key, ca = (str(tmp_path / name) for name in ("cert", "key", "ca"))
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(key)
    issued.cert_chain_pems[0].write_to_path(cert)
    authority.cert_pem.write_to_path(ca)
    with JupyterServer(tmp_path, certfile=key, keyfile=key) as there:
        where, vault = known(there.url, there.token)
        step = failed(check(where, vault))
        shown = subprocess.run(
            ["openssl", "x509", "-in", cert, "-noout", "-fingerprint", "-sha256"], capture_output=True, text=True
        ).stdout
        assert step.name == "TLS"
        assert shown.strip().partition("=")[2] in step.seen
        assert "--ca-file" in step.remedy
        steps = by_name(check(replace(where, ca_file=ca), vault))
        assert steps["TLS"].ok and "TLSv1." in steps["TLS"].seen and "holds until" in steps["TLS"].seen
        assert steps["WebSocket"].ok
        step = failed(check(*known(there.url.replace("https", "http"), there.token)))
        assert "https:// instead of http://" in step.seen + step.remedy


@pytest.mark.parametrize(
    ("answers", "name", "seen", "remedy"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "base URL", "broke off without an answer", "is its URL right"),
        (NONE, "base URL", "there is no Jupyter server at http://127.0.0.1:", "check the base URL"),
        (
            http(body=b"<html><form action='/login'>"),
            "base URL",
            "its answer is a login page",
            "give its token with --token env:VAR",
        ),
        (
            http(body=b"<html><h1>Grafana"),
            "base URL",
            "its answer is a web page, so this is no Jupyter server's base URL",
            "check the URL",
        ),
        (
            http(body=b'<html><meta http-equiv="refresh" content="0;url=http://wifi.example/login">'),
            "base URL",
            "its answer is a page that leads elsewhere",
            "network",
        ),
        (http("511 Network Authentication Required"), "base URL", "the network wants a login first (511)", "browser"),
        (http(body=b"pong"), "base URL", "its answer is not JSON", "is it a Jupyter server"),
        (http(body=b"[1]"), "base URL", "its answer is JSON of another shape", "is it a Jupyter server"),
        (http("302 Found", Location="/hub/user/ann/api"), "base URL", "its server is stopped", "hub/home"),
        (
            http("302 Found", Location="/login?next=x"),
            "base URL",
            "it redirects to another page of it to log in",
            "--token",
        ),
        (http("302 Found", Location="https://login.example/saml"), "base URL", "https://login.example", ""),
        (http("302 Found", Location="https://cdn.example/x"), "base URL", "https://cdn.example, which", "URL"),
        (http("424 Failed Dependency"), "base URL", "the server behind it is not running (424)", "start it"),
        (http("503 Service Unavailable"), "base URL", "the server behind it is not running (503)", "start it"),
        (http("500 Internal Server Error"), "base URL", "the server failed (500)", "log"),
        ({"api": JSON["api"], "kernels": http("403 Forbidden")}, "auth", "token not accepted (403)", "--token"),
        ({"api": http("401 Unauthorized")}, "auth", "(404)", "check"),
        ({**JSON, "interrupt": http("403 Forbidden")}, "XSRF", "reading is allowed", "--token"),
        ({**JSON, "sessions": http("500 Oops")}, "kernels", "the server failed (500)", "log"),
        ({**JSON, "subscribe": http("400 Bad Request")}, "WebSocket", "refused (400)", "Upgrade"),
        ({**JSON, "subscribe": http("403 Forbidden")}, "WebSocket", "refused (403)", "access:servers"),
        ({**JSON, "subscribe": b"\x00\x01"}, "WebSocket", "no WebSocket answers", "Upgrade"),
    ],
)
def test_each_wrong_answer_has_its_own_sentence(
    answers: bytes | dict[str, bytes], name: str, seen: str, remedy: str
) -> None:
    with RawServer(answers) as raw:
        step = failed(check(*known(f"http://127.0.0.1:{raw.port}/", CANARY), seconds=2))
    assert step.name == name
    assert seen in step.seen
    assert remedy in step.remedy


def test_no_kernel_to_try_a_websocket_on_is_no_failure() -> None:
    with RawServer(JSON) as raw:
        checkup = check(*known(f"http://127.0.0.1:{raw.port}/", CANARY))
    assert checkup.ok
    assert by_name(checkup)["WebSocket"].ok is None


def test_a_gateway_that_does_not_list_its_kernels() -> None:
    forbidden = http("403 Forbidden")
    answers = {**JSON, "kernels": forbidden, "sessions": forbidden, "kernelspecs": http(body=b'{"kernelspecs": {}}')}
    with RawServer(answers) as raw:
        steps = by_name(check(*known(f"http://127.0.0.1:{raw.port}/", CANARY)))
    assert steps["auth"].ok
    assert (steps["kernels"].ok, steps["kernels"].seen) == (None, "it does not list its kernels")
    assert "list_kernels=True" in steps["kernels"].remedy


def test_nobody_listens_and_no_such_name() -> None:
    assert failed(check(*known(f"http://127.0.0.1:{free_port()}/"))).name == "TCP"
    assert failed(check(*known("https://no-such-host.invalid/"))).name == "DNS"


def test_a_kernel_s_id_leads_to_no_other_route() -> None:
    kernels = http(body=json.dumps([{"id": "../../x?y#z", "execution_state": "idle", "connections": 1}]).encode())
    with RawServer({**JSON, "kernels": kernels}) as raw:
        check(*known(f"http://127.0.0.1:{raw.port}/", CANARY))
        (channels,) = [request for request in raw.requests if b"/channels?" in request]
    assert channels.startswith(b"GET /api/kernels/..%2F..%2Fx%3Fy%23z/channels?session_id=")


def test_half_a_character_in_a_kernel_s_id_ends_no_check() -> None:
    kernels = http(body=b'[{"id": "\\ud800", "execution_state": "idle", "connections": 1}]')
    with RawServer({**JSON, "kernels": kernels}) as raw:
        checkup = check(*known(f"http://127.0.0.1:{raw.port}/", CANARY))
        assert [step for step in checkup.steps if step.ok is False] == []
        assert by_name(checkup)["kernels"].seen == "1 kernel, 0 sessions"
        assert raw.requests[-1].startswith(b"GET /api/kernels/%EF%BF%BD/channels?"), "half of a pair is replaced"


def test_half_a_character_in_what_a_hub_says_leads_nowhere() -> None:
    user = b'{"name": "ann", "servers": {"": {"name": "", "url": "/user/\\ud800/", "ready": true}}}'

    def hub(connection: socket.socket, request: bytes) -> None:
        path = request.split(b" ")[1].partition(b"?")[0]
        bodies = {b"/hub/api": b'{"version": "5"}', b"/hub/api/user": user}
        connection.sendall(http(body=bodies[path]) if path in bodies else NONE)

    with RawServer(hub) as raw:
        step = failed(check(*known(f"http://127.0.0.1:{raw.port}/", CANARY)))
        assert (step.name, step.seen) == ("auth", "none of its servers is running")
        assert not any(b"%EF%BF%BD" in request for request in raw.requests)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_of_this_machine_is_named_at_the_peer() -> None:
    os.seteuid(65534)
    try:
        listener = socket.create_server(("127.0.0.1", 0))
    finally:
        os.seteuid(0)
    with listener:
        port = listener.getsockname()[1]
        step = failed(check(*known(f"http://127.0.0.1:{port}/", CANARY)))
    assert (step.name, step.seen) == (
        "peer",
        f"port {port} of this machine is used by user nobody, so nothing was sent",
    )
    assert "--trust" in step.remedy

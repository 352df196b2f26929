"""The server of `--base-url`: what is said to it of us, and what of us goes nowhere else."""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from kernel_bridge_magic.cli.login import refuse_alone
from kernel_bridge_magic.cli.main import main
from kernel_bridge_magic.errors import BadInput
from kernel_bridge_magic.servers.config_file import save_entry
from kernel_bridge_magic.servers.entries import Entry
from tests.support.asked import answered
from tests.support.raw import RawServer, http
from tests.support.servers import JupyterServer, private_env

CANARY = "canary-5d02"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who knows no server."""
    return private_env(tmp_path / "user", tmp_path / "none")


def command(url: str, *more: str) -> list[str]:
    return [sys.executable, "-m", "kernel_bridge_magic", "list", "--base-url", url, *more]


def run(url: str, *more: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(url, *more), env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.mark.parametrize("option", ["token", "password", "ca_file", "allow_plain_http"])
def test_what_is_said_to_nobody_is_refused(option: str) -> None:
    options = argparse.Namespace(token=None, password=None, ca_file=None, allow_plain_http=False)
    refuse_alone(options)
    setattr(options, option, "env:X")
    with pytest.raises(BadInput, match="--base-url"):
        refuse_alone(options)


def test_no_token_of_the_environment_goes_to_a_server_that_was_not_told_so(env: dict[str, str]) -> None:
    env["JUPYTER_TOKEN"] = CANARY  # it is for one server, and nobody knows which (T6)
    with RawServer(in_turn) as raw:
        url = f"http://127.0.0.1:{raw.port}/"
        assert run(url, env=env).returncode == 2
        assert raw.requests and not told(raw)
        done = run(f"{url}?token=of-the-url", env=env)
        assert (done.returncode, told(raw)) == (0, {"of-the-url"})
        raw.requests.clear()
        done = run(url, "--token", "env:JUPYTER_TOKEN", env=env)
        assert (done.returncode, told(raw)) == (0, {CANARY})


def in_turn(connection: socket.socket, request: bytes) -> None:
    """Answer whoever has any token."""
    connection.sendall(http() if b"Authorization: token " in request else http("403 Forbidden", b"{}"))


def told(raw: RawServer, path: bytes = b"") -> set[str]:
    """The tokens that came, in requests for something below `path`."""
    found = (re.search(rb" (\S+) .*?\r\nAuthorization: token (.*?)\r\n", head, re.DOTALL) for head in raw.requests)
    return {match[2].decode() for match in found if match and path in match[1]}


# -- what is said now counts, not what is saved


@pytest.mark.parametrize("kept", ["env:OLD", "ask", "env:NOT_SET_AT_ALL"])
@pytest.mark.parametrize("how", ["--token", "the URL"])
def test_a_token_on_the_command_line_wins(
    kept: str, how: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("JUPYTER_CONFIG_DIR", tmp_path), ("JUPYTER_RUNTIME_DIR", tmp_path / "none")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("OLD", "old-token")
    monkeypatch.setenv("NEW", "new-token")
    with RawServer(in_turn) as raw:
        url = f"http://127.0.0.1:{raw.port}/"
        save_entry(str(tmp_path / "kernel_bridge.json"), Entry("lab", url, token=kept))
        line = ["list", "--base-url", f"{url}?token=new-token"] if how == "the URL" else ["list", "--base-url", url]
        assert main([*line, *(["--token", "env:NEW"] if how == "--token" else [])]) == 0
        assert told(raw) == {"new-token"}
    assert "asked for" not in "".join(capsys.readouterr())


def test_a_ca_file_on_the_command_line_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("LAB_TOKEN", "token-of-a-test")
    authority, other = trustme.CA(), trustme.CA()
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "new.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "old.pem"))
    cert = str(tmp_path / "cert.pem")
    with JupyterServer(tmp_path / "server", certfile=cert, keyfile=cert) as server:
        kept = Entry("lab", server.url, token="env:LAB_TOKEN", ca_file=str(tmp_path / "old.pem"))
        save_entry(str(tmp_path / "kernel_bridge.json"), kept)
        assert main(["list", "--base-url", server.url]) == 2
        assert "not trusted here" in capsys.readouterr().err
        assert main(["list", "--base-url", server.url, "--ca-file", str(tmp_path / "new.pem")]) == 0


# -- hubs


def as_hub(connection: socket.socket, request: bytes) -> None:
    """A hub whose user ann asks; bob's server is bob's own program, and would take any password."""
    path = request.split(b" ")[1]
    if path == b"/hub/api":
        connection.sendall(http(body=b'{"version": "5"}'))
    elif path.startswith(b"/hub/api/user"):
        known = b"token of-ann\r\n" in request
        connection.sendall(http(body=b'{"name": "ann"}') if known else http("403 Forbidden", b"{}"))
    elif path.startswith(b"/user/bob/login"):
        connection.sendall(http(body=b'<input type="password" name="password">'))
    else:
        connection.sendall(http("403 Forbidden", b"{}"))


@pytest.mark.parametrize(("typed", "says"), [("of-ann", "server of bob"), (CANARY, "does not know this token")])
def test_what_is_typed_for_another_hub_user_s_server_is_no_password(env: dict[str, str], typed: str, says: str) -> None:
    with RawServer(as_hub) as raw:
        status, before, _ = answered(command(f"http://127.0.0.1:{raw.port}/user/bob/"), env, "token: ", typed, says)
        assert "password" not in before
        assert status == 2
        assert not told(raw, b"/user/bob/")
        assert not [head for head in raw.requests if head.startswith(b"POST")]


def test_a_password_for_a_hub_s_server_is_refused(env: dict[str, str]) -> None:
    env["PW"] = CANARY
    with RawServer(as_hub) as raw:
        done = run(f"http://127.0.0.1:{raw.port}/user/bob/", "--password", "env:PW", env=env)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "give a hub token" in done.stderr
        assert not [head for head in raw.requests if not head.startswith(b"GET /hub/api ")]


def test_a_password_that_no_header_carries_can_be_typed(env: dict[str, str], tmp_path: Path) -> None:
    with JupyterServer(tmp_path / "server", token="", password="пароль") as server:
        asked = answered(command(server.url), env, "token or password: ", "пароль", "no kernels are running")
        assert asked[0] == 0

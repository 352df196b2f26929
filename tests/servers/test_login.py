from __future__ import annotations

import socket

import pytest

from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.errors import AuthRefused, ServerError, ServerUnreachable
from kernel_bridge_magic.models import Server
from kernel_bridge_magic.servers.rest import ServerAPI
from tests.support.raw import RawServer, http

CANARY = "canary-77ab01"
FORM = b'<form method=post><input type="password" name="password"></form>'
PAGE = http(body=FORM, Set_Cookie="_xsrf=x; Path=/")
LOGGED_IN = http("302 Found", b"", Location="/", Set_Cookie="username=ann; Path=/")


class Login(RawServer):
    """Answers GET and POST of `login` with what the test says, and `hub/api` as a hub does if `is_hub`."""

    def __init__(self, page: bytes = PAGE, answer: bytes = LOGGED_IN, *, is_hub: bool = False) -> None:
        super().__init__(self._reply)
        self.page, self.answer, self.is_hub = page, answer, is_hub

    def _reply(self, connection: socket.socket, request: bytes) -> None:
        head = request.split(b"\r\n")[0]
        if b"hub/api" in head:
            connection.sendall(http(body=b'{"version": "5"}') if self.is_hub else http("404 Not Found"))
        elif head.startswith(b"GET") and b"login" in head:
            connection.sendall(self.page)
        elif head.startswith(b"POST"):
            while CANARY.encode() not in request and (more := connection.recv(4096)):
                request += more
            self.requests[-1] = request
            connection.sendall(self.answer)
        else:
            logged_in = b"username=ann" in request
            connection.sendall(http() if logged_in else http("403 Forbidden"))

    @property
    def told(self) -> list[bytes]:
        return [request for request in self.requests if CANARY.encode() in request]


def vault_with_password(server: Server) -> Vault:
    vault = Vault()
    vault.put_password(server.origin, lambda: Secret(CANARY))
    return vault


def with_password(server: Server) -> ServerAPI:
    return ServerAPI(server, vault_with_password(server))


def test_a_password_is_sent_where_a_page_asks_for_it() -> None:
    with Login() as raw:
        api = with_password(raw.server())
        assert api.kernels() == []
        assert len(raw.told) == 1
        assert raw.told[0].startswith(b"POST /login")


@pytest.mark.parametrize(
    ("page", "says"),
    [
        (http("404 Not Found", FORM), "it has no password login (404); give its token with --token env:VAR"),
        (
            http("302 Found", b"", Location="/hub/login"),
            "its login leads to another page, which is not followed (302); give a hub token with --token env:VAR",
        ),
        (
            http("302 Found", FORM, Location="/"),
            "its login leads to another page, which is not followed (302); give its token with --token env:VAR",
        ),
        (http("200 OK", b"<html>welcome"), "it has no password login (200); give its token with --token env:VAR"),
        (http("401 Unauthorized", FORM), "it has no password login (401); give its token with --token env:VAR"),
        (http("503 Service Unavailable", FORM), "nobody can log in there now (503); try again later"),
    ],
)
def test_no_password_is_sent_where_nothing_asks_for_it(page: bytes, says: str) -> None:
    with Login(page) as raw:
        server = raw.server()
        vault = vault_with_password(server)
        api = ServerAPI(server, vault)
        for _ in range(2):  # it was not judged, so that it is kept
            with pytest.raises(ServerError) as caught:
                api.log_in(Secret(CANARY))
            assert str(caught.value) == f"raw: {says}"
        assert vault.password(server.origin) is not None
        assert not [head for head in raw.requests if head.startswith(b"POST")] and not raw.told


@pytest.mark.parametrize("path", ["/user/bob/", "/base/user/bob/gpu/", "/%75ser/bob/"])
def test_no_password_goes_to_a_hub_s_server(path: str) -> None:
    with Login(is_hub=True) as raw:
        api = with_password(raw.server(base=path))
        with pytest.raises(AuthRefused, match=r"no password login; give a hub token .*/hub/token"):
            api.kernels()
        assert not raw.told
    # A path that only looks like a hub's is anybody's.
    with Login() as raw:
        assert with_password(raw.server(base=path)).kernels() == []


@pytest.mark.parametrize(
    ("answer", "error", "says", "kept"),
    [
        (
            http("401 Unauthorized", FORM),
            AuthRefused,
            "password not accepted (401); give the right one with --password env:VAR",
            False,
        ),
        (
            http("200 OK", FORM),
            AuthRefused,
            "password not accepted (200); give the right one with --password env:VAR",
            False,
        ),
        (
            http("403 Forbidden", FORM),
            AuthRefused,
            "password not accepted (403); give the right one with --password env:VAR",
            False,
        ),
        (
            http("302 Found", b"", Location="/login?next=%2F"),
            AuthRefused,
            "password not accepted (302); give the right one with --password env:VAR",
            False,
        ),
        (
            http("503 Service Unavailable"),
            ServerUnreachable,
            "nobody can log in there now (503); try again later",
            True,
        ),
        (
            http("500 Internal Server Error", FORM),
            ServerUnreachable,
            "nobody can log in there now (500); try again later",
            True,
        ),
        (http("429 Too Many Requests"), ServerUnreachable, "nobody can log in there now (429); try again later", True),
        (
            http("403 Forbidden", b"_xsrf missing"),
            AuthRefused,
            "its login says neither yes nor no to the password (403); give its token with --token env:VAR",
            True,
        ),
        (
            http("302 Found", b"", Location="/"),
            AuthRefused,
            "its login leads to another page, which is not followed (302); give its token with --token env:VAR",
            True,
        ),
    ],
)
def test_a_password_is_dropped_when_it_is_refused_and_only_then(
    answer: bytes, error: type[ServerError], says: str, kept: bool
) -> None:
    with Login(answer=answer) as raw:
        api = with_password(raw.server())
        with pytest.raises(error) as caught:
            api.kernels()
        assert str(caught.value) == f"raw: {says}"
        raw.answer = LOGGED_IN
        if kept:
            assert api.kernels() == []
        else:
            with pytest.raises(AuthRefused):
                api.kernels()
        assert len(raw.told) == 1 + kept


def test_a_login_that_holds_is_not_made_anew() -> None:
    with Login() as raw:
        api = with_password(raw.server())
        assert api.kernels() == []
        raw.page = http("302 Found", b"", Location="/")  # what a login page is to who is logged in
        api.log_in(Secret(CANARY))
        assert api.kernels() == []
        assert len(raw.told) == 1

"""Answers that no Jupyter server should give, each as an error that says what is wrong and what to do.

Nothing that the server wrote is repeated, apart from the host of a redirect: it may hold cookies, and it may lie.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from kernel_bridge_magic.access.urls import server_url
from kernel_bridge_magic.errors import AuthRefused, BadAnswer, Cause, ServerError, ServerUnreachable
from kernel_bridge_magic.models import Server


def refusal(server: Server, auth_method: str, status: int, location: str = "") -> ServerError:
    """Return the error for a status that is not 2xx.

    `auth_method` is how we said who we are, as `Vault.auth_method` names it; `location` is the header of a redirect.
    """
    name = server.name
    error: ServerError
    if status in (401, 403):
        problem, remedy = _NOT_ACCEPTED[auth_method]
        error = AuthRefused(name, f"{problem} ({status})", remedy)
    elif 300 <= status < 400:
        error = _redirected(server, location)
    elif status == 404:
        problem = f"there is no Jupyter server at {server.url} (404)"
        error = BadAnswer(name, problem, "check the base URL", cause=Cause.NO_SERVER)
    elif status in (424, 502, 503, 504):
        problem = f"the server behind it is not running ({status})"
        error = ServerUnreachable(name, problem, "start it, on a JupyterHub from the hub's page")
    elif status in (407, 511):
        error = BadAnswer(name, f"the network wants a login first ({status})", "open any page in a browser")
    elif status >= 500:
        error = BadAnswer(name, f"the server failed ({status})", "its log says why")
    else:
        error = BadAnswer(name, f"it does not take this request ({status})", "is it a Jupyter server?")
    error.status = status
    return error


def host_refused(server: Server) -> BadAnswer:
    """Return the error of a server that accepts requests to this machine's own names only."""
    scheme, host, port, base_path = server.origin
    local, _ = server_url(scheme, "localhost", port, base_path)
    return BadAnswer(
        server.name,
        f"it refuses every request to the host {host}, whatever the token",
        f"use {local} (from another machine through an ssh tunnel), or start the server with "
        "--ServerApp.allow_remote_access=True (--ServerApp.local_hostnames=NAME allows one name)",
    )


_NOT_ACCEPTED = {
    "token": ("token not accepted", "give the right one with --token env:VAR"),
    "password": ("its login is not accepted any more", "log in again with --password env:VAR"),
    "none": ("it wants a token or password", "give it with --token env:VAR or --password env:VAR"),
}


def not_json(server: Server, content_type: str, body: bytes) -> ServerError:
    """Return the error for an answer that should be JSON and is something else."""
    name, page = server.name, body[:100_000].lower()
    if "html" not in content_type and page.lstrip()[:1] != b"<":
        return BadAnswer(name, "its answer is not JSON", "is it a Jupyter server?", cause=Cause.NO_SERVER)
    if b"http-equiv" in page and b"refresh" in page:
        remedy = "if the network wants a login first, open it in a browser"
        return BadAnswer(name, "its answer is a page that leads elsewhere", remedy)
    if b"login" in page or b'type="password"' in page:
        return AuthRefused(name, "its answer is a login page", "give its token with --token env:VAR")
    problem = "its answer is a web page, so this is no Jupyter server's base URL"
    return BadAnswer(name, problem, "check the URL", cause=Cause.NO_SERVER)


def _redirected(server: Server, location: str) -> ServerError:
    name = server.name
    try:
        target = urlsplit(location)
        host = "".join(c for c in target.netloc.rpartition("@")[2] if c.isascii() and c.isprintable())[:100]
        path = target.path
    except ValueError:
        return BadAnswer(name, "it redirects elsewhere, which is not followed", "give the URL that it means")
    inside = not host or host == urlsplit(server.url).netloc
    _, hub, rest = path.partition("/hub/") if inside else ("", "", "")
    if hub and rest.startswith(("user/", "spawn")):
        # JupyterHub's proxy sends what it has no route for to the hub.
        return ServerUnreachable(name, "its server is stopped", "start it on the hub's page, …/hub/home")
    where = "to another page of it" if inside else f"to {target.scheme or 'http'}://{host}"
    if "login" in path or hub:
        remedy = "give its token with --token env:VAR, or start its server"
        return AuthRefused(name, f"it redirects {where} to log in", remedy)
    return BadAnswer(name, f"it redirects {where}, which is not followed", "give the URL that it means")

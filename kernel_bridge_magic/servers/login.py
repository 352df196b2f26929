"""Logging in with a password, as the login page of a Jupyter server does. A JupyterHub's servers have no such login."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace

from kernel_bridge_magic.access.deadline import NEVER, Deadline
from kernel_bridge_magic.access.urls import hub_and_user, server_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.errors import AuthRefused, ServerError, ServerUnreachable
from kernel_bridge_magic.models import Server
from kernel_bridge_magic.servers.http_client import TIMEOUT, Answer, HttpClient, refuses_host
from kernel_bridge_magic.servers.refusals import host_refused
from kernel_bridge_magic.text import Hidden

_PASSWORD_FIELD = re.compile(rb"""\b(?:type|name)\s*=\s*["']?password\b""", re.IGNORECASE)
_LONGEST_PAGE = 1 << 20  # bytes that are searched for the field


def log_in(client: HttpClient, password: Secret) -> None:
    """Log in with a password; the cookies go to the client's vault, the password nowhere.

    It is sent only where a login page asks for it. One that is refused is dropped, as it would be refused again.

    Raises:
        AuthRefused: the password is wrong, or there is no such login.
        ServerUnreachable: nobody can log in there now; the password is kept.
    """
    vault, origin = client.vault, client.server.origin
    _refuse_hub(client)
    client.drop()  # what is open may be a connection that no secret must be sent on
    client.logs_in = True
    page = client.ask("GET", "login")
    if page.is_redirect and _has_login(client):
        return  # another thread was faster, or it was not for want of a login that we were refused
    if page.status != 200 or not _asks_for_password(page):
        raise _no_login(client, page, "it has no password login")
    cookies = _cookies(page.cookies)
    form = password.login_form(cookies.get("_xsrf", ""))
    vault.put_cookies(origin, cookies)
    answer = client.ask("POST", "login?next=%2F", form)
    found = _cookies(answer.cookies)
    # A right password redirects to the page that was asked for; a wrong one shows the form again
    # (FACTS.md#authentication).
    redirected = answer.status in (301, 302, 303)
    again = redirected and answer.location.partition("?")[0].rstrip("/").endswith("/login")
    if redirected and found:
        vault.login_was(origin, accepted=True)
        vault.put_cookies(origin, {**cookies, **found})
    elif again or answer.status == 401 or (answer.status in (200, 403) and _asks_for_password(answer)):
        vault.login_was(origin, accepted=False)
        vault.forget(origin)
        problem = f"password not accepted ({answer.status})"
        raise AuthRefused(client.server.name, problem, "give the right one with --password env:VAR")
    else:
        raise _no_login(client, answer, "its login says neither yes nor no to the password")


def is_hub(server: Server, timeout: float = TIMEOUT, until: Deadline = NEVER) -> bool:
    """Return whether a JupyterHub is at this base URL (`GET hub/api`, which wants no token). No secret is sent.

    Raises:
        ServerError: that cannot be known: a hub that is being started anew answers with 503, say.
    """
    client = HttpClient(server, Vault(), timeout, until)
    answer = client.ask("GET", "hub/api")
    if answer.status == 404:
        return False
    if answer.status != 200:
        client.refuse(answer)
    try:
        return isinstance(json.loads(answer.body).get("version"), str)
    except (ValueError, AttributeError, RecursionError):
        return False


def _refuse_hub(client: HttpClient) -> None:
    """Refuse to log in to a hub user's server: it knows no password, and what shows one there is not the hub."""
    server = client.server
    path, user = hub_and_user(server.origin.base_path)
    if not user:
        return
    url, origin = server_url(*server.origin[:3], path)
    if is_hub(replace(server, url=url, origin=origin), client.timeout, client.until):
        remedy = f"give a hub token with --token env:VAR, made on {url}hub/token"
        raise AuthRefused(server.name, "a JupyterHub's servers have no password login", remedy)


def _has_login(client: HttpClient) -> bool:
    """Return whether cookies of a login are sent, and not only those of the login's page."""
    sent = Hidden(client.vault.headers(client.server.origin).get("Cookie", ""))
    return any(name and not name.startswith("_xsrf=") for name in sent.split("; "))


def _no_login(client: HttpClient, answer: Answer, seen: str) -> ServerError:
    """Return the error for an answer that shows no login with a password; `seen` is what it shows."""
    server, status = client.server, answer.status
    if status == 403 and refuses_host(server, client.timeout, client.until):
        return host_refused(server)
    if status >= 500 or status == 429:
        return ServerUnreachable(server.name, f"nobody can log in there now ({status})", "try again later")
    # A hub's own URL leads to its login, which is for browsers.
    token = "a hub token" if "/hub/" in answer.location else "its token"
    if answer.is_redirect:
        seen = "its login leads to another page, which is not followed"
    return AuthRefused(server.name, f"{seen} ({status})", f"give {token} with --token env:VAR")


def _asks_for_password(page: Answer) -> bool:
    return _PASSWORD_FIELD.search(page.body[:_LONGEST_PAGE]) is not None


def _cookies(headers: Sequence[str]) -> dict[str, str]:
    """Read Set-Cookie headers; a cookie that is taken back is left out."""
    from http.cookies import CookieError, SimpleCookie

    found: dict[str, str] = {}
    for header in headers:
        jar: SimpleCookie = SimpleCookie()
        with contextlib.suppress(CookieError):
            jar.load(header)
        found |= {name: Hidden(morsel.coded_value) for name, morsel in jar.items() if morsel.value}
    return found

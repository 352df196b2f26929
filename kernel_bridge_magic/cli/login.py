"""The server that `--base-url` names on the command line, and how we authenticate there."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from kernel_bridge_magic.errors import AuthRefused, BadInput, BadServer

if TYPE_CHECKING:
    from kernel_bridge_magic.bridge.bridge import Bridge
    from kernel_bridge_magic.models import Server


def server_url(bridge: Bridge, options: argparse.Namespace) -> str | None:
    """Return the URL of `--base-url` once that server has accepted us; None where there is no such option.

    Raises:
        BadInput: an option that needs `--base-url` came without it, or nobody can be asked for the secret.
        ServerError: the server cannot be reached, or does not accept us.
    """
    url: str | None = options.base_url
    if url is None:
        refuse_alone(options)
        return None
    server = give_secret(bridge, options)
    if password := bridge.vault.password(server.origin):
        bridge.log_in(server, password)
    try:
        bridge.reach(url)
    except AuthRefused:
        if options.token or options.password or not _can_ask():
            raise
        _ask(bridge, url, server)
    return url


def refuse_alone(options: argparse.Namespace) -> None:
    """Refuse options for authentication where no option names a server.

    Raises:
        BadInput: there is such an option.
    """
    if options.token or options.password or options.ca_file or options.allow_plain_http:
        given = "--token, --password, --ca-file and --allow-plain-http go with --base-url URL"
        raise BadInput(f"{given}; servers that are discovered or saved have their own")


def refuse_unless_added(options: argparse.Namespace) -> None:
    """Refuse options that describe an added server where none is added.

    Raises:
        BadInput: there is such an option, or one that names a second server.
    """
    if options.add is None and (options.name or options.trust):
        raise BadInput("--name and --trust go with --add URL")
    if options.remove is not None:
        refuse_alone(options)
    if options.base_url is not None and (options.add is not None or options.remove is not None):
        raise BadInput("--base-url names a server for this command only; leave it out beside --add and --remove")


def add_server(bridge: Bridge, options: argparse.Namespace) -> Server:
    """Save the server of `--add`, and return it.

    Raises:
        BadInput, BadServer: something of it cannot be used, or cannot be saved.
    """
    from kernel_bridge_magic.servers.entries import Entry, is_reference

    for what in ("token", "password"):
        if (given := getattr(options, what)) and not is_reference(given):
            never = f"a server that is added is saved, and a {what} never is"
            raise BadInput(f"{never}. Write where it is: --{what} env:VAR, file:PATH or ask")
    secret = options.token or "", options.password or ""
    entry = Entry(options.name, options.add, *secret, options.ca_file, options.trust, options.allow_plain_http)
    return bridge.add_server(entry, save=True, ask=_asked)


def give_secret(bridge: Bridge, options: argparse.Namespace) -> Server:
    """Return the server of `--base-url`, with its secret in the vault. Options win over what was saved.

    Raises:
        BadInput, BadServer: the URL, or what it or an option says of the secret, cannot be used.
    """
    from kernel_bridge_magic.access.urls import parse_base_url

    url: str = options.base_url
    server = bridge.search.server_at(url, ca_file=options.ca_file, allow_plain_http=options.allow_plain_http)
    in_url = parse_base_url(url).token is not None
    server = bridge.registry.override(server, secret=bool(options.token or options.password) or in_url)
    if options.token:
        bridge.vault.put(server.origin, _secret("token", options.token))
    elif options.password:
        password = _secret("password", options.password)
        bridge.vault.put_password(server.origin, lambda: password, once=True)
    return server


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _ask(bridge: Bridge, url: str, server: Server) -> None:
    """Ask for a token or a password; the server's answer shows which of the two it is."""
    from kernel_bridge_magic.access.urls import hub_and_user

    # A hub's servers have no passwords; and a server that may be another user's must not receive one.
    token_only = any(hub_and_user(server.origin.base_path))
    secret = _secret("token" if token_only else "token or password", "ask")
    bridge.registry.override(server, secret=True)
    try:
        bridge.vault.put(server.origin, secret)
        bridge.reach(url)
    except (AuthRefused, BadServer):  # BadServer: it cannot stand in a header, so it is no token
        bridge.vault.forget(server.origin)
        if token_only:
            raise
        bridge.log_in(server, secret)


def _secret(what: str, reference: str) -> Any:
    from kernel_bridge_magic.access.references import read_secret
    from kernel_bridge_magic.access.vault import Secret

    if reference == "ask" or reference.startswith(("env:", "file:")):
        return read_secret(reference, ask=lambda: _asked(what))
    # Allowed for scripts; a notebook, which is saved, refuses it (T8).
    warning = f"warning: a {what} on the command line can be read by other users; use env:VAR or file:PATH"
    print(warning, file=sys.stderr)
    return Secret(reference)


def _asked(what: str) -> str:
    """Ask for a secret."""
    import getpass

    if not _can_ask():
        raise BadServer(f"nobody can be asked for the {what} here; use env:VAR or file:PATH")
    return getpass.getpass(f"{what}: ")

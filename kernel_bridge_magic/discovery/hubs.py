"""Ask a JupyterHub which servers a user runs, and whose token it is that would go to a server.

On a hub each server runs as its owner, who can read what is sent to it. So a token goes to the servers of its own user
only (T14). The hub made the token, and is asked whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from kernel_bridge_magic.access.deadline import NEVER, Deadline
from kernel_bridge_magic.access.urls import hub_and_user, server_url
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.errors import AuthRefused, KernelBridgeError
from kernel_bridge_magic.models import Server
from kernel_bridge_magic.reports import ServerReport
from kernel_bridge_magic.servers.login import is_hub
from kernel_bridge_magic.servers.rest import ServerAPI

_CHILD_PATH = re.compile(r"/(?:.*/)?user/[^/]+/(?:[^/]+/)?")
_MOST_CHILDREN = 100  # a thread each


def other_user(server: Server, vault: Vault, seconds: float, until: Deadline = NEVER) -> tuple[str, str]:
    """Return why our token must not go to a server, and what to do; `("", "")` if it may.

    The hub is asked once. The vault keeps the answer, and withholds the token until it has one.

    Raises:
        ServerError: it cannot be known whether there is a hub, or the hub does not answer or does not know the token.
    """
    hub_path, user = hub_and_user(server.origin.base_path)
    if not user or server.source == "runtime" or server.trusted or not vault.has(server.origin):
        return "", ""
    owner = vault.owner(server.origin)
    if owner is None:
        vault.withhold(server.origin)
        owner = _owner(_at(server, hub_path), server, vault, seconds, until)
        vault.put_owner(server.origin, owner, withhold=owner not in ("", user))
    if owner in ("", user):
        return "", ""
    return (
        f"it is the server of {user}, who would get the token of {owner}, so nothing was sent",
        f"give a token of {user}, or add it with --trust if you are both",
    )


def _owner(hub: Server, server: Server, vault: Vault, seconds: float, until: Deadline) -> str:
    """Ask the hub whose token it is; "" where there is no hub."""
    try:
        if not is_hub(hub, seconds, until):
            return ""
    except AuthRefused as error:
        problem = f"{error.problem}, so it cannot be known whether this is a hub"
        raise AuthRefused(error.server, problem, "add it with --trust if the server is yours") from None
    # With no other secret than the server's: whoever has a token for the hub itself may be somebody else.
    api = ServerAPI(hub, vault.alone(server.origin, hub.origin), seconds, until=until)
    page = f"{hub.url}hub/token"
    try:
        name = api.hub_user().get("name")
    except AuthRefused:
        raise AuthRefused(server.name, "the hub does not know this token (403)", f"make one on {page}") from None
    if not isinstance(name, str) or not name:
        raise AuthRefused(server.name, "the hub does not say whose token this is", f"make one on {page}")
    return name


def _at(server: Server, base_path: str) -> Server:
    url, origin = server_url(*server.origin[:3], base_path)
    return replace(server, url=url, origin=origin)


def servers_of(hub: Server, vault: Vault, seconds: float, until: Deadline) -> tuple[list[Server], list[ServerReport]]:
    """Return the running servers of the token's user, and reports on those that do not run or cannot be known.

    `([], [])` if there is no hub at this URL.
    """
    page = f"{hub.url}hub/"
    try:
        if not is_hub(hub, seconds, until):
            return [], []
    except KernelBridgeError:
        return [], []
    if not vault.has(hub.origin):
        remedy = f"make one on {page}token, and give it with --token env:VAR"
        return [], [ServerReport(hub, 0, "this hub wants a token", remedy)]
    try:
        model = ServerAPI(hub, vault, seconds, until=until).hub_user()
    except AuthRefused:
        return [], [ServerReport(hub, 0, "the hub does not know this token (403)", f"make one on {page}token")]
    except KernelBridgeError:
        return [], []
    servers = model.get("servers")
    if not isinstance(servers, Mapping):
        needs = "give it the scopes read:servers and access:servers, or add a server's own URL, …/user/NAME/"
        return [], [ServerReport(hub, 0, "this token may not list servers", needs)]
    return _children(hub, vault, servers, page)


def _children(
    hub: Server, vault: Vault, servers: Mapping[str, Any], page: str
) -> tuple[list[Server], list[ServerReport]]:
    """Return those of a user's servers that run, to which the hub's token is lent, and reports on the others."""
    running, others = [], []
    if len(servers) > _MOST_CHILDREN:
        more = len(servers) - _MOST_CHILDREN
        others.append(ServerReport(hub, 0, f"{more} more of its servers are not asked", "add them by their own URLs"))
    for item in islice(servers.values(), _MOST_CHILDREN):
        child = _child(hub, item)
        if child is None:
            continue
        if item.get("ready") is True:
            vault.lend(hub.origin, child.origin)
            running.append(child)
        else:
            state = "it is starting or stopping just now" if item.get("pending") else "it is stopped"
            others.append(ServerReport(child, 0, state, f"start it on {page}home"))
    if not running and not others:
        others = [ServerReport(hub, 0, "none of its servers is running", f"start one on {page}home")]
    return running, others


def _child(hub: Server, item: Any) -> Server | None:
    """Return a server that the hub lists, always below the hub's own scheme, host and port; None if it is unusable."""
    name, path = (item.get("name"), item.get("url")) if isinstance(item, Mapping) else (None, None)
    if not isinstance(name, str) or not isinstance(path, str) or not _CHILD_PATH.fullmatch(path):
        return None
    if not path.isprintable() or "\\" in path or "\ufffd" in path:  # U+FFFD: half a character was there
        return None
    return replace(_at(hub, path), name=f"{hub.name}/{name}" if name else hub.name, hub=hub)

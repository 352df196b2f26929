"""Read what people paste as a server's URL: one base URL with one identity. Pure: nothing is looked up here.

No error text of this module repeats a URL's user name, password or query: they hold secrets.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qs, quote, unquote

from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.models import Origin, Server
from kernel_bridge_magic.text import Hidden

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LONGEST = 8192

#: First path segments of pages that front ends show below the base URL (JupyterLab, Notebook 6 and 7,
#: nbclassic), and JupyterHub below its own. `api` is left alone: a base path may hold it, and nobody pastes it.
_PAGES = frozenset(
    ("lab", "tree", "notebooks", "consoles", "terminals", "nbclassic", "doc", "edit", "view", "retro", "login", "hub")
)

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# CVE-2020-5260, CVE-2024-50338: an encoded line break is one for whoever decodes it later.
_ENCODED_CONTROL = re.compile(r"%(?:[01][0-9a-f]|7f)", re.IGNORECASE)


class BaseURL(NamedTuple):
    """A server's base URL with its final slash, the origin that its secret is bound to, and the token in it."""

    url: str
    origin: Origin
    token: str | None

    def __repr__(self) -> str:
        token = None if self.token is None else "***"
        return f"BaseURL(url={self.url!r}, origin={self.origin!r}, token={token!r})"


def parse_base_url(text: str) -> BaseURL:
    """Read a server's URL as browsers show it: `http://host:8888/base/lab/tree/x.ipynb?token=…`.

    `/lab`, `/tree` and other pages, query and fragment are cut off; scheme and host are case-folded, an
    international host name becomes punycode, the base path is percent-encoded exactly once. Two texts for one
    server give one `origin`. `http+unix://%2Fpath/base/` is a server on a unix socket: the socket's path is
    `origin.host`.

    Raises:
        BadServer: it cannot be used; the text says which part is wrong.
    """
    found: BaseURL | str
    try:
        found = _read(text)
    except BadServer as error:
        found = str(error)
    # A traceback may show local variables: no frame that raises holds what the text does.
    del text
    if isinstance(found, str):
        raise BadServer(found)
    return found


def _read(text: str) -> BaseURL:
    text = text.strip(" ")
    _refuse_controls(text)
    if not text:
        raise BadServer("no URL; give the server's address, for example http://127.0.0.1:8888/")
    scheme, rest = _split_scheme(text)
    rest, _, _fragment = rest.partition("#")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    tokens = parse_qs(query).get("token")
    token = Hidden(tokens[-1]) if tokens else None
    if scheme == "http+unix":
        scheme, host, port = "unix", unquote(authority), 0
        if not host.startswith("/"):
            raise BadServer("the socket's path is missing; write http+unix://%2Frun%2Fjupyter.sock/")
    else:
        host, port = _split_authority(scheme, authority)
        host = _host(host)
    return BaseURL(*server_url(scheme, host, port, _without_pages(path)), token)


def server_url(scheme: str, host: str, port: int, base_path: str) -> tuple[str, Origin]:
    """Build a base URL and its origin from the parts of an `Origin`: `host` is a name or address without brackets.

    With the scheme `unix` it is the path of a socket.
    """
    base_path = _encoded(base_path)
    origin = Origin(scheme, host, port, base_path)
    if scheme == "unix":
        return f"http+unix://{quote(host, safe='', errors='replace')}{base_path}", origin
    shown = f"[{host}]" if ":" in host else host
    shown += "" if _DEFAULT_PORTS.get(scheme) == port else f":{port}"
    return f"{scheme}://{shown}{base_path}", origin


def hub_and_user(base_path: str) -> tuple[str, str]:
    """Split `/base/user/NAME/…` into the base path of a hub and the name; `("", "")` for another path.

    The first `user` is the hub's, however it is encoded: whatever stands behind a user's name is served by that user.
    """
    segments = [segment for segment in base_path.split("/") if segment]
    names = [unquote(segment) for segment in segments]
    place = names.index("user") if "user" in names else len(names)
    if place + 1 >= len(names):
        return "", ""
    return "/" + "".join(f"{segment}/" for segment in segments[:place]), names[place + 1]


def _refuse_controls(text: str) -> None:
    if len(text) > _LONGEST:
        raise BadServer(f"the URL is longer than {_LONGEST} characters")
    for position, char in enumerate(text):
        if not char.isprintable():  # controls, line and bidi marks, lone surrogates; the plain space is printable
            raise BadServer(f"the URL has a control character at position {position + 1} (U+{ord(char):04X})")
        if char == "\\":
            raise BadServer(f"the URL has a backslash at position {position + 1}; use / only")
    if _ENCODED_CONTROL.search(text):
        raise BadServer("the URL has an encoded control character (such as %0a); remove it")


def _split_scheme(text: str) -> tuple[str, str]:
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?", text)
    scheme = found[1].lower() if found else ""
    after = text[found.end() :] if found else text
    if scheme in ("http", "https", "http+unix"):
        if found and found[2]:
            return scheme, after
        raise BadServer(f"two slashes are missing after {scheme}: write {scheme}://host:port/")
    if scheme in ("ws", "wss"):
        raise BadServer(f"{scheme}:// leads to one kernel only: give the server as {scheme.replace('ws', 'http')}://")
    # `host:8888` looks like a scheme too; a port's digits, a dot or no second half tell it apart.
    if found and (found[2] or not re.match(r"\d", after)) and "." not in scheme and scheme != "localhost":
        raise BadServer(f"{scheme}: is not how a Jupyter server is reached: use http:// or https://")
    shown = re.split(r"[/?#]", text.removeprefix("//"), maxsplit=1)[0]
    _refuse_userinfo(shown)
    if shown.count(":") > 1 and not shown.startswith("["):
        raise BadServer("the address has colons; put it in [ ], as in http://[::1]:8888/")
    shown = f"127.0.0.1:{shown}" if shown.isascii() and shown.isdigit() else shown
    raise BadServer(f"{shown!r} has no scheme: write http://{shown}/ or https://{shown}/")


def _refuse_userinfo(authority: str) -> None:
    if "@" in authority:
        raise BadServer("the URL has a user name or password before @; leave it out, and give the secret "
                        "with --token env:VAR, file:PATH or ask")  # fmt: skip


def _split_authority(scheme: str, authority: str) -> tuple[str, int]:
    _refuse_userinfo(authority)
    if " " in authority:
        raise BadServer("the host has a space in it")
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadServer("the brackets of the address do not match; write http://[::1]:8888/")
        if ":" not in host:
            raise BadServer("only IPv6 addresses stand in [ ]")
        port = rest[1:]
    else:
        host, _, port = authority.partition(":")
        if ":" in port:
            raise BadServer("the address has several colons; put it in [ ], as in http://[::1]:8888/")
    if not host:
        raise BadServer(f"the URL has no host; write {scheme}://host:port/")
    return host, _port(port, _DEFAULT_PORTS[scheme])


def _port(text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise BadServer(f"the port {text[:20]!r} is not a number")
    if not 1 <= int(text) <= 65535:
        raise BadServer(f"the port {int(text)} is not within 1 to 65535")
    return int(text)


def _host(host: str) -> str:
    if ":" in host:
        return _ipv6(host)
    try:
        name = host.encode("ascii").decode() if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise BadServer("the host is not a name that can be looked up") from None
    name = name.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BadServer(f"the host {name[:80]!r} is neither a name nor an address")
    if _NUMBER.fullmatch(labels[-1]):
        # 127.1, 0x7f.1 and 2130706433 are addresses to some resolvers and names to others.
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            raise BadServer(f"the host {name[:80]!r} is no IPv4 address; write four numbers, as in 127.0.0.1") from None
    return name


def _ipv6(host: str) -> str:
    if "%" in host:
        raise BadServer("an address with a zone (%eth0) cannot be used; give the server's name or another address")
    try:
        return str(ipaddress.IPv6Address(host))
    except ValueError:
        raise BadServer(f"the host [{host[:80]}] is no IPv6 address") from None


def _without_pages(path: str) -> str:
    """Cut the path before the first segment that is a front end's page."""
    segments = [segment for segment in path.split("/") if segment and segment != "."]
    if any(unquote(segment) == ".." for segment in segments):
        raise BadServer("the URL's path goes up (..); give the server's base URL")
    # JupyterHub: /user/NAME is a base path whatever the user is called, `lab` too.
    # Only …/hub/user/NAME is a page, of the hub.
    user = segments.index("user") if "user" in segments else 0
    start = user + 2 if "user" in segments and "hub" not in segments[:user] else 0
    kept = next((n for n, s in enumerate(segments) if n >= start and s in _PAGES), len(segments))
    return "/".join(segments[:kept])


def _encoded(path: str) -> str:
    """Encode a path once: `%20` stays, a space becomes it, a `%` that encodes nothing becomes `%25`.

    What is encoded already is not decoded first: servers compare the base path as it was written.
    """
    path = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", path)
    path = re.sub(r"%[0-9a-f]{2}", lambda found: found[0].upper(), quote(path, safe="/%:@!$&'()*+,;=~"), flags=re.I)
    segments = [segment for segment in path.split("/") if segment]
    return "/" + "".join(f"{segment}/" for segment in segments)


def without_secrets(name: str) -> str:
    """Cut off what may be a secret in a text that should name a server: a URL's query, and a user's password."""
    return re.sub(r"[^/@:]*:[^/@]*@", "", re.split("[?#]", name)[0])


def servers_named(name: str, servers: Iterable[Server]) -> list[Server]:
    """Return the servers that a name or URL means. A hub's name means all servers that the hub told of.

    A URL means its scheme, host, port and base path, once pages are cut off; no server's name counts for it. Where
    nobody else is at that URL, one name of this machine stands for the others, as `Server.is_ours_at` has it.
    """
    known = list(servers)
    origin = _origin(name)
    rules: list[Callable[[Server], bool]] = [lambda it: _is_called(name, it)]
    if origin is not None:
        rules += [lambda it: it.origin == origin, lambda it: it.is_ours_at(origin)]
    for means in rules:
        if found := [it for it in known if means(it) or (it.hub is not None and means(it.hub))]:
            return found
    return []


def is_server(name: str, server: Server) -> bool:
    """Return whether a name or URL means `server`, if there were no other."""
    return bool(servers_named(name, [server]))


def _is_called(name: str, server: Server) -> bool:
    if "://" in name:
        return name == server.url  # before pages are cut off: a base path may begin like one
    return unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", server.name)


def _origin(name: str) -> Origin | None:
    return _parsed(re.split("[?#]", name)[0]) if "://" in name else None


@lru_cache(maxsize=64)  # it is asked for each kernel of a listing; no query comes here, as it may hold a token
def _parsed(url: str) -> Origin | None:
    try:
        return parse_base_url(url).origin
    except BadServer:
        return None

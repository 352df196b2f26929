"""What to offer for a MATCH that is half typed: names of kernels, each the shortest that means it alone. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from kernel_bridge_magic.access.urls import is_server
from kernel_bridge_magic.matching.levels import Named, split_server
from kernel_bridge_magic.matching.selectors import pastes, quoted, selector_among
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.text import fold

_MOST = 200  # offers; nobody reads further
_FEW = 100  # kernels, of which each is compared with each
_LONGEST_STATE = 20


class Offer(NamedTuple):
    """What may be put in the place of what was typed, and what it is, in one word: a kernel's state, or `server`."""

    text: str
    type: str


def offers(typed: str, kernels: Sequence[Kernel], servers: Sequence[Server]) -> list[Offer]:
    """Return the MATCHes that begin with or contain what was typed, those that begin with it first.

    `typed` has no quotes. An offer has them where it needs them.
    """
    name, rest = split_server(typed)
    there = [server for server in servers if name is not None and is_server(name, server)]
    if there:
        among = [kernel for kernel in kernels if kernel.server in there]
        prefix, typed = f"{name}::", rest
    else:
        among, prefix = list(kernels), ""
    wanted = fold(typed)
    hits = [kernel for kernel in among if not kernel.is_this_kernel and _fits(wanted, kernel)][:_MOST]
    names = _Names(among)
    spelt = ((_behind(prefix, names.of(kernel), kernel), kernel) for kernel in hits)
    found = [Offer(quoted(text), _one_word(kernel.state)) for text, kernel in spelt if pastes(text)]
    found.sort(key=lambda offer: not fold(offer.text.strip('"').removeprefix(prefix)).startswith(wanted))
    if not there and len(servers) > 1:
        usable = (server.name for server in servers if pastes(server.name) and fold(server.name).startswith(wanted))
        found += [Offer(f"{name}::", "server") for name in dict.fromkeys(usable)]
    return found


def listed_offers(typed: str, kernels: Sequence[Kernel], servers: Sequence[Server]) -> list[Offer]:
    """Return what `offers` does for the last item of a list `a,b,c`, each with the items before it."""
    head, comma, last = typed.rpartition(",")
    if not comma or typed.startswith("re:"):
        return offers(typed, kernels, servers)
    named = {part.strip() for part in head.split(",")}
    found = ((it.text.strip('"'), it.type) for it in offers(last.strip(), kernels, servers))
    whole = ((f"{head},{text}", kind) for text, kind in found if text not in named and "," not in text)
    return [Offer(quoted(text), kind) for text, kind in whole if pastes(text)]


def server_offers(typed: str, servers: Iterable[Server]) -> list[Offer]:
    """Return the names of servers that begin with what was typed."""
    names = (server.name for server in servers if pastes(server.name))
    return [Offer(quoted(name), "server") for name in dict.fromkeys(names) if fold(name).startswith(fold(typed))]


def _fits(wanted: str, kernel: Kernel) -> bool:
    return kernel.id.startswith(wanted) or any(wanted in fold(text) for text in (*kernel.paths, kernel.title))


def _behind(prefix: str, name: str, kernel: Kernel) -> str:
    has_one = kernel.server is not None and name.startswith(f"{kernel.server.name}::")
    return name if has_one else prefix + name


def _one_word(state: str) -> str:
    """Return what a server says of a kernel, which may be any text."""
    return state if state.isidentifier() and len(state) <= _LONGEST_STATE else "unknown"


class _Names:
    """The names of some kernels, and which of them mean one alone."""

    def __init__(self, kernels: Sequence[Kernel]) -> None:
        self._named = [Named.of(kernel) for kernel in kernels]
        self._whose: dict[str, list[Kernel]] = {}
        for it in self._named:
            texts = set(_texts(it))
            for at in _servers(it.kernel):
                texts |= {f"{at}::{text}" for text in _texts(it)}
            for text in texts:
                self._whose.setdefault(text, []).append(it.kernel)

    def of(self, kernel: Kernel) -> str:
        """Return the shortest name that means this kernel alone, without quotes."""
        spelt = {text for path in kernel.paths for text in (_stem(path), posixpath.basename(path), path)}
        plain = sorted((text for text in spelt if _is_plain(text)), key=len)
        servers = filter(_is_plain, _servers(kernel)[:1])
        for text in (*plain, *(f"{server}::{text}" for server in servers for text in plain)):
            if self._whose.get(text) == [kernel]:
                return text
        return selector_among(kernel, self._named).strip('"') if len(self._named) <= _FEW else kernel.id


def _is_plain(text: str) -> bool:
    """Return whether a name is read as nothing else: a row, a list, or one on a server."""
    return pastes(text) and not text.startswith("#") and "::" not in text and "," not in text


def _servers(kernel: Kernel) -> list[str]:
    """Return the names of the servers at which a kernel is looked for."""
    servers = [kernel.server, kernel.server.hub] if kernel.server else []
    return [server.name for server in servers if server]


def _texts(it: Named) -> Iterator[str]:
    yield it.kernel.id
    yield from it.paths
    for name in it.names:
        yield name
        yield _stem(name)
    yield from it.files


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0]

"""What a user is told where a MATCH means no kernel, or several: what was looked at, and what to type instead. Pure."""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Sequence

from kernel_bridge_magic.access.urls import servers_named
from kernel_bridge_magic.errors import AmbiguousKernel, KernelNotFound
from kernel_bridge_magic.faces import PYTHON, Face
from kernel_bridge_magic.matching.levels import Named, clean, could_mean, match_named, only_own, shown, split_server
from kernel_bridge_magic.matching.selectors import pastes, selector_among
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.reports import Listing, ServerReport, Skipped
from kernel_bridge_magic.text import count, fold, visible

NOTHING = Listing()  # where nobody has looked around
_MOST_CANDIDATES = 50  # nobody reads more, and each one is compared with all kernels
_MOST_TOLD = 3  # skipped files; another command lists them all
_SHORTEST_PART = 4  # characters of a file's name that mean the file
_MOST_CLOSE = 2000  # names compared for "Did you mean": difflib is slow
_LONGEST_CLOSE = 100  # characters of a proposed name: it is there to be pasted, so it is not cut


def not_found(query: str, kernels: Sequence[Kernel], listing: Listing, face: Face) -> KernelNotFound:
    """Return the error for a MATCH that means no kernel: what was looked at, similar names, who did not answer.

    It names the skipped files that the MATCH means; where there is no kernel at all, every file that is not stale.
    """
    text = clean(query)
    own = next((kernel for kernel in kernels if kernel.is_this_kernel and could_mean(text, [kernel], [kernel])), None)
    if own and not text.startswith("#"):
        return KernelNotFound(str(only_own(query, face, own)))
    name, _ = split_server(text)
    reports: Sequence[ServerReport] = listing.servers
    if servers := _servers_of(text, kernels, reports):
        kernels = [kernel for kernel in kernels if kernel.server in servers]
        reports = [report for report in reports if report.server in servers]
    others = [kernel for kernel in kernels if not kernel.is_this_kernel]
    sentences = [f"no running kernel matches {shown(text)} (looked at {_looked_at(kernels, reports)})"]
    if name and not servers:
        sentences.append(f"No server is called {shown(name)}")
    sentences += _not_reached(reports)
    named = [it for it in listing.skipped if _names_file(text, it.path)]
    sentences += _passed_over(named or [it for it in listing.skipped if not others and not it.stale], face)
    if close := _closest(text, others):
        sentences.append(f"Did you mean {' or '.join(close)} ?")
    sentences.append(f"{face.listing} lists them" if others else _open_one(face))
    return KernelNotFound(_joined(sentences))


def no_such_id(kernel_id: str, kernels: Sequence[Kernel], listing: Listing, face: Face) -> KernelNotFound:
    """Return the error for an id that no kernel has, and with which none begins."""
    where = _looked_at(kernels, listing.servers)
    sentences = [f"no running kernel has the id {shown(kernel_id)} (looked at {where})", *_not_reached(listing.servers)]
    sentences += _passed_over([it for it in listing.skipped if _names_file(kernel_id, it.path)], face)
    return KernelNotFound(_joined([*sentences, f"{face.details} shows whole ids; --kernel-match takes a name"]))


def none_running(listing: Listing, face: Face) -> KernelNotFound:
    """Return the error for a question without a MATCH where no kernel is running."""
    asked = count(len(listing.servers), "server")
    sentences = [f"no kernel is running (asked {asked})", *_not_reached(listing.servers)]
    sentences += _passed_over([it for it in listing.skipped if not it.stale], face)
    return KernelNotFound(_joined([*sentences, _open_one(face)]))


def ambiguous(
    message: str, found: Sequence[Kernel], kernels: Sequence[Kernel], *, by_id: bool = False, ask: str = ""
) -> AmbiguousKernel:
    """Return the error for several kernels, each with a selector, or with `by_id` with its whole id.

    `ask` asks for one of them, in other words than usual.
    """
    named = [Named.of(kernel) for kernel in kernels]
    chosen = found[:_MOST_CANDIDATES]
    candidates = [(kernel.id if by_id else selector_among(kernel, named), kernel) for kernel in chosen]
    remedy = ask or ("Use:" if len(found) == 1 else "Use one of:")
    return AmbiguousKernel(message, candidates, more=len(found) - len(chosen), remedy=remedy)


def none_matches(
    query: str,
    kernels: Sequence[Kernel],
    reports: Sequence[ServerReport] = (),
    face: Face = PYTHON,
    *,
    only: bool = False,
) -> str:
    """Return the line below an empty table: how many kernels the filter `query` was compared with.

    With `only` the `reports` are of the one server that was asked for.
    """
    servers = _servers_of(query, kernels, reports)
    if servers:
        kernels = [kernel for kernel in kernels if kernel.server in servers]
    elif only:
        servers = [report.server for report in reports]
    names = [visible(server.name) for server in servers]
    where = f" on {names[0] if len(names) == 1 else count(len(names), 'server')}" if names else ""
    which = f"none of the {len(kernels)} running kernels{where} matches"
    if len(kernels) < 2:
        which = f"the only running kernel{where} does not match" if kernels else f"no kernel{where} was found"
    return f"{which}. {face.listing} shows all"


def _servers_of(query: str, kernels: Sequence[Kernel], reports: Sequence[ServerReport]) -> list[Server]:
    """Return the known servers that `SERVER::` at the head of `query` names; none where there is no such head."""
    name, _ = split_server(query)
    known = dict.fromkeys([*(it.server for it in kernels if it.server), *(report.server for report in reports)])
    return servers_named(name, known) if name else []


def _open_one(face: Face) -> str:
    return f"Open a notebook, or name a server with {face.server}"


def _joined(sentences: Sequence[str]) -> str:
    return ". ".join(sentences).replace(" ?. ", " ? ")


def _looked_at(kernels: Sequence[Kernel], reports: Sequence[ServerReport]) -> str:
    """Return how many kernels could have been meant, and on how many servers they are."""
    others = [kernel for kernel in kernels if not kernel.is_this_kernel]
    alone = sum(kernel.server is None for kernel in others)
    servers = {report.server.url for report in reports if not report.problem}
    servers |= {kernel.server.url for kernel in others if kernel.server}
    noun = "kernel" if len(others) == len(kernels) else "other kernel"
    if alone and not servers:
        return f"{count(alone, noun)} without a server"
    with_server = f"{count(len(others) - alone, noun)} on {count(len(servers), 'server')}"
    return f"{with_server} and {alone} without a server" if alone else with_server


def _not_reached(reports: Sequence[ServerReport]) -> list[str]:
    why = ((it, f"{it.problem}; {it.remedy}" if it.elsewhere else it.problem) for it in reports if it.problem)
    return [f"{visible(it.server.name)} was not reached ({visible(problem)})" for it, problem in why]


def _names_file(text: str, path: str) -> bool:
    """Return whether a MATCH means a connection file: by path, name, stem or id, or by a part of its name."""
    name = posixpath.basename(path)
    stem = name.removesuffix(".json")
    whole = text in (path, name, stem, stem.removeprefix("kernel-"))
    return whole or (len(text) >= _SHORTEST_PART and fold(text) in fold(stem))


def _passed_over(skipped: Sequence[Skipped], face: Face) -> list[str]:
    told = [f"{visible(posixpath.basename(it.path))} was skipped ({visible(it.reason)})" for it in skipped[:_MOST_TOLD]]
    more = len(skipped) - _MOST_TOLD
    return [*told, f"{count(more, 'more file')} were skipped ({face.details} shows them)"] if more > 0 else told


def _closest(query: str, kernels: Sequence[Kernel]) -> list[str]:
    """Return up to three texts that are spelt nearly as `query` is; each of them, pasted, means one kernel."""
    labels: dict[str, Kernel | str] = {}
    named = [Named.of(kernel) for kernel in kernels]
    for it in named[:_MOST_CLOSE]:
        for text in (*it.paths, *it.names):
            labels.setdefault(fold(text), it.kernel)
            labels.setdefault(fold(text.rpartition(".")[0]) or fold(text), it.kernel)
        for text in it.specs:
            labels.setdefault(fold(text), text)
    close: list[str] = []
    for name in difflib.get_close_matches(fold(query[:200]), labels, n=3, cutoff=0.6):
        label = labels[name]
        text = label if isinstance(label, str) else selector_among(label, named)
        if isinstance(label, str) and (not pastes(text) or len(match_named(text, named, None)[1]) != 1):
            continue  # it would be refused in its turn
        if len(text) > _LONGEST_CLOSE and isinstance(label, Kernel):
            text = label.id
        close.append(text)
    return list(dict.fromkeys(close))

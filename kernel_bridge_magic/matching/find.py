"""From a MATCH to the kernels that are meant by it, or to one line that says why there are none. Pure.

How a single MATCH is understood is in `levels`; here is what is made of it: one kernel to run on, many, a
filter, and for each kernel the shortest text that means it alone.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterator, Sequence

from kernel_bridge_magic.access.urls import servers_named
from kernel_bridge_magic.errors import AmbiguousKernel, BadInput, KernelNotFound
from kernel_bridge_magic.faces import PYTHON, Face
from kernel_bridge_magic.matching.levels import (
    MATCHERS,
    Level,
    Named,
    clean,
    match,
    match_level,
    match_named,
    narrow,
    only_own,
    row_of,
    search,
    shown,
    split_server,
    without_own,
)
from kernel_bridge_magic.models import Kernel, Server, ServerReport, Skipped
from kernel_bridge_magic.text import count, fold, visible

__all__ = [
    "Level",
    "find_by_id",
    "find_many",
    "find_one",
    "find_only",
    "match",
    "match_level",
    "none_matches",
    "not_found",
    "selector",
    "split_server",
]

_MOST_CANDIDATES = 50  # nobody reads more, and each is proven against all kernels
_MOST_TOLD = 3  # files that were passed over; the whole list has a command of its own
_SHORTEST_PART = 4  # characters of a file's name
_MOST_CLOSE = 2000  # names compared for "closest": difflib is slow
_LONGEST_CLOSE = 100  # cells of a name that is proposed: it is never cut, since it is there to be pasted
# What no pair of double quotes makes plain, in a magic's line or in a shell; and what needs them: at the head of a
# word (a comment, a user's home, zsh's `=command`), or anywhere.
_NEVER = frozenset('"\\$`!')
_QUOTE = re.compile(r"[#%~=@]|.*[ '()\[\]{}?;|&<>*^~#]", re.DOTALL)


def find_one(
    query: str,
    kernels: Sequence[Kernel],
    *,
    rows: Sequence[Kernel] | None = None,
    reports: Sequence[ServerReport] = (),
    skipped: Sequence[Skipped] = (),
    face: Face = PYTHON,
) -> Kernel:
    """Give the one kernel that `query` means. `reports` tells which servers were asked, and failed.

    `skipped` are the files that were not used: one that `query` names is told of, with the reason. `face` is who
    asks, and is told what to do next.

    Raises:
        KernelNotFound: it means none; the text says what was looked at, and what is called nearly so.
        AmbiguousKernel: it means several; each but the one that asks comes with a selector that means it alone.
        BadMatch, OwnKernel: as `match`.
    """
    _, found = match_named(clean(query), [Named.of(kernel) for kernel in kernels], rows)
    verb = "matches"
    if not found and _parts(query):
        found = _find_list(query, kernels, rows, face)
        verb = "is a list of"
    rest = without_own(query, found, face)
    if len(found) > 1:
        own = ", one of them this notebook's own" if len(rest) < len(found) else ""
        raise _ambiguous(f"{shown(query)} {verb} {len(found)} kernels{own}, so {face.undone}", rest, kernels)
    if rest:
        return rest[0]
    raise not_found(query, kernels, reports, skipped, face)


def find_by_id(
    kernel_id: str,
    kernels: Sequence[Kernel],
    *,
    reports: Sequence[ServerReport] = (),
    skipped: Sequence[Skipped] = (),
    face: Face = PYTHON,
) -> Kernel:
    """Give the kernel of that whole id. Who gives less of it is told the whole, and no kernel is chosen.

    Raises:
        KernelNotFound: none has it.
        AmbiguousKernel: several begin so, or have it.
        BadMatch, OwnKernel: as `match`.
    """
    kernel_id = clean(kernel_id)
    whole = [kernel for kernel in kernels if kernel.id == kernel_id]
    if whole:
        return find_one(kernel_id, whole, reports=reports, skipped=skipped, face=face)
    begun = [kernel for kernel in kernels if kernel.id.casefold().startswith(kernel_id.casefold())]
    others = [kernel for kernel in begun if not kernel.is_own]
    if len(others) > 1:
        message = f"--kernel-id takes a whole id, and {len(others)} begin with {shown(kernel_id)}, so {face.undone}"
        raise _ambiguous(message, others, kernels, by_id=True)
    if others:
        part = "--kernel-match takes a part"
        raise KernelNotFound(f"--kernel-id takes a whole id; did you mean {visible(others[0].id)} ? ({part})")
    if begun:
        raise only_own(kernel_id, face, begun[0])
    where = _looked_at(kernels, reports)
    sentences = [f"no running kernel has the id {shown(kernel_id)} (looked at {where})", *_not_reached(reports)]
    sentences += _passed_over([it for it in skipped if _names_file(kernel_id, it.path)], face)
    sentences.append(f"{face.details} shows whole ids; --kernel-match takes a name")
    raise KernelNotFound(_joined(sentences))


def find_only(
    kernels: Sequence[Kernel],
    reports: Sequence[ServerReport] = (),
    skipped: Sequence[Skipped] = (),
    face: Face = PYTHON,
) -> Kernel:
    """Give the one kernel that there is, where nobody said which: the one that asks does not count.

    Raises:
        KernelNotFound: there is none.
        AmbiguousKernel: there are several; each comes with a selector that means it alone.
    """
    others = [kernel for kernel in kernels if not kernel.is_own]
    if len(others) == 1:
        return others[0]
    if others:
        message = f"{len(others)} kernels are running. Choose one: {face.run}"
        raise _ambiguous(message, others, kernels, ask="")
    sentences = [f"no kernel is running (asked {count(len(reports), 'server')})", *_not_reached(reports)]
    sentences += _passed_over([it for it in skipped if not it.stale], face)
    raise KernelNotFound(_joined([*sentences, f"Open a notebook, or name a server with {face.server}"]))


def find_many(
    query: str, kernels: Sequence[Kernel], *, rows: Sequence[Kernel] | None = None, plain: bool = False
) -> list[Kernel]:
    """Give all kernels that `query` means; `a,b,c` is a list of matches when the whole matches nothing.

    `plain` makes it the filter of `%kernels`: every kernel that `query` could mean, at whatever level, the one that
    asks included. Without it the first level decides, for each item of a list, and an item that means nothing
    gives nothing at all, so that no run begins that is not the one asked for.

    Raises:
        KernelNotFound: one item of a list matches nothing.
        BadMatch, OwnKernel: as `match`. A filter refuses no kernel.
    """
    if plain:
        return _filter(query, kernels, rows)
    return match(query, kernels, rows=rows) or without_own(query, _find_list(query, kernels, rows, strict=True))


def none_matches(
    query: str,
    kernels: Sequence[Kernel],
    reports: Sequence[ServerReport] = (),
    face: Face = PYTHON,
    *,
    only: bool = False,
) -> str:
    """Say of a filter that gave nothing how many kernels it was held against; `only` is whether `reports` are not all.

    `face` is who asks, and is told what shows the others.
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
    """Return the servers that `query` keeps to; none where it names none that is known."""
    name, _ = split_server(query)
    known = dict.fromkeys([*(it.server for it in kernels if it.server), *(report.server for report in reports)])
    return servers_named(name, known) if name else []


def _filter(query: str, kernels: Sequence[Kernel], rows: Sequence[Kernel] | None) -> list[Kernel]:
    named = [Named.of(kernel) for kernel in kernels]
    for texts in ([query], _parts(query)):
        wanted: set[Kernel] = set()
        for text in texts:
            text = clean(text)
            if row := row_of(text, kernels, rows):
                wanted.add(row)
                continue
            text, there = narrow(text, named)
            if text.startswith("re:"):
                wanted.update(it.kernel for it in search(text, there))
            else:
                wanted.update(it.kernel for it in there if any(matches(text, it) for _, matches in MATCHERS))
        if wanted:
            return [kernel for kernel in kernels if kernel in wanted]
    return []


def _parts(query: str) -> list[str]:
    """Split a list of matches. A regular expression is none: `a{2,3}` holds a comma."""
    query = clean(query)
    if "," not in query or query.startswith("re:"):
        return []
    return [part for part in query.split(",") if part.strip(" \t\n\"'")]


def _find_list(
    query: str,
    kernels: Sequence[Kernel],
    rows: Sequence[Kernel] | None,
    face: Face = PYTHON,
    *,
    strict: bool = False,
) -> list[Kernel]:
    """Give what the items of a list match, in the order of `kernels`; nothing when one item matches nothing.

    Raises:
        OwnKernel: one item names the kernel that asks, and no other.
    """
    wanted: set[Kernel] = set()
    named = [Named.of(kernel) for kernel in kernels]
    for part in _parts(query):
        _, found = match_named(clean(part), named, rows)
        without_own(part, found, face)
        if not found and strict:
            raise not_found(part, kernels, face=face)
        if not found:
            return []
        wanted.update(found)
    return [kernel for kernel in kernels if kernel in wanted]


def selector(kernel: Kernel, kernels: Sequence[Kernel]) -> str:
    """Give the shortest readable MATCH that means `kernel` and no other of `kernels`.

    It is its path, `SERVER::path`, the beginning of its id, or the whole id; ready to be pasted behind `%%remote`, and
    in a shell.
    Of what a foreign server lists under an id of ours it is `SERVER::id`.
    """
    return _selector(kernel, [Named.of(other) for other in kernels])


def _selector(kernel: Kernel, named: Sequence[Named]) -> str:
    if kernel.claimed and kernel.server is not None:  # nothing else means it
        name = kernel.server.name
        return _quoted(f"{name if _pastes(name) else kernel.server.url}::{kernel.id}")
    for text in _spellings(kernel):
        try:
            _, found = match_named(clean(text), named, None)
        except BadInput:  # a path that reads as something else, such as `re:[`
            continue
        if [other.id for other in found] == [kernel.id]:
            return text
    return kernel.id


def _spellings(kernel: Kernel) -> Iterator[str]:
    if kernel.outside and _pastes(kernel.connection_file):
        yield _quoted(kernel.connection_file)
    for path in kernel.paths:
        if _pastes(path):
            yield _quoted(path)
    if kernel.server and kernel.server.name and _pastes(kernel.server.name):
        for path in kernel.paths:
            if _pastes(path):
                yield _quoted(f"{kernel.server.name}::{path}")
    yield kernel.short_id  # as listings show it: shorter ones would not outlive the next kernel
    yield kernel.id[:13]
    # Another kernel may have its id, where that can be guessed.
    yield kernel.id
    if kernel.server and kernel.server.name and _pastes(kernel.server.name):
        yield _quoted(f"{kernel.server.name}::{kernel.id}")
    if _pastes(kernel.started_by):
        yield _quoted(kernel.started_by)


def _pastes(text: str) -> bool:
    """Tell whether a text means itself when it is pasted behind `%%remote`, or in a shell; in quotes, if need be."""
    if not text or text != text.strip() or text != visible(text) or _NEVER & set(text):
        return False
    # Another blank (NBSP) is copied as a plain one; a second pair of quotes is stripped as the first is.
    blanks = any(char.isspace() and char != " " for char in text)
    return not blanks and not text.startswith(("-", "re:")) and (text[0] + text[-1]) != "''"


def _quoted(text: str) -> str:
    return f'"{text}"' if _QUOTE.match(text) else text


def _ambiguous(
    message: str,
    found: Sequence[Kernel],
    kernels: Sequence[Kernel],
    *,
    by_id: bool = False,
    ask: str = ". Use one of:",
) -> AmbiguousKernel:
    named = [Named.of(kernel) for kernel in kernels]
    chosen = found[:_MOST_CANDIDATES]
    candidates = [(kernel.id if by_id else _selector(kernel, named), kernel) for kernel in chosen]
    if ask and len(found) == 1:
        ask = ". Use:"
    return AmbiguousKernel(f"{message}{ask}", candidates, more=len(found) - len(chosen))


def not_found(
    query: str,
    kernels: Sequence[Kernel],
    reports: Sequence[ServerReport] = (),
    skipped: Sequence[Skipped] = (),
    face: Face = PYTHON,
) -> KernelNotFound:
    """Make the error for a MATCH that means no kernel: what was looked at, the closest names, who did not answer.

    Of the files that were not used it tells those that the MATCH names, and where there is no kernel at all, every
    one that is not stale. `face` is who asks, and is told what to do next.
    """
    text = clean(query)
    own = next((kernel for kernel in kernels if kernel.is_own and _filter(text, [kernel], [kernel])), None)
    if own and not text.startswith("#"):
        return KernelNotFound(str(only_own(query, face, own)))
    name, _ = split_server(text)
    if servers := _servers_of(text, kernels, reports):
        kernels = [kernel for kernel in kernels if kernel.server in servers]
        reports = [report for report in reports if report.server in servers]
    others = [kernel for kernel in kernels if not kernel.is_own]
    sentences = [f"no running kernel matches {shown(text)} (looked at {_looked_at(kernels, reports)})"]
    if name and not servers:
        sentences.append(f"No server is called {shown(name)}")
    sentences += _not_reached(reports)
    named = [it for it in skipped if _names_file(text, it.path)]
    sentences += _passed_over(named or [it for it in skipped if not others and not it.stale], face)
    if close := _closest(text, others):
        sentences.append(f"Did you mean {' or '.join(close)} ?")
    next_step = f"{face.listing} lists them" if others else f"Open a notebook, or name a server with {face.server}"
    return KernelNotFound(_joined([*sentences, next_step]))


def _joined(sentences: Sequence[str]) -> str:
    return ". ".join(sentences).replace(" ?. ", " ? ")


def _looked_at(kernels: Sequence[Kernel], reports: Sequence[ServerReport]) -> str:
    """Say how many kernels there were to be meant, and on how many servers."""
    others = [kernel for kernel in kernels if not kernel.is_own]
    alone = sum(kernel.server is None for kernel in others)
    servers = {report.server.url for report in reports if not report.problem}
    servers |= {kernel.server.url for kernel in others if kernel.server}
    noun = "kernel" if len(others) == len(kernels) else "other kernel"
    if alone and not servers:
        return f"{count(alone, noun)} without a server"
    with_server = f"{count(len(others) - alone, noun)} on {count(len(servers), 'server')}"
    return f"{with_server} and {alone} without a server" if alone else with_server


def _not_reached(reports: Sequence[ServerReport]) -> list[str]:
    return [f"{visible(it.server.name)} was not reached ({_problem(it)})" for it in reports if it.problem]


def _names_file(text: str, path: str) -> bool:
    """Tell whether a MATCH names a connection file: by path, name, stem or id, or by a part of its name."""
    name = posixpath.basename(path)
    stem = name.removesuffix(".json")
    whole = text in (path, name, stem, stem.removeprefix("kernel-"))
    return whole or (len(text) >= _SHORTEST_PART and fold(text) in fold(stem))


def _passed_over(skipped: Sequence[Skipped], face: Face) -> list[str]:
    told = [f"{visible(posixpath.basename(it.path))} was skipped ({visible(it.reason)})" for it in skipped[:_MOST_TOLD]]
    more = len(skipped) - _MOST_TOLD
    return [*told, f"{count(more, 'more file')} were skipped ({face.details} shows them)"] if more > 0 else told


def _problem(report: ServerReport) -> str:
    return visible(f"{report.problem}; {report.remedy}" if report.elsewhere else report.problem)


def _closest(query: str, kernels: Sequence[Kernel]) -> list[str]:
    """Return up to three texts that are called nearly as `query` is; each of them, pasted, means one kernel."""
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
        text = label if isinstance(label, str) else _selector(label, named)
        if isinstance(label, str) and (not _pastes(text) or len(match_named(text, named, None)[1]) != 1):
            continue  # it would be refused in its turn
        if len(text) > _LONGEST_CLOSE and isinstance(label, Kernel):
            text = label.id
        close.append(text)
    return list(dict.fromkeys(close))

"""From a MATCH to the kernels that are meant by it, or to one line that says why there are none. Pure.

How a single MATCH is understood is in `levels`; here is what is made of it: one kernel to run on, many, a
filter, and for each kernel the shortest text that means it alone.
"""

from __future__ import annotations

import difflib
import posixpath
import re
from collections.abc import Iterator, Sequence

from kernel_bridge_magic.errors import AmbiguousKernel, BadInput, KernelNotFound
from kernel_bridge_magic.levels import (
    TESTS,
    Level,
    Named,
    clean,
    is_server,
    match,
    match_level,
    match_named,
    narrow,
    row_of,
    search,
    shown,
    split_server,
    without_own,
)
from kernel_bridge_magic.models import Kernel, ServerReport, Skipped
from kernel_bridge_magic.text import align, count, cut_end, cut_middle, visible

__all__ = [
    "Level",
    "find_many",
    "find_one",
    "find_only",
    "match",
    "match_level",
    "not_found",
    "selector",
    "split_server",
]

_MOST_CANDIDATES = 50  # nobody reads more, and each is proven against all kernels
_MOST_TOLD = 3  # files that were passed over; the whole list has a command of its own
_SHORTEST_PART = 4  # characters of a file's name
_MOST_CLOSE = 2000  # names compared for "closest": difflib is slow
# What can stand in a magic's line as it is: nothing that quotes, expands (`$`, `{`), asks for help (`?`), or
# separates commands, there or in a shell.
_PLAIN = re.compile(r"[^\"'\\$`{}?;|&<>*!%#-][^\"'\\$`{}?;|&<>*!]*")


def find_one(
    query: str,
    kernels: Sequence[Kernel],
    *,
    rows: Sequence[Kernel] | None = None,
    reports: Sequence[ServerReport] = (),
    skipped: Sequence[Skipped] = (),
) -> Kernel:
    """Give the one kernel that `query` means. `reports` tells which servers were asked, and failed.

    `skipped` are the files that were not used: one that `query` names is told of, with the reason.

    Raises:
        KernelNotFound: it means none; the text says what was looked at, and what is called nearly so.
        AmbiguousKernel: it means several; each but the one that asks comes with a selector that means it alone.
        BadMatch, OwnKernel: as `match`.
    """
    level, found = match_named(clean(query), [Named.of(kernel) for kernel in kernels], rows)
    about = f"means {len(found)} kernels (by {level}"
    if not found and _parts(query):
        found = _find_list(query, kernels, rows)
        about = f"is a list of {len(found)} kernels (--all runs on each"
    rest = without_own(query, found)
    if len(found) > 1:
        own = "; one is this notebook's own" if len(rest) < len(found) else ""
        raise _ambiguous(f"{shown(query)} {about}{own})", rest, kernels)
    if rest:
        return rest[0]
    raise not_found(query, kernels, reports, skipped)


def find_only(
    kernels: Sequence[Kernel], reports: Sequence[ServerReport] = (), skipped: Sequence[Skipped] = ()
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
        raise _ambiguous(f"there are {len(others)} kernels; say which", others, kernels)
    troubles = [f"{report.server.name}: {report.problem}" for report in reports if report.problem]
    troubles += _passed_over([it for it in skipped if not it.stale])
    hint = "; ".join(troubles) or "open a notebook, or name a server with --base-url URL"
    raise KernelNotFound(f"no kernel is running on {count(len(reports), 'server')} ({visible(hint)})")


def find_many(
    query: str, kernels: Sequence[Kernel], *, rows: Sequence[Kernel] | None = None, plain: bool = False
) -> list[Kernel]:
    """Give all kernels that `query` means; `a,b,c` is a list of matches when the whole matches nothing.

    `plain` makes it the filter of `%kernels`: every kernel that `query` could mean, at whatever level, the one that
    asks included. Without it, as for `--all`: the first level decides, for each item of a list, and an item
    that means nothing gives nothing at all, so that no run begins that is not the one asked for.

    Raises:
        KernelNotFound: one item of a list matches nothing.
        BadMatch, OwnKernel: as `match`. A filter refuses no kernel.
    """
    if plain:
        return _filter(query, kernels, rows)
    return match(query, kernels, rows=rows) or without_own(query, _find_list(query, kernels, rows, strict=True))


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
                wanted.update(it.kernel for it in there if any(test(text, it) for _, test in TESTS))
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
    query: str, kernels: Sequence[Kernel], rows: Sequence[Kernel] | None, strict: bool = False
) -> list[Kernel]:
    """Give what the items of a list match, in the order of `kernels`; nothing when one item matches nothing.

    Raises:
        OwnKernel: one item names the kernel that asks, and no other.
    """
    wanted: set[Kernel] = set()
    named = [Named.of(kernel) for kernel in kernels]
    for part in _parts(query):
        _, found = match_named(clean(part), named, rows)
        without_own(part, found)
        if not found and strict:
            raise not_found(part, kernels)
        if not found:
            return []
        wanted.update(found)
    return [kernel for kernel in kernels if kernel in wanted]


def selector(kernel: Kernel, kernels: Sequence[Kernel]) -> str:
    """Give the shortest readable MATCH that means `kernel` and no other of `kernels`.

    It is its path, `SERVER::path`, the beginning of its id, or the whole id; ready to be pasted behind `%%remote`.
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
    words = " ".join(text.split())
    if text != words or text != visible(text) or " -" in text or text.startswith("re:"):
        return False
    return bool(_PLAIN.fullmatch(text))


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


def _ambiguous(message: str, found: Sequence[Kernel], kernels: Sequence[Kernel]) -> AmbiguousKernel:
    named = [Named.of(kernel) for kernel in kernels]
    candidates = [(_selector(kernel, named), kernel) for kernel in found[:_MOST_CANDIDATES]]
    rows = [
        (
            "  " + visible(text),
            cut_middle(visible(kernel.title), 40),
            cut_end(visible(kernel.display_name), 24),
            cut_end(visible(kernel.state), 12),
            cut_end(visible(kernel.server.name), 20) if kernel.server else "",
        )
        for text, kernel in candidates
    ]
    lines = align([("  MATCH", "name", "kernel", "state", "server"), *rows])
    if len(found) > len(candidates):
        lines.append(f"  … and {len(found) - len(candidates)} more")
    return AmbiguousKernel(f"{message}; name one:", candidates, "\n".join(lines))


def not_found(
    query: str, kernels: Sequence[Kernel], reports: Sequence[ServerReport] = (), skipped: Sequence[Skipped] = ()
) -> KernelNotFound:
    """Make the error for a MATCH that means no kernel: what was looked at, the closest names, who did not answer.

    Of the files that were not used it tells those that the MATCH names, and where there is no kernel at all, every
    one that is not stale.
    """
    text = clean(query)
    own = next((kernel for kernel in kernels if kernel.is_own and _filter(text, [kernel], [kernel])), None)
    if own and not text.startswith("#"):
        return KernelNotFound(f"{shown(text)} matches only this notebook's own kernel. Run the cell without %%remote")
    others = [kernel for kernel in kernels if not kernel.is_own]
    answered = {report.server.url for report in reports if not report.problem}
    servers = len(answered | {kernel.server.url for kernel in others if kernel.server})
    message = f"no kernel matches {shown(text)} ({count(len(others), 'kernel')} on {count(servers, 'server')})"
    name, _ = split_server(text)
    known = [it.server for it in others if it.server] + [report.server for report in reports]
    if name and not any(is_server(name, server) for server in known):
        message += f"; no server is called {shown(name)}"
    if close := _closest(text, others):
        message += f"; closest: {', '.join(close)}"
    if missing := [f"{visible(it.server.name)} ({_problem(it)})" for it in reports if it.problem]:
        message += f"; not reached: {', '.join(missing)}"
    named = [it for it in skipped if _names_file(text, it.path)]
    passed_over = _passed_over(named or [it for it in skipped if not others and not it.stale])
    return KernelNotFound("; ".join([message, *passed_over]))


def _names_file(text: str, path: str) -> bool:
    """Tell whether a MATCH names a connection file: by path, name, stem or id, or by a part of its name."""
    name = posixpath.basename(path)
    stem = name.removesuffix(".json")
    whole = text in (path, name, stem, stem.removeprefix("kernel-"))
    return whole or (len(text) >= _SHORTEST_PART and text.casefold() in stem.casefold())


def _passed_over(skipped: Sequence[Skipped]) -> list[str]:
    told = [
        f"{visible(posixpath.basename(it.path))} was passed over: {visible(it.reason)}" for it in skipped[:_MOST_TOLD]
    ]
    more = len(skipped) - _MOST_TOLD
    return [*told, f"{count(more, 'more file')} (kernel-bridge list -v shows them)"] if more > 0 else told


def _problem(report: ServerReport) -> str:
    return visible(f"{report.problem}; {report.remedy}" if report.elsewhere else report.problem)


def _closest(query: str, kernels: Sequence[Kernel]) -> list[str]:
    labels: dict[str, str] = {}
    for kernel in kernels[:_MOST_CLOSE]:
        it = Named.of(kernel)
        for text in (*it.paths, *it.names, *it.specs):
            labels.setdefault(text.casefold(), kernel.title if text in it.paths + it.names else text)
            labels.setdefault(text.rpartition(".")[0].casefold() or text.casefold(), kernel.title)
    names = difflib.get_close_matches(query[:200].casefold(), labels, n=3, cutoff=0.6)
    return list(dict.fromkeys(cut_middle(visible(labels[name]), 60) for name in names))

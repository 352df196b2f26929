"""From a MATCH to the kernels that it means. Pure.

`levels` says what one MATCH means, `misses` what a user is told where that is no kernel or several.
"""

from __future__ import annotations

from collections.abc import Sequence

from kernel_bridge_magic.errors import BadMatch, KernelNotFound
from kernel_bridge_magic.faces import PYTHON, Face
from kernel_bridge_magic.matching.levels import (
    Level,
    Named,
    clean,
    match_named,
    only_own,
    shown,
    split_list,
    without_own,
)
from kernel_bridge_magic.matching.misses import NOTHING, ambiguous, no_such_id, none_running, not_found
from kernel_bridge_magic.matching.selectors import selector
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.reports import Listing
from kernel_bridge_magic.text import visible


def find_one(
    query: str,
    kernels: Sequence[Kernel],
    listing: Listing = NOTHING,
    *,
    rows: Sequence[Kernel] | None = None,
    face: Face = PYTHON,
) -> Kernel:
    """Return the one kernel that `query` means.

    An error tells which servers of the `listing` failed, which skipped files `query` names, and what can be done next
    with this `face`.

    Raises:
        KernelNotFound: it means none; the text says what was looked at, and which names are similar.
        AmbiguousKernel: it means several. Each but this kernel itself comes with a selector that means it alone.
        BadMatch, OwnKernel: as `match_level`.
    """
    named = [Named.of(kernel) for kernel in kernels]
    _, found = match_named(clean(query), named, rows)
    verb = "matches"
    if not found and split_list(query):
        found = _find_list(query, named, rows, face)
        verb = "is a list of"
    rest = without_own(query, found, face)
    if len(found) > 1:
        own = ", one of them this notebook's own" if len(rest) < len(found) else ""
        raise ambiguous(f"{shown(query)} {verb} {len(found)} kernels{own}, so {face.undone}", rest, kernels)
    if rest:
        return rest[0]
    raise not_found(query, kernels, listing, face)


#: the levels at which a MATCH names its kernel in full
_WHOLE = frozenset({Level.ROW, Level.ID, Level.PATH, Level.NAME, Level.STEM})


def is_named(name: str, kernels: Sequence[Kernel]) -> bool:
    """Return whether any of the kernels, this one itself among them, has a name in full."""
    level, _ = match_named(clean(name), [Named.of(kernel) for kernel in kernels], ())
    return level in _WHOLE


def find_named(
    query: str,
    kernels: Sequence[Kernel],
    listing: Listing = NOTHING,
    *,
    rows: Sequence[Kernel] | None = None,
    face: Face = PYTHON,
) -> Kernel:
    """Return the one kernel that `query` names in full: for what cannot be undone, a part of a name is not enough.

    It is a row, a whole id, a path, a name, or a name without its ending.

    Raises:
        BadMatch: it means a kernel in another way; the text tells its name.
        KernelNotFound, AmbiguousKernel, OwnKernel: as `find_one`.
    """
    kernel = find_one(query, kernels, listing, rows=rows, face=face)
    named = [Named.of(it) for it in kernels]
    if match_named(clean(query), named, rows)[0] in _WHOLE:
        return kernel
    name = selector(kernel, kernels)
    whole = name if match_named(clean(name), named, None)[0] in _WHOLE else kernel.id
    raise BadMatch(f"{shown(query)} is not the whole name of a kernel, so {face.undone}. Did you mean {whole} ?")


def find_by_id(kernel_id: str, kernels: Sequence[Kernel], listing: Listing = NOTHING, *, face: Face = PYTHON) -> Kernel:
    """Return the kernel of that whole id. The beginning of an id chooses no kernel: the error tells the whole id.

    Raises:
        KernelNotFound: none has it.
        AmbiguousKernel: several begin so, or have it.
        BadMatch, OwnKernel: as `match_level`.
    """
    kernel_id = clean(kernel_id)
    whole = [kernel for kernel in kernels if kernel.id == kernel_id]
    if whole:
        return find_one(kernel_id, whole, listing, face=face)
    begun = [kernel for kernel in kernels if kernel.id.casefold().startswith(kernel_id.casefold())]
    others = [kernel for kernel in begun if not kernel.is_this_kernel]
    if len(others) > 1:
        message = f"--kernel-id takes a whole id, and {len(others)} begin with {shown(kernel_id)}, so {face.undone}"
        raise ambiguous(message, others, kernels, by_id=True)
    if others:
        part = "--kernel-match takes a part"
        raise KernelNotFound(f"--kernel-id takes a whole id; did you mean {visible(others[0].id)} ? ({part})")
    if begun:
        raise only_own(kernel_id, face, begun[0])
    raise no_such_id(kernel_id, kernels, listing, face)


def find_only(listing: Listing, face: Face = PYTHON) -> Kernel:
    """Return the only kernel there is, where nobody named one. This kernel itself does not count.

    Raises:
        KernelNotFound: there is none.
        AmbiguousKernel: there are several; each comes with a selector that means it alone.
    """
    others = [kernel for kernel in listing.kernels if not kernel.is_this_kernel]
    if len(others) == 1:
        return others[0]
    if others:
        message = f"{len(others)} kernels are running"
        raise ambiguous(message, others, listing.kernels, ask=f"Choose one: {face.run}")
    raise none_running(listing, face)


def _find_list(query: str, named: Sequence[Named], rows: Sequence[Kernel] | None, face: Face) -> list[Kernel]:
    """Return what the items of the list `a,b,c` match, in the order of `named`; nothing if one item matches nothing.

    Raises:
        OwnKernel: one item names this kernel itself, and no other.
    """
    wanted: set[Kernel] = set()
    for part in split_list(query):
        _, found = match_named(clean(part), named, rows)
        if not without_own(part, found, face):
            return []
        wanted.update(found)
    return [it.kernel for it in named if it.kernel in wanted]

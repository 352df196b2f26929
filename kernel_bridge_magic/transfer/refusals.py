"""What is said where variables cannot be copied: by the codec of this side, or in the answer of a kernel. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.remote_code import variables as remote
from kernel_bridge_magic.text import cut_end, some_of

NO_ANSWER = "what it answers cannot be read; the kernel may be damaged, or run another version of this package"
_LONGEST = 400  # characters of what the other side says
_MOST_NAMED = 3
_OTHER, _RECEIVING = "the other side", "the receiving side"
_NAME = re.compile(r"\w*")
# Paths are written by the codec: "df: column 'a'", "model['b'][3]", "x key 'a'", "df.index level 0".
_COLUMN = re.compile(r": column ('[^']*'|\"[^\"]*\"|-?\d+)")
_EXPRESSION = re.compile(r"\w+(\[('[^']*'|\"[^\"]*\"|-?\d+)\]|\.\w+)*")


def answer_of(reply: Mapping[str, Any], most: int, kernel: str, *, failed: str = "failed") -> dict[str, Any]:
    """Return the answer in the content of a kernel's reply; `failed` is what the kernel did if it raised something.

    Raises:
        BadVariable: the kernel refuses the variables.
        NotCopied: there is no answer.
    """
    answer = remote.read(reply)
    if answer is None:
        why = remote.problem(reply)
        raise NotCopied(f"{kernel} {failed} ({why})" if why else NO_ANSWER)
    if "refused" in answer:
        raise refused(answer["refused"], most, kernel)
    return answer


def refused_by(problem: Any, most: int, kernel: str = "") -> BadVariable:
    """Return the error for what the codec has raised here; the parameters are those of `refused`."""
    told = [problem.path, problem.what, problem.remedy, getattr(problem, "size", 0)]
    return refused(told, most, kernel, is_here=True)


def refused(told: Any, most: int, kernel: str = "", *, is_here: bool = False) -> BadVariable:
    """Return the error for what the codec has said: `[path, what, remedy, size]`.

    `kernel` is where the variable is, "" for here, and `is_here` whether the codec has said it on this side. The list
    may come from the other side, and be anything.
    """
    try:
        path, what, remedy, size = told
        path, what, remedy = (cut_end(str(part), _LONGEST) for part in (path, what, remedy))
        size = size if is_size(size) else 0
    except (TypeError, ValueError):
        path, what, remedy, size = "", "cannot be copied", "", 0
    name = _NAME.match(path)[0]  # type: ignore[index]  # it may be empty
    if size:
        return too_large([name or "it"], size, most)  # what it was counted at says nothing about its size
    what, remedy, is_told = _as_seen_here(what, remedy, kernel, is_here=is_here)
    where = f" (in {kernel})" if kernel and not is_told else ""
    remedy = cut_end(remedy.replace("{}", _expression(path)), _LONGEST)
    return BadVariable(f"{path or 'it'} {what}{where}", remedy, name=name)


def _as_seen_here(what: str, remedy: str, kernel: str, *, is_here: bool) -> tuple[str, str, bool]:
    """Return what is wrong and what to do, with the side on which it is named, and whether a side was named.

    The codec is the same on both sides: the one that writes speaks of the other side, the one that reads of itself as
    the receiving side.
    """
    theirs = _OTHER if is_here else _RECEIVING
    if theirs in what:
        side = kernel or "the other kernel"
        return what.replace(f"on {theirs}", f"in {side}").replace(theirs, side), remedy, True
    if _RECEIVING in what or _OTHER in what:
        return re.sub(f"{_RECEIVING}|{_OTHER}", "this side", what), re.sub(r"\bthere\b", "here", remedy), True
    return what, remedy, False


def _expression(path: str) -> str:
    """Return what somebody would write for the value at a path; "it" where nobody can, as for a key or a level."""
    written = _COLUMN.sub(r"[\1]", path)
    return written if _EXPRESSION.fullmatch(written) else "it"


def too_large(names: Sequence[str], size: int, most: int) -> BadVariable:
    """Return the error for variables that have `size` bytes or more together, where `most` are allowed."""
    # Whoever reads this may have typed an option, or called a function.
    return BadVariable(
        _larger(names, most), "a larger --max-size (in Python max_size) allows more", name=names[0], size=size
    )


def _larger(names: Sequence[str], most: int) -> str:
    return f"{some_of(names, _MOST_NAMED)} {'is' if len(names) == 1 else 'are'} larger than {size_of(most)}"


def offer(names: Sequence[str], size: int, most: int) -> tuple[str, int]:
    """Return the question whether larger variables may be copied, and how many bytes a yes allows.

    `size` is what they have at least: nobody has counted on. So it is asked for more than that, since it would have to
    be asked again for each column of a large table.
    """
    allowed = _rounded(2 * max(size, most))
    known = f" ({size_of(size)} at least)" if size > most and size_of(size) != size_of(most) else ""
    return f"{_larger(names, most)}{known}. Copy up to {size_of(allowed)}? [y/N] ", allowed


def _rounded(size: int) -> int:
    """Return the next number of bytes that `size_of` tells exactly."""
    steps = ((10**3, 1), (10**5, 10**3), (10**8, 10**5), (10**9, 10**6))
    step = next((step for end, step in steps if size < end), 10**8)
    return -(-size // step) * step


def is_size(value: object) -> bool:
    """Return whether what a kernel says can be a number of bytes."""
    return type(value) is int and 0 <= value <= 2**62


def size_of(size: int) -> str:
    """Return a number of bytes as people write it: `12 bytes`, `3 kB`, `0.3 MB`, `1.2 GB`."""
    if size < 1000:
        return f"{size} bytes"
    if size < 100_000:
        return f"{size / 1000:.0f} kB"
    if size < 100_000_000:
        return f"{size / 1e6:.1f} MB"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"

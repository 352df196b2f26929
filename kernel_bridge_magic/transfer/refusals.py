"""What is said where variables cannot be copied: by the codec of this side, or in the answer of a kernel. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.remote_code import variables as remote
from kernel_bridge_magic.text import cut_end

NO_ANSWER = "what it answers cannot be read; the kernel may be damaged, or run another version of this package"
_LONGEST = 400  # characters of what the other side says


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
    return refused([problem.path, problem.what, problem.remedy, getattr(problem, "size", 0)], most, kernel)


def refused(told: Any, most: int, kernel: str = "") -> BadVariable:
    """Return the error for what the codec has said: `[path, what, remedy, size]`; `kernel` is where, "" for here.

    The list may come from the other side, and be anything.
    """
    try:
        path, what, remedy, size = told
        path, what, remedy = (cut_end(str(part), _LONGEST) for part in (path, what, remedy))
        size = size if is_size(size) else 0
    except (TypeError, ValueError):
        path, what, remedy, size = "", "cannot be copied", "", 0
    name = path.split("[", 1)[0].split(" ", 1)[0]
    if size:
        larger = f"{path or 'it'} is larger than {size_of(most)}, so nothing was copied"
        return BadVariable(larger, "--max-size SIZE allows more", name=name, size=size)
    where = f" (in {kernel})" if kernel else ""
    return BadVariable(f"{path or 'it'} {what}{where}", remedy.replace("{}", path), name=name)


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

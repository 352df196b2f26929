"""`RemoteResults`: what one cell came to on many kernels; `RemoteErrors`: that it did not end well on all of them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import NamedTuple

from kernel_bridge_magic.display.grid import NO_TERMINAL, NONE, Column, Table, fit, html_page, html_table
from kernel_bridge_magic.errors import BadVariable, KernelBridgeError, NotCopied, RemoteError
from kernel_bridge_magic.matching.levels import match_level
from kernel_bridge_magic.matching.several import headings_of, keys_of
from kernel_bridge_magic.results import RemoteResult
from kernel_bridge_magic.text import count, cut_end, some_of, visible, without_colours

_LONGEST = 200  # characters of a value or error in a table
_MOST_NAMED = 10  # kernels in one line
_GIVE_WAY = (("seconds", 0),)


class _Row(NamedTuple):
    name: str
    result: str
    seconds: str
    state: str


class RemoteResults(Table, dict[str, RemoteResult]):
    """What one cell came to on many kernels: a `RemoteResult` by the kernel's title, in the order of the listing.

    Where two kernels share a title the key is `SERVER::title`. `results["beta1"]` is looked up as any MATCH is.
    """

    def __init__(self, results: Sequence[RemoteResult]) -> None:
        super().__init__(zip(keys_of([result.kernel for result in results]), results, strict=True))

    def __missing__(self, match: str) -> RemoteResult:
        """Return the outcome of the one kernel that `match` means.

        Raises:
            KeyError: it means none of these kernels, or several.
        """
        try:
            _, found = match_level(match, [result.kernel for result in self.values()])
        except KernelBridgeError:
            found = []
        if len(found) != 1:
            known = ", ".join(list(self)[:_MOST_NAMED]) + (", …" if len(self) > _MOST_NAMED else "")
            which = f"means {len(found)} of these kernels" if found else "is none of these kernels"
            raise KeyError(f"{match!r} {which}: {known}")
        return next(result for result in self.values() if result.kernel is found[0])

    @property
    def errors(self) -> dict[str, KernelBridgeError]:
        """What the cell ended with, by kernel, where it did not end well; `errors["beta1"]` is looked up as a MATCH."""
        return _Errors(self)

    def raise_for_error(self) -> None:
        """Raise one error for all kernels on which the cell did not end well.

        Raises:
            RemoteErrors: there are such kernels.
        """
        if self.errors:
            raise RemoteErrors(self)

    def text(self, width: int = NO_TERMINAL) -> str:
        """Return a table of names, results, seconds and states, of at most `width` columns."""
        return "\n".join(fit(_COLUMNS, self._rows(), width, _GIVE_WAY)) if self else "no kernel"

    def _repr_html_(self) -> str:
        return html_page(html_table(_COLUMNS, self._rows(), lambda row: ("", "")), [])

    def _rows(self) -> list[_Row]:
        names = headings_of([result.kernel for result in self.values()])
        return [
            _Row(visible(name), _short(result), f"{result.seconds:.1f}" if result.seconds else NONE, str(result.fate))
            for name, result in zip(names, self.values(), strict=True)
        ]

    def __reduce__(self) -> tuple[object, ...]:
        return RemoteResults, (list(self.values()),)


class _Errors(dict[str, KernelBridgeError]):
    """The errors among `results`."""

    def __init__(self, results: RemoteResults) -> None:
        super().__init__({key: result.error for key, result in results.items() if result.error is not None})
        self._results = results

    def __missing__(self, match: str) -> KernelBridgeError:
        error = self._results[match].error
        if error is None:
            raise KeyError(f"{match!r} ended well")
        return error

    def __reduce__(self) -> tuple[object, ...]:
        return _Errors, (self._results,)


_COLUMNS = (
    Column("name", "name", always=True),
    Column("result", "result", "name", always=True, html=lambda row: html.escape(row.result)),
    Column("seconds", "seconds", "number", always=True),
    Column("state", "state", always=True),
)


def _short(result: RemoteResult) -> str:
    """Return a result, or an error, in one line."""
    if result.error is not None:
        return visible(cut_end(summary_of(result.error), _LONGEST))
    text = str(result.value) if result.value is not None else result.stdout
    return visible(cut_end(" ".join(text[: _LONGEST * 4].split()), _LONGEST)) or NONE


def without_name(text: str, title: str) -> str:
    """Return a sentence about a kernel as it stands below the kernel's title, and is the same for all of them."""
    if text.startswith(f"{title}: "):
        return text.removeprefix(f"{title}: ")
    return f"it {text.removeprefix(f'{title} ')}" if text.startswith(f"{title} ") else text


def summary_of(error: KernelBridgeError) -> str:
    """Return the first line of what a cell ended with, without colours."""
    text = error.summary if isinstance(error, RemoteError) else str(error)
    return next((line for line in without_colours(text).splitlines() if line.strip()), "")


class RemoteErrors(KernelBridgeError):
    """One cell did not end well on some of the kernels that it ran on.

    `errors` has the error of each by the kernel's key, whole; `results` has the outcomes of all.
    """

    def __init__(self, results: RemoteResults) -> None:
        self.results = results
        self.errors = results.errors
        failed = f"{len(self.errors)} of {count(len(results), 'kernel')}"
        are_copies = all(isinstance(error, BadVariable | NotCopied) for error in self.errors.values())
        what = "variables did not come from" if are_copies else "the cell did not end well on"
        self._what = f"{what} {failed}"
        self._names = headings_of([result.kernel for result in results.values()])
        super().__init__(f"{self._what}: {some_of([visible(key) for key in self.errors], _MOST_NAMED)}")
        self.args = (results,)

    def _render_traceback_(self) -> list[str]:
        said = {key: without_name(summary_of(error), key) for key, error in self.errors.items()}
        lines = [f"  {visible(key)}: {visible(cut_end(text, _LONGEST))}" for key, text in said.items()]
        one = next(name for name, result in zip(self._names, self.results.values(), strict=True) if result.error)
        whole = f"One of them whole: import sys; raise sys.last_value.errors[{one!r}]"
        return [f"{type(self).__name__}: {self._what}", *lines, whole]

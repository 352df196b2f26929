"""Every error of this package, ordered by what is to blame.

`BadInput` is the user's input: nothing was sent, nothing is lost. `RemoteError` is the remote code, which raised.
`FateError` is the remote kernel: what became of the cell, as a `Fate`. `ServerError` is a Jupyter server, and
`LinkError` the connection to one kernel. `NotCopied` is a copy of a variable that broke off.

Errors of libraries become one of these where they happen. Their text, which may hold tokens, is not passed on.
"""

from __future__ import annotations

import enum
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kernel_bridge_magic.text import cut_end, cut_middle, fit_columns, visible

if TYPE_CHECKING:
    from kernel_bridge_magic.models import Kernel

_NO_TERMINAL = 80  # columns, where a text goes to a notebook, a file or a pipe


class Fate(enum.StrEnum):
    """What became of a cell. Each cell has exactly one of these fates."""

    OK = "ok"
    FAILED = "failed"
    NOT_RUN = "not run"
    DIED = "died"
    UNKNOWN = "unknown"
    LEFT_RUNNING = "left running"


def sentence(subject: str, problem: str, remedy: str) -> str:
    """Return `subject: problem; remedy`, without the parts that are empty."""
    return "; ".join(filter(None, (": ".join(filter(None, (subject, problem))), remedy)))


class KernelBridgeError(Exception):
    """The root of the tree. Its text is one line that says what is wrong, and what to do next.

    `problem` is what is wrong; `remedy` is what to do, "" where `problem` says that as well.
    """

    def __init__(self, problem: str = "", remedy: str = "") -> None:
        # BaseException.__new__ has kept the arguments, from which pickle makes the error again.
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        # Names of kernels and servers are in it, which others chose.
        return visible(sentence("", self.problem, self.remedy))

    def _render_traceback_(self) -> list[str]:
        # IPython calls this (core/interactiveshell.py, showtraceback). The frames of this package explain nothing to
        # somebody whose kernel is gone; the one line does.
        return [f"{type(self).__name__}: {self}"]


class BadInput(KernelBridgeError):
    """Something the user gave cannot be used. Nothing was sent."""


class BadOption(BadInput):
    """An option that does not exist, or a value that it does not accept."""


class BadCell(BadInput):
    """A cell that cannot be sent: it has a NUL byte or a lone surrogate, or is too large.

    `kernel` is the kernel for whose server it is too large; the text begins with that name.
    """

    def __init__(self, problem: str = "", *, kernel: str = "") -> None:
        super().__init__(f"{kernel}: {problem}" if kernel else problem)
        self.kernel = kernel


class BadMatch(BadInput):
    """A MATCH that cannot be understood, such as a broken regular expression."""


class BadServer(BadInput):
    """A server's URL, name or secret reference that cannot be used."""


class KernelNotFound(BadInput):
    """No kernel is meant by this MATCH."""


class AmbiguousKernel(BadInput):
    """Several kernels are meant by this MATCH.

    `candidates` is a tuple of `(selector, Kernel)`: the selector, pasted in place of MATCH, means that
    kernel alone. `more` is how many others there are. `remedy` asks the user to choose one. `all_option` is the option
    that means all of them, "" where there is none.
    """

    def __init__(
        self, problem: str, candidates: Sequence[tuple[str, Kernel]] = (), *, more: int = 0, remedy: str = ""
    ) -> None:
        super().__init__(problem, remedy)
        self.candidates, self.more = tuple(candidates), more
        self.all_option = ""

    def __str__(self) -> str:
        return visible(". ".join(filter(None, (self.problem, self.remedy))))

    def choices(self, width: int) -> list[str]:
        """Return one line for each candidate, to stand below the message: its selector, never cut, and what it is."""
        rows = [
            (
                visible(selector),
                "" if kernel.title in selector else cut_middle(visible(kernel.title), 40),
                cut_end(visible(kernel.display_name), 24),
                cut_end(visible(kernel.state), 12),
                cut_end(visible(kernel.server.name), 20) if kernel.server else "",
            )
            for selector, kernel in self.candidates
        ]
        lines = ["  " + line for line in fit_columns(rows, width - 2)]
        lines += [f"  … and {self.more} more"] * bool(self.more)
        return [*lines, f"or {self.all_option} to run it on all of them"] if self.all_option else lines

    def _render_traceback_(self) -> list[str]:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _NO_TERMINAL
        return [*super()._render_traceback_(), *self.choices(width)]


class BadVariable(BadInput):
    """A variable that does not exist, or that cannot be copied: of a type that no format knows, or too large.

    `name` is the variable, `size` how many bytes it has at least where it is too large, else 0, and `kept` the token
    under which the other kernel keeps it then for a minute, "" if it does not.
    """

    def __init__(self, problem: str = "", remedy: str = "", *, name: str = "", size: int = 0) -> None:
        super().__init__(problem, remedy)
        self.name, self.size, self.kept = name, size, ""


class OwnKernel(BadInput):
    """The target, `kernel`, is the kernel that runs this code, directly or through others: it would wait for itself."""

    def __init__(self, message: str, kernel: Kernel | None = None) -> None:
        super().__init__(message)
        self.kernel = kernel


class RemoteError(KernelBridgeError):
    """The remote code raised.

    `ename`, `evalue` (str) and `traceback` (list of lines, with ANSI colours) are those of the `error` message that
    the other kernel sent; `kernel` names that kernel. What is raised is a subclass with the remote exception's name,
    so that front ends and nbclient save what they would have saved in the other kernel.
    """

    def __init__(self, ename: str, evalue: str, traceback: Sequence[str] = (), kernel: str = "") -> None:
        super().__init__(evalue)
        self.args = (evalue,)  # as the exception that it stands for has them
        self.ename, self.evalue, self.traceback = ename, evalue, list(traceback)
        self.kernel = kernel
        #: where it was raised, as it stands behind the text ("in work/analysis.ipynb"); "" where that is plain anyway
        self.where = ""
        #: who interrupted the cell, if nobody here did; else ""
        self.interruption = ""
        #: the `RemoteResult` of the cell, with its output until then
        self.result: Any = None

    @property
    def summary(self) -> str:
        """Name and value in one line. A shell's kernel sends no name, and the exit status as the value."""
        if not self.ename and self.evalue.isascii() and self.evalue.isdecimal():
            return f"exit status {self.evalue}"
        return ": ".join(part for part in (self.ename, self.evalue) if part) or "error"

    def __str__(self) -> str:
        return f"{self.evalue} ({self.where})".lstrip() if self.where else self.evalue

    def say_where(self) -> None:
        """Add to the text which kernel raised it, and who interrupted the cell if nobody here did."""
        self.where = ", ".join(filter(None, (f"in {visible(self.kernel)}" if self.kernel else "", self.interruption)))

    def __repr__(self) -> str:
        return f"RemoteError({self.ename!r}, {self.evalue!r}, kernel={self.kernel!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The subclasses are made at run time; pickle cannot find them by name.
        return remote_error, (self.ename, self.evalue, self.traceback, self.kernel)

    def _render_traceback_(self) -> list[str]:
        where = f"({self.where})" if self.where else ""
        if not self.traceback:  # some kernels send none, bash_kernel for one
            return [f"{self.summary} {where}".rstrip()]
        if not where:
            return list(self.traceback)
        # That of a SyntaxError, or of SystemExit, ends with a line break of its own, which stays at the end.
        last = self.traceback[-1]
        text = last.rstrip("\n")
        return [*self.traceback[:-1], text, where + last[len(text) :]]


_REMOTE_ERRORS: dict[str, type[RemoteError]] = {}
_MOST_NAMES = 1000  # a kernel that makes up names must not fill our memory with classes


def remote_error(ename: str, evalue: str, traceback: Sequence[str] = (), kernel: str = "") -> RemoteError:
    """Return a `RemoteError` whose class has the name of the remote exception.

    The same name means the same class, so that `except type(error)` works a second time.
    """
    # A class name may hold anything but NUL and lone surrogates (measured: `type()` refuses both).
    name = ename.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")
    cls = _REMOTE_ERRORS.get(name)
    if cls is None:
        cls = type(name, (RemoteError,), {"__module__": RemoteError.__module__, "__doc__": RemoteError.__doc__})
        if len(_REMOTE_ERRORS) < _MOST_NAMES:
            _REMOTE_ERRORS[name] = cls
    return cls(ename, evalue, traceback, kernel)


class FateError(KernelBridgeError):
    """The cell did not come to its end, as far as we can tell.

    `reason` is the text, which names the kernel. `fate` is the `Fate` and `kernel` the kernel's name. `shown` is the
    number of outputs that had arrived (each line of a stream counts as one), `missing` the number of messages that are
    known to be lost (None: not known), `seconds` how long we had waited. `started` is whether the kernel had begun the
    cell (None: not known).
    """

    fate: Fate = Fate.UNKNOWN

    def __init__(
        self,
        reason: str,
        *,
        kernel: str = "",
        shown: int = 0,
        missing: int | None = 0,
        seconds: float = 0.0,
        started: bool | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason, self.kernel = reason, kernel
        self.shown, self.missing = shown, missing
        self.seconds, self.started = seconds, started
        #: the `RemoteResult` of the cell, with its output until then
        self.result: Any = None


class NotRun(FateError):
    """The cell is proven not to have run. It is safe to run it again."""

    fate = Fate.NOT_RUN


class KernelDied(FateError):
    """The kernel ended, was restarted, or was deleted while the cell ran."""

    fate = Fate.DIED


class FateUnknown(FateError):
    """The cell may have run wholly, in part, or not at all: check before running it again."""

    fate = Fate.UNKNOWN


class LeftRunning(FateError):
    """We stopped waiting; the cell goes on, or stays queued, in the other kernel."""

    fate = Fate.LEFT_RUNNING


class TimedOut(LeftRunning):
    """The given time is up; the cell goes on, or stays queued, in the other kernel."""


_BY_FATE: dict[Fate, type[FateError]] = {cls.fate: cls for cls in (NotRun, KernelDied, FateUnknown, LeftRunning)}


def fate_error(fate: Fate, reason: str, *, timed_out: bool = False, **fields: Any) -> FateError:
    """Return the error for `fate`, which must be neither *ok* nor *failed*; `fields` are those of `FateError`."""
    return (TimedOut if timed_out else _BY_FATE[fate])(reason, **fields)


class NotCopied(KernelBridgeError):
    """A variable was not copied, and nothing was bound. If it was to come from a cell, that cell has run."""


CellError = RemoteError | FateError | BadVariable | NotCopied  # what a cell may end with; with the last two it has run


class Cause(enum.Enum):
    """Why a server did not do what was asked, where somebody acts on it."""

    OTHER = enum.auto()
    NO_SERVER = enum.auto()  # what answers there is no Jupyter server, so that the URL may be wrong
    NOBODY = enum.auto()  # it is certain that nobody listens there; without this, perhaps nobody was heard
    CERTIFICATE = enum.auto()  # its certificate does not hold
    NO_KERNEL = enum.auto()  # it has no such kernel, or none any more


class ServerError(KernelBridgeError):
    """A Jupyter server did not do what was asked.

    `server` is its name, `status` the HTTP status that was not the right one (0 where it is not for a status).
    `cause` is a `Cause`. `is_named` is whether `problem` names the server itself, so that the text does not begin
    with its name.
    """

    status = 0

    def __init__(
        self, server: str, problem: str, remedy: str = "", *, cause: Cause = Cause.OTHER, is_named: bool = False
    ) -> None:
        super().__init__(problem, remedy)
        self.server = server
        self.cause = cause
        self.is_named = is_named

    def __str__(self) -> str:
        return visible(sentence("" if self.is_named else self.server, self.problem, self.remedy))


class ServerUnreachable(ServerError):
    """Nobody answered there in time."""


class AuthRefused(ServerError):
    """The server answered, but does not accept our token, password or login."""


class BadAnswer(ServerError):
    """What answered is no Jupyter server, is broken, or refuses the host name that it was asked by."""


class LinkError(KernelBridgeError):
    """The connection to one kernel."""


class CannotConnect(LinkError):
    """The connection could not be opened. Nothing was sent."""


class LinkLost(LinkError):
    """The connection was open, and broke."""

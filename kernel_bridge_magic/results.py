"""What a cell left, as values for the user: `RemoteValue`, `Copied`, a variable, `RemoteResult`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from kernel_bridge_magic.errors import CellError, Fate, RemoteError
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import DisplayData
from kernel_bridge_magic.text import cut_end, visible

_SHORT = 60  # cells of a text in a repr
_LONGEST_SHORT = 1000
_LONGEST_LITERAL = 1 << 20  # characters; Python takes a hundred times the memory to read them
_NO_VALUE = (
    "this is a RemoteValue, what another kernel shows of its object, and not the object: {tried} does not work. "
    "Use .text for its text, .data for all that was shown, or .literal() for a plain Python value such as a number"
)


class RemoteValue:
    """The value of a remote expression: its MIME bundle, not the object, which stays in the other kernel.

    `data` maps MIME types to what a front end shows for them, `metadata` is what belongs to it (a picture's
    width). Front ends show it as they would have shown the object; that of a kernel which is not one's own is shown
    as `shown`, in which nothing can act (T15).

    It may be kept anywhere, copied and pickled. It does not act as the object: to compare it, to calculate with it, to
    ask for its truth or its items is a TypeError. In a list it is found by identity.
    """

    #: numpy's arrays leave the operators to this class, which refuses them
    __array_ufunc__ = None

    def __init__(
        self, data: dict[str, Any], metadata: dict[str, Any] | None = None, *, shown: dict[str, Any] | None = None
    ) -> None:
        self.data = dict(data)
        self.metadata = dict(metadata or {})
        self._shown = self.data if shown is None else dict(shown)

    @property
    def text(self) -> str:
        """Its `text/plain`, "" when it has none."""
        return _plain(self.data)

    def literal(self) -> Any:
        """Return the Python value that its text spells out: a number, a string, None, lists and dicts of such.

        Raises:
            ValueError: it spells out none, or has more than a million characters.
        """
        text = self.text
        if len(text) > _LONGEST_LITERAL:
            raise ValueError(
                f"a text of {len(text):,} characters is not read as a Python value. Let the other kernel write it to a "
                "file, or return less"
            )
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            pass
        raise ValueError(
            f"{_short(text) or 'a value without text'} is not a plain Python value. Convert it in the other kernel, "
            "for example by int(), list() or .tolist(), or use .text or .data"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._shown, self.metadata

    def __str__(self) -> str:
        return _plain(self._shown) or repr(self)

    def __repr__(self) -> str:
        return f"<RemoteValue: {_short(_plain(self._shown)) or ', '.join(map(visible, self.data)) or 'empty'}>"

    def __format__(self, spec: str) -> str:
        if spec:
            raise TypeError(_NO_VALUE.format(tried=f"the format {spec!r}"))
        return str(self)

    if not TYPE_CHECKING:  # a type checker is to know what there is

        def __getattr__(self, name: str) -> NoReturn:
            if name.startswith("_"):  # asked for by copy, pickle and whoever shows values
                raise AttributeError(f"'RemoteValue' object has no attribute {name!r}")
            raise AttributeError(_NO_VALUE.format(tried=f".{name}"))


def _refused(tried: str) -> Callable[..., NoReturn]:
    def refuse(self: RemoteValue, *_: object) -> NoReturn:
        raise TypeError(_NO_VALUE.format(tried=tried))

    return refuse


def _refuse(*prefixes: str, **named: str) -> None:
    for name, tried in named.items():
        for prefix in prefixes:
            setattr(RemoteValue, f"__{prefix}{name}__", _refused(tried))


_refuse("", eq="==", ne="!=", lt="<", le="<=", gt=">", ge=">=", bool="asking for its truth")
_refuse("", "r", add="+", sub="-", mul="*", matmul="@", truediv="/", floordiv="//", mod="%", divmod="divmod()")
_refuse("", "r", pow="**", lshift="<<", rshift=">>", xor="^", **{"and": "&", "or": "|"})
_refuse("", neg="-", pos="+", invert="~", abs="abs()", round="round()", trunc="trunc()", floor="floor()", ceil="ceil()")
_refuse("", int="int()", float="float()", complex="complex()", index="use as an index")
_refuse("", len="len()", iter="going through it", contains="'in' it", getitem="[]", setitem="[]", delitem="[]")
RemoteValue.__hash__ = object.__hash__  # type: ignore[method-assign]


def _plain(data: dict[str, Any]) -> str:
    plain = data.get("text/plain", "")
    # nbformat allows a list of lines wherever text stands.
    return "".join(map(str, plain)) if isinstance(plain, list) else str(plain)


def _short(text: str) -> str:
    """Return the beginning of a text as one line that cannot act in a terminal."""
    return cut_end(visible(" ".join(text[:_LONGEST_SHORT].split())), _SHORT)


@dataclass(frozen=True, eq=False)
class Copied:
    """One variable that was copied.

    `name` is its name where it went. `size` is its bytes on the way, `note` what did not stay what it was, in words,
    and `replaced` whether the other kernel had a variable of that name (of what came from there: False).
    """

    name: str
    value: Any
    size: int
    note: str = ""
    replaced: bool = False


@dataclass(frozen=True, eq=False, repr=False)
class RemoteResult:
    """A cell's whole outcome.

    `status` is `ok` or `error`; `fate` says more. `outputs` is a list of nbformat 4 output dicts (empty where
    nobody asked to keep them). `value` is the last result, None where there is none. `error` is what
    `raise_for_error` raises. `seconds` is the time from sending to the end; `missing` how many messages are
    known to be lost, None when some are and nobody can tell how many; `interrupted` whether it was interrupted
    from here; `started` whether the kernel had begun with it, None where nobody can tell.
    `output_characters` counts what was printed; `truncated` says that `outputs` have only head and tail of it.
    `stdout` and `stderr` are what was printed.
    `sent` are the variables that were bound there before the cell, by their names there; `variables` those that were
    got from there, by their names here. Where these could not be got, `error` says why, and the cell has run.
    `updates` has an event for each display of an earlier cell that this one has changed: its newest state.
    """

    status: str
    fate: Fate
    kernel: Kernel
    outputs: list[dict[str, Any]] = field(default_factory=list)
    value: RemoteValue | None = None
    error: CellError | None = None
    seconds: float = 0.0
    missing: int | None = 0
    interrupted: bool = False
    updates: tuple[DisplayData, ...] = ()
    started: bool | None = None
    truncated: bool = False
    output_characters: int = 0
    sent: dict[str, Copied] = field(default_factory=dict)
    variables: dict[str, Copied] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text of the value, "" where there is none."""
        return self.value.text if self.value is not None else ""

    @property
    def stdout(self) -> str:
        """What was printed, "" where nothing was or nobody asked to keep it."""
        return self._printed("stdout")

    @property
    def stderr(self) -> str:
        """What was printed on stderr, "" where nothing was or nobody asked to keep it."""
        return self._printed("stderr")

    def _printed(self, name: str) -> str:
        return "".join(output["text"] for output in self.outputs if output.get("name") == name)

    def __str__(self) -> str:
        return str(self.value) if self.value is not None else repr(self)

    def __repr__(self) -> str:
        parts = [str(self.fate), _short(self.kernel.title), f"{self.seconds:.2f} s"]
        if self.error is not None:
            parts.append(_short(f"{type(self.error).__name__}: {self.error}"))
        elif self.value is not None:
            parts.append(repr(self.value))
        return f"<RemoteResult: {', '.join(parts)}>"

    def raise_for_error(self) -> None:
        """Raise what the cell ended with, if it did not end well.

        Raises:
            RemoteError: the remote code raised.
            FateError: the cell did not come to its end.
            BadVariable, NotCopied: it did, but its variables were not got.
        """
        if isinstance(self.error, RemoteError):
            self.error.say_where()
        if self.error is not None:
            raise self.error

"""Copies variables over one connection: before a cell, behind it, or by themselves."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from kernel_bridge_magic import choices
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.subshells import is_busy, look_busy, send_aside
from kernel_bridge_magic.errors import BadOption, BadVariable, LinkError, NotCopied, NotRun
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Event, Note
from kernel_bridge_magic.remote_code import variables as remote
from kernel_bridge_magic.results import Copied
from kernel_bridge_magic.text import some_of
from kernel_bridge_magic.transfer import languages, names
from kernel_bridge_magic.transfer.exchange import Exchange
from kernel_bridge_magic.transfer.get import Getting, Progress
from kernel_bridge_magic.transfer.put import put
from kernel_bridge_magic.transfer.summary import progress
from kernel_bridge_magic.transfer.variables import Variables
from kernel_bridge_magic.transports.base import Transport

#: The key of the note that tells how far a copy is.
COPYING = "copying"
_LARGE = 5_000_000  # bytes from which on it is told how far it is
_TELL_SECONDS = 0.1  # between two such notes
_MOST_NAMED = 3  # variables in such a note

Show = Callable[[Event], object]


class Copying:
    """Copies `variables` to and from `kernel` over `transport`.

    `show`, `stopped`, `at` and `subshell` are as for `Exchange`.

    Raises:
        BadOption: a kernel that is not the user's own is to be trusted with pickles (T19).
    """

    def __init__(
        self,
        transport: Transport,
        kernel: Kernel,
        variables: Variables,
        *,
        subshell: str = "",
        show: Show = lambda event: None,
        stopped: Callable[[], str] = str,
        at: float = math.inf,
    ) -> None:
        if variables.pickles and not kernel.is_yours:
            raise BadOption(f"--pickle is for kernels that are yours; {kernel.title} is sandboxed, so nothing was sent")
        self._transport = transport
        self._kernel = kernel
        self._variables = variables
        self._subshell = subshell
        self._show = show
        #: why nothing is waited for any more, "" as long as it is
        self.stopped = stopped
        self._at = at
        self._getting: Getting | None = None
        self._is_shown = False  # whether how far it is stands there
        self.sent: dict[str, Copied] = {}

    # -- with a cell

    def before(self) -> None:
        """Bind the variables that go with a cell; `sent` has them then, by their names there.

        Raises:
            BadVariable: one of them cannot be copied; nothing was run.
            NotRun: they did not arrive, or the cell's variables could not be got.
        """
        try:
            self._ask_info()
            if self._variables.sent is not None:
                self.sent = self.put()
        except BadVariable as problem:
            problem.problem = f"{problem.problem}, so the cell was not run"
            raise
        except NotCopied as problem:
            title = self._kernel.title
            raise NotRun(f"{problem.problem}, so the cell was not run on {title}", kernel=title) from None

    @property
    def expressions(self) -> dict[str, str]:
        """The user expressions that a cell is sent with."""
        if not self._variables.wanted or not self._is_python:
            return {}
        self._getting = self._new_getting()
        return {remote.NAME: self._getting.expression}

    def behind(self, reply: Mapping[str, Any] | None) -> dict[str, Copied]:
        """Return the variables that a cell was asked for; `reply` is the content of its reply.

        Raises:
            BadVariable, NotCopied: nothing was got.
        """
        try:
            if self._getting is None:
                return self._get_foreign() if self._variables.wanted else {}
            exchange = self._exchange(beside=True)
            try:
                if reply is None or "user_expressions" not in reply:
                    raise NotCopied("its reply was lost with the connection")
                with self._shown():
                    return self._getting.receive(reply, exchange, self._progress(self._variables.wanted))
            finally:
                self._end(exchange)
        except (BadVariable, NotCopied) as problem:
            problem.problem = f"the cell has run, but {problem.problem}"
            raise

    # -- by themselves

    def put(self) -> dict[str, Copied]:
        """Bind variables there, and return them by their names there. It waits its turn, as a cell does.

        Raises:
            BadVariable, NotCopied: nothing was bound.
        """
        sent = self._variables.sent
        assert sent is not None
        self._ask_info()
        exchange = self._exchange(beside=False)
        if self._is_python:
            with self._shown():
                return put(sent, exchange, self._folder(), self._progress(sent.values))
        with contextlib.closing(exchange):
            replaced = languages.put(exchange, sent.values, most=sent.most, folder=self._folder())
        return {name: Copied(name, value, 0, replaced=replaced[name]) for name, value in sent.values.items()}

    def get(self) -> dict[str, Copied]:
        """Return variables by their names here. It goes beside a kernel that is busy.

        Raises:
            BadVariable, NotCopied: nothing was got.
        """
        self._ask_info(beside=True)
        if not self._is_python:
            return self._get_foreign()
        getting = self._new_getting()
        exchange = self._exchange(beside=True)
        try:
            if is_busy(self._transport):
                exchange.go_aside()
            try:
                reply = exchange.ask(remote.ask(getting.expression))
            except BaseException:
                getting.abandon(exchange)
                raise
            with self._shown():
                return getting.receive(reply, exchange, self._progress(self._variables.wanted))
        finally:
            self._end(exchange)

    def forget(self, kept: str) -> None:
        """Have the kernel drop what it has kept under a token."""
        with contextlib.closing(self._exchange(beside=False)) as exchange:
            exchange.leave(remote.drop(kept))

    # -- what they share

    @property
    def _is_python(self) -> bool:
        return languages.language_of(self._transport.state.info) == "python"

    def _ask_info(self, *, beside: bool = False) -> None:
        """Ask the kernel what it is, unless it has said so."""
        if self._transport.state.info:
            return
        if beside:
            self._transport.ask("kernel_info_request", {}, channel="control", seconds=2.0, harmless=True)
            if self._transport.state.info:
                return
        with contextlib.closing(self._exchange(beside=False)) as exchange:
            exchange.ask({}, msg_type="kernel_info_request")

    def _new_getting(self) -> Getting:
        asked = self._variables
        return Getting(
            asked.wanted,
            asked.most,
            pickles=asked.pickles,
            folder=self._folder(),
            keeps=asked.keeps,
            kept=asked.kept,
        )

    def _get_foreign(self) -> dict[str, Copied]:
        wanted = self._variables.wanted
        with contextlib.closing(self._exchange(beside=False)) as exchange:
            names = list(dict.fromkeys(wanted.values()))
            values = languages.get(exchange, names, most=self._variables.most, folder=self._folder())
        return {here: Copied(here, values[there], 0) for here, there in wanted.items()}

    def _exchange(self, *, beside: bool) -> Exchange:
        can_go_beside = beside and self._transport.state.info.get("implementation") == "ipython"
        return Exchange(
            self._transport,
            self._kernel.title,
            subshell=self._subshell,
            send_aside=partial(send_aside, self._transport) if can_go_beside else None,
            show=self._show,
            stopped=self.stopped,
            at=self._at,
        )

    def _end(self, exchange: Exchange) -> None:
        exchange.close()
        if exchange.is_aside:
            with contextlib.suppress(LinkError):
                look_busy(self._transport)

    def _folder(self) -> str | None:
        """Return the folder by which a kernel of this user's on this machine may hand over files; None for others."""
        if not self._variables.by_file or not self._kernel.is_yours or not self._kernel.connection_file:
            return None
        from jupyter_core.paths import jupyter_runtime_dir

        return os.path.join(jupyter_runtime_dir(), "kernel-bridge-files")

    def _progress(self, names: Mapping[str, Any]) -> Progress:
        began = told = time.monotonic()
        name = some_of(list(names), _MOST_NAMED)

        def tell(done: int, total: int) -> None:
            nonlocal told
            now = time.monotonic()
            if total < _LARGE or (now - told < _TELL_SECONDS and done < total):
                return
            told = now
            self._is_shown = True
            self._show(Note(progress(name, done, total, done / max(now - began, 1e-3)), key=COPYING))

        return tell

    @contextlib.contextmanager
    def _shown(self) -> Iterator[None]:
        """Show no more how far it is once it is over, however it ends."""
        try:
            yield
        finally:
            if self._is_shown:
                self._is_shown = False
                self._show(Note("", key=COPYING))


def name_there(transport: Transport, name: str, *, is_read: bool = False) -> str:
    """Return a variable's name as the kernel's language writes it; `is_read` is as for `names.check`.

    Raises:
        BadOption: it cannot be used.
    """
    choices.check("name", name, str, "the name of a variable")
    is_python = languages.language_of(transport.state.info) in ("", "python")
    return names.check(name, "", foreign=not is_python, is_read=is_read)


def copying_for(
    transport: Transport, kernel: Kernel, cell: Cell, *, subshell: str, show: Show, stopped: Callable[[], str]
) -> Copying | None:
    """Return what copies the variables of a cell; None where it has none."""
    if not cell.variables:
        return None
    at = math.inf if cell.timeout is None else (cell.since or time.monotonic()) + cell.timeout
    return Copying(transport, kernel, cell.variables, subshell=subshell, show=show, stopped=stopped, at=at)

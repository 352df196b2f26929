"""What the magics do in one IPython shell, once their line is parsed.

The first use of a magic imports this module, so that `%load_ext` costs a running notebook next to nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import getpass
import time
import warnings
from collections.abc import Sequence
from typing import Any

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.pool import ANY_CELL
from kernel_bridge_magic.bridge.pump import Pump
from kernel_bridge_magic.bridge.runner import run
from kernel_bridge_magic.bridge.widgets import WidgetBridge
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.discovery.standalone import own_kernel_id
from kernel_bridge_magic.display.capped import CappedSink
from kernel_bridge_magic.display.hooks import leave_out
from kernel_bridge_magic.display.neutral import KERNEL, VARIABLE
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.display.servers import CheckList, ServerList
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.display.terminal import TerminalSink
from kernel_bridge_magic.errors import (
    BadOption,
    BadServer,
    BadVariable,
    FateError,
    KernelBridgeError,
    NotCopied,
    OwnKernel,
)
from kernel_bridge_magic.faces import MAGICS
from kernel_bridge_magic.interrupts import aside, held, sends_nothing
from kernel_bridge_magic.ipython.config import KernelBridge
from kernel_bridge_magic.ipython.elsewhere import find_again
from kernel_bridge_magic.ipython.fronts import NotebookFront, TerminalFront
from kernel_bridge_magic.ipython.variables import asked_for, bind, check_names, larger, sent_lines
from kernel_bridge_magic.jobs.jobs import Jobs
from kernel_bridge_magic.matching.levels import Level, match_level, shown
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.questions import Ask
from kernel_bridge_magic.remote_code.displayhook_patch import GUEST
from kernel_bridge_magic.results import RemoteResult, RemoteValue
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.text import cut_end, cut_middle, visible
from kernel_bridge_magic.transfer.variables import Variables

_OF_ENTRY = ("name", "token", "password", "ca_file", "trust", "allow_plain_http")
#: the levels at which a MATCH names its kernel in full. A row does not: the same cell may run again with other rows.
_WHOLE = frozenset({Level.ID, Level.PATH, Level.NAME, Level.STEM})
_CHAIN = "chain"  # in our requests' metadata: the kernels that wait for this cell


class InShell:
    """The `Bridge` of an IPython shell, with its widgets, and what the user was told already."""

    def __init__(self, shell: Any, settings: KernelBridge) -> None:
        self.shell = shell
        self.bridge = Bridge(lambda: settings.servers, MAGICS)
        self._settings = settings
        self.bridge.rows = ()  # no table was shown yet, but here `#2` means a row
        self._told: set[tuple[str, str]] = set()
        #: the front end of this shell
        self.front = NotebookFront(shell, settings) if hasattr(shell, "kernel") else TerminalFront(shell)
        self.jobs = Jobs()
        self._pump = Pump()
        self._widgets: dict[KernelConnection, WidgetBridge] = {}

    def close(self) -> None:
        """Show live widgets as disconnected, leave jobs running, and close the connections."""
        if left := self.jobs.leave("this shell has ended"):
            self.front.last_word(left)
        for widgets in self._widgets.values():
            widgets.close()
        self._widgets.clear()
        self._pump.close()
        self.bridge.close()

    def kernels(self, match: str, options: Any) -> KernelList:
        """Return the table of kernels; `#2` means its second row from now on."""
        self.ask_for_secrets(options.server)
        shown = self.bridge.kernels(match, options.server, verbose=options.verbose)
        self.bridge.rows = tuple(shown)
        return shown

    def servers(self, options: Any) -> ServerList:
        """Add or remove a server; return the table of all servers."""
        if options.add:
            entry = Entry(**{name: getattr(options, name) for name in _OF_ENTRY}, url=options.add)
            self.bridge.add_server(entry, save=options.save, ask=_ask)
        elif given := [f"--{name.replace('_', '-')}" for name in (*_OF_ENTRY, "save") if getattr(options, name)]:
            raise BadOption(f"{', '.join(given)}: these go with --add URL")
        if options.remove:
            self.bridge.remove_server(options.remove)
        self.bridge.registry.ask_for_secrets(_ask)
        listing = self.bridge.search.look()
        return ServerList(listing.servers, listing.notes, MAGICS)

    def check(self, which: str) -> CheckList:
        """Check step by step what works with a server, or with all; return the table of checks."""
        self.bridge.registry.ask_for_secrets(_ask, which or None)
        return CheckList(self.bridge.check(which), MAGICS)

    def ask_for_secrets(self, server: str | None) -> None:
        """Ask for the secret of the named server, if it is to be typed in; call it before Ctrl-C is held back."""
        if server is not None:
            with sends_nothing():
                self.bridge.registry.ask_for_secrets(_ask, server)

    def find(self, match: str, server: str | None) -> Kernel:
        """Return the kernel that `match` means; Ctrl-C ends the search.

        Raises:
            BadInput: it means none, or several.
        """
        return aside(lambda: self.bridge.find(match, server), "kernel-bridge-find")

    def cell(self, code: str, kernels: Sequence[Kernel], options: Any) -> Cell:
        """Return the cell that the options describe, for these kernels; what it does at a busy one is not in it.

        Raises:
            OwnKernel: one of them waits for this cell already.
        """
        return Cell(
            code,
            store_history=options.history,
            timeout=options.timeout,
            since=time.monotonic(),
            metadata=self.metadata(kernels),
            durable=options.durable,
            variables=options.variables,
        )

    def several(self, match: str, options: Any) -> KernelList | None:
        """Return the kernels that a cell is to run on at once; None where `match` is no list, and `--all` not given."""
        self.ask_for_secrets(options.server)
        with sends_nothing(), held():
            find = functools.partial(self.bridge.find_all, match, options.server, every=options.all)
            return aside(find, "kernel-bridge-find")

    def run(self, match: str | Kernel, code: str, options: Any, *, hold_result: bool) -> RemoteValue | None:
        """Run code in a kernel and show its output here; with `hold_result` return the result instead of showing it.

        Where a kernel is given, and no MATCH, it is that one or none, and outputs are marked as not of here.

        Raises:
            RemoteError, FateError: what the cell ended with, unless `options.no_raise_error`.
        """
        self.ask_for_secrets(options.server)
        # Ctrl-C is held back until it can be raised without leaving anything of the cell behind (G12).
        with held():
            try:
                return self._run(match, code, options, hold_result=hold_result)
            finally:
                options.variables.release()  # a traceback that is kept would keep its memory, too

    def _run(self, match: str | Kernel, code: str, options: Any, *, hold_result: bool) -> RemoteValue | None:
        sink = self.front.sink()
        ask = input if sink.can_ask else None
        options.variables = dataclasses.replace(options.variables, keeps=ask is not None)
        while True:
            try:
                with sends_nothing():
                    widgets, kernel, execution = self._start(match, code, options, sink)
                break
            except BadVariable as problem:
                options.variables = larger(options.variables, problem, ask)
        with widgets.cell(execution, self.front.parent(), sink) as cell_widgets:
            mark = "" if isinstance(match, str) or options.quiet else self.front.mark(kernel)
            relay = Relay(sink, kernel, hold_result=hold_result, widgets=cell_widgets, mark=mark)
            outcome = run(execution, relay, sink)
        if ask is not None and not hold_result:
            for connection in self.bridge.pool.known(kernel)[:1]:
                connection.introspection.warm_up()  # somebody may press Tab in the next one
        if isinstance(outcome.error, BadVariable) and outcome.error.size:
            outcome = self._get_larger(outcome, options, relay, ask)
        for text in bind(self.shell.user_ns, outcome):
            relay.inform(VARIABLE, text)
        if options.result:
            self.shell.user_ns[options.result] = outcome
        if outcome.error is not None:
            if not options.no_raise_error:
                relay.show_held()
            if isinstance(outcome.error, FateError) or not outcome.kernel.is_yours:
                sink.begin_line()  # what comes next must be readable, whatever the kernel has left on the line
            if not options.no_raise_error:
                if relay.error_is_shown:
                    leave_out(self.shell, outcome.error)
                raise outcome.error
            if not relay.error_is_shown:
                sink.error(outcome.error)
        return relay.held

    def _get_larger(self, outcome: RemoteResult, options: Any, relay: Relay, ask: Ask | None) -> RemoteResult:
        """Return the outcome with the variables that were too large, if the user wants: as they were after the cell."""
        problem, variables = outcome.error, options.variables
        while isinstance(problem, BadVariable):
            kept = problem.kept
            try:
                variables = larger(variables, problem, ask)
                kept = ""
                connection = self.bridge.pool.connect(outcome.kernel, options.transport)
                got = connection.get_all(variables, show=relay.show)
                return dataclasses.replace(outcome, error=None, variables=got)
            except (BadVariable, NotCopied) as found:
                if found is problem:  # it was no yes
                    break
                problem = found
            finally:
                if kept:  # it was no yes
                    with contextlib.suppress(KernelBridgeError):
                        self.bridge.pool.connect(outcome.kernel, options.transport).forget(kept)
        return dataclasses.replace(outcome, error=problem)

    def variables(self, options: Any) -> Variables:
        """Return the variables that go with a cell by its options.

        Raises:
            BadOption, BadVariable: they cannot; nothing was sent.
        """
        return asked_for(options, self.shell.user_ns)

    def _start(
        self, match: str | Kernel, code: str, options: Any, sink: CappedSink | TerminalSink
    ) -> tuple[WidgetBridge, Kernel, Execution]:
        """Find the kernel, connect to it, and send the code as the very last thing."""
        kernel = self.find(match, options.server) if isinstance(match, str) else find_again(self, match)
        described = self.cell(code, [kernel], options)
        # This relay shows notes while the connection is opened. Widgets need one that knows the connection.
        relay = Relay(sink, kernel)
        if not options.quiet and isinstance(match, str):
            self._introduce(match, kernel, relay)
        check_names(options.variables, [kernel])
        cell = dataclasses.replace(
            described,
            if_busy=options.if_busy or "wait",
            stdin=sink.can_ask,
            keep_outputs=bool(options.result),
        )
        with relay.waiting():
            connection = self.connect(kernel, options.transport, relay, cell)
            widgets = self.widgets_of(connection)
            execution = connection.start(cell, relay.show)
        for text in sent_lines(execution.sent, kernel.title):
            relay.inform(VARIABLE, text)
        return widgets, kernel, execution

    def connect(self, kernel: Kernel, transport: str, relay: Relay, cell: Cell = ANY_CELL) -> KernelConnection:
        """Return the open connection to a kernel, as `Pool.connect` does; `relay` shows what that has to say."""
        connection = self.bridge.pool.connect(kernel, transport, note=relay.show, cell=cell)
        connection.reconnect_timeout = self.reconnect_timeout
        return connection

    def widgets_of(self, connection: KernelConnection) -> WidgetBridge:
        """Return the widgets of an open connection."""
        for known in [known for known in self._widgets if not known.is_open]:
            self._widgets.pop(known).close()
        if connection not in self._widgets:
            self._widgets[connection] = WidgetBridge(connection, self.front, self._pump)
        return self._widgets[connection]

    def _introduce(self, match: str, kernel: Kernel, relay: Relay) -> None:
        """Show once which kernel is meant where MATCH does not name it in full, as a part of a name or a row (T25)."""
        known = (match, kernel.id)
        if known in self._told:
            return
        self._told.add(known)
        level, _ = match_level(match, [kernel], rows=self.bridge.rows)
        if level not in _WHOLE:
            relay.inform(KERNEL, f"{shown(match)} → {_introduced(kernel)}")

    @property
    def reconnect_timeout(self) -> float | None:
        """For how many seconds a link that is lost under a cell is waited for, None for ever."""
        timeout: float | None = self._settings.reconnect_timeout
        return timeout

    def metadata(self, kernels: Sequence[Kernel]) -> dict[str, Any]:
        """Return what goes along with a cell: the ids of the kernels that wait for it, this kernel's last.

        Raises:
            OwnKernel: a target is one of them; it would wait for itself (FACTS.md#which-kernel-asks).
        """
        chain = self._waiting()
        for kernel in kernels:
            if kernel.id in chain:
                raise OwnKernel(f"{kernel.title} waits for this cell already: it would wait for itself", kernel)
        return {_CHAIN: [*chain, *filter(None, (own_kernel_id(),))]}

    def _waiting(self) -> list[str]:
        get_parent = getattr(self.shell, "get_parent", None)
        parent = get_parent() if get_parent else None
        metadata = parent.get("metadata") if isinstance(parent, dict) else None
        guest = metadata.get(GUEST) if isinstance(metadata, dict) else None
        chain = guest.get(_CHAIN) if isinstance(guest, dict) else None
        return [item for item in chain if isinstance(item, str)] if isinstance(chain, list) else []


def _introduced(kernel: Kernel) -> str:
    """Return a kernel's name, kind and place, in a line that is not too long."""
    kind = cut_end(visible(kernel.display_name.removesuffix(" (ipykernel)")), 40)
    where = cut_middle(visible(kernel.server.name), 40) if kernel.server else "this machine"
    return f"{cut_middle(visible(kernel.title), 80)} ({', '.join(filter(None, (kind, where)))})"


def _ask(what: str) -> str:
    """Ask the user for a secret, as `registry.Ask` does."""
    try:
        with warnings.catch_warnings():
            # Without a terminal getpass warns and reads stdin, which may be the rest of a script that is piped in.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return getpass.getpass(f"{what}: ")
    except (NotImplementedError, EOFError, OSError, getpass.GetPassWarning):
        pass  # ipykernel raises NotImplementedError for a front end without stdin: nbclient, papermill
    raise BadServer("nobody can be asked for its secret here; name its place, env:VAR or file:PATH")

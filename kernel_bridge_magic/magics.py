"""The magics: parse, call, show. What they do is in `bridge` and `runner`."""

from __future__ import annotations

import atexit
import getpass
import keyword
import re
from datetime import UTC, datetime
from typing import Any

from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand

from kernel_bridge_magic.bridge import Bridge
from kernel_bridge_magic.display.notebook import NotebookSink
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.display.servers import ServerList
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.display.terminal import TerminalSink
from kernel_bridge_magic.errors import BadInput, BadMatch, BadOption, OwnKernel
from kernel_bridge_magic.matching import find_many
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.options import HelpWanted
from kernel_bridge_magic.protocol.semicolons import GUEST
from kernel_bridge_magic.results import RemoteValue
from kernel_bridge_magic.runner import run
from kernel_bridge_magic.usage import kernels_parser, remote_parser, servers_parser

__all__ = ["BridgeMagics", "load", "unload"]

_ATTRIBUTE = "_kernel_bridge_magics"
_CHAIN = "chain"  # in the metadata of what we send: the kernels that wait for this cell


@magics_class
class BridgeMagics(Magics):
    """`%kernels`, `%remote`, `%%remote` and `%servers`."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell=shell)
        self.bridge = Bridge()
        self.bridge.rows = ()  # none shown yet, but `#2` is a word here
        self._told: set[tuple[str, str]] = set()

    # -- %kernels

    @no_var_expand
    @line_magic
    def kernels(self, line: str) -> KernelList | None:
        """List every kernel in reach: %kernels [MATCH]."""
        try:
            options, match = kernels_parser().parse_line(line, self._expand)
        except HelpWanted as wanted:
            print(wanted)
            return None
        listing = self.bridge.look(options.server)
        found = find_many(match, listing.kernels, rows=self.bridge.rows, plain=True) if match else None
        shown = KernelList(listing, found, now=datetime.now(UTC), verbose=options.verbose)
        self.bridge.rows = tuple(shown)
        return shown

    # -- %servers

    @no_var_expand
    @line_magic
    def servers(self, line: str) -> ServerList | None:
        """List, add or remove servers: %servers [--add URL --name NAME --token env:VAR]."""
        try:
            options, rest = servers_parser().parse_line(line, self._expand)
        except HelpWanted as wanted:
            print(wanted)
            return None
        if rest:
            raise BadOption(f"{rest!r} is not understood; to add a server: %servers --add URL --name NAME")
        if options.add:
            self.bridge.add_server(
                options.add,
                name=options.name,
                token=options.token,
                trusted=options.trust,
                ask=lambda: getpass.getpass("token: "),
            )
        elif options.name or options.token or options.trust:
            raise BadOption("--name, --token and --trust go with --add URL")
        if options.remove:
            self.bridge.remove_server(options.remove)
        return ServerList(self.bridge.look().servers, self.bridge.vault)

    # -- %remote and %%remote

    @no_var_expand
    @line_cell_magic
    def remote(self, line: str, cell: str | None = None) -> RemoteValue | None:
        """Run code in another kernel that is already running: %%remote MATCH, or %remote MATCH CODE."""
        parser = remote_parser()
        try:
            if cell is None:
                options, match, code = parser.parse_head(line, self._expand)
            else:
                options, match = parser.parse_line(line, self._expand)
                code = cell
        except HelpWanted as wanted:
            print(wanted)
            return None
        if not match:
            raise BadMatch("which kernel? %%remote MATCH, for example the notebook's name; %kernels lists them")
        if cell is None and not code:
            raise BadInput(f"nothing to run: %remote {match} CODE, or %%remote {match} with a body")
        if options.result is not None:
            _check_name(options.result)
        return self._run(match, code, options, hold_result=cell is None)

    def _run(self, match: str, code: str, options: Any, *, hold_result: bool) -> RemoteValue | None:
        kernel = self.bridge.find(match, options.server)
        chain = self._chain(kernel)
        sink = self._sink()
        relay = Relay(sink, kernel, quiet=options.quiet, hold_result=hold_result)
        self._introduce(match, kernel, relay)
        connection = self.bridge.connect(kernel, options.transport, note=relay.note)
        outcome = run(
            connection,
            code,
            relay,
            sink,
            stdin=sink.can_ask,
            store_history=options.history,
            timeout=options.timeout,
            keep_outputs=bool(options.result),
            metadata={_CHAIN: chain},
        )
        if options.result:
            self.shell.user_ns[options.result] = outcome
        if outcome.error is not None:
            if not options.no_raise_error:
                raise outcome.error
            sink.error(outcome.error)
        return relay.held

    def _introduce(self, match: str, kernel: Kernel, relay: Relay) -> None:
        """Say once which kernel is meant, when MATCH was less than its path or id (T25)."""
        known = (match, kernel.id)
        if known in self._told or match in (kernel.id, *kernel.paths):
            return
        self._told.add(known)
        where = kernel.server.name if kernel.server else "this machine"
        about = ", ".join(part for part in (kernel.display_name, kernel.short_id) if part)
        relay.note(f"meant by {match!r} ({about}, on {where})")

    def _chain(self, kernel: Kernel) -> list[str]:
        """The kernels that wait for this cell, this one last.

        Raises:
            OwnKernel: the target is one of them; it would wait for itself (FACTS 1).
        """
        chain = self._waiting()
        if kernel.id in chain:
            raise OwnKernel(f"{kernel.title} waits for this cell already: it would wait for itself")
        own = self.bridge.own_id
        return [*chain, own] if own else chain

    def _waiting(self) -> list[str]:
        get_parent = getattr(self.shell, "get_parent", None)
        parent = get_parent() if get_parent is not None else None
        metadata = parent.get("metadata") if isinstance(parent, dict) else None
        guest = metadata.get(GUEST) if isinstance(metadata, dict) else None
        chain = guest.get(_CHAIN) if isinstance(guest, dict) else None
        return [item for item in chain if isinstance(item, str)] if isinstance(chain, list) else []

    # -- shared

    def _sink(self) -> NotebookSink:
        return NotebookSink(self.shell) if hasattr(self.shell, "kernel") else TerminalSink(self.shell)

    def _expand(self, word: str) -> str:
        """Replace a word that is wholly `$name` or `{expr}` by its value; a Kernel means its id.

        Raises:
            BadOption: it has no value here.
        """
        found = re.fullmatch(r"\$([A-Za-z_]\w*)|\{(.+)\}", word)
        if found is None:
            return word
        expression = found[1] or found[2]
        try:
            value = self.shell.ev(expression)
        except Exception as error:
            raise BadOption(
                f"{word} has no value here ({type(error).__name__}); quote it to mean it as it is"
            ) from None
        return value.id if isinstance(value, Kernel) else str(value)


BridgeMagics.remote.__doc__ = remote_parser().format_help()
BridgeMagics.kernels.__doc__ = kernels_parser().format_help()
BridgeMagics.servers.__doc__ = servers_parser().format_help()


def _check_name(name: str) -> None:
    """Refuse names that are none, or are IPython's own (T20)."""
    reserved = name in ("In", "Out", "get_ipython", "exit", "quit") or name.startswith("_")
    if not name.isidentifier() or keyword.iskeyword(name) or reserved:
        raise BadOption(f"{name!r} cannot be used as a name for the result")


def load(shell: Any) -> None:
    """Register the magics with `shell`, once."""
    if getattr(shell, _ATTRIBUTE, None) is not None:
        return
    magics = BridgeMagics(shell)
    shell.register_magics(magics)
    setattr(shell, _ATTRIBUTE, magics)
    atexit.register(magics.bridge.close)


def unload(shell: Any) -> None:
    """Take the magics away again and close their connections."""
    magics = getattr(shell, _ATTRIBUTE, None)
    if magics is None:
        return
    for kind, names in magics.magics.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop(type(magics).__name__, None)
    delattr(shell, _ATTRIBUTE)
    atexit.unregister(magics.bridge.close)
    magics.bridge.close()

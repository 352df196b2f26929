"""What the magics do in one IPython shell, once they have parsed their line.

Apart from `magics`, so that `%load_ext` costs a running notebook next to nothing: this is imported when the first
magic is used.
"""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import Any

from kernel_bridge_magic.bridge import Bridge
from kernel_bridge_magic.display.notebook import NotebookSink
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.display.servers import ServerList
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.display.terminal import TerminalSink
from kernel_bridge_magic.errors import BadOption, OwnKernel
from kernel_bridge_magic.matching import find_many
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.semicolons import GUEST
from kernel_bridge_magic.results import RemoteValue
from kernel_bridge_magic.runner import run

__all__ = ["InShell"]

_CHAIN = "chain"  # in the metadata of what we send: the kernels that wait for this cell


class InShell:
    """A `Bridge` in an IPython shell, and what the user was told already."""

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.bridge = Bridge()
        self.bridge.rows = ()  # none shown yet, but `#2` is a word here
        self._told: set[tuple[str, str]] = set()

    def kernels(self, match: str, options: Any) -> KernelList:
        """List the kernels; their numbers are what `#2` means from now on."""
        listing = self.bridge.look(options.server)
        found = find_many(match, listing.kernels, rows=self.bridge.rows, plain=True) if match else None
        shown = KernelList(listing, found, now=datetime.now(UTC), verbose=options.verbose)
        self.bridge.rows = tuple(shown)
        return shown

    def servers(self, options: Any) -> ServerList:
        """Add or remove a server; list all."""
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

    def run(self, match: str, code: str, options: Any, *, hold_result: bool) -> RemoteValue | None:
        """Run code there and show it here; with `hold_result` give its last result instead of showing it.

        Raises:
            RemoteError, FateError: what the cell ended with, unless `options.no_raise_error`.
        """
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

    def _sink(self) -> NotebookSink:
        return NotebookSink(self.shell) if hasattr(self.shell, "kernel") else TerminalSink(self.shell)

"""The commands: `list`, `exec`, `servers`, `demo`; others are in `variables`, `lifecycle` and `completion`.

Imported when a command line was understood.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import AnyStr

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.runner import run
from kernel_bridge_magic.cli.completion import complete
from kernel_bridge_magic.cli.lifecycle import end, interrupt, start
from kernel_bridge_magic.cli.login import add_server, give_secret, refuse_alone, refuse_unless_added, server_url
from kernel_bridge_magic.cli.many import exec_on_many, several
from kernel_bridge_magic.cli.outcome import OK, UNUSABLE, print_json, say, show, status_of
from kernel_bridge_magic.cli.variables import get, put
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.contract.json_contract import (
    checks_model,
    has_exited_well,
    listing_model,
    result_model,
    servers_model,
)
from kernel_bridge_magic.display.overflow import Kept
from kernel_bridge_magic.display.plain import PlainSink, SilentSink
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.display.servers import CheckList, ServerList
from kernel_bridge_magic.errors import AmbiguousKernel, BadInput, RemoteError
from kernel_bridge_magic.faces import COMMAND_LINE
from kernel_bridge_magic.interrupts import as_usual, interrupts_to
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.results import RemoteResult
from kernel_bridge_magic.sanitize.terminal import Spelt
from kernel_bridge_magic.text import visible

_LARGEST_CODE = 64 << 20  # characters or bytes: no server accepts more, and /dev/zero has no end
_EXITS = "kernel exited after this cell; its variables are gone"  # said here, as there is no next cell to say it


def run_command(options: argparse.Namespace, meant: list[Kernel]) -> int:
    """Run a command and return its exit status. The kernel goes into `meant` once found, for a report of a failure.

    Raises:
        KernelBridgeError: nothing was run.
    """
    work: dict[str, Callable[[argparse.Namespace, list[Kernel]], int]] = {
        "exec": _exec,
        "get": get,
        "put": put,
        "interrupt": interrupt,
        "restart": end,
        "shutdown": end,
        "start": start,
        "list": _list,
        "servers": _servers,
        "demo": _demo,
        "completion": complete,
    }
    return work[options.command](options, meant)


def _list(options: argparse.Namespace, _: list[Kernel]) -> int:
    bridge = Bridge(face=COMMAND_LINE)
    with as_usual():
        found = bridge.kernels(options.match, server_url(bridge, options), verbose=options.verbose)
    show(found, lambda: listing_model(found.listing, found), as_json=options.json)
    return OK


def _exec(options: argparse.Namespace, meant: list[Kernel]) -> int:
    """Run the code in one kernel. Longer than others, since it is one sequence without a branch."""
    bridge = Bridge(face=COMMAND_LINE)
    with as_usual():
        code = _code(options)
        kernels = several(bridge, options)
        if kernels is None:
            try:
                meant.append(_find(bridge, options))
            except AmbiguousKernel as candidates:
                candidates.all_option = "--all" if options.kernel_match else ""
                raise
    if kernels is not None:
        return exec_on_many(bridge, kernels, code, options)
    kernel = meant[0]
    sink = SilentSink() if options.json else PlainSink()
    relay = Relay(sink, kernel)
    kept = Kept()
    cell = Cell(
        code,
        stdin=sink.can_ask,
        store_history=options.history,
        timeout=options.timeout,
        since=time.monotonic(),
        keep_outputs=options.json,
        if_busy=options.if_busy or "wait",
        durable=options.durable,
        whole=kept if kernel.is_yours else Spelt(kept),
    )
    try:
        with relay.waiting():
            connection = bridge.pool.connect(kernel, options.transport, note=relay.show, cell=cell)
            connection.reconnect_timeout = options.reconnect_timeout
            execution = connection.start(cell)
        result = run(execution, relay, sink)
        if execution.request.exits:
            relay.note(_EXITS)
    finally:
        with interrupts_to(lambda: None):
            bridge.close()
    with interrupts_to(lambda: None):  # the cell has ended, and Ctrl-C could only cut off our report of it
        kept.close()
        is_whole = result.truncated and not kept.problem
        if not is_whole:
            kept.remove()
        if options.json:
            print_json(result_model(result, kept.path if is_whole else ""))
        else:
            _tell_end(result, sink, error_is_shown=relay.error_is_shown)
    return status_of(result)


def _tell_end(result: RemoteResult, sink: PlainSink | SilentSink, *, error_is_shown: bool) -> None:
    if result.error is None or has_exited_well(result):
        return  # a process that ends well says nothing either
    if not isinstance(result.error, RemoteError):
        sink.note(str(result.error))
    elif not error_is_shown:
        sink.error(result.error)


def _servers(options: argparse.Namespace, _: list[Kernel]) -> int:
    bridge = Bridge(face=COMMAND_LINE)
    refuse_unless_added(options)
    if options.check is not None:
        return _check(bridge, options)
    with as_usual():
        if options.add is not None:
            added = add_server(bridge, options)
            say(f"added {visible(added.name)} ({visible(added.url)}), for notebooks, terminals and the command line")
        elif options.remove is not None:
            removed = bridge.remove_server(options.remove)
            say(f"removed {visible(removed.name)} ({visible(removed.url)})")
        listing = bridge.search.look(None if options.add is not None else server_url(bridge, options))
    table = ServerList(listing.servers, listing.notes, COMMAND_LINE)
    show(table, lambda: servers_model(listing), as_json=options.json)
    return OK


def _check(bridge: Bridge, options: argparse.Namespace) -> int:
    if options.base_url is None and "://" in options.check:
        options.base_url = options.check
    if options.base_url is None:
        refuse_alone(options)
    else:
        give_secret(bridge, options)
    with as_usual():
        checkups = bridge.check(options.base_url or options.check)
    show(CheckList(checkups, COMMAND_LINE), lambda: checks_model(checkups), as_json=options.json)
    return OK if all(checkup.ok for checkup in checkups) else UNUSABLE


def _demo(options: argparse.Namespace, _: list[Kernel]) -> int:
    from kernel_bridge_magic.cli.demo import demo

    is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    return demo(shell=not options.no_shell and is_terminal)


# -- which kernel, which code


def _find(bridge: Bridge, options: argparse.Namespace) -> Kernel:
    server = server_url(bridge, options)
    if options.kernel_id is not None:
        return bridge.find_by_id(options.kernel_id, server)
    if options.kernel_match is not None:
        return bridge.find(options.kernel_match, server)
    return bridge.find_only(server)


def _code(options: argparse.Namespace) -> str:
    if options.code is not None:
        return str(options.code)
    try:
        if options.code_stdin:
            if sys.stdin is None:
                raise BadInput("standard input is closed, so nothing was run. Give the code with -c CODE or -f FILE")
            data = sys.stdin.buffer.read(_LARGEST_CODE + 1)
            return _small("standard input", data).decode("utf-8")
        with open(options.code_file, encoding="utf-8") as file:
            return _small(repr(options.code_file), file.read(_LARGEST_CODE + 1))
    except UnicodeDecodeError:
        raise BadInput("the code is not UTF-8 text, so nothing was run. Save it as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no file has such a name"
        raise BadInput(f"{options.code_file!r} cannot be read ({reason}), so nothing was run. Check the path") from None


def _small(where: str, code: AnyStr) -> AnyStr:
    if len(code) > _LARGEST_CODE:
        raise BadInput(f"the code in {where} is longer than {_LARGEST_CODE >> 20} MiB, so nothing was sent; send less")
    return code

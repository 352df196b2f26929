"""`kernel-bridge exec --all MATCH`, and `exec a,b,c`: one piece of code on many kernels."""

from __future__ import annotations

import argparse
import sys
import time

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.choices import check_for_many, check_for_one
from kernel_bridge_magic.cli.login import server_url
from kernel_bridge_magic.cli.outcome import print_json, status_of_many
from kernel_bridge_magic.cli.questions import asker
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.contract.json_contract import results_model
from kernel_bridge_magic.display.bottom import is_terminal
from kernel_bridge_magic.display.group_plain import LinesSink, PlainGroups
from kernel_bridge_magic.display.group_sink import GroupSink
from kernel_bridge_magic.display.group_terminal import TerminalGroups
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.errors import BadInput
from kernel_bridge_magic.interrupts import interrupts_to
from kernel_bridge_magic.jobs.consent import confirm
from kernel_bridge_magic.jobs.fanout import FanOut, run
from kernel_bridge_magic.jobs.together import Together, show
from kernel_bridge_magic.protocol.tails import MAX_KEPT
from kernel_bridge_magic.sanitize.terminal import LeftOpen


def several(bridge: Bridge, options: argparse.Namespace) -> KernelList | None:
    """Return the kernels that the code is to run on at once; None where it is to run on one.

    Raises:
        BadOption: an option is for several kernels, and there is one.
    """
    match = options.kernel_match or ""
    if options.all and not match:
        raise BadInput("--all needs a MATCH: kernel-bridge exec --all MATCH -c CODE; '*' matches all kernels")
    if (options.all or "," in match) and options.kernel_id is None:
        found = bridge.find_all(match, server_url(bridge, options), every=options.all)
        if found is not None:
            return found
    check_for_one(options)
    return None


def exec_on_many(bridge: Bridge, kernels: KernelList, code: str, options: argparse.Namespace) -> int:
    """Run code on many kernels, show what comes of it, and return the exit status.

    Raises:
        NotRun: nobody has said that it may run on so many; nothing was sent.
    """
    check_for_many(options)
    confirm(kernels, yes=options.yes, ask=asker(options))
    fan = _fan_out(bridge, kernels, code, options)
    began = time.monotonic()
    try:
        results = run(fan) if options.json else show(fan, _together(kernels), group=not options.no_group)
    finally:
        with interrupts_to(lambda: None):
            bridge.close()
    with interrupts_to(lambda: None):  # the cells have ended, and Ctrl-C could only cut off our report of them
        if options.json:
            print_json(results_model(results.values(), time.monotonic() - began))
    return status_of_many(results)


def _fan_out(bridge: Bridge, kernels: KernelList, code: str, options: argparse.Namespace) -> FanOut:
    return FanOut(
        bridge.pool,
        kernels,
        Cell(code, store_history=options.history, timeout=options.timeout, keep_outputs=options.json),
        transport=options.transport,
        at_once=options.at_once,
        if_busy=options.if_busy,
        reconnect_timeout=options.reconnect_timeout,
    )


def _together(kernels: KernelList) -> Together:
    if is_terminal(sys.stdout):
        left_open = LeftOpen()
        painter = TerminalGroups(sys.stdout, left_open)
        return Together(kernels, painter, lambda name: GroupSink("Ctrl-C", MAX_KEPT, lambda *update: None))
    lines = PlainGroups(sys.stdout, sys.stderr)
    return Together(kernels, lines, lambda name: LinesSink(name, lines))

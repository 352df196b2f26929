"""`kernel-bridge interrupt`, `restart`, `shutdown` and `start`: what is done with one kernel as a whole."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.starting import Started, wanted
from kernel_bridge_magic.cli.login import server_url
from kernel_bridge_magic.cli.outcome import OK, print_json, say, stop
from kernel_bridge_magic.cli.questions import asker
from kernel_bridge_magic.contract.json_contract import action_model, interrupt_model
from kernel_bridge_magic.faces import COMMAND_LINE
from kernel_bridge_magic.interrupts import as_usual, aside, interrupts_to
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.text import visible


def interrupt(options: argparse.Namespace, meant: list[Kernel]) -> int:
    """Interrupt what a kernel runs."""
    bridge = Bridge(face=COMMAND_LINE)
    kernel = _find(bridge, options, meant)
    try:
        interrupted = aside(lambda: bridge.pool.interrupt(kernel), "kernel-bridge-life")
    except KeyboardInterrupt as came:
        outcome = f"{visible(kernel.title)} may still be interrupted"
        return stop(came, meant, as_json=options.json, outcome=outcome)
    _close(bridge)
    if options.json:
        print_json(interrupt_model(kernel, interrupted=interrupted))
    else:
        told = "was interrupted" if interrupted else "is idle; there was nothing to interrupt"
        say(f"{visible(kernel.title)} {told}")
    return OK


def end(options: argparse.Namespace, meant: list[Kernel]) -> int:
    """Restart a kernel, or shut it down; ask first."""
    bridge = Bridge(face=COMMAND_LINE)
    try:
        kernel = _find(bridge, options, meant)
        with as_usual():
            bridge.life.confirm(options.command, kernel, yes=options.yes, ask=asker(options))
    except KeyboardInterrupt as came:
        return stop(came, meant, as_json=options.json, outcome="nothing was done")
    title, restarts = visible(kernel.title), options.command == "restart"
    began = time.monotonic()
    work = bridge.life.restart if restarts else bridge.life.shutdown
    try:
        aside(lambda: work(kernel), "kernel-bridge-life")
    except KeyboardInterrupt as came:
        done = "restarted" if restarts else "shut down"
        return stop(came, meant, as_json=options.json, outcome=f"{title} may still be {done}")
    seconds = time.monotonic() - began
    _close(bridge)
    if options.json:
        print_json(action_model(kernel, "restarted" if restarts else "shut down", seconds))
    elif restarts:
        say(f"restarted {title} in {seconds:.1f} s; its variables are gone")
    else:
        say(f"shut down {title}")
    return OK


def start(options: argparse.Namespace, meant: list[Kernel]) -> int:
    """Start a kernel on a server."""
    bridge = Bridge(face=COMMAND_LINE)
    what = wanted(options.match, options.name)
    with as_usual():
        server = server_url(bridge, options)
    began = time.monotonic()
    work: Callable[[], Started] = lambda: bridge.starting.start(what, server, as_child=False)  # noqa: E731
    try:
        started = aside(work, "kernel-bridge-life")
    except KeyboardInterrupt as came:
        outcome = f"the kernel may still be started; {COMMAND_LINE.listing} shows what there is"
        return stop(came, meant, as_json=options.json, outcome=outcome)
    seconds, kernel = time.monotonic() - began, started.kernel
    _close(bridge)
    if options.json:
        print_json(action_model(kernel, "started", seconds))
    else:
        name = visible(what.notebook or what.name or what.spec)
        where = f" on {visible(kernel.server.name)}" if kernel.server else ""
        say(f"started {name}{where}: {COMMAND_LINE.run.replace('NAME', started.select)} runs code in it")
    return OK


def _find(bridge: Bridge, options: argparse.Namespace, meant: list[Kernel]) -> Kernel:
    with as_usual():
        kernel = bridge.find_to(options.command, options.match, server_url(bridge, options))
    meant.append(kernel)
    return kernel


def _close(bridge: Bridge) -> None:
    with interrupts_to(lambda: None):  # it is done, and Ctrl-C could only cut off our report of it
        bridge.close()

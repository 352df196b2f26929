"""What `%kernels` does with one kernel: interrupt, restart, shut down or start it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from kernel_bridge_magic.bridge.starting import wanted
from kernel_bridge_magic.display.neutral import KERNEL
from kernel_bridge_magic.errors import BadMatch, BadOption
from kernel_bridge_magic.faces import MAGICS
from kernel_bridge_magic.interrupts import aside, held, interrupt_says, sends_nothing
from kernel_bridge_magic.text import visible

if TYPE_CHECKING:
    from kernel_bridge_magic.ipython.shell import InShell

_Given = TypeVar("_Given")
_ACTIONS = ("interrupt", "restart", "shutdown", "start")


def action_of(options: argparse.Namespace) -> str:
    """Return what is to be done with a kernel, "" where none of it is.

    Raises:
        BadOption: an option does not go with it.
    """
    verb = next((it for it in _ACTIONS if getattr(options, it)), "")
    if options.name and verb != "start":
        raise BadOption("--name goes with --start: it is what the new kernel is found as")
    if options.yes and verb not in ("restart", "shutdown"):
        raise BadOption("--yes goes with --restart and --shutdown: nothing else asks")
    if verb and options.watch:
        raise BadOption(f"--{verb} and --watch cannot be given together")
    return verb


def act(here: InShell, verb: str, match: str, options: argparse.Namespace) -> None:
    """Do it, and say what was done.

    Raises:
        BadInput: MATCH means no kernel, or several, or does not name it in full.
        NotRun: the answer was no, or nobody could be asked.
        KernelBridgeError: it could not be done.
    """
    here.ask_for_secrets(options.server)
    with held():
        told = _start(here, match, options) if verb == "start" else _act(here, verb, match, options)
        here.front.sink().inform(KERNEL, told)  # before a Ctrl-C that came too late is raised


def _act(here: InShell, verb: str, match: str, options: argparse.Namespace) -> str:
    if not match:
        raise BadMatch(f"which kernel? Write %kernels --{verb} NAME; %kernels lists them")
    bridge = here.bridge
    with interrupt_says("interrupted; nothing was done"):
        kernel = aside(lambda: bridge.find_to(verb, match, options.server), "kernel-bridge-find")
        title = visible(kernel.title)
        if verb != "interrupt":
            ask = input if here.front.sink().can_ask else None
            bridge.life.confirm(verb, kernel, yes=options.yes, ask=ask)
    if verb == "interrupt":
        done = _wait(lambda: bridge.pool.interrupt(kernel), f"{title} may still be interrupted")
        return f"interrupted {title}" if done else f"{title} is idle; there was nothing to interrupt"
    if verb == "restart":
        seconds = _wait(lambda: bridge.life.restart(kernel), f"{title} may still be restarted")
        return f"restarted {title} in {seconds:.1f} s; its variables are gone"
    _wait(lambda: bridge.life.shutdown(kernel), f"{title} may still be shut down")
    return f"shut down {title}"


def _start(here: InShell, match: str, options: argparse.Namespace) -> str:
    with sends_nothing():
        what = wanted(match, options.name)
    start = here.bridge.starting.start
    may_still = "the kernel may still be started"
    started = _wait(lambda: start(what, options.server, as_child=True), may_still)
    server = started.kernel.server
    where = f" on {visible(server.name)}" if server else ", which ends with this shell"
    run = MAGICS.run.replace("NAME", started.select)
    return f"started {visible(what.notebook or what.name or what.spec)}{where}: {run} runs a cell in it"


def _wait(work: Callable[[], _Given], may_still: str) -> _Given:
    """Do work that may take a minute. Ctrl-C ends the wait at once, but not what others were told to do."""
    with interrupt_says(f"interrupted; {may_still}. {MAGICS.listing} shows what there is"):
        return aside(work, "kernel-bridge-life")

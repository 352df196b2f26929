"""Completion of `kernel-bridge` in a shell: the script that is evaluated there, and the names that it asks for."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from kernel_bridge_magic.cli.outcome import OK
from kernel_bridge_magic.cli.parser import parser_and_commands
from kernel_bridge_magic.errors import BadInput
from kernel_bridge_magic.text import fold, visible

_LOOK_SECONDS = 0.5  # nobody waits longer for names
_MOST_SECONDS = 1.0  # for all that is done here, whatever hangs
_SERVERS = ("server", "remove", "check")  # the options that take a server's name


def complete(options: argparse.Namespace, _: object = None) -> int:
    """Print the script for a shell, or, where that asks for them, names: one a line, without quotes.

    Raises:
        BadInput: no shell was named.
    """
    if options.kernels is not None or options.servers is not None:
        for name in _names(options):
            print(name)
    elif options.shell is None:
        raise BadInput("which shell? Write kernel-bridge completion bash, or kernel-bridge completion zsh")
    else:
        print(script(options.shell))
    return OK


def script(shell: str) -> str:
    """Return what `bash` or `zsh` evaluates. A Tab then starts Python for names only, not for options."""
    import shtab

    parser, commands = parser_and_commands()
    for action in (action for command in commands.values() for action in command._actions):
        if kind := _kind(action):
            name = f"_kernel_bridge_{kind}"
            action.complete = {"bash": name, "zsh": name}  # type: ignore[attr-defined]
    # The same installation answers later, from whatever folder; -P: it imports nothing that lies in that one.
    command = shlex.join([sys.executable, "-P", "-m", "kernel_bridge_magic"]) if sys.executable else "kernel-bridge"
    ours = Path(__file__).with_suffix(f".{shell}").read_text("utf-8").replace("@COMMAND@", command)
    if shell == "bash":  # the last `complete` for a command counts
        return f"{shtab.complete(parser, shell)}\n{ours}"
    return shtab.complete(parser, shell, preamble=ours)  # it ends with the first call, where zsh loads it by itself


def _kind(action: argparse.Action) -> str:
    """Return what an argument takes: `kernels`, `servers` or `files`; else nothing. Its metavar and dest say so."""
    metavar = str(action.metavar)
    if metavar == "MATCH":
        return "kernels"
    if action.dest in _SERVERS:
        return "servers"
    return "files" if metavar.startswith(("FILE", "NOTEBOOK")) else ""


def _names(options: argparse.Namespace) -> Sequence[str]:
    """Return names of kernels or servers that can stand in the place of what was typed."""
    from kernel_bridge_magic.bridge.bridge import Bridge
    from kernel_bridge_magic.faces import COMMAND_LINE
    from kernel_bridge_magic.interrupts import as_usual
    from kernel_bridge_magic.matching.offers import offers, server_offers

    limit = threading.Timer(_MOST_SECONDS, os._exit, (OK,))
    limit.daemon = True
    limit.start()
    with as_usual():
        listing = Bridge(face=COMMAND_LINE).search.look(seconds=_LOOK_SECONDS, rest=True)
    servers = [it.server for it in listing.servers]
    if options.servers is not None:
        found = server_offers(options.servers, servers)
    else:
        found = offers(options.kernels, listing.kernels, servers)
    texts = [it.text.strip('"') for it in found if it.text == visible(it.text)]
    names = list(_insertable(options.kernels or options.servers or "", texts))
    limit.cancel()
    return names


def _insertable(typed: str, names: Sequence[str]) -> Iterator[str]:
    """Yield the names that a shell can put in the place of what was typed: it puts what all of them begin with."""
    begin = [name for name in names if fold(name).startswith(fold(typed))]
    yield from begin or (names if len(names) == 1 else [])

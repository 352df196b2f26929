"""The command line: `kernel-bridge`, the same as `python -m kernel_bridge_magic`. It imports no IPython itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from kernel_bridge_magic.errors import KernelBridgeError

__all__ = ["main"]

USAGE = 2  # exit status: bad usage, no such kernel, no connection; nothing was run


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit status (INTERFACE 5)."""
    parser = argparse.ArgumentParser(
        prog="kernel-bridge",
        description="Run code in a Jupyter kernel that is already running.",
        epilog="In a notebook or in IPython: %%load_ext kernel_bridge_magic, then %%kernels and %%%%remote.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser("demo", help="see it at work: a private server, two kernels, everything included")
    demo.add_argument("--no-shell", action="store_true", help="do not end in an IPython prompt")
    options = parser.parse_args(argv)
    try:
        from kernel_bridge_magic.demo import demo as show

        return show(shell=not options.no_shell and sys.stdin.isatty() and sys.stdout.isatty())
    except KernelBridgeError as error:
        print(f"kernel-bridge: {error}", file=sys.stderr)
        return USAGE

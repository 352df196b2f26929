"""What `kernel-bridge` may be given: commands, options, and their help."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from kernel_bridge_magic.errors import BadInput
from kernel_bridge_magic.options import seconds
from kernel_bridge_magic.protocol.patience import RECONNECT
from kernel_bridge_magic.text import Hidden, hide

__all__ = ["parse"]

_EXAMPLES = """\
examples:
  kernel-bridge list
  kernel-bridge exec --kernel-match analysis --code "df.shape"
  kernel-bridge exec --base-url http://localhost:8888 --token env:TOKEN --kernel-id ID --code-file job.py --json
  cat job.py | kernel-bridge exec --kernel-match "re:^work/" --code-stdin --timeout 5m
  kernel-bridge interrupt analysis
  kernel-bridge servers --check http://localhost:8888/ --token env:TOKEN
  kernel-bridge demo

exit status: 0 ok, 1 the code raised, 2 nothing was run, 3 the kernel died or nobody knows,
124 the timeout is over, 130 interrupted, 129 and 143 told to end by a signal
"""


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are one line, with the nearest option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        line = " ".join(message.split())
        unknown = re.search(r"unrecognized arguments: (-[^\s=]+)", line)
        options = _all_options(self)
        # One that another command has is no slip of the pen.
        near = difflib.get_close_matches(unknown[1], options, 1) if unknown and unknown[1] not in options else []
        hint = f"; did you mean {near[0]}?" if near else f" ({self.prog} --help shows what there is)"
        raise BadInput(line[:300] + hint)


def _all_options(parser: argparse.ArgumentParser) -> set[str]:
    """All options of a parser and of its commands: the first parser is the one that complains."""
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            options.update(*map(_all_options, action.choices.values()))
    return options


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the arguments; `command` is the command's name.

    Raises:
        BadInput: they cannot be used; one line says why.
    """
    return _parser().parse_args(arguments)


def _parser() -> _Parser:
    parser = _Parser(
        prog="kernel-bridge",
        description="Run code in a Jupyter kernel that is already running.",
        epilog=_EXAMPLES + "\nIn a notebook or in IPython: %load_ext kernel_bridge_magic, then %kernels and %%remote.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    listing = commands.add_parser("list", help="list the kernels in reach", description="List the kernels in reach.")
    listing.add_argument("match", nargs="?", default="", metavar="MATCH", help="only those that this could mean")
    _add_server(listing)
    listing.add_argument("-v", "--verbose", action="store_true", help="whole ids, URLs, transports, files passed over")

    execute = commands.add_parser(
        "exec",
        help="run code in one kernel",
        description="Run code in one kernel. Its streams come as they are printed.",
        epilog=_EXAMPLES,
    )
    _add_server(execute)
    target = execute.add_mutually_exclusive_group()
    target.add_argument("--kernel-id", metavar="ID", help="a whole kernel id")
    target.add_argument(
        "--kernel-match", metavar="MATCH", help="a notebook's name or path, a kernel name, re:PATTERN …"
    )
    source = execute.add_mutually_exclusive_group(required=True)
    source.add_argument("--code", metavar="CODE", help="the code itself")
    source.add_argument("--code-file", metavar="FILE", help="a file with the code, UTF-8")
    source.add_argument("--code-stdin", action="store_true", help="read the code from standard input, to its end")
    execute.add_argument("--timeout", metavar="SECONDS", type=seconds, help="in all (30, 5m); the code goes on there")
    execute.add_argument(
        "--reconnect-timeout",
        metavar="SECONDS",
        type=seconds,
        default=RECONNECT,
        help="how long a lost link is waited for (default: 5m), or none; then the end of the code is unknown",
    )
    execute.add_argument("--transport", choices=("auto", "zmq", "ws"), default="auto", help="how to get there")
    execute.add_argument(
        "--if-busy",
        choices=("wait", "fail", "subshell"),
        default="wait",
        help="if it runs something else: wait for it, fail, or run beside it (ipykernel 7)",
    )
    execute.add_argument(
        "--durable", action="store_true", help="keep the output there until we have it (ipykernel 7 or newer)"
    )

    interrupt = commands.add_parser(
        "interrupt", help="interrupt what a kernel runs", description="Interrupt what a kernel runs, whoever began it."
    )
    interrupt.add_argument("match", metavar="MATCH")
    _add_server(interrupt)

    servers = commands.add_parser(
        "servers", help="list the servers we know, or check one", description="List the servers we know, or check them."
    )
    servers.add_argument(
        "--check",
        nargs="?",
        const="",
        type=hide,
        metavar="NAME|URL",
        help="say step by step what works: of one, or of all",
    )
    _add_server(servers)

    demo = commands.add_parser("demo", help="see it at work: a private server, two kernels, everything included")
    demo.add_argument("--no-shell", action="store_true", help="do not end in an IPython prompt")
    return parser


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-url", type=hide, metavar="URL", help="only this server; without it they are looked up")
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument("--token", type=Hidden, metavar="TOKEN", help="env:VAR, file:PATH, ask, or the token itself")
    secret.add_argument(
        "--password", type=Hidden, metavar="PASSWORD", help="env:VAR, file:PATH, ask, or the password itself"
    )
    parser.add_argument("--ca-file", metavar="FILE", default="", help="PEM file of who signed its certificate")
    parser.add_argument(
        "--allow-plain-http", action="store_true", help="send the secret unencrypted to another machine"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")

"""The command line: `kernel-bridge`, the same as `python -m kernel_bridge_magic` and `jupyter kernel-bridge`.

Results go to stdout, everything else to stderr; with `--json` stdout is one JSON object (see `contract`). It
imports no IPython itself.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from kernel_bridge_magic.errors import (
    AmbiguousKernel,
    AuthRefused,
    BadInput,
    Fate,
    KernelBridgeError,
    NotRun,
    RemoteError,
    TimedOut,
)
from kernel_bridge_magic.options import seconds

if TYPE_CHECKING:
    from kernel_bridge_magic.bridge import Bridge
    from kernel_bridge_magic.models import Kernel, Server
    from kernel_bridge_magic.results import RemoteResult

__all__ = ["main"]

OK, RAISED, UNUSABLE, LOST, TIMEOUT, INTERRUPTED = 0, 1, 2, 3, 124, 130
PIPE_CLOSED = 141  # what a shell says of a process that SIGPIPE ended

_EXAMPLES = """\
examples:
  kernel-bridge list
  kernel-bridge exec --kernel-match analysis --code "df.shape"
  kernel-bridge exec --base-url http://localhost:8888 --token env:TOKEN --kernel-id ID --code-file job.py --json
  cat job.py | kernel-bridge exec --kernel-match "re:^work/" --code-stdin --timeout 5m
  kernel-bridge interrupt analysis
  kernel-bridge demo

exit status: 0 ok, 1 the code raised, 2 nothing was run, 3 the kernel died or nobody knows,
124 the timeout is over, 130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are one line, with the nearest option."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        line = " ".join(message.split())
        unknown = re.search(r"unrecognized arguments: (-[^\s=]+)", line)
        near = difflib.get_close_matches(unknown[1], _all_options(self), 1) if unknown else []
        hint = f"; did you mean {near[0]}?" if near else f" ({self.prog} --help shows what there is)"
        raise BadInput(line[:300] + hint)


def _all_options(parser: argparse.ArgumentParser) -> set[str]:
    """All options of a parser and of its commands: the first parser is the one that complains."""
    options = set(parser._option_string_actions)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            options.update(*map(_all_options, action.choices.values()))
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit status (INTERFACE 5)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            # A name that the terminal's encoding lacks is escaped, not a crash (B49).
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        try:
            return _run(arguments)
        except KernelBridgeError as error:
            return _fail(error, as_json="--json" in arguments)
        except KeyboardInterrupt:
            print("kernel-bridge: interrupted; nothing was run", file=sys.stderr)
            return INTERRUPTED
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone. Python would complain once more when it closes stdout.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def _run(arguments: list[str]) -> int:
    options = _parser().parse_args(arguments)
    work: Callable[[argparse.Namespace], int] = options.work
    return work(options)


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
    listing.set_defaults(work=_list)

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
    execute.add_argument("--transport", choices=("auto", "zmq", "ws"), default="auto", help="how to get there")
    execute.set_defaults(work=_exec)

    interrupt = commands.add_parser(
        "interrupt", help="interrupt what a kernel runs", description="Interrupt what a kernel runs, whoever began it."
    )
    interrupt.add_argument("match", metavar="MATCH")
    _add_server(interrupt)
    interrupt.set_defaults(work=_interrupt)

    demo = commands.add_parser("demo", help="see it at work: a private server, two kernels, everything included")
    demo.add_argument("--no-shell", action="store_true", help="do not end in an IPython prompt")
    demo.set_defaults(work=_demo)
    return parser


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base-url", metavar="URL", help="only this server; without it they are looked up")
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument("--token", metavar="TOKEN", help="env:VAR, file:PATH, ask, or the token itself")
    secret.add_argument("--password", metavar="PASSWORD", help="env:VAR, file:PATH, ask, or the password itself")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


# -- commands


def _list(options: argparse.Namespace) -> int:
    from kernel_bridge_magic.bridge import Bridge
    from kernel_bridge_magic.matching import find_many

    bridge = Bridge()
    listing = bridge.look(_server(bridge, options))
    found = find_many(options.match, listing.kernels, plain=True) if options.match else list(listing.kernels)
    if options.json:
        from kernel_bridge_magic.contract import listing_model

        _print_json(listing_model(listing, found))
    else:
        import shutil

        from kernel_bridge_magic.display.tables import KernelList

        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 200
        print(KernelList(listing, found, now=datetime.now(UTC), verbose=options.verbose).text(width))
    return OK


def _exec(options: argparse.Namespace) -> int:
    from kernel_bridge_magic.bridge import Bridge
    from kernel_bridge_magic.display.plain import PlainSink
    from kernel_bridge_magic.display.relay import Relay
    from kernel_bridge_magic.runner import run

    code = _code(options)
    bridge = Bridge()
    kernel = _find(bridge, options)
    sink = _Silent() if options.json else PlainSink()
    relay = Relay(sink, kernel)
    connection = bridge.connect(kernel, options.transport, note=relay.note)
    try:
        result = run(
            connection,
            code,
            relay,
            sink,
            stdin=sink.can_ask,
            timeout=options.timeout,
            keep_outputs=options.json,
        )
    finally:
        bridge.close()
    if options.json:
        from kernel_bridge_magic.contract import result_model

        _print_json(result_model(result))
    elif isinstance(result.error, RemoteError):
        sink.error(result.error)
    elif result.error is not None:
        print(f"kernel-bridge: {result.error}", file=sys.stderr)
    return _status(result)


def _interrupt(options: argparse.Namespace) -> int:
    from kernel_bridge_magic.bridge import Bridge

    bridge = Bridge()
    kernel = bridge.find(options.match, _server(bridge, options))
    bridge.interrupt(kernel)
    if options.json:
        from kernel_bridge_magic.contract import VERSION, kernel_model

        _print_json({"version": VERSION, "status": "ok", "kernel": kernel_model(kernel, kernel.id), "error": None})
    else:
        print(f"kernel-bridge: interrupted {kernel.title}", file=sys.stderr)
    return OK


def _demo(options: argparse.Namespace) -> int:
    from kernel_bridge_magic.demo import demo

    return demo(shell=not options.no_shell and sys.stdin.isatty() and sys.stdout.isatty())


# -- which kernel, which code


def _find(bridge: Bridge, options: argparse.Namespace) -> Kernel:
    server = _server(bridge, options)
    if options.kernel_id is not None:
        return bridge.find_by_id(options.kernel_id, server)
    if options.kernel_match is not None:
        return bridge.find(options.kernel_match, server)
    from kernel_bridge_magic.matching import find_only

    listing = bridge.look(server)
    return find_only(listing.kernels, listing.servers)


def _server(bridge: Bridge, options: argparse.Namespace) -> str | None:
    """Give the URL of `--base-url`, once it is known how we say who we are there."""
    url: str | None = options.base_url
    if url is None:
        if options.token or options.password:
            raise BadInput("--token and --password go with --base-url: servers that are looked up have their own")
        return None
    server = bridge.server_at(url)
    if options.token:
        bridge.vault.put(server.origin, _secret("token", options.token))
    elif options.password:
        bridge.log_in(server, _secret("password", options.password))
    elif os.environ.get("JUPYTER_TOKEN"):
        bridge.vault.put(server.origin, _secret("token", "env:JUPYTER_TOKEN"))
    try:
        bridge.reach(url)
    except AuthRefused:
        if options.token or options.password or not _can_ask():
            raise
        _ask(bridge, url, server)
    return url


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _ask(bridge: Bridge, url: str, server: Server) -> None:
    """Ask for the token or the password; which of the two it is, the server says."""
    secret = _secret("token or password", "ask")
    bridge.vault.put(server.origin, secret)
    try:
        bridge.reach(url)
    except AuthRefused:
        bridge.vault.forget(server.origin)
        bridge.log_in(server, secret)


def _secret(what: str, reference: str) -> Any:
    from kernel_bridge_magic.auth import Secret, read_secret

    if reference == "ask" or reference.startswith(("env:", "file:")):
        import getpass

        return read_secret(reference, ask=lambda: getpass.getpass(f"{what}: ") if _can_ask() else _nobody(what))
    # For scripts; in a notebook the same is refused (T8).
    print(
        f"kernel-bridge: other users can read the {what} in the process list; use env:VAR or file:PATH", file=sys.stderr
    )
    return Secret(reference)


def _nobody(what: str) -> NoReturn:
    raise BadInput(f"there is nobody to ask for the {what} here: use env:VAR or file:PATH")


def _code(options: argparse.Namespace) -> str:
    if options.code is not None:
        return str(options.code)
    try:
        if options.code_stdin:
            return sys.stdin.buffer.read().decode("utf-8")
        with open(options.code_file, encoding="utf-8") as file:
            return file.read()
    except UnicodeDecodeError:
        raise BadInput("the code is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a usable path"
        raise BadInput(f"the code cannot be read from {options.code_file!r}: {reason}") from None


# -- what comes out


class _Silent:
    """A sink for `--json`: everything is kept in the result, and nobody is asked."""

    can_ask = False

    def stream(self, name: str, text: str) -> None:
        """Nothing is shown."""

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        """Nothing is shown."""

    def clear(self, wait: bool) -> None:
        """Nothing is shown."""

    def result(self, value: object) -> None:
        """Nothing is shown."""

    def error(self, error: object) -> None:
        """Nothing is shown."""

    def note(self, text: str) -> None:
        """Notes go to stderr: stdout has one object only."""
        print(f"kernel-bridge: {text}", file=sys.stderr)

    def ask(self, prompt: str, password: bool) -> str:
        """Never called: input is refused over there."""
        raise EOFError


def _status(result: RemoteResult) -> int:
    if result.fate is Fate.OK:
        return OK
    if isinstance(result.error, TimedOut):
        return TIMEOUT
    if result.interrupted:
        return INTERRUPTED
    if isinstance(result.error, NotRun):
        return UNUSABLE
    return RAISED if result.fate is Fate.FAILED else LOST


def _fail(error: KernelBridgeError, *, as_json: bool) -> int:
    if as_json:
        from kernel_bridge_magic.contract import failure

        _print_json(failure(error))
    print(f"kernel-bridge: {error}", file=sys.stderr)
    if isinstance(error, AmbiguousKernel) and error.table and not as_json:
        print(error.table, file=sys.stderr)
    return UNUSABLE


def _print_json(model: dict[str, Any]) -> None:
    try:
        text = json.dumps(model, allow_nan=False)
    except ValueError:
        # Python kernels write NaN, which no other JSON reader takes.
        text = json.dumps(json.loads(json.dumps(model), parse_constant=lambda _: None), allow_nan=False)
    print(text)

"""The command line: `kernel-bridge`, the same as `python -m kernel_bridge_magic` and `jupyter kernel-bridge`.

Results go to stdout, everything else to stderr; with `--json` stdout is one JSON object (see `contract`). It
imports no IPython itself.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from kernel_bridge_magic.arguments import parse
from kernel_bridge_magic.errors import (
    AmbiguousKernel,
    AuthRefused,
    BadInput,
    BadServer,
    Fate,
    KernelBridgeError,
    NotRun,
    RemoteError,
    TimedOut,
)
from kernel_bridge_magic.text import visible

if TYPE_CHECKING:
    from kernel_bridge_magic.bridge import Bridge
    from kernel_bridge_magic.models import Kernel, Server
    from kernel_bridge_magic.results import RemoteResult

__all__ = ["main"]

OK, RAISED, UNUSABLE, LOST, TIMEOUT, INTERRUPTED = 0, 1, 2, 3, 124, 130
_TAKES_NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PIPE_CLOSED = 141  # what a shell says of a process that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit status (INTERFACE 5)."""
    with _streams():
        return _main(list(sys.argv[1:] if argv is None else argv))


@contextlib.contextmanager
def _streams() -> Iterator[None]:
    """Let what was closed (`>&-`) lead nowhere: print would write to stdout what is for stderr (B49)."""
    # Nor must the next socket get the number of a standard stream: others write to that.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    with contextlib.ExitStack() as stack:
        for stream, redirect in ((sys.stdout, contextlib.redirect_stdout), (sys.stderr, contextlib.redirect_stderr)):
            if stream is None:
                stack.enter_context(redirect(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        yield


def _main(arguments: list[str]) -> int:
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
    except OSError as error:
        if error.errno not in (errno.EPIPE, *_TAKES_NO_MORE):
            raise
        # Python would complain once more when it closes stdout.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return PIPE_CLOSED  # whoever read our output has gone
        with contextlib.suppress(OSError):
            print(f"kernel-bridge: the output could not be written: {error.strerror}", file=sys.stderr)
        return LOST


def _run(arguments: list[str]) -> int:
    options = parse(arguments)
    work: dict[str, Callable[[argparse.Namespace], int]] = {
        "list": _list,
        "exec": _exec,
        "interrupt": _interrupt,
        "servers": _servers,
        "demo": _demo,
    }
    return work[options.command](options)


# -- commands


def _list(options: argparse.Namespace) -> int:
    from kernel_bridge_magic.bridge import Bridge

    bridge = Bridge()
    shown = bridge.kernels(options.match, _server(bridge, options), verbose=options.verbose)
    if options.json:
        from kernel_bridge_magic.contract import listing_model

        _print_json(listing_model(shown.listing, shown))
    else:
        import shutil

        print(shown.text(shutil.get_terminal_size().columns if sys.stdout.isatty() else 200))
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
        execution = connection.start(
            code,
            stdin=sink.can_ask,
            timeout=options.timeout,
            keep_outputs=options.json,
            if_busy=options.if_busy,
            durable=options.durable,
        )
        result = run(execution, relay, sink)
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
        print(f"kernel-bridge: interrupted {visible(kernel.title)}", file=sys.stderr)
    return OK


def _servers(options: argparse.Namespace) -> int:
    from kernel_bridge_magic.bridge import Bridge

    bridge = Bridge()
    if options.check is not None:
        return _check(bridge, options)
    listing = bridge.look(_server(bridge, options))
    if options.json:
        from kernel_bridge_magic.contract import servers_model

        _print_json(servers_model(listing))
    else:
        from kernel_bridge_magic.display.servers import ServerList

        print(ServerList.of(listing, bridge.vault))
    return OK


def _check(bridge: Bridge, options: argparse.Namespace) -> int:
    if options.base_url is None and "://" in options.check:
        options.base_url = options.check
    if options.base_url is None:
        _refuse_alone(options)
    else:
        _give_secret(bridge, options)
    checkups = bridge.check(options.base_url or options.check)
    if options.json:
        from kernel_bridge_magic.contract import checks_model

        _print_json(checks_model(checkups))
    else:
        from kernel_bridge_magic.display.checks import CheckList

        print(CheckList(checkups))
    return OK if all(checkup.ok for checkup in checkups) else UNUSABLE


def _demo(options: argparse.Namespace) -> int:
    from kernel_bridge_magic.demo import demo

    is_terminal = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    return demo(shell=not options.no_shell and is_terminal)


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
        _refuse_alone(options)
        return None
    server = _give_secret(bridge, options)
    if password := bridge.vault.password(server.origin):
        bridge.log_in(server, password)
    try:
        bridge.reach(url)
    except AuthRefused:
        if options.token or options.password or not _can_ask():
            raise
        _ask(bridge, url, server)
    return url


def _refuse_alone(options: argparse.Namespace) -> None:
    if options.token or options.password or options.ca_file or options.allow_plain_http:
        raise BadInput(
            "--token, --password, --ca-file and --allow-plain-http go with --base-url: servers that are looked up "
            "have their own"
        )


def _give_secret(bridge: Bridge, options: argparse.Namespace) -> Server:
    """Make the server of `--base-url`, and put its secret where it is kept. What is saved of it counts less."""
    from kernel_bridge_magic.urls import parse_base_url

    server = bridge.server_at(options.base_url, ca_file=options.ca_file, allow_plain_http=options.allow_plain_http)
    in_url = parse_base_url(options.base_url).token is not None
    server = bridge.registry.override(server, secret=bool(options.token or options.password) or in_url)
    if options.token:
        bridge.vault.put(server.origin, _secret("token", options.token))
    elif options.password:
        password = _secret("password", options.password)
        bridge.vault.put_password(server.origin, lambda: password, once=True)
    return server


def _can_ask() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _ask(bridge: Bridge, url: str, server: Server) -> None:
    """Ask for the token or the password; which of the two it is, the server says."""
    from kernel_bridge_magic.urls import hub_and_user

    # A hub's servers know no password; and what is refused as another user's server must not get it as one.
    token_only = any(hub_and_user(server.origin.base_path))
    secret = _secret("token" if token_only else "token or password", "ask")
    bridge.registry.override(server, secret=True)
    try:
        bridge.vault.put(server.origin, secret)
        bridge.reach(url)
    except (AuthRefused, BadServer):  # BadServer: no header carries it, so that it is no token
        bridge.vault.forget(server.origin)
        if token_only:
            raise
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
            if sys.stdin is None:
                raise BadInput("the code cannot be read from standard input: it is closed")
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

    def progress(self, text: str) -> None:
        """As `note`."""
        self.note(text)

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

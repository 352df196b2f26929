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
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, AnyStr

from kernel_bridge_magic.access.signals import ENDING, resume
from kernel_bridge_magic.cli.arguments import parse
from kernel_bridge_magic.cli.login import add_server, give_secret, refuse_alone, refuse_unless_added, server_url
from kernel_bridge_magic.errors import (
    AmbiguousKernel,
    BadCell,
    BadInput,
    BadOption,
    Fate,
    KernelBridgeError,
    NotRun,
    RemoteError,
    TimedOut,
)
from kernel_bridge_magic.faces import COMMAND_LINE, INTERRUPT
from kernel_bridge_magic.interrupts import Terminated, as_usual, held, interrupts_to, spent, told_to_end
from kernel_bridge_magic.text import visible

if TYPE_CHECKING:
    from kernel_bridge_magic.bridge.bridge import Bridge
    from kernel_bridge_magic.display.plain import PlainSink, SilentSink
    from kernel_bridge_magic.models import Kernel
    from kernel_bridge_magic.results import RemoteResult

__all__ = ["main"]

OK, RAISED, UNUSABLE, LOST, TIMEOUT, INTERRUPTED = 0, 1, 2, 3, 124, 130
#: Characters or bytes. More can be sent to no server; /dev/zero has no end.
_LARGEST_CODE = 64 << 20
_TAKES_NO_MORE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_BY_SIGNAL = 128  # and its number: what a shell says of a process that a signal ended
PIPE_CLOSED = _BY_SIGNAL + 13  # SIGPIPE
_EXITS = "kernel exited after this cell; its variables are gone"  # told here: no next cell comes that would
_LAST_SECONDS = 5.0  # for what is left to be done when a signal has told us to end: nobody may read what we write


def main(argv: Sequence[str] | None = None, *, mask: frozenset[int] | None = None) -> int:
    """Run the command line; give the exit status (INTERFACE 5).

    With `mask` it is the whole process: until here SIGINT, SIGTERM and SIGHUP were made to wait, and now only the
    signals of `mask` are; when all is told, Ctrl-C means nothing any more.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_streams())
        if arguments[:1] != ["demo"]:  # which has a shell of its own to interrupt, and its own way to end
            then = _end_soon if mask is not None else None
            stack.enter_context(held(*ENDING, then=then))
        if mask is not None:
            resume(mask)
        try:
            return _main(arguments)
        finally:
            if mask is not None:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            spent()  # what came up to the line above as well


def _end_soon(number: int) -> None:
    """End the process a few seconds after a signal told it to, also where it is stuck in a write that nobody reads."""
    timer = threading.Timer(_LAST_SECONDS, lambda: os._exit(_BY_SIGNAL + number))
    timer.daemon = True
    timer.start()


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
        meant: list[Kernel] = []
        try:
            return _run(arguments, meant)
        except KernelBridgeError as error:
            return _fail(error, meant, as_json="--json" in arguments)
        except KeyboardInterrupt as came:
            return _stop(came, meant, as_json="--json" in arguments)
        finally:
            sys.stdout.flush()
    except OSError as error:
        for note in getattr(error, "__notes__", ()):
            with contextlib.suppress(OSError):
                print(note, file=sys.stderr)
        if told_to_end():
            return _BY_SIGNAL + told_to_end()  # the terminal is gone, and with it whoever would read this
        if error.errno not in (errno.EPIPE, *_TAKES_NO_MORE):
            raise
        # Python would complain once more when it closes stdout.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return PIPE_CLOSED  # whoever read our output has gone
        with contextlib.suppress(OSError):
            told = f"the output could not be written ({error.strerror}). Make room there, or write it elsewhere"
            print(f"kernel-bridge: {told}", file=sys.stderr)
        return LOST


def _run(arguments: list[str], meant: list[Kernel]) -> int:
    """Run the command; the kernel goes into `meant` as soon as it is found, for what is told of a failure."""
    options = parse(arguments)
    if options.command == "exec":
        return _exec(options, meant)
    if options.command == "interrupt":
        return _interrupt(options, meant)
    work: dict[str, Callable[[argparse.Namespace], int]] = {"list": _list, "servers": _servers, "demo": _demo}
    return work[options.command](options)


# -- commands


def _list(options: argparse.Namespace) -> int:
    from kernel_bridge_magic.bridge.bridge import Bridge

    bridge = Bridge(face=COMMAND_LINE)
    with as_usual():
        shown = bridge.kernels(options.match, server_url(bridge, options), verbose=options.verbose)
    if options.json:
        from kernel_bridge_magic.contract.json_contract import listing_model

        _print_json(listing_model(shown.listing, shown))
    else:
        import shutil

        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 200
        print(shown.text(width))
    return OK


def _exec(options: argparse.Namespace, meant: list[Kernel]) -> int:
    from kernel_bridge_magic.bridge.bridge import Bridge
    from kernel_bridge_magic.bridge.runner import run
    from kernel_bridge_magic.connection.cell import Cell
    from kernel_bridge_magic.display.overflow import Kept
    from kernel_bridge_magic.display.plain import PlainSink, SilentSink
    from kernel_bridge_magic.display.relay import Relay
    from kernel_bridge_magic.sanitize.terminal import Spelt

    bridge = Bridge(face=COMMAND_LINE)
    with as_usual():
        code = _code(options)
        kernel = _find(bridge, options)
        meant.append(kernel)
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
        if_busy=options.if_busy,
        durable=options.durable,
        whole=kept if kernel.own else Spelt(kept),
    )
    try:
        with relay.waiting():
            connection = bridge.connect(
                kernel, options.transport, note=relay.show, timeout=cell.timeout, if_busy=cell.if_busy
            )
            connection.reconnect_timeout = options.reconnect_timeout
            execution = connection.start(cell)
        result = run(execution, relay, sink)
        if execution.exits:
            relay.note(_EXITS)
    finally:
        with _unstoppable():
            bridge.close()
    with _unstoppable():
        kept.close()
        is_whole = result.truncated and not kept.problem
        if not is_whole:
            kept.remove()
        _tell(result, sink, options, kept.path if is_whole else "", error_is_shown=relay.error_is_shown)
    return _status(result)


@contextlib.contextmanager
def _unstoppable() -> Iterator[None]:
    """Pass over Ctrl-C: the cell's fate is decided, and there is nothing to interrupt but our word of it."""
    with interrupts_to(lambda: None):
        yield


def _tell(
    result: RemoteResult,
    sink: PlainSink | SilentSink,
    options: argparse.Namespace,
    output_file: str,
    *,
    error_is_shown: bool,
) -> None:
    from kernel_bridge_magic.contract.json_contract import has_exited_well, result_model

    if options.json:
        _print_json(result_model(result, output_file))
    elif has_exited_well(result):
        pass  # no process would say more
    elif isinstance(result.error, RemoteError):
        if not error_is_shown:
            sink.error(result.error)
    elif result.error is not None:
        sink.note(str(result.error))


def _interrupt(options: argparse.Namespace, meant: list[Kernel]) -> int:
    from kernel_bridge_magic.bridge.bridge import Bridge

    bridge = Bridge(face=INTERRUPT)
    with as_usual():
        kernel = bridge.find(options.match, server_url(bridge, options))
        meant.append(kernel)
    interrupted = bridge.interrupt(kernel)
    bridge.close()
    if options.json:
        from kernel_bridge_magic.contract.json_contract import interrupt_model

        _print_json(interrupt_model(kernel, interrupted=interrupted))
    else:
        told = "was interrupted" if interrupted else "is idle; there was nothing to interrupt"
        print(f"kernel-bridge: {visible(kernel.title)} {told}", file=sys.stderr)
    return OK


def _servers(options: argparse.Namespace) -> int:
    from kernel_bridge_magic.bridge.bridge import Bridge

    bridge = Bridge(face=COMMAND_LINE)
    refuse_unless_added(options)
    if options.check is not None:
        return _check(bridge, options)
    with as_usual():
        if options.add is not None:
            added = add_server(bridge, options)
            told = f"added {visible(added.name)} ({visible(added.url)}), for notebooks, terminals and the command line"
            print(f"kernel-bridge: {told}", file=sys.stderr)
        elif options.remove is not None:
            removed = bridge.remove_server(options.remove)
            print(f"kernel-bridge: removed {visible(removed.name)} ({visible(removed.url)})", file=sys.stderr)
        listing = bridge.look(None if options.add is not None else server_url(bridge, options))
    if options.json:
        from kernel_bridge_magic.contract.json_contract import servers_model

        _print_json(servers_model(listing))
    else:
        import shutil

        from kernel_bridge_magic.display.servers import ServerList

        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 200
        print(ServerList.of(listing, COMMAND_LINE).text(width))
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
    if options.json:
        from kernel_bridge_magic.contract.json_contract import checks_model

        _print_json(checks_model(checkups))
    else:
        from kernel_bridge_magic.display.checks import CheckList

        print(CheckList(checkups, COMMAND_LINE))
    return OK if all(checkup.ok for checkup in checkups) else UNUSABLE


def _demo(options: argparse.Namespace) -> int:
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


# -- what comes out


def _status(result: RemoteResult) -> int:
    from kernel_bridge_magic.contract.json_contract import has_exited_well

    if result.fate is Fate.OK or has_exited_well(result):
        return OK
    if isinstance(result.error, TimedOut):
        return TIMEOUT
    if told_to_end() and result.fate is Fate.LEFT_RUNNING:
        return _BY_SIGNAL + told_to_end()
    if result.interrupted:
        return INTERRUPTED
    if isinstance(result.error, NotRun):
        return UNUSABLE
    return RAISED if result.fate is Fate.FAILED else LOST


def _stop(came: KeyboardInterrupt, meant: list[Kernel], *, as_json: bool) -> int:
    """Tell of a Ctrl-C, or of a signal to end, before anything was sent."""
    how, status = "interrupted", INTERRUPTED
    if isinstance(came, Terminated):
        how, status = f"told to end ({came.name})", _BY_SIGNAL + came.number
    words = f"{how}; nothing was run"
    if as_json:
        from kernel_bridge_magic.contract.json_contract import failure

        _print_json(failure(NotRun(words), *meant))
    print(f"kernel-bridge: {words}", file=sys.stderr)
    return status


def _fail(error: KernelBridgeError, meant: list[Kernel], *, as_json: bool) -> int:
    if as_json:
        from kernel_bridge_magic.contract.json_contract import failure

        model = failure(error, *meant)
        _print_json(model)
        print(f"kernel-bridge: {_naming(error, model['error']['message'], meant)}", file=sys.stderr)
        return UNUSABLE
    print(f"kernel-bridge: {_naming(error, str(error), meant)}", file=sys.stderr)
    if isinstance(error, AmbiguousKernel):
        for line in error.choices(_columns()):
            print(line, file=sys.stderr)
    return UNUSABLE


def _naming(error: KernelBridgeError, text: str, meant: list[Kernel]) -> str:
    """Name the kernel that was found, where a cell or an option that it cannot take is told without."""
    title = visible(meant[0].title) if meant and isinstance(error, BadCell | BadOption) else ""
    return text if text.startswith(title) else f"{title}: {text}"


def _columns() -> int:
    """Return the width of the terminal that stderr is, 80 where it is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):  # ValueError is a stream's that has no descriptor
        return 80


def _print_json(model: dict[str, Any]) -> None:
    try:
        text = json.dumps(model, allow_nan=False)
    except ValueError:
        # Python kernels write NaN, which no other JSON reader takes.
        text = json.dumps(json.loads(json.dumps(model), parse_constant=lambda _: None), allow_nan=False)
    print(text)

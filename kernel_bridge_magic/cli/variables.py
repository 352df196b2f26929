"""`kernel-bridge get` and `put`: copy one variable from a kernel or to it."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.cli.files import Output, read, unfit
from kernel_bridge_magic.cli.formats import json_text
from kernel_bridge_magic.cli.login import server_url
from kernel_bridge_magic.cli.outcome import OK, print_json, stop
from kernel_bridge_magic.cli.questions import asker
from kernel_bridge_magic.cli.unfit import Unfit
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.contract.json_contract import copied_model
from kernel_bridge_magic.display.plain import PlainSink, SilentSink
from kernel_bridge_magic.display.relay import Relay
from kernel_bridge_magic.errors import BadOption, BadVariable, LinkLost, NotCopied, TimedOut
from kernel_bridge_magic.faces import COMMAND_LINE
from kernel_bridge_magic.interrupts import as_usual, interrupts_to
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Event
from kernel_bridge_magic.questions import Ask, says_yes
from kernel_bridge_magic.results import Copied
from kernel_bridge_magic.transfer.names import check
from kernel_bridge_magic.transfer.put import Outgoing
from kernel_bridge_magic.transfer.refusals import offer
from kernel_bridge_magic.transfer.summary import HERE, THERE, describe, line
from kernel_bridge_magic.transfer.variables import Variables

_SHORTEST = 0.001  # seconds: what is left of a time that is over

Attempt = Callable[[Variables, float | None], Copied]
_Connected = tuple[KernelConnection, str, Callable[[Event], object]]


def get(options: argparse.Namespace, meant: list[Kernel]) -> int:
    """Copy a variable of a kernel here, and print or write it; return the exit status.

    Raises:
        KernelBridgeError: it was not copied.
    """
    began = time.monotonic()
    output = Output(options.output, replace=options.replace) if options.output is not None else None
    try:
        with _connected(options, meant, is_read=True) as (connection, name, show):

            def attempt(how: Variables, seconds: float | None) -> Copied:
                return connection.get_all(replace(how, wanted={name: name}), timeout=seconds, show=show)[name]

            copied = copy(attempt, name, options, asker(options), began)
    except KeyboardInterrupt as came:
        return stop(came, meant, as_json=options.json, outcome="nothing was copied")
    with interrupts_to(lambda: None):  # it is here, and Ctrl-C could only cut off what we make of it
        hand_out(copied, meant[0], output, time.monotonic() - began, as_json=options.json)
    return OK


def put(options: argparse.Namespace, meant: list[Kernel]) -> int:
    """Copy what a file holds to a kernel; return the exit status.

    Raises:
        KernelBridgeError: it was not copied.
    """
    began = time.monotonic()
    try:
        with as_usual():
            value = read(options.file, options.max_size, sys.stdin.buffer if sys.stdin is not None else None)
        with _connected(options, meant, is_read=False) as (connection, name, show):

            def attempt(how: Variables, seconds: float | None) -> Copied:
                sent = Outgoing({name: value}, how.most, pickles=how.pickles)
                return connection.put_all(replace(how, sent=sent), timeout=seconds, show=show)[name]

            copied = copy(attempt, name, options, asker(options), began)
    except KeyboardInterrupt as came:
        return stop(came, meant, as_json=options.json, outcome="the copy was not confirmed")
    with interrupts_to(lambda: None):
        if options.json:
            seconds, kind = time.monotonic() - began, describe(copied.value)
            replaced = copied.replaced
            print_json(copied_model(meant[0], copied, kind, file=options.file, replaced=replaced, seconds=seconds))
        else:
            print(line(copied, THERE, meant[0].title), file=sys.stderr)
    return OK


def hand_out(copied: Copied, kernel: Kernel, output: Output | None, seconds: float, *, as_json: bool) -> None:
    """Print the variable that was got, or write it to its file, and say so.

    Raises:
        BadInput: JSON, or a file of this suffix, cannot hold it.
        NotCopied: it could not be written.
    """
    value: dict[str, Any] = {}
    text = ""
    if output is not None:
        output.write(copied.name, copied.value)
    else:
        try:
            text = json_text(copied.value)
        except Unfit as problem:
            raise unfit(copied.name, problem) from None
        value = {"value": copied.value}
    replaced = output is not None and output.replaced
    if as_json:
        kind, file = describe(copied.value), output.path if output is not None else None
        print_json(copied_model(kernel, copied, kind, file=file, replaced=replaced, seconds=seconds, **value))
        return
    if output is None:
        print(text, flush=True)
    print(line(copied, HERE, kernel.title, replaced), file=sys.stderr)


def copy(attempt: Attempt, name: str, options: argparse.Namespace, ask: Ask | None, began: float) -> Copied:
    """Copy a variable by `attempt`; ask whether it may be larger than `--max-size`.

    `attempt` is called with what goes for the copy, and with how many seconds it may take. `ask` is None where nobody
    can be asked. `began` is when the time of `--timeout` began, on the monotonic clock.

    Raises:
        KernelBridgeError: it was not copied.
    """
    most = options.max_size
    while True:
        end = math.inf if options.timeout is None else began + options.timeout
        left = None if options.timeout is None else max(end - time.monotonic(), _SHORTEST)
        try:
            return attempt(Variables(most=most, pickles=options.pickle, by_file=options.transport == "auto"), left)
        except (LinkLost, NotCopied) as problem:
            if time.monotonic() >= end:
                raise TimedOut(f"{name} was not copied within {options.timeout:g} s") from None
            raise NotCopied(problem.problem, problem.remedy) from None
        except BadVariable as problem:
            if not problem.size or ask is None:
                raise
            asked_at = time.monotonic()
            question, allowed = offer([name], problem.size, most)
            if not says_yes(ask, question):
                raise
            began += time.monotonic() - asked_at  # nobody thinks against the clock
            most = allowed


@contextlib.contextmanager
def _connected(options: argparse.Namespace, meant: list[Kernel], *, is_read: bool) -> Iterator[_Connected]:
    """Yield a connection to the kernel, the name of the variable there, and what shows events meanwhile."""
    bridge = Bridge(face=COMMAND_LINE)
    cell = Cell("0", timeout=options.timeout, since=time.monotonic())
    try:
        with as_usual():
            kernel = bridge.find(options.match, server_url(bridge, options))
        meant.append(kernel)
        name = name_there(kernel, options, is_read=is_read)
        relay = Relay(SilentSink() if options.json else PlainSink(), kernel)
        with relay.waiting():
            connection = bridge.pool.connect(kernel, options.transport, note=relay.show, cell=cell)
            yield connection, name, relay.show
    finally:
        with interrupts_to(lambda: None):
            bridge.close()


def name_there(kernel: Kernel, options: argparse.Namespace, *, is_read: bool) -> str:
    """Return the name of the variable in the kernel.

    Raises:
        BadOption: it cannot be copied, or the kernel is not trusted with pickles.
    """
    if options.pickle and not kernel.is_yours:
        raise BadOption("--pickle is for kernels that are yours; this one is sandboxed, so nothing was copied")
    foreign = kernel.language not in ("", "python")  # "": not known of a kernel that only a connection file names
    return check(options.name, "", foreign=foreign, is_read=is_read)

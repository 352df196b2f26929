"""The functions that Python code begins with: `kernels()`, `connect()` and `run_on()`.

>>> from kernel_bridge_magic import RemoteError, connect, kernels
>>> found = kernels()  # all that are in reach; a notebook and a terminal show a table

`my_kernel` stands for what names a kernel: a notebook's name or path, an id, ...

>>> with connect(my_kernel) as kernel:
...     result = kernel.execute("numbers = [1, 2, 3]; print('summing'); sum(numbers)")
>>> result.status, result.text, result.value.data
('ok', '6', {'text/plain': '6'})
>>> result.outputs[0]
{'output_type': 'stream', 'name': 'stdout', 'text': 'summing\\n'}

Remote errors are raised here, one class for each remote exception name:

>>> kernel = connect(my_kernel)
>>> try:
...     kernel.execute("numbers[3]")
... except RemoteError as error:
...     print(f"{error.ename}: {error.evalue}")  # `error` itself names the kernel as well
IndexError: list index out of range

Events come as the cell prints:

>>> for event in kernel.stream("print('a line')"):
...     print(event)
Started()
Stream(name='stdout', text='a line\\n')
>>> kernel.close()

One cell on many kernels at once, each named as MATCH or taken from `kernels()`:

>>> results = run_on([my_kernel], "6 * 7")
>>> [result.text for result in results.values()]
['42']

All calls block. Beside an event loop run them in a thread: `await asyncio.to_thread(kernel.execute, code)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.choices import RECONNECT, TRANSPORTS, check, check_duration, shortened
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.errors import BadMatch, BadOption
from kernel_bridge_magic.jobs.fanout import FanOut, run
from kernel_bridge_magic.jobs.results import RemoteResults
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.text import hide


@lru_cache(maxsize=1)
def _bridge() -> Bridge:
    return Bridge()


def kernels(match: str = "", *, server: str | None = None) -> KernelList:
    """List the kernels in reach, in 3 s at most: all, or those that `match` could mean.

    `server` is a name or URL; without it every server of this user on this machine is asked.

    Raises:
        BadServer: no such server is known.
        BadMatch: `match` cannot be understood, or is no text.
        BadOption: `server` is no text.
    """
    match, server = hide(match), hide(server)
    check("match", match, str, "a text", BadMatch)
    check("server", server, str | None, "a name or URL")
    return _bridge().kernels(match, server)


def connect(
    match: str | Kernel,
    *,
    server: str | None = None,
    transport: str = "auto",
    reconnect_timeout: float | str | None = RECONNECT,
) -> KernelConnection:
    """Connect to the one kernel that `match` means, or to a `Kernel` that was listed.

    `transport` is `auto`, `zmq` or `ws`. If the connection is lost while a cell runs, the cell waits for it for
    `reconnect_timeout` seconds (or "5m", "2h"; None: for ever), then raises `FateUnknown`. Close the connection when
    you are done, best with `with`.

    Raises:
        BadOption: an option has a wrong type or value.
        KernelNotFound, AmbiguousKernel, BadMatch, OwnKernel: `match` does not mean one kernel.
        LinkError, ServerError: the kernel cannot be connected to.
    """
    match, server = hide(match), hide(server)
    check("match", match, str | Kernel, "a text or a Kernel", BadMatch)
    check("server", server, str | None, "a name or URL")
    transport = _transport(transport)
    patience = check_duration("reconnect_timeout", reconnect_timeout)
    bridge = _bridge()
    kernel = match if isinstance(match, Kernel) else bridge.find(match, server)
    connection = bridge.pool.open(kernel, transport)
    connection.reconnect_timeout = patience
    return connection


def run_on(
    kernels: str | Sequence[Kernel | str],
    code: str,
    *,
    server: str | None = None,
    transport: str = "auto",
    timeout: float | str | None = None,
    store_history: bool = False,
    if_busy: str | None = None,
    at_once: int | None = None,
    reconnect_timeout: float | str | None = RECONNECT,
) -> RemoteResults:
    """Run code on many kernels at the same time, and return their `RemoteResult`s by the kernels' titles.

    `kernels` is a MATCH, which means all kernels that match; or a list of kernels, or of texts that mean one each.
    This kernel itself is left out. It runs on `at_once` kernels at the same time, by default 64. `if_busy` may also be
    `skip`. Other options are as for `connect` and `KernelConnection.execute`; `timeout` counts for each kernel.

    Raises:
        RemoteErrors: it did not end well on all kernels; its `results` are the outcomes of all.
        KernelNotFound, AmbiguousKernel, BadMatch, OwnKernel, BadOption, BadCell: nothing was sent.
    """
    if at_once is not None and (not isinstance(at_once, int) or at_once < 1):
        raise BadOption(f"at_once is a number of kernels, not {shortened(at_once)}; nothing was sent")
    found = _kernels(kernels, server)
    cell = Cell(code, timeout=check_duration("timeout", timeout), store_history=store_history)
    road, patience = _transport(transport), check_duration("reconnect_timeout", reconnect_timeout)
    fan = FanOut(
        *(_bridge().pool, found, cell), transport=road, at_once=at_once, if_busy=if_busy, reconnect_timeout=patience
    )
    results = run(fan)
    results.raise_for_error()
    return results


def _kernels(match: str | Sequence[Kernel | str], server: str | None) -> Sequence[Kernel]:
    check("kernels", match, str | list | tuple, "a MATCH, or a list of kernels", BadMatch)
    if isinstance(match, str):
        return _bridge().find_all(hide(match), hide(server)) or ()
    return [it for it in dict.fromkeys(_kernel(it, server) for it in match) if not it.is_this_kernel]


def _kernel(match: object, server: str | None) -> Kernel:
    match = hide(match) if isinstance(match, str) else match
    check("a kernel", match, str | Kernel, "a text or a Kernel", BadMatch)
    return match if isinstance(match, Kernel) else _bridge().find(str(match), hide(server))


def _transport(name: str) -> str:
    if name not in TRANSPORTS:
        raise BadOption(f"transport is one of {', '.join(TRANSPORTS)}, not {shortened(name)}; nothing was sent")
    return name

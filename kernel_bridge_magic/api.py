"""The two functions that Python code begins with: `kernels()` and `connect()`.

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

All calls block. Beside an event loop run them in a thread: `await asyncio.to_thread(kernel.execute, code)`.
"""

from __future__ import annotations

from functools import lru_cache

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.choices import RECONNECT, TRANSPORTS, check, check_duration, shortened
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.errors import BadMatch, BadOption
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
    if transport not in TRANSPORTS:
        raise BadOption(f"transport is one of {', '.join(TRANSPORTS)}, not {shortened(transport)}; nothing was sent")
    patience = check_duration("reconnect_timeout", reconnect_timeout)
    bridge = _bridge()
    kernel = match if isinstance(match, Kernel) else bridge.find(match, server)
    connection = bridge.pool.open(kernel, transport)
    connection.reconnect_timeout = patience
    return connection

"""`KernelConnection`: an open connection to one kernel, and the cells that are sent over it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kernel_bridge_magic import reloads
from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.choices import RECONNECT, check_duration, check_size
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.connection.copying import Copying, Show, copying_for, name_there
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.connection.introspection import Introspection
from kernel_bridge_magic.connection.subshells import is_busy, subshell_for
from kernel_bridge_magic.errors import NotRun
from kernel_bridge_magic.fate.life import LEFT_UNKNOWN, since_the_last_cell
from kernel_bridge_magic.interrupts import held
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Event
from kernel_bridge_magic.protocol.messages import describe_language
from kernel_bridge_magic.results import Copied, RemoteResult
from kernel_bridge_magic.transfer.variables import MAX_SIZE, Variables, variables_with
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Subscriber

_STATE_SECONDS, _STATE_LOOK = 0.5, 0.05  # for a server's word on a kernel that has answered; it takes milliseconds


class KernelConnection:
    """An open connection to one kernel. A context manager; closing it does not touch the kernel.

    It is safe to use from several threads: the kernel runs their cells one after the other.
    """

    def __init__(self, kernel: Kernel, transport: Transport, control: Control) -> None:
        #: the `Kernel` that was found
        self.kernel = kernel
        #: for how many seconds a link that is lost under a cell is waited for, None for ever
        self.reconnect_timeout: float | None = RECONNECT
        #: what the kernel is asked while somebody types
        self.introspection = Introspection(kernel, transport)
        self._transport = transport
        self._control = control
        self._holders: set[object] = set()  # who wants it open though it is not used
        self._holding = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether a cell sent now would reach the kernel that was found."""
        return self._transport.is_open

    @property
    def transport(self) -> str:
        """Which transport this is: `zmq` or `ws`."""
        return self._transport.name

    @property
    def busy_since(self) -> str:
        """The time of day at which what the kernel runs now was seen to begin; "" if not, or the link is down."""
        runs = self._transport.main_shell.ahead_of("")
        return runs.since if runs.sure and self._transport.lost_since is None else ""

    @property
    def language(self) -> str:
        """The kernel's language and version, as it said when it was asked: `python 3.11.2`; "" if it was not."""
        return describe_language(self._transport.state.info)

    def start(self, cell: Cell, show: Show = lambda event: None, stopped: Callable[[], str] = str) -> Execution:
        """Send one cell and return at once; iterate over what is returned.

        Variables that go with it are bound first, which waits its turn. `show` is called with how far they are, also
        at the cell's end. `stopped` returns why they are not waited for any more, "" as long as they are.

        A cell that may ask for input yields an `InputRequest`: answer it with `Execution.answer`.

        Raises:
            NotRun: the kernel is busy, and the cell must not wait, or modules of ours were reloaded; nothing was sent.
            BadOption: the kernel cannot run a durable cell; nothing was run.
            LinkLost: the connection is closed.
        """
        if reloads.happened():
            raise NotRun(f"{self.kernel.title}: {reloads.REFUSAL}", kernel=self.kernel.title)
        subshell = subshell_for(self._transport, cell.if_busy, self.kernel.title)
        try:
            where = "" if subshell is None else subshell.id
            copying = copying_for(self._transport, self.kernel, cell, subshell=where, show=show, stopped=stopped)
            if copying is not None:
                copying.before()
            return Execution(
                self._transport,
                self._control,
                self.kernel,
                cell,
                subshell=subshell,
                reconnect_timeout=self.reconnect_timeout,
                copying=copying,
            )
        except BaseException:
            # Nothing was sent that it would have to run: Ctrl-C, or the link broke.
            if subshell is not None:
                subshell.delete()
            raise

    def stream(self, code: str, *, timeout: float | str | None = None, store_history: bool = False) -> Iterator[Event]:
        """Run code and yield its events as they come; at the end raise what the cell ended with.

        `timeout` and `store_history` are as for `execute`.

        Raises:
            RemoteError: the remote code raised.
            FateError: the cell did not come to its end.
            BadCell, BadOption, LinkLost: as `execute`.
        """
        # Made here, and checked at once: what a generator does begins when somebody asks it for more.
        seconds = check_duration("timeout", timeout)
        return self._stream(Cell(code, timeout=seconds, store_history=store_history, keep_outputs=False))

    def _stream(self, cell: Cell) -> Iterator[Event]:
        execution = self.start(cell)
        yield from execution
        assert execution.result is not None
        execution.result.raise_for_error()

    def execute(
        self,
        code: str,
        *,
        timeout: float | str | None = None,
        store_history: bool = False,
        if_busy: str = "wait",
        durable: bool = False,
    ) -> RemoteResult:
        """Run code to its end and return its `RemoteResult`. Input that it asks for is refused there.

        `timeout` is in seconds, or "5m", "2h", in all; None for no limit. With `store_history` the code goes into the
        kernel's history. `if_busy` says what to do when the kernel runs something else: `wait` for it, `fail`, or run
        the code beside it in a `subshell` where the kernel has those. With `durable` the kernel keeps the output until
        we have it (ipykernel 7).

        Raises:
            RemoteError: the remote code raised; its `result` has what was shown until then.
            FateError: the cell did not come to its end.
            BadCell: the code cannot be sent, or is no text.
            BadOption: an option is of a wrong type or value, or that kernel cannot do it; nothing was run.
            LinkLost: the connection is closed.
        """
        seconds = check_duration("timeout", timeout)
        cell = Cell(code, timeout=seconds, store_history=store_history, if_busy=if_busy, durable=durable)
        with held():  # Ctrl-C ends the wait where it leaves the connection whole
            execution = self.start(cell)
            for _ in execution:
                pass
        assert execution.result is not None
        execution.result.raise_for_error()
        return execution.result

    # -- variables

    def get(
        self,
        name: str,
        *,
        timeout: float | str | None = None,
        max_size: int | str = MAX_SIZE,
        pickle: bool = False,
        by_file: bool = True,
    ) -> Any:
        """Return the value of a variable over there: a copy, exact and whole.

        It does not wait for what the kernel runs. `timeout` is in seconds, or "5m"; None for no limit. `max_size` is
        how many bytes the value may have, or "2GB". With `pickle`, what is refused otherwise is pickled, which a kernel
        that is not your own is not allowed. Without `by_file` all goes over the connection, on this machine too.

        Raises:
            BadVariable: there is no such variable, or it cannot be copied.
            NotCopied: it broke off.
            BadOption: an option, or the name, cannot be used.
            LinkLost: the connection is closed.
        """
        there = name_there(self._transport, name, is_read=True)
        most = check_size("max_size", max_size)
        variables = Variables(wanted={there: there}, most=most, pickles=pickle, by_file=by_file)
        return self.get_all(variables, timeout=timeout)[there].value

    def put(
        self,
        name: str,
        value: object,
        *,
        timeout: float | str | None = None,
        max_size: int | str = MAX_SIZE,
        pickle: bool = False,
        by_file: bool = True,
    ) -> None:
        """Bind a variable over there to a copy of a value, once the kernel has its turn for it.

        The options are those of `get`.

        Raises:
            BadVariable, NotCopied, BadOption, LinkLost: as `get`; nothing was bound.
        """
        sent = {name_there(self._transport, name): value}
        most = check_size("max_size", max_size)
        self.put_all(variables_with(sent, most, pickles=pickle, by_file=by_file), timeout=timeout)

    def get_all(
        self, variables: Variables, *, timeout: float | str | None = None, show: Show = lambda event: None
    ) -> dict[str, Copied]:
        """Return the variables that are wanted, by their names here. Raises as `get`."""
        with held():
            return self._alone(variables, timeout, show).get()

    def put_all(
        self, variables: Variables, *, timeout: float | str | None = None, show: Show = lambda event: None
    ) -> dict[str, Copied]:
        """Bind the variables that are sent, all or nothing; return them by their names there. Raises as `put`."""
        with held():
            try:
                return self._alone(variables, timeout, show).put()
            finally:
                variables.release()  # a traceback that somebody keeps would keep its memory, too

    def forget(self, kept: str) -> None:
        """Have the kernel drop what it has kept under a token; where that does not reach it, it does so by itself."""
        Copying(self._transport, self.kernel, Variables()).forget(kept)

    def _alone(self, variables: Variables, timeout: float | str | None, show: Show) -> Copying:
        seconds = check_duration("timeout", timeout)
        at = math.inf if seconds is None else time.monotonic() + seconds
        return Copying(self._transport, self.kernel, variables, show=show, at=at)

    # -- beside cells

    def take_news(self) -> str:
        """Return a line, once, where the kernel has ended since the last cell, or nobody knows how that one ended.

        "" for neither.
        """
        sign, unknown = self._transport.state.take_news(), self._transport.left_unknown
        self._transport.left_unknown = False
        if sign is not None:
            return since_the_last_cell(sign)
        return LEFT_UNKNOWN if unknown else ""

    @property
    def has_news(self) -> bool:
        """Whether `take_news` has something to say."""
        return self._transport.state.has_news or self._transport.left_unknown

    def subscribe(self, subscriber: Subscriber) -> None:
        """Pass to `subscriber` what comes and is no answer to a request that waits."""
        self._transport.router.subscribe(subscriber)

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """End a subscription."""
        self._transport.router.unsubscribe(subscriber)

    def has_sent(self, msg_id: str) -> bool:
        """Return whether `msg_id` is that of a message that was sent over this connection."""
        return msg_id.startswith(f"{self._transport.client_id}_")

    def use(self) -> None:
        """Record that what comes is shown, so that the connection stays open while more may come."""
        self._transport.use()

    def keep(self, holder: object, wanted: bool) -> None:
        """Keep the connection open when it is not used for a while, as long as that is `wanted` by any `holder`."""
        with self._holding:
            if wanted:
                self._holders.add(holder)
            else:
                self._holders.discard(holder)
            self._transport.kept = bool(self._holders)

    @property
    def is_kept(self) -> bool:
        """Whether the connection is to stay open although it is not used."""
        return self._transport.kept

    def post(
        self, msg_type: str, content: Mapping[str, Any], *, metadata: Mapping[str, Any], buffers: Sequence[bytes] = ()
    ) -> str:
        """Send a message on shell and wait for nothing; return its `msg_id`.

        Raises:
            LinkLost: the connection is closed.
        """
        return self._transport.send(msg_type, content, metadata=metadata, buffers=buffers)

    def is_idle(self) -> bool:
        """Return whether the kernel answers at once and its server, if it has one, does not call it busy.

        Both are asked: some kernels answer beside a cell, and servers call a busy kernel idle after any control
        request.

        Raises:
            LinkLost: the connection is closed.
        """
        if is_busy(self._transport):
            return False
        deadline = Deadline.after(_STATE_SECONDS)
        while busy := self._control.look()[0] == "busy":
            if deadline.is_over:
                break
            time.sleep(_STATE_LOOK)  # it may hear of our own question's end a moment after us
        return not busy

    def answers(self, seconds: float) -> bool:
        """Return whether the kernel answers a question on its shell channel within so many seconds.

        Raises:
            LinkLost: the connection is closed.
        """
        return self._transport.ask("kernel_info_request", {}, seconds=seconds, harmless=True) is not None

    def interrupt(self) -> None:
        """Interrupt whatever the kernel runs now, whoever sent it.

        Raises:
            KernelBridgeError: it could not be done.
        """
        self._transport.main_shell.interrupt()
        self._control.interrupt(self._transport)

    def note_end(self, *, ours: bool) -> None:
        """Record whether this process is about to have the kernel restarted or shut down."""
        self._transport.state.life.end_is_ours = ours

    def abandon(self) -> None:
        """Send nothing more over it. It is closed once nobody waits for what still comes."""
        self._transport.abandon(left_unknown=False)

    def close(self) -> None:
        """Close the connection. Closing twice is no error."""
        self._transport.close()

    def __enter__(self) -> KernelConnection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "open" if self.is_open else "closed"
        return f"<KernelConnection {self.kernel.title!r} over {self.transport}, {state}>"

"""What goes out for one cell: the requests that prepare the kernel for it, then the cell itself."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.durable import Durable
from kernel_bridge_magic.errors import LinkLost, NotRun
from kernel_bridge_magic.fate.life import EndSignal
from kernel_bridge_magic.fate.watch import CellWatch
from kernel_bridge_magic.interrupts import check
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.messages import execute_content, text
from kernel_bridge_magic.protocol.request import Request
from kernel_bridge_magic.remote_code import displayhook_patch, record
from kernel_bridge_magic.text import count
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.inbox import Closed, Inbox

_PROOF_SECONDS = 3.0  # for a restarted kernel's output to find its way here
_ARM_SECONDS = 0.3  # an idle kernel answers in milliseconds


@dataclass(frozen=True, slots=True)
class Sent:
    """A cell that was sent, the watch over it, and how things stood just before."""

    #: the `msg_id` of its `execute_request`
    msg_id: str
    #: when its sending began, on the monotonic clock
    began: float
    #: what decides on its fate
    watch: CellWatch
    #: what the cell is to tell of an end of the kernel before it
    news: EndSignal | None
    #: messages that had been dropped: damaged ones, and those for which no memory was left
    malformed: int
    unheld: int
    #: what has the kernel keep the cell's messages
    durable: Durable | None

    def faults(self, transport: Transport) -> Iterator[str]:
        """Say what has gone wrong at this end since."""
        if dropped := transport.malformed - self.malformed:
            what = "1 message that is" if dropped == 1 else f"{dropped} messages that are"
            yield f"dropped {what} damaged or not signed by the kernel; output may be incomplete"
        if unheld := transport.unheld - self.unheld:
            yield f"no memory was left here for {count(unheld, 'message')}; output is incomplete"
        yield from transport.router.take_faults()


def send(
    transport: Transport,
    cell: Cell,
    inbox: Inbox,
    expressions: Mapping[str, str],
    *,
    kernel: Kernel,
    served: bool,
    subshell: str = "",
) -> Sent:
    """Send a cell to `kernel`; what comes of it goes to `inbox`.

    `served`: the kernel has a server. `expressions` are evaluated in the cell's own turn, once it has ended well.
    `subshell` is the id of the subshell to run in, "" for the main shell. One long function, since the order of its
    steps is what matters.

    Raises:
        NotRun: the kernel has ended since it was found.
        BadOption: that kernel cannot run a durable cell.
        LinkLost: the connection is closed.
    """
    began = time.monotonic()
    malformed, unheld = transport.malformed, transport.unheld
    durable: Durable | None = None
    news: EndSignal | None = None
    try:
        _prepare(transport, subshell)
        check()  # the last moment at which nothing is done for it over there
        # A cell behind whose kernel's end no new life was heard tells of that end once its own fate shows what it was.
        news = transport.state.take_news() if transport.state.life.awaited is None else None
        durable = Durable(transport, inbox) if cell.durable else None
        msg_id = durable.cell if durable else transport.new_id()
        # A subshell's request that forbids questions would forbid them to the main shell's cell as well.
        may_ask = cell.stdin or bool(subshell)
        content = execute_content(
            cell.code, store_history=cell.store_history, allow_stdin=may_ask, user_expressions=expressions
        )
        transport.send(
            "execute_request",
            content,
            inbox=inbox,
            metadata={displayhook_patch.GUEST: cell.metadata or {}, **record.mark(msg_id)},
            subshell=subshell,
            msg_id=msg_id,
        )
    except BaseException as problem:
        if durable is not None:
            durable.end()  # nobody else would
        if not isinstance(problem, LinkLost):
            raise
        # The connection may have closed after the news was taken, and before the cell went out.
        if (sign := news or transport.state.take_news(told=True)) is not None:
            ended = f"{sign.end.told(kernel.title)} before the cell was sent, so it is safe to run the cell again"
            rest = "Its variables are gone" if sign.end.comes_back else "It has no kernel now"
            raise NotRun(f"{ended}. {rest}", kernel=kernel.title) from None
        raise
    watch = CellWatch(
        Request(msg_id),
        now=began,
        kernel=kernel.title,
        timeout=cell.timeout,
        since=cell.since,
        served=served,
        here=kernel.here,
        implementation=text(transport.state.info.get("implementation")),
        awaited=transport.state.life.awaited,
        told=transport.state.told,
    )
    return Sent(msg_id, began, watch, news, malformed, unheld, durable)


def _prepare(transport: Transport, subshell: str) -> None:
    """Send what an IPython kernel needs before it shows our cells' results.

    Over a link that may break the answer is waited for, unless the kernel is busy. The answer tells where the kernel's
    messages stand before the cell. Without that nobody could tell later whether the cell has made any.
    """
    _prove(transport)
    life = transport.state.life.session
    if not transport.displayhook_patch.must_arm(life, now=time.monotonic(), breaks=transport.breaks):
        return
    transport.farewell = displayhook_patch.disarm()
    arm = displayhook_patch.arm()
    if transport.reopens:
        transport.ask("execute_request", arm, subshell=subshell, seconds=_ARM_SECONDS, harmless=True, whole=True)
    else:
        transport.send("execute_request", arm, subshell=subshell)


def _prove(transport: Transport) -> None:
    """After a restart wait, a few seconds at most, until IOPub messages of the kernel's new life reach us.

    Whoever reads the kernel's socket (our server) subscribes anew, and what is published before is lost. A kernel that
    is busy says nothing; by the time it does, the subscription is old.
    """
    deadline = Deadline.after(_PROOF_SECONDS)
    while transport.state.unproven and not deadline.is_over:
        check()
        inbox = Inbox()
        msg_id = transport.send("kernel_info_request", {}, inbox=inbox)
        for item in inbox.within(timing.current.ask_info_again):
            if getattr(item, "channel", "") == "iopub" or isinstance(item, Closed):
                transport.state.unproven = False
                break
        transport.forget(msg_id)

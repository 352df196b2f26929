"""The verdicts on a cell, and every sentence that is said with them. Pure.

Each function makes one verdict of facts. `kernel` is what people call the kernel; the reasons begin with it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from kernel_bridge_magic.errors import Fate
from kernel_bridge_magic.fate.life import PROCESS, KernelEnd
from kernel_bridge_magic.protocol.events import Error, Queued
from kernel_bridge_magic.protocol.request import Request

_CHECK = "check before running it again"
#: what every text says that tells of a kernel whose end was seen
GONE = "Its variables are gone"
_NO_KERNEL = "it has no kernel now"
_SAFE = "the cell was not run, so it is safe to run it again"
_MAY_HAVE_RUN = f"It may have run: {_CHECK}"

# What is said behind the kernel's name of a cell that was not run.
SKIPPED = " skipped the cell after another client's cell failed or was interrupted"
NEVER_BEGAN = " has answered a later request and never began this one"
NEVER_ARRIVED = ": the link was lost before the cell reached the kernel"
# The same of a cell of which nobody can tell how it ended.
REPLY_LOST = f" has ended the cell, but the reply that says how is lost. {_CHECK.capitalize()}"
REPLY_NOT_AWAITED = f" has ended the cell, but its reply was not waited for. {_CHECK.capitalize()}"
SAYS_NOTHING = f" does not say whether it ran the cell. {_MAY_HAVE_RUN}"
NOT_CONFIRMED = f": the link was lost before the kernel confirmed the cell. {_MAY_HAVE_RUN}"
#: What is said of the kernel's variables then. None: it may have ended as well.
_VARIABLES = {True: "Its variables are still there", False: GONE, None: "Its variables may be gone"}
# The same of a cell that is no longer waited for, by whether it has begun.
_STILL = {
    True: "the cell is still running there",
    False: "the cell is still queued there",
    None: "the cell may run there",
}
_WITHDRAWN = "The cell is still queued{behind} and cannot be withdrawn; it will run when its turn comes"
_NOT_INTERRUPTED = "The kernel had not confirmed the cell, so it was not interrupted; it may run there"

# Why what stands for a lost reply may do so.
REMEMBERED = "but the kernel remembers how the cell ended"
COMPLETED = (
    "but the cell ran to its end and showed no error. What only the reply carries, such as a page of help, is missing"
)
# Notes on a cell that goes on.
HANDS_NOTHING_ON = (
    "its server hands nothing on, and does not call the kernel busy; still waiting. A server before a gateway is "
    "stopped by a widget's binary data"
)
IN_THE_NEW_KERNEL = "before this cell began. It runs in the new kernel, where the earlier variables are gone"
SLOW_INTERRUPT = "interrupt sent, but the cell is still running. Ctrl-C again to leave it running there"


class Action(enum.Enum):
    """What the caller must do. None of it can run a cell."""

    ASK_SERVER = "ask the server for the kernel's model, answer with `server_says`"
    ASK_KERNEL = "send kernel_info on shell, tell its msg_id with `asked_kernel`"
    ASK_RECORD = "ask the kernel how the cell ended (remote_code.record), answer with `kernel_recorded`"
    INTERRUPT = "interrupt the kernel"


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a cell ended.

    `reason` tells what happened and names the kernel; it is "" for *ok* and *failed*. `timed_out`: the cell was left
    because its time was up.
    """

    fate: Fate
    reason: str = ""
    timed_out: bool = False


OK, FAILED = Verdict(Fate.OK), Verdict(Fate.FAILED)


def of_reply(request: Request, kernel: str, *, passed_over: bool, believes_ok: bool) -> tuple[Verdict, Error | None]:
    """Return the verdict of a cell's reply, and the error that only the reply tells of.

    `passed_over`: a kernel that aborted the cell did so before the cell's code ran. `believes_ok`: replies of this
    kernel that say ok are believed.
    """
    if request.status == "aborted":
        if passed_over:
            return not_run(kernel, SKIPPED), None
        told = request.error
        request.error = told or Error("KeyboardInterrupt", "")
        return FAILED, None if told else request.error
    if request.status == "error":
        return FAILED, request.conclude_error()
    # Where the reply is believed, an error that was shown and caught, by `%run` say, is output as any other.
    return (OK if believes_ok or request.error is None else FAILED), None


def died(kernel: str, end: KernelEnd) -> Verdict:
    """Return the verdict on a cell that ran when its kernel ended."""
    rest = f". {GONE}" if end.comes_back else f"; {_NO_KERNEL}"
    incomplete = " (output above may be incomplete)" if end.restarted else ""
    return Verdict(Fate.DIED, f"{end.told(kernel)} during this cell{incomplete}{rest}")


def ended_before(kernel: str, end: KernelEnd, *, said_goodbye: bool) -> Verdict:
    """Return the verdict on a cell that had not begun, as far as is known, when its kernel ended.

    With `said_goodbye` the kernel did, on the socket on which it would have confirmed the cell before.
    """
    if said_goodbye:
        rest = GONE if end.comes_back else _NO_KERNEL.capitalize()
        return Verdict(Fate.NOT_RUN, f"{end.told(kernel)} while the cell was queued; {_SAFE}. {rest}")
    end = end._replace(subject="the kernel") if end.subject == PROCESS else end
    return unknown(end.told(kernel), f" before confirming the cell. {_MAY_HAVE_RUN}", alive=False)


def not_run(kernel: str, what: str) -> Verdict:
    """Return the verdict on a cell that is proven not to have been run; `what` is said behind the kernel's name."""
    return Verdict(Fate.NOT_RUN, f"{kernel}{what}; {_SAFE}")


def unknown(kernel: str, what: str, *, alive: bool | None) -> Verdict:
    """Return the verdict on a cell of which nobody can tell how it ended; `what` is said behind the kernel's name.

    `alive`: the kernel that had the cell goes on with its variables; None: nobody can tell.
    """
    return Verdict(Fate.UNKNOWN, f"{kernel}{what}. {_VARIABLES[alive]}")


def may_go_on(link: str, *, started: bool) -> str:
    """Return what is said of a cell behind the kernel's name when its link is no more, which `link` tells."""
    return f": {link}. The cell may {'still be running' if started else 'have run'}: {_CHECK}"


def left(kernel: str, why: str, begun: bool | None, *, is_down: bool, timed_out: bool = False) -> Verdict:
    """Return the verdict on a cell that is no longer waited for.

    `begun`: whether it runs there, False for queued, None where nobody can tell. `is_down`: its link is down.
    """
    state = "the cell may still be running there" if begun and is_down else _STILL[begun]
    rest = f". {state[0].upper()}{state[1:]}" if timed_out else f"; {state}"
    return Verdict(Fate.LEFT_RUNNING, f"{kernel}: {why}{rest}", timed_out)


def interrupted_early(kernel: str, queued: Queued | None) -> Verdict:
    """Return the verdict on a cell that was interrupted before it is known to have begun.

    `queued`: what people were told that it waits for, None before.
    """
    what = _NOT_INTERRUPTED if queued is None else _WITHDRAWN.format(behind=_behind(queued))
    return Verdict(Fate.LEFT_RUNNING, f"{kernel}: no longer waiting. {what}")


def _behind(queued: Queued) -> str:
    if not queued.since and not queued.ours:
        return ""
    whose = "your earlier cell" if queued.ours else "another client's cell"
    return f" (behind {whose})" if queued.sure else f" (probably behind {whose})"

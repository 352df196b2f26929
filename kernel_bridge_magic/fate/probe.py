"""`Probe`: the question that is asked behind a cell, so that its answer tells whether the cell is over. Pure."""

from __future__ import annotations

from kernel_bridge_magic.fate import timing


class Probe:
    """The `kernel_info_request` behind one cell: a kernel answers it when it has done with the cell.

    It may be asked again; the newest question counts. `now` is seconds on a monotonic clock.
    """

    def __init__(self) -> None:
        #: the `msg_id` of the question, "" while there is none whose answer would count
        self.msg_id = ""
        #: whether the cell's reply was in when it was asked
        self.behind_reply = False
        #: whether IOPub, which keeps its order, has come to a question behind the reply
        self.passed_on_iopub = False
        #: the `msg_id` of the kernel's answer from behind the cell once a link that broke is back; "" for none
        self.answer_id = ""
        self._first_asked_at: float | None = None
        self._asked_at = float("-inf")
        self._answered_at: float | None = None
        self._idle_answers = 0
        self._idle_since_asked = False
        self._told_mute = False

    @property
    def is_asked(self) -> bool:
        """Whether a question is under way, or was answered."""
        return self._first_asked_at is not None

    @property
    def is_answered(self) -> bool:
        """Whether there is an answer that was not concluded yet."""
        return self._answered_at is not None

    def asked(self, msg_id: str, now: float, *, behind_reply: bool) -> None:
        """Record that the question was sent."""
        self.msg_id, self._asked_at, self.behind_reply = msg_id, now, behind_reply
        self._idle_since_asked = False
        if self._first_asked_at is None:
            self._first_asked_at = now

    def answered(self, now: float) -> None:
        """Record the answer; it is concluded once messages that are under way have settled."""
        self._answered_at = now

    def concluded(self) -> None:
        """Record that the rules have made of the answer what they can."""
        self._answered_at = None

    def forget(self) -> None:
        """Forget a question whose answer cannot come, or proves nothing any more."""
        self.msg_id, self._first_asked_at, self._answered_at = "", None, None
        self.behind_reply = self.passed_on_iopub = False

    def broke(self) -> None:
        """Handle a break of the link, with which the question may have gone."""
        self.forget()
        self._idle_answers = 0

    def server_says(self, *, is_idle: bool) -> None:
        """Record whether the server calls the kernel idle."""
        self._idle_answers = self._idle_answers + 1 if is_idle else 0
        self._idle_since_asked = self._idle_since_asked or is_idle

    def is_settled(self, now: float) -> bool:
        """Return whether what may come just behind the answer has had its time."""
        return self._answered_at is not None and now - self._answered_at >= timing.current.settle

    def is_mute(self, now: float) -> bool:
        """Return whether even a kernel that must start first would have answered the first question."""
        return self._first_asked_at is not None and now - self._first_asked_at >= timing.current.kernel_answer

    def is_overdue(self, now: float) -> bool:
        """Return whether the newest question has no answer from a kernel that its server has called idle since."""
        waited = now - self._asked_at >= timing.current.kernel_answer
        return bool(self.msg_id) and self._idle_since_asked and waited

    def take_mute(self) -> bool:
        """Return, once, whether to tell that the question is overdue."""
        told, self._told_mute = self._told_mute, True
        return not told

    def may_repeat(self, now: float) -> bool:
        """Return whether a question to a kernel that is being restarted is worth another."""
        return now - self._asked_at >= timing.current.ask_kernel_again

    @property
    def is_wanted(self) -> bool:
        """Whether to ask for the first time, as the server has called the kernel idle twice in a row.

        "idle" alone proves nothing (FACTS.md#busy-kernels). An answer from behind the cell does.
        """
        return self._idle_answers >= 2 and self._first_asked_at is None

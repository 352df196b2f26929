"""What jupyter_server asks the kernel in our name when we connect: how many of the kernel's numbers that takes. Pure.

For each WebSocket it numbers its requests anew from 0, with ids `<ours>_<pid>_<n>`, where ours are `<ours>_<n>`. It
asks on shell and on control until it hears the kernel on IOPub, and hands on what it hears but the first message; the
replies it keeps.
"""

from __future__ import annotations

from collections.abc import Callable

from kernel_bridge_magic.protocol.messages import Message

__all__ = ["Nudges"]


class Nudges:
    """The server's requests over the links of one connection, as far as their states came."""

    def __init__(self, client_id: str) -> None:
        self._prefix = f"{client_id}_"
        #: how often the link broke
        self.link = 0
        # By link and `msg_id`: the numbers of its states.
        self._states: dict[tuple[int, str], dict[str, int]] = {}
        self._begun: set[str] = set()  # those that were under way when the link first broke

    def broke(self) -> None:
        """Take note that the link broke: what comes now is of the next one."""
        self.link += 1

    def receive(self, message: Message, number: int) -> None:
        """Take a message whose parent is ours, or the server's in our name, and its number."""
        state = message.execution_state
        if state and self._is_nudge(message.parent_id):
            self._states.setdefault((self.link, message.parent_id), {})[state] = number

    def receive_early(self, message: Message) -> None:
        """Take such a message while no link has broken yet: what has come of a request then is no loss."""
        if self._is_nudge(message.parent_id):
            if message.execution_state == "busy":
                self._begun.add(message.parent_id)
            elif message.execution_state == "idle":
                self._begun.discard(message.parent_id)

    def _absent_of(self, link: int, msg_id: str) -> int:
        """How many messages of a request that is over never came, at the least, where no busy of it did on this link.

        That is the busy, which the server took, and the reply. But the server numbers its requests anew on each link:
        one of that number whose busy came on an earlier link may be the one that is over now.
        """
        earlier = (states for (other, known), states in self._states.items() if known == msg_id and other < link)
        return 1 if msg_id in self._begun or any("idle" not in states for states in earlier) else 2

    def _is_nudge(self, msg_id: str) -> bool:
        return msg_id.startswith(self._prefix) and "_" in msg_id.removeprefix(self._prefix)

    def unheard(self, after: int, upto: int, absent: Callable[[int, int], int]) -> tuple[int, bool]:
        """Count the messages between two numbers that were made for the server and did not come; whether that is sure.

        It is not where the reply may stand on either side of `upto`. `absent` counts the numbers between two others
        that never came.
        """
        count, sure = 0, True
        for (link, msg_id), states in self._states.items():
            busy, idle = states.get("busy"), states.get("idle")
            own = self._absent_of(link, msg_id) if busy is None else 1
            if busy is None and own < 2 and idle is not None and idle > after:
                sure = False
            if idle is not None and after < idle <= upto:
                count += own  # the reply; where the first message is the busy, that as well
            elif busy is not None and after < busy <= upto:
                sure = False
            elif busy is None and idle is not None and idle > upto:
                # Both are below its idle: what is not behind `upto` is before it.
                theirs, perhaps = self._others(states, upto, idle, absent)
                behind = absent(upto, idle) - theirs
                least, most = max(own - behind, 0), max(2 - behind + perhaps, 0)
                count, sure = count + least, sure and least == most
        return count, sure

    def _others(
        self, states: dict[str, int], after: int, upto: int, absent: Callable[[int, int], int]
    ) -> tuple[int, int]:
        """Count the replies to other requests that are among what is absent between two numbers, and those that may be.

        A reply stands between the two states of its request.
        """
        theirs = perhaps = 0
        for other in self._states.values():
            if other is states:
                continue
            low, high = max(other.get("busy", after), after), min(other.get("idle", upto), upto)
            if len(other) == 2 and after < other["busy"] and other["idle"] < upto:
                theirs += 1
            elif low < high and absent(low, high):
                perhaps += 1
        return theirs, perhaps

    @property
    def all_heard(self) -> bool:
        """Whether something came of each that was made on this link.

        The first two go by shell and by control, each of which keeps its order, and IOPub once heard stays so: where
        something came of both, and of all up to the highest, it came of all.
        """
        heard = {msg_id.rpartition("_")[2] for link, msg_id in self._states if link == self.link}
        return len(heard) >= 2 and heard == {str(number) for number in range(len(heard))}

    def replies(self, after: int) -> int:
        """Count the replies that are, for sure, behind a number: those between the two states of a request."""
        return sum(len(states) == 2 and min(states.values()) > after for states in self._states.values())

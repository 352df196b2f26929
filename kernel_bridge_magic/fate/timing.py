"""`Timing`: how many seconds the rules of `fate` wait for what. Every bound stands here, and nowhere else. Pure.

The rules read `timing.current` each time they look at their clock, so that a test may put another value there::

    monkeypatch.setattr(timing, "current", replace(timing.current, reply_grace=0.2))
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. Each is the smallest that no healthy kernel or server was seen to exceed (FACTS.md)."""

    # -- a cell that has not begun

    #: Without a `busy` by then the kernel runs something else, and people are told that the cell is queued.
    queued_after: float = 0.5
    #: The same for a kernel that was heard to have nothing to run: its machine may be slow.
    queued_after_free: float = 3.0
    #: What a cell still gets if the connection took all of its time; most cells are over within that.
    least_timeout: float = 0.1

    # -- the end of a cell

    #: For messages that are under way when the end is already certain.
    settle: float = 0.3
    #: Between the idle of a cell and its reply, or the other way round.
    reply_grace: float = 2.0
    #: The longest that IOPub may be behind the reply.
    iopub_backlog: float = 30.0
    #: Between the idle of the question how a cell ended and its answer.
    record_grace: float = 1.0
    #: After an interrupt that has not helped by then people are told how to leave the cell.
    slow_interrupt: float = 1.0
    #: Between the KeyboardInterrupt that a shutdown causes and its shutdown_reply (ipykernel 6: 10 ms).
    shutdown_reply: float = 0.5

    # -- questions

    #: For the answer to a question behind the cell, by a kernel that must start first.
    kernel_answer: float = 10.0
    #: A kernel that is being restarted loses what it is asked too early; then it is asked again.
    ask_kernel_again: float = 1.0
    #: After so long a silence the server is asked whether the kernel is still there, and again as often.
    ask_server_after: float = 5.0
    #: A server that ends shuts its kernels down first, and is gone 1 s later.
    server_end: float = 1.5
    #: Between questions to the server meanwhile.
    ask_server_again: float = 0.25

    # -- the proof that a cell never arrived

    #: Between questions how many connections the server has: it gives a stale one that it replaces 5 s.
    ask_connections_again: float = 1.0
    #: Twice what jupyter_client's sockets linger.
    socket_linger: float = 2.0
    #: For the whole proof.
    proof: float = 12.0

    # -- a link that broke

    #: A link that is not back by then is worth a line.
    tell_link_is_down: float = 1.0
    #: For messages that a server sends again when the link is back, until what is missing is counted.
    stragglers: float = 1.0
    #: Between two tries where nobody listens. A server that does not listen for 2 s has ended.
    retry_refused: float = 0.7
    #: The longest pause between any two tries.
    longest_retry: float = 30.0

    # -- a connection that says nothing

    #: Between pings while a cell is under way and nothing else is heard.
    ping_running: float = 3.0
    #: The same with no cell under way: proxies that drop idle connections do so after 60 s.
    ping_idle: float = 15.0
    #: For the answer to a ping, which takes milliseconds; then people are told of it.
    ping_answer: float = 3.0
    #: Between the end of one question on a new connection and the next.
    ask_anew_again: float = 2.0
    #: For the old connection to be heard after the first answer on a new one.
    silent_beside_answer: float = 10.0
    #: For a silent connection while the server does not answer either; jupyter_server gives us up after as long.
    silent_running: float = 90.0
    #: The same with no cell under way: nothing can be lost then.
    silent_idle: float = 30.0
    #: How far two clocks part that only the sleep of this machine can part.
    sleep_jump: float = 2.0
    #: Between two words on one message that is long in coming.
    tell_incoming: float = 5.0


#: The bounds in force.
current = Timing()

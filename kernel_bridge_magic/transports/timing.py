"""`Timing`: how many seconds a transport waits for what. Every such bound of this folder stands here.

The bounds of the rules that are no transport's own stand in `fate.timing`. Transports read `timing.current` each time,
so that a test may put another value there::

    monkeypatch.setattr(timing, "current", replace(timing.current, unused=0.1))
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    # -- any transport

    #: An open connection keeps a culler from its work (H5): one that nobody uses is closed after this long.
    unused: float = 300.0
    #: For the answer to the last request before a connection is closed. A busy kernel does not answer.
    farewell: float = 0.3
    #: For a thread that still connects to see that nobody waits; then its socket is cut.
    abandon: float = 0.2
    #: Between questions to a kernel that was restarted, until one is answered over IOPub.
    ask_info_again: float = 0.5

    # -- a WebSocket

    #: A first connection to a busy kernel is answered only when the kernel is free, or after 60 s
    #: (FACTS.md#opening-a-websocket).
    websocket_open: float = 70.0
    #: A server that knew us a moment ago answers at once; one that is stopped accepts the connection and says nothing.
    websocket_reopen: float = 10.0
    #: A send that waits longer has corrupted the stream anyhow: the connection is then broken.
    websocket_send: float = 90.0
    #: For the server's half of the closing handshake.
    websocket_close: float = 0.5
    #: Between looks at a connection that nobody waits for: is it wanted, is it alive?
    websocket_look_idle: float = 15.0
    #: The same while a request is under way.
    websocket_look_running: float = 0.5
    #: In the middle of a frame, until pings and clocks are looked at again.
    websocket_look_in_frame: float = 1.0
    #: Without a byte for so long in the middle of a frame. Resuming costs time that grows with what has come of it.
    websocket_pause: float = 0.5
    #: A link that breaks sooner after it came back has not come back for good.
    websocket_short_lived: float = 10.0

    # -- ZMQ

    #: Until all channels are connected, which takes milliseconds on one machine.
    zmq_open: float = 3.0
    #: The same for a kernel that is starting: a server writes the connection file before it starts the process.
    zmq_open_starting: float = 60.0
    #: For the subscription to be proven. A busy kernel of an older version proves nothing before.
    zmq_subscribe: float = 0.5
    #: Between looks at a connection over which nothing comes.
    zmq_look: float = 1.0
    #: Between looks at a process that does not let us in.
    zmq_look_at_process: float = 0.5
    #: For what was sent last to leave. A kernel that is there receives it within milliseconds.
    zmq_flush: float = 0.5


#: The bounds in force.
current = Timing()

"""Which kernels are alive: a TCP connect that is not refused, then one heartbeat, for all of them at once.

A heartbeat is answered while a kernel is busy, and even while native code holds its GIL; it changes no state
that the owner could see (FACTS.md#kernels-without-a-server).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterable, Sequence
from selectors import EVENT_WRITE
from typing import Any, NamedTuple

from kernel_bridge_magic.access import descriptors, peers
from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.descriptors import selector
from kernel_bridge_magic.errors import CannotConnect, sentence

_REFUSED = {errno.ECONNREFUSED, errno.ENOENT, errno.EADDRNOTAVAIL, errno.EHOSTUNREACH, errno.ENETUNREACH}
_FORBIDDEN = {errno.EPERM, errno.EACCES}
_CONNECT_SECONDS = 0.1  # loopback refuses in microseconds; a full backlog does not
_SLICE = 20  # milliseconds between two looks at whether anybody still waits
_AT_ONCE = 300  # a ZMQ context holds 1023 sockets, a process often 1024 descriptors
_ENDED = "the kernel has ended (nobody listens on its port)"
_UNUSABLE = "its address cannot be used"
_SILENT = "its heartbeat does not answer (ended, stopped or swapped out)"


class Endpoint(NamedTuple):
    """Where one kernel listens. `transport` is `tcp` or `ipc`; for `ipc`, `ip` is a path without its `-port`.

    The curve keys (Z85) are those of the connection file, "" where traffic is not encrypted.
    """

    path: str
    transport: str
    ip: str
    shell_port: int
    hb_port: int
    curve_public: str = ""
    curve_secret: str = ""

    def __repr__(self) -> str:
        return f"Endpoint({self.path!r})"  # without a key

    @property
    def shell_socket(self) -> str:
        """The path of the unix socket of its shell channel, for `ipc`."""
        return f"{self.ip}-{self.shell_port}"

    def url(self, port: int) -> str:
        """Return the URL of one of its ports, as ZMQ spells it."""
        return f"{self.transport}://{self.ip}{'-' if self.transport == 'ipc' else ':'}{port}"


class Heartbeats:
    """One round of heartbeats, in a daemon thread of its own.

    Each kernel has `seconds` to answer, from when it is asked: on a loaded machine it takes long until our own
    thread, with all that it must import, comes to ask.
    """

    def __init__(self, endpoints: Sequence[Endpoint], seconds: float) -> None:
        self._endpoints = list(endpoints)
        self._seconds = seconds
        self._changed = threading.Condition()
        self._answers: dict[str, str] = {}
        self._stopped = False
        if endpoints:
            threading.Thread(target=self._run, daemon=True, name="kernel-bridge-heartbeat").start()

    def wait(self, paths: Iterable[str], until: Deadline) -> None:
        """Wait until each of these connection files has an answer, or `until` has passed."""
        wanted = set(paths)
        with self._changed:
            self._changed.wait_for(lambda: wanted <= self._answers.keys(), until.left)

    def stop(self) -> None:
        """Stop asking: nobody waits any more."""
        self._stopped = True

    def problem(self, path: str) -> str:
        """Return why the kernel of this connection file counts as dead; "" if it answered."""
        with self._changed:
            return self._answers.get(path, _SILENT)

    def is_silent(self, path: str) -> bool:
        """Return whether somebody listens where this connection file says, and does not answer."""
        return self.problem(path) == _SILENT

    def has_ended(self, path: str) -> bool:
        """Return whether nobody listens any more where this connection file says."""
        return self.problem(path) == _ENDED

    def _decide(self, path: str, problem: str) -> None:
        with self._changed:
            self._answers[path] = problem
            self._changed.notify_all()

    def _run(self) -> None:
        for start in range(0, len(self._endpoints), _AT_ONCE):
            some = self._endpoints[start : start + _AT_ONCE]
            problems = refusals(some)
            for path, problem in problems.items():
                self._decide(path, problem)
            listening = [endpoint for endpoint in some if endpoint.path not in problems]
            if listening and not self._stopped:
                self._ping(listening)

    def _ping(self, endpoints: Sequence[Endpoint]) -> None:
        import zmq

        try:
            descriptors.require(descriptors.PLENTY + 2 * len(endpoints))
        except CannotConnect as problem:
            for endpoint in endpoints:
                self._decide(endpoint.path, str(problem))
            return
        # A context of its own: the kernel's must not be blocked by our sockets when it ends.
        context: zmq.Context[Any] = zmq.Context()
        poller, waiting = zmq.Poller(), {}
        beat = os.urandom(8)
        try:
            for endpoint in endpoints:
                try:
                    sock = _connect(context, endpoint, beat)
                except (zmq.ZMQError, ValueError, OSError):
                    self._decide(endpoint.path, "its heartbeat cannot be asked (its address or keys are wrong)")
                    continue
                poller.register(sock, zmq.POLLIN)
                waiting[sock] = endpoint
            end = Deadline.after(self._seconds)
            while waiting and not self._stopped and not end.is_over:
                for sock, _event in poller.poll(_SLICE):
                    endpoint = waiting.pop(sock)
                    poller.unregister(sock)
                    same = sock.recv_multipart(zmq.NOBLOCK) == [beat]
                    sock.close()
                    self._decide(endpoint.path, "" if same else "what listens on its port is no kernel")
            for endpoint in waiting.values():
                self._decide(endpoint.path, _SILENT)
        finally:
            context.destroy(linger=0)


def refusals(endpoints: Sequence[Endpoint]) -> dict[str, str]:
    """Connect to all without waiting; return the problem of each that refuses, by its connection file's path.

    A port where nobody listens refuses at once, which tells most files as stale.
    """
    problems: dict[str, str] = {}
    poll = selector()
    with contextlib.ExitStack() as sockets:
        for endpoint in endpoints:
            try:
                sock = sockets.enter_context(_socket(endpoint))
                sock.setblocking(False)
                is_ipc = endpoint.transport == "ipc"
                number = sock.connect_ex(endpoint.shell_socket if is_ipc else (endpoint.ip, endpoint.shell_port))
            except (OSError, ValueError, OverflowError) as error:
                out = descriptors.are_out(error)
                problems[endpoint.path] = sentence("", *descriptors.none_left()) if out else _UNUSABLE
                continue
            if number in (errno.EINPROGRESS, errno.EWOULDBLOCK):
                poll.register(sock, EVENT_WRITE, (sock, endpoint.path))
            elif problem := _problem(number):
                problems[endpoint.path] = problem
        end = Deadline.after(_CONNECT_SECONDS)
        while poll.get_map() and not end.is_over:
            for key, _events in poll.select(end.left):
                poll.unregister(key.fileobj)
                sock, path = key.data
                if problem := _problem(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                    problems[path] = problem
    return problems


def _socket(endpoint: Endpoint) -> socket.socket:
    if endpoint.transport == "ipc":
        return peers.unix_socket()
    return socket.socket(socket.AF_INET6 if ":" in endpoint.ip else socket.AF_INET, socket.SOCK_STREAM)


def _problem(number: int) -> str:
    if number in _REFUSED:
        return _ENDED
    return "connecting to it is forbidden here (a sandbox?)" if number in _FORBIDDEN else ""


def _connect(context: Any, endpoint: Endpoint, beat: bytes) -> Any:
    import zmq

    sock = context.socket(zmq.REQ)
    sock.linger = 0
    sock.maxmsgsize = 1000  # whatever listens there, it answers no more than we sent
    sock.ipv6 = ":" in endpoint.ip
    try:
        if endpoint.curve_public:
            sock.curve_serverkey = sock.curve_publickey = endpoint.curve_public.encode()
            sock.curve_secretkey = endpoint.curve_secret.encode()
        sock.connect(endpoint.url(endpoint.hb_port))
        sock.send(beat, zmq.NOBLOCK)
    except BaseException:
        sock.close()
        raise
    return sock

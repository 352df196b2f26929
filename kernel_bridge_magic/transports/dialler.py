"""`Dialler`: opens the WebSocket of one kernel, as often as it takes, and says why it could not.

Four traps, which the code avoids (FACTS.md#opening-a-websocket): a list of subprotocols raises when the server
selects none, so the wish goes out as a raw header; redirects would carry the token elsewhere; a proxy from the
environment would get loopback connections; the library's errors may hold cookies and pages of the server, so only
their status is read.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import quote

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.sockets import open_socket
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.errors import AuthRefused, CannotConnect, Cause, KernelBridgeError, ServerUnreachable
from kernel_bridge_magic.fate.patience import Failure
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.servers.http_client import refuses_host
from kernel_bridge_magic.servers.refusals import host_refused
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports import timing
from kernel_bridge_magic.transports.handshake import Bounded, options, untraced, ws_url

if TYPE_CHECKING:
    from kernel_bridge_magic.transports.watched import WatchedSocket


class Dialler:
    """Knows the server of one kernel, also when it was started anew, and how we get in.

    `client_id` is the session id that the server keeps messages for. `renew` returns the server as it is known when it
    was started anew, with what it wants of us in the vault (F14); None while there is no other.
    """

    def __init__(
        self, kernel: Kernel, server: Server, vault: Vault, client_id: str, renew: Callable[[], Server | None] | None
    ) -> None:
        self._kernel = kernel
        self._server = server
        self._vault = vault
        self._client_id = client_id
        self._renew = renew
        self._raw: socket.socket | None = None
        self._status: int | None = None  # of the last handshake that was refused
        self._stopped = False

    def dial(self, seconds: float, asked: Callable[[], None]) -> WatchedSocket:
        """Open the WebSocket within `seconds`. `asked` is called when the server is there and is being asked.

        Raises:
            CannotConnect: it was not opened.
            ServerError: nobody answers, or we are not let in.
        """
        import websocket

        from kernel_bridge_magic.transports.watched import WatchedSocket

        self._status = None
        secret = self._vault.auth_method(self._server.origin) != "none"
        raw = self._raw = open_socket(self._server, seconds, secret=secret)
        if self._stopped:
            raw.close()  # `cut` may have been called before there was something to cut
            raise CannotConnect("the connection is closed")
        raw.settimeout(seconds)
        asked()
        # The library's validation of UTF-8 is pure Python: 9 s for 30 MB. Decoding finds the same.
        connection = WatchedSocket(skip_utf8_validation=True, fire_cont_frame=True)
        problem: AuthRefused | CannotConnect | None = None
        try:
            with untraced():
                bounded = Bounded(raw, Deadline.after(seconds))
                connection.connect(self._url(), socket=bounded, **options(self._server, self._vault, seconds))
            connection.sock = raw
            if connection.getstatus() != 101:
                # Versions before 1.7 take a redirect that they do not follow for a connection.
                raise websocket.WebSocketException
        except Exception as error:
            problem = self._refusal(error, seconds)
        if problem is not None:
            raw.close()
            raise problem  # outside the except block: the library's error does not come along as context
        raw.settimeout(timing.current.websocket_send)
        connection.heard = time.monotonic()
        return connection

    def _url(self) -> str:
        kernel = quote(self._kernel.id, safe="")
        return f"{ws_url(self._server)}api/kernels/{kernel}/channels?session_id={self._client_id}"

    def _refusal(self, error: Exception, seconds: float) -> AuthRefused | CannotConnect:
        status = self._status = getattr(error, "status_code", None)
        where = self._server.name
        if status == 404:
            return CannotConnect(f"{where} has no kernel {self._kernel.short_id} any more; list the kernels again")
        if status == 403 and refuses_host(self._server):
            return CannotConnect(str(host_refused(self._server)))
        if status in (401, 403):
            return AuthRefused(where, f"token not accepted ({status})", "give the right one with --token env:VAR")
        if "Timeout" in type(error).__name__:
            return CannotConnect(f"{where} did not open the connection within {seconds:g} s: the kernel may be busy")
        if status is not None:
            return CannotConnect(f"{where} refused the connection to the kernel (HTTP {status})")
        return CannotConnect(f"{where} did not open a WebSocket to the kernel (a proxy or a login page in between?)")

    def failure(self, problem: KernelBridgeError) -> Failure:
        """Return what the last `dial`, which raised `problem`, means for further ones."""
        if isinstance(problem, ServerUnreachable):
            return Failure.REFUSED if problem.cause is Cause.NOBODY else Failure.OTHER
        if isinstance(problem, AuthRefused):
            return Failure.DENIED
        return Failure.NO_KERNEL if self._status == 404 else Failure.OTHER

    def is_renewed(self) -> bool:
        """Return whether the server was started anew, and is known now with what it wants of us. True once."""
        server = None
        with contextlib.suppress(KernelBridgeError):  # no descriptors to look with: later, perhaps
            server = self._renew() if self._renew is not None else None
        if server is not None:
            self._server, self._renew = server, None
        return server is not None

    def answers(self) -> bool:
        """Ask the server on a new connection whether it is there, for seconds perhaps. Return whether it answered."""
        try:
            ServerAPI(self._server, self._vault).kernel(self._kernel.id)
        except AuthRefused:
            return True
        except KernelBridgeError:
            return False
        return True

    def stop(self) -> None:
        """Open no other connection."""
        self._stopped = True

    def cut(self) -> None:
        """End a handshake or a receive that is under way; called from any thread.

        Nothing else ends a receive in the middle of a frame, and a handshake that a server drips (T24).
        """
        if self._raw is not None:
            with contextlib.suppress(OSError):
                self._raw.shutdown(socket.SHUT_RDWR)

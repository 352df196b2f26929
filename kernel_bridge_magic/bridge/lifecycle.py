"""`Lifecycle`: restart and shut down kernels, by whoever can: their server, this process, or they themselves."""

from __future__ import annotations

import dataclasses
import time
from datetime import datetime, timedelta

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.bridge.children import Children
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.bridge.search import Search
from kernel_bridge_magic.connection.control import listening_process
from kernel_bridge_magic.errors import (
    CannotConnect,
    FateUnknown,
    KernelBridgeError,
    NotRun,
    OwnKernel,
    ServerUnreachable,
)
from kernel_bridge_magic.faces import Face
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.questions import Ask, says_yes
from kernel_bridge_magic.servers.rest import SLOW_SECONDS, ServerAPI
from kernel_bridge_magic.text import clock, count, visible

_AGAIN_SECONDS = 0.1
#: what is done to a kernel, in words, by the verb that is typed
DOES = {"restart": "restart", "shutdown": "shut down"}


class Lifecycle:
    """Ends and restarts kernels of one bridge. `children` are those that were started here without a server."""

    def __init__(self, vault: Vault, pool: Pool, search: Search, children: Children, face: Face) -> None:
        self._vault = vault
        self._pool = pool
        self._search = search
        self._children = children
        self._face = face

    def restart(self, kernel: Kernel) -> float:
        """Restart a kernel; return how many seconds that took. Its variables are gone.

        Raises:
            OwnKernel, CannotConnect: as `confirm`.
            FateUnknown, KernelDied: it does not come up again.
            ServerError: its server would not.
        """
        self.confirm("restart", kernel, yes=True, ask=None)
        began = time.monotonic()
        known = self._pool.known(kernel)
        with self._pool.ending(kernel):
            if kernel.server is not None:
                self._restart_there(kernel, kernel.server)
            else:
                self._children.restart(kernel)
        # Some servers answer before the kernel does. No WebSocket is opened where we had none: that would be a visit.
        if kernel.server is not None and (kernel.connection_file or known):
            self._wait_until_up(kernel)
        return time.monotonic() - began

    def _wait_until_up(self, kernel: Kernel) -> None:
        """Wait until a kernel that its server has restarted answers.

        Raises:
            FateUnknown: it does not, for as long as a server would wait.
        """
        deadline = Deadline.after(SLOW_SECONDS)
        begun = dataclasses.replace(kernel, state="starting")  # it may have been dead, and no longer is
        while not deadline.is_over:
            try:
                if self._pool.connect(begun).answers(deadline.left):
                    return
            except KernelBridgeError:  # it does not listen yet
                time.sleep(_AGAIN_SECONDS)
        raise self._not_up(kernel)

    @staticmethod
    def _not_up(kernel: Kernel) -> FateUnknown:
        server = "its server" if kernel.server is None else visible(kernel.server.name)
        told = f"{server} was told to restart it, and its log says what it waits for"
        text = f"{kernel.title} has not come up within {SLOW_SECONDS:g} s. {told}"
        return FateUnknown(text, kernel=kernel.title)

    def _restart_there(self, kernel: Kernel, server: Server) -> None:
        began = time.monotonic()
        try:
            ServerAPI(server, self._vault).restart(kernel.id)
            return
        except ServerUnreachable:
            if time.monotonic() - began < SLOW_SECONDS:
                raise
        raise self._not_up(kernel)

    def shutdown(self, kernel: Kernel) -> None:
        """Shut a kernel down.

        Raises:
            OwnKernel: it is this kernel itself.
            ServerError: its server would not.
            LinkError: it does not do what it is told, and nobody else can be asked.
        """
        self.confirm("shutdown", kernel, yes=True, ask=None)
        with self._pool.ending(kernel):
            if kernel.server is not None:
                ServerAPI(kernel.server, self._vault).delete(kernel.id)
            elif not self._children.shutdown(kernel):
                self._pool.shut_down(kernel)
        self._search.forget()

    # -- asking first

    def confirm(self, verb: str, kernel: Kernel, *, yes: bool, ask: Ask | None) -> None:
        """Ask whether a kernel may be restarted or shut down (`verb`); `yes` is the answer already.

        `ask` is None where nobody can be asked.

        Raises:
            NotRun: the answer is no, or there is none.
            OwnKernel, CannotConnect: it cannot be done in any case.
        """
        _refuse(kernel)
        title = visible(kernel.title)
        if verb == "restart" and kernel.server is None and not self._children.has(kernel):
            raise CannotConnect(
                f"{title} cannot be restarted from here: it has no server, and only what started it can start it again"
            )
        if yes:
            return
        if ask is None:
            raise NotRun(f"nobody can be asked here, so nothing was done to {title}. Add --yes to do it")
        process = _process_of(kernel)
        known = self._pool.known(kernel)
        busy = self._pool.is_busy(kernel)
        began = next((one.busy_since for one in known if one.busy_since), "")
        busy_for = since(began, datetime.now()) if busy else ""
        ours = sum(one.transport == "ws" for one in known)
        if not says_yes(ask, question(DOES[verb], kernel, ours=ours, busy=busy, busy_for=busy_for)):
            raise NotRun(f"nothing was done to {title}")
        if _process_of(kernel) != process:  # in the time of a question the connection file may have become another's
            raise NotRun(f"{title} has ended meanwhile, so nothing was done. {self._face.listing} shows what there is")


def question(does: str, kernel: Kernel, *, ours: int, busy: bool, busy_for: str = "") -> str:
    """Return what is asked before a kernel is restarted or shut down: who else has it, and what it does.

    `does` is "restart" or "shut down", `ours` how many of its connections are ours, `busy_for` how long it has been
    busy, "" where nobody knows.
    """
    others = max((kernel.connections or 0) - ours, 0)
    told = [f"{count(others, 'other client')} {'is' if others == 1 else 'are'} connected"] if others else []
    if busy:
        told.append(f"busy for {busy_for}" if busy_for else "busy")
    return f"{does} {visible(kernel.title)}? {', '.join(told)}{' ' if told else ''}[y/N] "


def since(time_of_day: str, now: datetime) -> str:
    """Return how long ago a time of day was, as `0:42`; "" for none."""
    try:
        began = datetime.combine(now.date(), datetime.strptime(time_of_day, "%H:%M:%S").time())
    except ValueError:
        return ""
    return clock(round((now - began) / timedelta(seconds=1)) % 86400)


def _process_of(kernel: Kernel) -> int | None:
    """Return the pid of a kernel that has no server; None for another one, which its server's id means for good."""
    return listening_process(kernel.connection_file) if kernel.server is None else None


def _refuse(kernel: Kernel) -> None:
    if kernel.is_this_kernel:
        raise OwnKernel(f"{kernel.title} is this kernel itself. Use the front end's own menu", kernel)

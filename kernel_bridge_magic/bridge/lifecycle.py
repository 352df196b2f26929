"""`Lifecycle`: start, restart and shut down kernels, by whoever can: their server, this process, or they themselves."""

from __future__ import annotations

import dataclasses
import os
import posixpath
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.bridge.children import Children
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.bridge.search import Search
from kernel_bridge_magic.connection.control import listening_process
from kernel_bridge_magic.errors import (
    BadInput,
    CannotConnect,
    FateUnknown,
    KernelBridgeError,
    NotRun,
    OwnKernel,
    ServerUnreachable,
)
from kernel_bridge_magic.faces import Face
from kernel_bridge_magic.interrupts import as_usual
from kernel_bridge_magic.matching.find import is_named
from kernel_bridge_magic.matching.levels import same_kernel, shown
from kernel_bridge_magic.matching.selectors import selector
from kernel_bridge_magic.models import Kernel, Server, Session
from kernel_bridge_magic.protocol.messages import read_json
from kernel_bridge_magic.reports import Listing
from kernel_bridge_magic.servers.rest import SLOW_SECONDS, ServerAPI
from kernel_bridge_magic.text import count, some_of, visible

#: A name for a kernel: what is typed behind a magic, or in a shell, without quotes, and reads as no other MATCH.
_NAME = re.compile(r"\w[\w.+-]*")
_MOST_NAMES = 12
_AGAIN_SECONDS = 0.1
#: what is done to a kernel, in words, by the verb that is typed
DOES = {"restart": "restart", "shutdown": "shut down"}


class Wanted(NamedTuple):
    """What is to be started: a `notebook` by its path, or a kernelspec by its name (`spec`); `name` is how it is found.

    "" for what is not given.
    """

    notebook: str = ""
    spec: str = ""
    name: str = ""


class Started(NamedTuple):
    """A kernel that was started, and the MATCH that means it alone."""

    kernel: Kernel
    select: str


def wanted(what: str, name: str = "") -> Wanted:
    """Return what a word means: a notebook if it ends so or is a path, else a kernelspec.

    Raises:
        BadInput: it is empty, or nothing could be called by that name.
    """
    what = what.strip().strip("\"'")
    if not what:
        raise BadInput("which one? Name a notebook (north.ipynb), or a kernel's kind (python3)")
    if name and not _NAME.fullmatch(name):
        raise BadInput(f"{shown(name)} cannot be a kernel's name: use letters, digits, and - _ . behind the first")
    if "://" in what or "token=" in what.lower():  # a browser's address, which may have a token: it is not shown
        raise BadInput("a URL is no notebook's path. Write the path from the server's root: students/north.ipynb")
    if what.endswith(".ipynb") or "/" in what:
        return Wanted(notebook=posixpath.normpath(what), name=name)
    return Wanted(spec=what, name=name)


class Lifecycle:
    """The lives of the kernels of one bridge. `close` ends those that were started here without a server."""

    def __init__(self, vault: Vault, pool: Pool, search: Search, face: Face) -> None:
        self._vault = vault
        self._pool = pool
        self._search = search
        self._face = face
        self._children = Children()

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

    # -- starting

    def start(self, what: Wanted, server: str | None = None, *, as_child: bool) -> Started:
        """Start a kernel on the server of that name or URL, on the only one in reach where none is named.

        Where there is no server, and `as_child` allows it, it becomes a child of this process, and ends with it.

        Raises:
            BadInput: it is open already, its name is taken, there is no such notebook or kernelspec, or several servers
                are in reach.
            ServerError: the server would not.
            CannotConnect: it did not start.
        """
        listing = self._search.look(server)
        self._refuse_open(what, listing)
        target = self._target(listing, server, as_child=as_child)
        kernel = self._start_here(what) if target is None else self._start_there(what, target)
        self._search.forget()
        listing = self._search.look(server)
        kernel = same_kernel(kernel, listing.kernels) or kernel
        return Started(kernel, what.name or selector(kernel, listing.kernels))

    def _refuse_open(self, what: Wanted, listing: Listing) -> None:
        """Refuse to start what is there already."""
        if what.notebook:
            names = {what.notebook.strip("/"), os.path.abspath(what.notebook)}
            for kernel in listing.kernels:
                if names & {*kernel.paths, *(path.strip("/") for path in kernel.paths)}:
                    run = "" if kernel.is_this_kernel else self._run(selector(kernel, listing.kernels))
                    hint = f"To run code in it: {run}" if run else "It is this kernel's own notebook"
                    raise BadInput(f"{visible(kernel.title)} is open already, so nothing was started. {hint}")
        if what.name and is_named(what.name, listing.kernels):
            taken = f"a kernel is called {what.name} already, so nothing was started"
            raise BadInput(f"{taken}. Give another --name, or use that one: {self._run(what.name)}")

    def _run(self, select: str) -> str:
        return self._face.run.replace("NAME", select)

    def _target(self, listing: Listing, server: str | None, *, as_child: bool) -> Server | None:
        """Return the server that is to start the kernel; None for this process."""
        usable = [report.server for report in listing.servers if not report.problem]
        # A hub's name means all of a user's servers, one of which is called by that name.
        usable = [it for it in usable if server in (it.name, it.url)] or usable
        if len(usable) > 1:
            by_url = "URL" in self._face.only
            names = some_of(sorted(visible(it.url if by_url else it.name) for it in usable), _MOST_NAMES)
            several = f"{len(usable)} servers are in reach, so nothing was started"
            raise BadInput(f"{several}. Choose one with {self._face.only}: {names}")
        if usable:
            return usable[0]
        if server is not None:
            report = listing.servers[0]
            raise ServerUnreachable(report.server.name, report.problem, report.remedy, is_named=report.is_named)
        if not as_child:
            why = "no server is in reach, and a kernel without one would end with this command"
            raise BadInput(f"{why}. Start a Jupyter server, or name one with {self._face.only}")
        return None

    def _start_there(self, what: Wanted, server: Server) -> Kernel:
        api = ServerAPI(server, self._vault)
        spec = what.spec or api.notebook_kernel(what.notebook)
        if spec:
            _check_spec(spec, list(api.kernelspecs()), server.name)
        path = what.notebook.strip("/") or what.name
        kind = "notebook" if what.notebook else "console"
        try:
            model = api.start(spec or None, path or None, name=what.name, kind=kind)
        except ServerUnreachable as problem:
            begin = problem.problem if problem.is_named else f"{server.name}: {problem.problem}"
            raise CannotConnect(
                begin, f"it may still start the kernel, and {self._face.listing} shows it then"
            ) from None
        session = Session(path, what.name or posixpath.basename(path), kind)
        return Kernel.from_json(model, server=server, sessions=(session,) if path else ())

    def _start_here(self, what: Wanted) -> Kernel:
        spec, directory = what.spec, None
        if what.notebook:
            spec = _kernel_of(what.notebook) or "python3"
            directory = os.path.dirname(os.path.abspath(what.notebook))
        _check_spec(spec, self._children.specs(), "this machine")
        file = self._children.start(spec, what.name or what.notebook, directory)
        name = os.path.basename(file).removeprefix("kernel-").removesuffix(".json")
        return Kernel(name, spec, connection_file=file)

    def close(self) -> None:
        """End the kernels that were started here without a server."""
        self._children.close()

    # -- asking first

    def confirm(self, verb: str, kernel: Kernel, *, yes: bool, ask: Callable[[str], str] | None) -> None:
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
        with as_usual():
            try:
                answer = ask(question(DOES[verb], kernel, ours=ours, busy=busy, busy_for=busy_for))
            except EOFError:
                answer = ""
        if answer.strip().lower() not in ("y", "yes"):
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


def since(clock: str, now: datetime) -> str:
    """Return how long ago a time of day was, as `0:42`; "" for none."""
    try:
        began = datetime.combine(now.date(), datetime.strptime(clock, "%H:%M:%S").time())
    except ValueError:
        return ""
    seconds = round((now - began) / timedelta(seconds=1)) % 86400
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _check_spec(spec: str, specs: Sequence[str], where: str) -> None:
    if spec not in specs:
        names = some_of(sorted(map(visible, specs)), _MOST_NAMES) or "none"
        raise BadInput(f"{visible(where)} has no kernel called {shown(spec)}, so nothing was started. It has: {names}")


def _kernel_of(notebook: str) -> str:
    """Return the name of the kernelspec that a notebook of this machine wants, "" if it does not say.

    Raises:
        BadInput: there is no such notebook.
    """
    try:
        with open(notebook, "rb") as file:
            content = read_json(file.read())
    except (OSError, ValueError, RecursionError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "not a notebook"
        raise BadInput(f"{shown(notebook)} cannot be read ({why}), so nothing was started. Check the path") from None
    try:
        return str(content["metadata"]["kernelspec"]["name"])
    except (KeyError, TypeError):
        return ""


def _process_of(kernel: Kernel) -> int | None:
    """Return the pid of a kernel that has no server; None for another one, which its server's id means for good."""
    return listening_process(kernel.connection_file) if kernel.server is None else None


def _refuse(kernel: Kernel) -> None:
    if kernel.is_this_kernel:
        raise OwnKernel(f"{kernel.title} is this kernel itself. Use the front end's own menu", kernel)

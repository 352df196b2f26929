"""`Starting`: start kernels, on a server, or as children of this process."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from typing import NamedTuple

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.bridge.children import Children
from kernel_bridge_magic.bridge.search import Search
from kernel_bridge_magic.errors import BadInput, CannotConnect, ServerUnreachable
from kernel_bridge_magic.faces import Face
from kernel_bridge_magic.matching.find import is_named
from kernel_bridge_magic.matching.levels import same_kernel, shown
from kernel_bridge_magic.matching.selectors import selector
from kernel_bridge_magic.models import Kernel, Server, Session, kernelspec_of
from kernel_bridge_magic.protocol.messages import read_json
from kernel_bridge_magic.reports import Listing
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.text import some_of, visible

#: A name for a kernel: what is typed behind a magic, or in a shell, without quotes, and reads as no other MATCH.
_NAME = re.compile(r"\w[\w.+-]*")
_MOST_NAMES = 12


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


class Starting:
    """Starts kernels for one bridge. `children` takes those that no server starts."""

    def __init__(self, vault: Vault, search: Search, children: Children, face: Face) -> None:
        self._vault = vault
        self._search = search
        self._children = children
        self._face = face

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
            spec = _kernelspec_of_file(what.notebook) or "python3"
            directory = os.path.dirname(os.path.abspath(what.notebook))
        _check_spec(spec, self._children.specs(), "this machine")
        file = self._children.start(spec, what.name or what.notebook, directory)
        name = os.path.basename(file).removeprefix("kernel-").removesuffix(".json")
        return Kernel(name, spec, connection_file=file)


def _check_spec(spec: str, specs: Sequence[str], where: str) -> None:
    if spec not in specs:
        names = some_of(sorted(map(visible, specs)), _MOST_NAMES) or "none"
        raise BadInput(f"{visible(where)} has no kernel called {shown(spec)}, so nothing was started. It has: {names}")


def _kernelspec_of_file(notebook: str) -> str:
    """Return the name of the kernelspec that a notebook of this machine wants, "" if it does not say.

    Raises:
        BadInput: there is no such notebook.
    """
    try:
        with open(notebook, "rb") as file:
            return kernelspec_of(read_json(file.read()))
    except (OSError, ValueError, RecursionError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "not a notebook"
        raise BadInput(f"{shown(notebook)} cannot be read ({why}), so nothing was started. Check the path") from None

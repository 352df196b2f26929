"""Tab and Shift-Tab in a cell of ours: in the body the other kernel is asked, in the line kernels and options come.

IPython's completer is wrapped on the instance, where both ipykernel and the terminal call it. A matcher of IPython's
own would not do: where ours had no completions, since the kernel is busy or knows none, names and files of this kernel
would come in their place.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from typing import TYPE_CHECKING, Any

from IPython.core.completer import Completion, provisionalcompleter

from kernel_bridge_magic.errors import BadOption, KernelBridgeError
from kernel_bridge_magic.interrupts import PATIENCE, check
from kernel_bridge_magic.ipython.cells import InCode, InLine, spot
from kernel_bridge_magic.ipython.line_parser import MagicParser, Slot
from kernel_bridge_magic.ipython.options import TAKES_MATCH, parser_of

if TYPE_CHECKING:
    from kernel_bridge_magic.connection.connection import KernelConnection
    from kernel_bridge_magic.ipython.magics import BridgeMagics
    from kernel_bridge_magic.matching.offers import Offer
    from kernel_bridge_magic.reports import Listing

_log = logging.getLogger(__name__)

_SECONDS = 0.5  # nobody waits longer for a list that pops up
_FIND_SECONDS = 0.25  # of them, for which kernel it is; the next key has it
_FRESH_SECONDS = 3.0  # for so long what was found is kept: each key that is typed asks for it
_STALE_SECONDS = 30.0  # for so long it stands in while it is looked for anew
_MOST_KEPT = 100
_NAME = re.compile(r"\$([A-Za-z_]\w*)|\{\s*([A-Za-z_]\w*)\s*\}")
_NOTHING = {"status": "ok", "found": False, "data": {}, "metadata": {}}


class TypingHelp:
    """The completion and the documentation of one shell, as long as the extension is loaded."""

    def __init__(self, magics: BridgeMagics) -> None:
        self._magics = magics
        self._found = _Found()
        self._is_loaded = True
        self._undo = contextlib.ExitStack()
        self._completions = self._wrap(magics.shell.Completer, "completions", self.completions)
        kernel = getattr(magics.shell, "kernel", None)
        if hasattr(kernel, "do_inspect"):  # not every kernel is an ipykernel
            self._inspect = self._wrap(kernel, "do_inspect", self.inspect)

    def _wrap(self, owner: Any, name: str, ours: Any) -> Any:
        """Put a method of ours in the place of one, until `unload`; return that one."""
        theirs = getattr(owner, name)
        was = vars(owner).get(name)

        def undo() -> None:
            if vars(owner).get(name) != ours:
                return  # somebody has wrapped ours, which lets everything through from now on
            if was is None:
                delattr(owner, name)
            else:
                setattr(owner, name, was)

        setattr(owner, name, ours)
        self._undo.callback(undo)
        return theirs

    def unload(self) -> None:
        """Give the shell back what it had."""
        self._is_loaded = False
        self._undo.close()

    def completions(self, text: str, offset: int) -> Iterator[Completion]:
        """Yield what IPython's own method of this name does, with the positions of the whole text."""
        try:
            found = self._find(text, offset)
        except KeyboardInterrupt:  # who has pressed it wants no list; IPython's own ends as quietly
            found = []
        except Exception:  # whatever is wrong, names of this kernel are no completions there
            _log.debug("no completions", exc_info=True)
            found = []
        yield from self._completions(text, offset) if found is None else found

    def inspect(self, code: str, cursor_pos: int, detail_level: int = 0, *more: Any, **options: Any) -> Any:
        """Return what ipykernel's `do_inspect` does: the content of an `inspect_reply`."""
        until = time.monotonic() + _SECONDS
        where = self._spot(code, cursor_pos)
        if not isinstance(where, InCode):
            return self._inspect(code, cursor_pos, detail_level, *more, **options)
        found = None
        try:
            if (connection := self._connection(where)) is not None:
                ask = connection.introspection.inspect
                found = ask(where.code, where.cursor, detail_level, seconds=_left(until))
        except KeyboardInterrupt:
            pass
        except Exception:
            _log.debug("no documentation", exc_info=True)
        return dict(_NOTHING) if found is None else {**_NOTHING, "found": True, "data": found[0], "metadata": found[1]}

    def _spot(self, text: str, cursor: int) -> InLine | InCode | None:
        if not self._is_loaded:
            return None
        if self._magics.auto.takes(text.strip() or "_"):  # a cell that is empty will not stay so
            return InCode(None, text, cursor, 0)
        return spot(text, cursor, _remote()) if "%" in text else None

    def _find(self, text: str, cursor: int) -> list[Completion] | None:
        """Return what is offered; None where the cursor is at nothing of ours."""
        until = time.monotonic() + _SECONDS
        where = self._spot(text, cursor)
        if where is None:
            return None
        with provisionalcompleter():
            if isinstance(where, InLine):
                start, offers = self._offers(where)
                return [Completion(where.start + start, cursor, it.text, type=it.type) for it in offers]
            if (connection := self._connection(where)) is None:
                return []
            begin = where.start
            found = connection.introspection.complete(where.code, where.cursor, seconds=_left(until))
            return [
                Completion(begin + it.start, begin + it.end, it.text, type=it.type, signature=it.signature)
                for it in found
            ]

    def _connection(self, where: InCode) -> KernelConnection | None:
        """Return the open connection to the kernel that code is for; none is opened for a Tab."""
        here = self._magics.opened
        if here is None or not any(it.is_open for it in here.bridge.pool.connections):
            return None
        if where.line is None:
            kernel = self._magics.auto.kernel
        else:
            try:
                options, match = _remote().parse_line(where.line, self._expand)
            except KernelBridgeError:
                return None
            if options.all or not match:
                return None
            # Which one it is may have changed since the last cell. It is found as a cell finds it.
            find = here.bridge.find
            kernel = self._found.get((match, options.server), lambda: find(match, options.server), _FIND_SECONDS)
        return next(iter(here.bridge.pool.known(kernel)), None) if kernel is not None else None

    def _expand(self, word: str) -> str:
        """Return what a word of the line means, as `BridgeMagics.expand` does; but no code runs for a Tab."""
        from kernel_bridge_magic.models import Kernel

        if (found := _NAME.fullmatch(word)) is not None:
            value = self._magics.shell.user_ns.get(found[1] or found[2])
            word = value.id if isinstance(value, Kernel) else value  # an attribute of another one may be code
        if not isinstance(word, str) or (word.startswith("{") and word.endswith("}")):
            raise BadOption("its value is not known before the cell runs")
        return word

    # -- in the line of a magic

    def _offers(self, where: InLine) -> tuple[int, list[Offer]]:
        """Return where in the line begins what an offer takes the place of, and what is offered."""
        from kernel_bridge_magic.matching.offers import Offer, listed_offers, offers

        parser = parser_of(where.name)
        assert parser is not None
        slot = parser.slot_at(where.line, where.cursor, only_head=where.name == "remote" and not where.is_cell)
        if slot is None:
            return 0, []
        if slot.kind == "option":
            return slot.start, [Offer(name, "option") for name in parser.options_from(slot.typed)]
        if slot.kind == "value":
            return slot.start, self._values(slot)
        if where.name not in TAKES_MATCH or "--start" in where.line.split():  # it names no kernel that runs
            return slot.start, []
        if (listing := self._listing()) is None:
            return slot.start, []
        servers = [it.server for it in listing.servers]
        found = (listed_offers if where.name == "remote" else offers)(slot.typed, listing.kernels, servers)
        if where.name == "autoremote":  # a notebook of that name is meant by its ending
            found = [it for it in found if it.text.lower() != "off"]
            found += [Offer("off", "option")] if "off".startswith(slot.typed) else []
        return slot.start, found

    def _values(self, slot: Slot) -> list[Offer]:
        """Return what an option may be given."""
        from kernel_bridge_magic.matching.offers import Offer, server_offers

        option = slot.option
        assert option is not None
        if option.choices:
            return [Offer(str(it), "value") for it in option.choices if str(it).startswith(slot.typed)]
        if option.dest in ("server", "remove"):
            listing = self._listing()
            return server_offers(slot.typed, [it.server for it in listing.servers]) if listing else []
        if option.dest == "i":
            head, typed = re.fullmatch(r"((?:.*[,=])?\s*)(.*)", slot.typed, re.DOTALL).groups()  # type: ignore[union-attr]
            before = "".join(head.split())  # a list with blanks would need quotes
            return [Offer(before + name, "variable") for name in self._names() if name.startswith(typed)]
        return []

    def _names(self) -> list[str]:
        """Return the names of variables that somebody has made here, as `%who` does."""
        hidden = self._magics.shell.user_ns_hidden
        unseen = object()
        names = self._magics.shell.user_ns.items()
        return sorted(name for name, it in names if not name.startswith("_") and hidden.get(name, unseen) is not it)

    def _listing(self) -> Listing | None:
        """Return the kernels in reach, as they were a moment ago; None where nobody says within half a second."""
        here = self._magics.here
        look = here.bridge.search.look
        found: Listing | None = self._found.get("", lambda: look(seconds=_SECONDS, rest=True), _SECONDS + PATIENCE)
        return found


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.0)


def _remote() -> MagicParser:
    parser = parser_of("remote")
    assert parser is not None
    return parser


class _Found:
    """What was found out lately, each by a thread of its own. Nobody waits long for it. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[Hashable, tuple[float, Any]] = {}
        self._working: dict[Hashable, threading.Event] = {}

    def get(self, key: Hashable, find: Callable[[], Any], patience: float) -> Any:
        """Return what `find` returns, or has returned lately; None where it fails, or takes longer than `patience`."""
        if (kept := self._newer(key, _FRESH_SECONDS)) is not None:
            return kept[1]
        with self._lock:
            if (done := self._working.get(key)) is None:
                done = threading.Event()
                work = (key, find, done)
                threading.Thread(target=self._work, args=work, name="kernel-bridge-typing", daemon=True).start()
                self._working[key] = done
        until = time.monotonic() + patience
        while not done.wait(min(_left(until), PATIENCE)) and _left(until):
            check()
        kept = self._newer(key, _STALE_SECONDS)
        return None if kept is None else kept[1]

    def _newer(self, key: Hashable, seconds: float) -> tuple[float, Any] | None:
        with self._lock:
            kept = self._kept.get(key)
        return kept if kept is not None and time.monotonic() - kept[0] <= seconds else None

    def _work(self, key: Hashable, find: Callable[[], Any], done: threading.Event) -> None:
        found = None
        try:
            found = find()
        except Exception:  # it is told where somebody runs the cell; here it would be printed where somebody types
            _log.debug("nothing found", exc_info=True)
        finally:
            with self._lock:
                if len(self._kept) >= _MOST_KEPT:
                    self._kept.clear()
                self._kept[key] = time.monotonic(), found
                self._working.pop(key, None)
            done.set()

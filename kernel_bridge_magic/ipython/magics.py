"""The magics: registered, parsed, called. What they do is in `shell`, which the first use imports."""

from __future__ import annotations

import atexit
import contextlib
import re
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any

from IPython.core.magic import Magics, cell_magic, line_cell_magic, line_magic, magics_class, no_var_expand
from traitlets import TraitError

from kernel_bridge_magic import reloads
from kernel_bridge_magic.choices import check_for_one
from kernel_bridge_magic.errors import AmbiguousKernel, BadInput, BadMatch, BadOption
from kernel_bridge_magic.interrupts import held, sends_nothing
from kernel_bridge_magic.ipython.autoremote import AutoRemote
from kernel_bridge_magic.ipython.completion import TypingHelp
from kernel_bridge_magic.ipython.config import KernelBridge
from kernel_bridge_magic.ipython.line_parser import HelpWanted
from kernel_bridge_magic.ipython.options import (
    autoremote_parser,
    jobs_parser,
    kernels_parser,
    remote_parser,
    servers_parser,
)
from kernel_bridge_magic.ipython.routing import goes_on, typed_cell
from kernel_bridge_magic.transfer.names import check

if TYPE_CHECKING:
    from kernel_bridge_magic.bridge.bridge import Bridge
    from kernel_bridge_magic.display.servers import CheckList, ServerList
    from kernel_bridge_magic.display.tables import KernelList
    from kernel_bridge_magic.ipython.shell import InShell
    from kernel_bridge_magic.jobs.job import RemoteJob
    from kernel_bridge_magic.jobs.jobs import JobList
    from kernel_bridge_magic.jobs.results import RemoteResults
    from kernel_bridge_magic.results import RemoteValue

_ATTRIBUTE = "_kernel_bridge_magics"


@magics_class
class BridgeMagics(Magics):
    """The magics: `%%remote` and `%remote`, `%autoremote`, `%%local`, `%kernels`, `%servers` and `%jobs`."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell=shell)
        #: the user's configuration; `%config KernelBridge` shows and changes it
        self.settings = KernelBridge(parent=shell)
        #: where the cells of this shell run
        self.auto = AutoRemote(shell)
        self._typing_help = TypingHelp(self)

    @cached_property
    def _here(self) -> InShell:
        with sends_nothing(), held():  # these imports take a while, and must not be interrupted halfway
            from kernel_bridge_magic.ipython.shell import InShell

        here = InShell(self.shell, self.settings)
        atexit.register(here.close)
        return here

    @property
    def here(self) -> InShell:
        """What the magics do in this shell; made at the first use."""
        return self._here

    @property
    def opened(self) -> InShell | None:
        """What the magics do in this shell, None before their first use."""
        return self._here if "_here" in self.__dict__ else None

    @property
    def bridge(self) -> Bridge:
        """The servers and connections of this shell."""
        return self._here.bridge

    def close(self) -> None:
        """Give the shell back what it had, and close the connections, if any magic was ever used."""
        self._typing_help.unload()
        if self.auto.kernel is not None:
            from kernel_bridge_magic.ipython.elsewhere import end

            end(self._here, self.auto)
        self.auto.unload()
        if "_here" in self.__dict__:
            atexit.unregister(self._here.close)
            self._here.close()

    def _renewed(self) -> BridgeMagics | None:
        """Return the magics that replace these, if our modules were reloaded since; else None."""
        if not reloads.happened():
            return None
        with contextlib.suppress(Exception):  # old and new modules do not fit together
            unload(self.shell)
        reloads.renew("ipython.magics").load(self.shell)
        renewed: BridgeMagics = getattr(self.shell, _ATTRIBUTE)
        return renewed

    # -- %kernels

    @no_var_expand
    @line_magic
    def kernels(self, line: str) -> KernelList | None:
        """List every kernel in reach, or do something with one of them: %kernels [MATCH]."""
        if (renewed := self._renewed()) is not None:
            return renewed.kernels(line)  # type: ignore[no-any-return] # IPython's decorators say nothing
        try:
            options, match = kernels_parser().parse_line(line, self.expand)
        except HelpWanted as wanted:
            print(wanted)
            return None
        here = self._here  # before all other imports: in these Ctrl-C is held back
        from kernel_bridge_magic.ipython.kernel_actions import act, action_of

        if verb := action_of(options):
            act(here, verb, match, options)
            return None
        if options.follow and options.watch:
            raise BadOption("--follow shows what one kernel runs, --watch the table of kernels: leave out one of them")
        if options.follow or options.watch:
            from kernel_bridge_magic.ipython.following import follow, watch

            (follow if options.follow else watch)(here, match, options)
            return None
        with sends_nothing():
            return here.kernels(match, options)

    # -- %servers

    @no_var_expand
    @line_magic
    def servers(self, line: str) -> ServerList | CheckList | None:
        """List, add, remove or check servers: %servers [--add URL --name NAME --token env:VAR]."""
        if (renewed := self._renewed()) is not None:
            return renewed.servers(line)  # type: ignore[no-any-return]
        try:
            options, rest = servers_parser().parse_line(line, self.expand)
        except HelpWanted as wanted:
            print(wanted)
            return None
        if rest and not options.check:
            from kernel_bridge_magic.matching.levels import shown

            hint = "To add a server write %servers --add URL --name NAME, to check one %servers --check NAME"
            raise BadOption(f"unexpected {shown(rest)}. {hint}")
        with sends_nothing():
            return self._here.check(rest) if options.check else self._here.servers(options)

    # -- %remote and %%remote

    @no_var_expand
    @line_cell_magic
    def remote(self, line: str, cell: str | None = None) -> RemoteValue | RemoteResults | RemoteJob | None:
        """Run code in another kernel that is already running: %%remote MATCH, or %remote MATCH CODE."""
        if (renewed := self._renewed()) is not None:
            return renewed.remote(line, cell)  # type: ignore[no-any-return]
        parser = remote_parser()
        try:
            if cell is None:
                options, match, code = parser.parse_head(line, self.expand)
            else:
                options, match = parser.parse_line(line, self.expand)
                code = cell
        except HelpWanted as wanted:
            print(wanted)
            return None
        _check_given(match, code if cell is None else None, options)
        if options.result is not None:
            options.result = check(options.result, "--result")
        if options.bg:
            _check_bg(options)
        options.variables = self._here.variables(options)
        if (options.all or "," in match) and (kernels := self._here.several(match, options)) is not None:
            if options.bg:
                raise BadOption("--bg is for one kernel: leave it out, or name one")
            from kernel_bridge_magic.ipython.many import run_on_many

            return run_on_many(self._here, kernels, code, options, hold_result=cell is None)
        check_for_one(options)
        if options.bg:
            from kernel_bridge_magic.ipython.background import begin

            job = begin(self._here, match, code, options)
            return job if cell is None else None
        try:
            return self._here.run(match, code, options, hold_result=cell is None)
        except AmbiguousKernel as several:
            several.all_option = "--all"
            raise

    # -- %autoremote

    @no_var_expand
    @line_cell_magic
    def autoremote(self, line: str, cell: str | None = None) -> RemoteValue | None:
        """Run every following cell in another kernel: %autoremote MATCH, until %autoremote off."""
        if (renewed := self._renewed()) is not None:
            return renewed.autoremote(line, cell)  # type: ignore[no-any-return]
        if cell is not None:
            from kernel_bridge_magic.ipython.elsewhere import run

            return run(self._here, self.auto, cell)
        try:
            options, match = autoremote_parser().parse_line(line, self.expand)
        except HelpWanted as wanted:
            print(wanted)
            return None
        here = self._here
        from kernel_bridge_magic.ipython.elsewhere import begin, end, keep_in_history, where

        cell_here = typed_cell(sys._getframe())
        if not match:
            where(here, self.auto)
        elif match.lower() == "off":
            end(here, self.auto)
            keep_in_history(self.shell, cell_here)
        elif goes_on(cell_here):
            raise BadInput("%autoremote is for the cells that follow. Put the code below it into the next one")
        else:
            begin(here, self.auto, match, options)
        return None

    @no_var_expand
    @cell_magic
    def local(self, line: str, cell: str) -> None:
        """Run one cell here while %autoremote is on: %%local, with the code below it."""
        # The transformer of `auto` has taken this line away where it can, and IPython runs the cell.
        if line.strip():
            raise BadOption("%%local has no options. Write the code below it")
        outcome = self.shell.run_cell(cell)
        if (raised := outcome.error_before_exec or outcome.error_in_exec) is not None:
            from kernel_bridge_magic.display.hooks import leave_out

            leave_out(self.shell, raised)  # it is shown already
            raise raised

    # -- %jobs

    @no_var_expand
    @line_magic
    def jobs(self, line: str) -> JobList | RemoteJob | None:
        """List the background jobs, or one of them: %jobs [N]."""
        if (renewed := self._renewed()) is not None:
            return renewed.jobs(line)  # type: ignore[no-any-return]
        try:
            options, number = jobs_parser().parse_line(line, self.expand)
        except HelpWanted as wanted:
            print(wanted)
            return None
        from kernel_bridge_magic.ipython.background import jobs

        return jobs(self._here, number, options)

    # -- shared

    def expand(self, word: str) -> str:
        """Return the value of a word that is `$name` or `{expr}` as a whole, for a Kernel its id; else the word."""
        found = re.fullmatch(r"\$([A-Za-z_]\w*)|\{(.+)\}", word)
        if found is None:
            return word
        expression = found[1] or found[2]
        try:
            value = self.shell.ev(expression)
        except Exception as error:
            why = f"{word} has no value here ({type(error).__name__})"
            raise BadOption(f"{why}. Put it in quotes to use it as it is") from None
        # Only a Kernel of ours has an `id` and a `short_id`; the class is not imported for a word.
        return str(value.id if hasattr(value, "short_id") else value)


BridgeMagics.remote.__doc__ = remote_parser().format_help()
BridgeMagics.kernels.__doc__ = kernels_parser().format_help()
BridgeMagics.autoremote.__doc__ = autoremote_parser().format_help()
BridgeMagics.jobs.__doc__ = jobs_parser().format_help()
BridgeMagics.servers.__doc__ = servers_parser().format_help()


def _check_bg(options: Any) -> None:
    """Refuse what does not go with `--bg`."""
    if options.all:
        raise BadOption("--bg is for one kernel: leave it out, or --all")
    if options.no_raise_error:
        why = "a job's error is raised only where somebody waits for it"
        raise BadOption(f"--no-raise-error does not go with --bg: {why}")


def _check_given(match: str, code: str | None, options: Any) -> None:
    """Refuse a line that names no kernel, or has no code; `code` is None where that stands in a cell."""
    if not match and options.all:
        raise BadMatch("which kernels? Write %%remote --all NAME; a part of their names will do, '*' means all")
    if not match:
        raise BadMatch("which kernel? Write %%remote NAME; a notebook's name will do. %kernels lists them")
    if code == "":
        name = "--all " * options.all + (f'"{match}"' if " " in match else match)
        raise BadInput(f"nothing to run. Write %remote {name} CODE, or %%remote {name} with the code below it")


def load(shell: Any) -> None:
    """Register the magics with `shell`, once.

    Raises:
        BadOption: something that is configured cannot be used.
    """
    if getattr(shell, _ATTRIBUTE, None) is not None:
        return
    try:
        magics = BridgeMagics(shell)
    except TraitError as error:  # of a configuration file
        raise BadOption(" ".join(str(error).split())) from None
    shell.register_magics(magics)
    shell.configurables.append(magics.settings)  # where %config looks
    setattr(shell, _ATTRIBUTE, magics)
    reloads.happened()  # notes the state of the modules: later reloads are noticed


def unload(shell: Any) -> None:
    """Remove the magics from `shell` and close their connections."""
    magics = getattr(shell, _ATTRIBUTE, None)
    if magics is None:
        return
    for kind, names in magics.magics.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
    shell.magics_manager.registry.pop(type(magics).__name__, None)
    if magics.settings in shell.configurables:
        shell.configurables.remove(magics.settings)
    delattr(shell, _ATTRIBUTE)
    magics.close()

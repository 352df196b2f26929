"""`%autoremote`: the cells that somebody types run in another kernel, until `%autoremote off`.

A transformer of input puts `%%autoremote` above each of them, as the first one, so that the body stays as it was typed.
"""

from __future__ import annotations

import argparse
import copy
import posixpath
import sys
from typing import TYPE_CHECKING, Any

from kernel_bridge_magic.ipython.routing import is_typed, leaves, local_body, run_here, stays_here
from kernel_bridge_magic.text import cut_end, visible

if TYPE_CHECKING:
    from kernel_bridge_magic.models import Kernel

_LONGEST_NAME = 24  # columns of a kernel's name in the prompt


class AutoRemote:
    """Where the cells of one shell run. It is the transformer itself.

    IPython asks a transformer as well whether a cell is complete, two or three times for each; it leaves out those that
    say that they have side effects. With the cell magic above it, every line would want a blank line below it.
    """

    has_side_effects = True

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        #: the kernel where cells run, None for this one, and the options that each of them has
        self.kernel: Kernel | None = None
        self._options = argparse.Namespace()
        #: whether that kernel has ended under the last cell
        self.died = False
        self._transformers: list[Any] = shell.input_transformers_cleanup
        self._transformers.insert(0, self)
        self._in_kernel = hasattr(getattr(shell, "kernel", None), "do_execute")

    @property
    def options(self) -> argparse.Namespace:
        """The options of the next cell."""
        return copy.copy(self._options)

    @property
    def name(self) -> str:
        """What the prompt calls the kernel where cells run; "" for this one."""
        if self.kernel is None:
            return ""
        return cut_end(visible(posixpath.splitext(posixpath.basename(self.kernel.title))[0]), _LONGEST_NAME)

    def begin(self, kernel: Kernel, options: argparse.Namespace) -> None:
        """Send cells to `kernel` from now on."""
        is_new = self.kernel is None
        self.kernel, self._options, self.died = kernel, options, False
        if is_new and hasattr(self._shell, "prompts"):
            self._mark_prompts()
            self._shell.observe(self._mark_prompts, "prompts")

    def end(self) -> None:
        """Run cells here again."""
        if self.kernel is not None and hasattr(self._shell, "prompts"):
            self._shell.unobserve(self._mark_prompts, "prompts")
            self._shell.prompts = getattr(self._shell.prompts, "unmarked", self._shell.prompts)
        self.kernel = None

    def unload(self) -> None:
        """Give the shell back what it had."""
        self.end()
        if self in self._transformers:
            self._transformers.remove(self)

    def takes(self, cell: str) -> bool:
        """Return whether a cell with this text would run in the other kernel."""
        return self.kernel is not None and not stays_here(cell) and not leaves(cell)

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the lines of a cell as IPython is to run it."""
        cell = "".join(lines)
        if (body := local_body(cell)) is not None and body.strip():
            return run_here(cell, body).splitlines(keepends=True)
        if self.kernel is None or stays_here(cell) or not is_typed(sys._getframe(1), in_kernel=self._in_kernel):
            return lines
        return ["%autoremote off\n"] if leaves(cell) else ["%%autoremote\n", *lines]

    def _mark_prompts(self, _: object = None) -> None:
        """Have the prompts of this shell, also those that the user sets meanwhile, say where cells run."""
        prompts = self._shell.prompts
        if not hasattr(prompts, "unmarked"):
            self._shell.prompts = _marked(prompts, self)


def _marked(prompts: Any, auto: AutoRemote) -> Any:
    """Return prompts as these, that name the kernel where cells run behind the number: `In [5 → north]: `.

    Where something has kept them, as `%doctest_mode` does, they say nothing once cells run here.
    """
    from IPython.terminal.prompts import Token

    class Marked(type(prompts)):  # type: ignore[misc] # whatever the user's are
        unmarked = prompts

        def in_prompt_tokens(self) -> list[tuple[Any, str]]:
            tokens = list(super().in_prompt_tokens())
            if name := auto.name:
                numbers = [at for at, (kind, _) in enumerate(tokens) if kind is Token.PromptNum]
                before = (numbers[-1] + 1, f" → {name}") if numbers else (0, f"→ {name} ")
                tokens.insert(before[0], (Token.Prompt, before[1]))
            return tokens

    marked = copy.copy(prompts)
    try:
        marked.__class__ = Marked
    except TypeError:  # of a class that no other can stand in for
        return prompts
    return marked

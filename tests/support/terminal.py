"""A real IPython in a real terminal, for tests: pexpect types, pyte draws what a person would see.

with Terminal(tmp_path) as terminal:
    terminal.run("1 + 1").endswith("2")
"""

from __future__ import annotations

import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pexpect
import pyte

from kernel_bridge_magic.text import without_colours
from tests.support.servers import private_env

SECONDS = 30.0


class Terminal:
    """IPython at a terminal of `columns` by `lines`. What it prints is on `screen`, as after an hour of scrolling.

    Args:
        directory: where its private directories go.
        runtime_dir: the Jupyter runtime directory in which it looks for servers and kernels.
        columns, lines: the size of the terminal.
        env: more environment variables.
        colors: IPython's colours.
        setup: cells that are run before the first test's.
        console: whether it is `jupyter console`, with a kernel of its own, in place of IPython.
    """

    def __init__(
        self,
        directory: Path,
        runtime_dir: Path | None = None,
        *,
        columns: int = 80,
        lines: int = 24,
        env: Mapping[str, str] | None = None,
        colors: str = "nocolor",
        setup: Sequence[str] = ("%load_ext kernel_bridge_magic",),
        console: bool = False,
    ) -> None:
        ipython = ["IPython", "--no-banner", "--no-confirm-exit", f"--colors={colors}"]
        more = {"PROMPT_TOOLKIT_NO_CPR": "1", "TERM": "xterm-256color", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
        self._screen = pyte.HistoryScreen(columns, lines, history=10_000, ratio=1)
        self._stream = pyte.Stream(self._screen)
        self._child = pexpect.spawn(
            sys.executable,
            ["-m", *(["jupyter_console", "--no-confirm-exit"] if console else ipython)],
            env=private_env(directory, runtime_dir, **more, **(env or {})),
            cwd=str(directory),
            dimensions=(lines, columns),
            encoding="utf-8",
            codec_errors="replace",
            timeout=SECONDS,
        )  # fmt: skip
        #: all that came, escapes and all
        self.raw: list[str] = []
        self._unseen: list[str] | None = None
        self._child.logfile_read = self
        self._child.delaybeforesend = None
        self._count, self._typed = 1, 0
        try:
            self._expect_prompt(1)
            for cell in setup:
                self.run(cell)
        except BaseException:
            self.close()
            raise

    # What pexpect writes all that it reads to.
    def write(self, text: str) -> None:
        self.raw.append(text)
        if self._unseen is not None:
            self._unseen.append(text)
        else:
            self._stream.feed(text)

    def flush(self) -> None:
        pass

    @property
    def screen(self) -> list[str]:
        """The lines that can be seen now, without what is blank at their ends."""
        return [line.rstrip() for line in self._screen.display]

    def is_plain(self, text: str) -> bool:
        """Whether all letters of the last line on the screen that begins with `text` have the usual colours."""
        row = max(number for number, line in enumerate(self.screen) if line.startswith(text))
        letters = [self._screen.buffer[row][column] for column in range(len(self.screen[row]))]
        return all((letter.fg, letter.bg, letter.reverse) == ("default", "default", False) for letter in letters)

    @property
    def pid(self) -> int:
        assert self._child.pid is not None
        return self._child.pid

    def run(self, cell: str, seconds: float = SECONDS) -> str:
        """Run a cell to its end; give what was printed below it, drawn as the terminal draws it."""
        self.start(cell)
        return self.finish(seconds)

    def run_unseen(self, cell: str, seconds: float = SECONDS) -> str:
        """Run a cell that prints more than can be drawn in time; give what it printed, without escapes."""
        kept: list[str] = []
        self._unseen = kept
        end = time.monotonic() + seconds
        try:
            self.start(cell)
            prompt = _prompt(self._count)
            while not prompt.search(without_colours("".join(kept[-20:]))):
                if time.monotonic() > end:
                    raise AssertionError(f"no prompt within {seconds} s: {''.join(kept)[-300:]!r}")
                self._read(0.02)
        finally:
            self._unseen = None
        self._child.send("\x0c")  # draw all anew
        self._expect_prompt(self._count)
        text = re.sub(r"\x1b[\[\]?0-9;]*[a-zA-Z]|\r", "", "".join(kept))
        return text[text.rindex(cell.splitlines()[-1]) + len(cell.splitlines()[-1]) :].rpartition("In [")[0].strip()

    def start(self, cell: str) -> None:
        """Type a cell, whose lines fit the screen, and run it; wait for nothing."""
        # Bracketed paste: no indentation or closing bracket is added to what is typed. Escape, Enter: run.
        self._child.send(f"\x1b[200~{cell}\x1b[201~")
        self._count += 1
        self._typed = len(cell.splitlines())
        self._child.send("\x1b\r")

    def finish(self, seconds: float = SECONDS) -> str:
        """Wait for the next prompt; give what the cell printed, drawn as the terminal draws it."""
        self._expect_prompt(self._count, seconds)
        return self._printed()

    def wait_for(self, text: str, seconds: float = SECONDS) -> None:
        """Wait until the cell has printed `text`."""
        self._wait_until(lambda: text in self._printed(), text, seconds)

    def _wait_until(self, true: Callable[[], bool], text: str, seconds: float = SECONDS) -> None:
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                raise AssertionError(f"no {text!r} within {seconds} s:\n" + "\n".join(self.screen))
            self._read(0.02)

    def type(self, text: str) -> None:
        """Type a line, as an answer to `input()`."""
        self._child.send(text + "\r")

    def hold(self, text: str) -> None:
        """Type a part of a line, and wait until it stands there."""
        self._child.send(text)
        self._wait_until(lambda: any(line.endswith(text) for line in self.screen), text)

    def tab(self, shown: str, seconds: float = SECONDS) -> None:
        """Press Tab behind what is typed until `shown` is on the screen: it may need a second time."""
        end = time.monotonic() + seconds
        while not any(shown in line for line in self.screen):
            assert time.monotonic() < end, "\n".join(self.screen)
            self._child.send("\t")
            pressed = time.monotonic()
            while time.monotonic() < pressed + 1 and not any(shown in line for line in self.screen):
                self._read(0.05)

    def leave(self) -> None:
        """Press Ctrl-C: the list that has popped up goes, then what was typed."""
        self._child.sendintr()
        self._read(0.2)
        self._child.sendintr()
        self._expect_prompt(self._count)

    def enter(self, text: str) -> str:
        """Type the rest of a line that was held, and run it; give what it printed."""
        self._child.send(text + "\r")
        self._count, self._typed = self._count + 1, 1
        return self.finish()

    def look(self) -> None:
        """Draw what has come since."""
        self._read(0.02)

    def exit(self) -> float:
        """Leave IPython; return the seconds until it has ended."""
        began = time.monotonic()
        self._child.send("exit\x1b\r")
        self._child.expect(pexpect.EOF)
        self._child.wait()
        return time.monotonic() - began

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._child.sendintr()

    def close(self) -> None:
        """End IPython, gently at first."""
        if self._child.isalive():
            self._child.sendeof()
            try:
                self._child.expect(pexpect.EOF, timeout=5)
            except (pexpect.TIMEOUT, OSError):
                self._child.kill(signal.SIGKILL)
        self._child.close(force=True)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _expect_prompt(self, count: int, seconds: float = SECONDS) -> None:
        """Read until the prompt `In [count]:`, or `In [count → north]:`, stands alone on the last line."""
        end = time.monotonic() + seconds
        while True:
            drawn = [line for line in self.screen if line]
            if drawn and _prompt(count).fullmatch(drawn[-1].rstrip()):
                return
            if time.monotonic() > end:
                raise AssertionError(f"no prompt within {seconds} s:\n" + "\n".join(self.screen))
            self._read(0.02)

    def _read(self, seconds: float) -> None:
        try:
            self._child.read_nonblocking(65536, seconds)
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            raise AssertionError("IPython ended:\n" + "\n".join(self.screen)) from None

    def _lines(self) -> list[str]:
        """Everything since the cell was typed, also what has scrolled away."""
        columns = range(self._screen.columns)
        gone = ["".join(line[x].data for x in columns).rstrip() for line in self._screen.history.top]
        return [*gone, *self.screen]

    def _printed(self) -> str:
        lines = self._lines()
        # Below the echo of what was typed, above the next prompt.
        head = _prompt(self._count - 1)
        begin = max((n for n, line in enumerate(lines) if head.match(line)), default=len(lines))
        body = lines[begin + self._typed :]
        while body and not body[-1]:
            body.pop()
        if body and _prompt(self._count).fullmatch(body[-1]):
            body.pop()
        return "\n".join(body).strip("\n")


def _prompt(count: int) -> re.Pattern[str]:
    return re.compile(rf"In \[{count}(?: → [^\]]+)?\]:")

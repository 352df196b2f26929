"""Cells that a test adds to a notebook that is open in the browser."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.browser.lab import Lab, Page


@contextlib.contextmanager
def beside(lab: Lab, app: str, path: str, first: str, others: Sequence[str]) -> Iterator[Page]:
    """A notebook with the extension loaded, whose cell `first` has run; the kernels of `others` run beside it."""
    lab.end_sessions()
    for other in others:
        lab.start(other)
    lab.write(path, ["%load_ext kernel_bridge_magic", first])
    page = lab.open(path, app, keep=True)
    page.run_cell(0)
    page.run_cell(1)
    yield page
    page.close()
    lab.end_sessions()


def waiting_for(go: Path) -> str:
    """Return code for a kernel that waits for a file; it has imported `os` and `time`."""
    return f"while not os.path.exists({str(go)!r}): time.sleep(0.02)\n"


class Cells:
    """New cells, one below the other."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def run(self, source: str, *, wait: bool = True) -> int:
        place = int(self.page.js("cells.length"))
        self.page.run_cell(place, source, wait=wait)
        return place

    def remote(self, code: str, *, match: str = "there.ipynb", wait: bool = True) -> int:
        return self.run(f"%%remote {match}\n{code}", wait=wait)

    def value(self, code: str) -> str:
        (output,) = self.page.outputs(self.remote(code))
        return str(output["data"]["text/plain"])

    def wait_for(self, place: int, selector: str, text: str = "") -> None:
        """Wait until a cell shows what `selector` finds, with that text in it."""
        self.page.wait_for(
            "[...cells[arg[0]].outputArea.node.querySelectorAll(arg[1])].some(it => it.innerText.includes(arg[2]))",
            [place, selector, text],
        )

    def drag(self, place: int, pixels: int) -> None:
        """Move a slider with the mouse."""
        self.wait_for(place, ".noUi-handle")
        self.page.js("cells[arg].node.id = 'cell-' + arg", place)

        def move(window: Any) -> None:
            handle = window.locator(f"#cell-{place} .noUi-handle")
            handle.scroll_into_view_if_needed()
            box = handle.bounding_box()
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            window.mouse.move(x, y)
            window.mouse.down()
            window.mouse.move(x + pixels, y, steps=5)
            window.mouse.up()

        self.page.do(move)

    def press(self, place: int, nth: int = 0) -> None:
        self.wait_for(place, "button.widget-button")
        self.page.js("cells[arg[0]].node.querySelectorAll('button.widget-button')[arg[1]].click()", [place, nth])

    def text(self, place: int) -> str:
        return re.sub(r"\s+", " ", self.page.text(place))

"""Blocks of README and of the pages in `notebooks/` run as pasted; what they link to and show is there.

Each Python block is a cell of a notebook, each line of a shell block a line in a shell. The kernels of the guide's
listing are there, a console with Bash among them. `test_notebooks` runs the notebooks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from tests.support.clients import client_of
from tests.support.servers import ConsoleKernel, JupyterServer

ROOT = Path(__file__).parents[1]
GUIDE = "notebooks/guide.md"
PAGES = ["README.md", *sorted(f"notebooks/{page.name}" for page in (ROOT / "notebooks").glob("*.md"))]
#: Documents that link to each other, but whose blocks are not for a notebook or its user's shell.
LINKED = [*PAGES, ".github/CONTRIBUTING.md", "CHANGELOG.md"]
LINKED += sorted(str(page.relative_to(ROOT)) for page in (ROOT / "kernel_bridge_magic").rglob("*.md"))
#: What is not pasted: what a program shows, and drawings.
SHOWN = "text"
#: The two commands that set up a virtual environment: CI runs the one as it stands there, `test_demo` the other's demo.
SET_UP = "python3 -m venv .venv && "
OWN = "presentation.ipynb"
#: What the other kernels hold.
HELD = {
    "work/analysis.ipynb": """
import pandas as pd
df = pd.DataFrame({"city": ["Bergen", "Oslo", "Bergen"], "rain": [2250.0, 763.0, 1031.0]})
def train():
    for step in range(3):
        print("step", step)
""",
    "train.ipynb": "model = 'a model'\ndef fit(model):\n    print('fitted', model)\n",
} | {
    f"students/{name}.ipynb": "model = 'a model'\ndef score(model):\n    return len(model)\n"
    for name in ("north", "south", "west")
}


class Block(NamedTuple):
    """A fenced block: its page, its line there, its language and text."""

    page: str
    line: int
    language: str
    text: str


def blocks(*languages: str) -> list[Block]:
    """All blocks, page by page, or those in these languages."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        for it in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            found.append(Block(page, text.count("\n", 0, it.start()) + 1, it[1], it[2]))
    return [block for block in found if not languages or block.language in languages]


def anchors(text: str) -> set[str]:
    """The anchors that a Markdown page's headings have, as code hosts make them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


class Place(NamedTuple):
    """A server with the kernels that the pages speak of, and a client of the notebook into which blocks are pasted."""

    server: JupyterServer
    analysis: str
    client: BlockingKernelClient

    def paste(self, code: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Run a cell in the notebook; give its reply, and what it shows."""
        shown: list[dict[str, Any]] = []

        def collect(message: dict[str, Any]) -> None:
            if message["msg_type"] in ("stream", "display_data", "execute_result", "error"):
                shown.append(message["content"])

        reply = self.client.execute_interactive(code, store_history=True, timeout=90, output_hook=collect)
        return reply["content"], shown


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("readme")
    runtime = folder / "runtime"
    with (
        JupyterServer(folder / "server", runtime_dir=runtime) as server,
        ConsoleKernel(runtime, "4711", module="bash_kernel"),
    ):
        ids = {path: server.start_kernel(path=path) for path in (OWN, *HELD)}
        for path, code in HELD.items():
            server.wait_for_kernel(ids[path])
            client = client_of(server.connection_file(ids[path]))
            assert client.execute_interactive(code, timeout=60)["content"]["status"] == "ok"
            client.stop_channels()
        server.wait_for_kernel(ids[OWN])
        client = client_of(server.connection_file(ids[OWN]))
        yield Place(server, ids["work/analysis.ipynb"], client)
        client.stop_channels()


def test_every_block_says_what_it_is() -> None:
    assert {block.language for block in blocks()} == {"python", "sh", SHOWN}
    assert sum(block.text.startswith(SET_UP) for block in blocks()) == 2


def test_python_blocks(place: Place) -> None:
    """In the order of the pages, as one notebook: each is a cell."""
    cells = blocks("python")
    for page in ("README.md", GUIDE):
        assert next(it for it in cells if it.page == page).text.startswith("%load_ext kernel_bridge_magic")
    everything = ""
    for block in cells:
        reply, shown = place.paste(block.text)
        assert reply["status"] == "ok", (block, reply, shown)
        # What could not be read as a magic, an option or a MATCH is a line on stderr, and no error.
        said = "".join(it["text"] for it in shown if it.get("name") == "stderr")
        assert all(line.startswith("kernel-bridge: ") for line in said.splitlines()), (block, said)
        everything += json.dumps(shown)
    for what in ("work/analysis.ipynb", "image/png", "fitted a model", "step 5 of 5", os.uname().sysname):
        assert what in everything
    _, shown = place.paste("print(rows.text, outcome.fate)")
    assert shown == [{"name": "stdout", "text": "3 ok\n"}]


def test_the_listing_that_is_shown(place: Place) -> None:
    """The guide's picture of a listing has the kernels of this one, each in its row: blocks name kernels by them."""
    place.paste("%load_ext kernel_bridge_magic")
    _, shown = place.paste("%kernels")
    (listing,) = (it["data"]["text/plain"] for it in shown if "data" in it)
    (picture,) = (it.text for it in blocks(SHOWN) if "analysis.ipynb" in it.text)

    def rows(table: str) -> list[tuple[str, str]]:
        """Number and notebook of each row; a console's name is that of the program."""
        return re.findall(r"^(\d+) +(\S+\.ipynb)?", table, re.MULTILINE)

    assert rows(picture) == rows(listing), listing


def shell_lines() -> list[str]:
    texts = [block.text for block in blocks("sh") if not block.text.startswith(SET_UP)]
    return list(dict.fromkeys(line for text in texts for line in text.splitlines()))


@pytest.mark.parametrize("line", shell_lines())
def test_a_line_for_a_shell(place: Place, line: str, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("print('done')\n", encoding="utf-8")
    # All that a reader fills in: the server's port, the kernel's id, and the token in its variable.
    pasted = re.sub(r"\bID\b", place.analysis, line.replace("localhost:8888", f"localhost:{place.server.port}"))
    env = place.server.env | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "TOKEN": place.server.token,
        "LAB_TOKEN": place.server.token,
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", pasted],
        env=env, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, (line, done.stdout, done.stderr)


@pytest.mark.parametrize("page", LINKED)
def test_what_a_page_links_to_is_there(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        target, _, anchor = link.partition("#")
        file = (ROOT / page).parent / target if target else ROOT / page
        assert file.exists(), f"{page} links to {link}"
        assert not anchor or anchor in anchors(file.read_text("utf-8")), f"{page} links to {link}"

"""Start real servers of many kinds and ages, try each, and print a table in Markdown.

python -m tests.real [--cache DIRECTORY] [--write] [NAME ...]

The environments are made in the cache, and used again by the next run. The exit status is 1 if anything failed. With
`--write` the table goes into notebooks/tried-with.md, if nothing failed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.real.scenes import SCENES, Row, play
from tests.real.venvs import make_venv
from tests.support.servers import private_env

PAGE = Path(__file__).parents[2] / "notebooks" / "tried-with.md"
BEGIN, END = "<!-- servers: written by python -m tests.real --write -->\n", "<!-- /servers -->"
TITLES = ("server", "version", "listed", "ran a cell over WebSocket", "auth", "seconds")


def line(row: Row) -> str:
    """One line of the table."""
    return f"| {row.server} | {row.version} | {row.listed} | {row.ran} | {row.auth} | {row.seconds:.1f} |"


def logs(directory: Path) -> str:
    """What the servers of a scene said last."""
    return "".join(
        f"\n-- {file.name} ends with\n{file.read_text(errors='replace')[-4000:]}"
        for file in sorted(directory.rglob("*.log"))
    )


def main() -> int:
    """Try all servers, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.real", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, help="where the environments are made (default: a temporary directory)")
    parser.add_argument("--write", action="store_true", help="write the table into notebooks/tried-with.md")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(scene.name for scene in SCENES))
    options = parser.parse_args()
    failed: list[str] = []
    lines = [f"| {' | '.join(TITLES)} |", f"|{'---|' * len(TITLES)}"]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kernel-bridge-servers-") as folder:
        here = Path(folder)
        cache = (options.cache or here / "cache").resolve()
        cache.mkdir(parents=True, exist_ok=True)
        os.environ.update(private_env(here / "user"))
        print("\n".join(lines), flush=True)
        scenes = [scene for scene in SCENES if not options.names or scene.name in options.names]
        # The next environment is made while a server is tried: most of both is waiting.
        with ThreadPoolExecutor(1) as maker:
            pythons = [maker.submit(make_venv, cache, scene.name, scene.requirements) for scene in scenes]
            for scene, python in zip(scenes, pythons, strict=True):
                try:
                    for row in play(scene, python.result(), cache, here / scene.name):
                        lines.append(line(row))
                        print(lines[-1], flush=True)
                except Exception:
                    failed.append(f"{scene.name}:\n{traceback.format_exc()}{logs(here / scene.name)}")
                    print(line(Row(scene.name, listed="FAILED", ran="FAILED", auth="FAILED")), flush=True)
    print(f"\nin {time.monotonic() - began:.0f} s")
    print("\n".join(failed), file=sys.stderr)
    if options.write and not failed and not options.names:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        table = "\n".join(["", *lines, "", ""])
        PAGE.write_text(f"{before}{BEGIN}{table}{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

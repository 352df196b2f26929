"""Start real servers of many kinds and ages, try each, and print a table in Markdown.

python -m tests.servers [--cache DIRECTORY] [--readme] [NAME ...]

The environments are made in the cache, and used again by the next run. The exit status is 1 if anything failed. With
`--readme` the table goes into the README, if nothing failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.servers.scenes import SCENES, Row, try_one

README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- servers: written by python -m tests.servers --readme -->\n", "<!-- /servers -->"
AT_ONCE = 2  # most of it is waiting
TITLES = ("server", "version", "listed", "ran a cell over WebSocket", "auth", "seconds")


def line(row: Row) -> str:
    """One line of the table."""
    return f"| {row.server} | {row.version} | {row.listed} | {row.ran} | {row.auth} | {row.seconds:.1f} |"


def main() -> int:
    """Try all servers, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cache", type=Path, help="where the environments are made (default: a temporary directory)")
    parser.add_argument("--readme", action="store_true", help="write the table into the README")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(scene.name for scene in SCENES))
    options = parser.parse_args()
    failed: list[str] = []
    lines = [f"| {' | '.join(TITLES)} |", f"|{'---|' * len(TITLES)}"]
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kernel-bridge-servers-") as folder:
        here = Path(folder)
        cache = (options.cache or here / "cache").resolve()
        cache.mkdir(parents=True, exist_ok=True)
        print("\n".join(lines), flush=True)
        names = [scene.name for scene in SCENES if not options.names or scene.name in options.names]
        # Each in a process of its own: what a scene has in its environment is its own.
        with ProcessPoolExecutor(AT_ONCE, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as pool:
            # The last one, JupyterHub, takes longest: it goes first.
            tried = {name: pool.submit(try_one, name, cache, here / name) for name in reversed(names)}
            for name in names:
                rows, problem = tried[name].result()
                lines += map(line, rows)
                print("\n".join(map(line, rows)), flush=True)
                failed += [problem] * bool(problem)
    print(f"\nin {time.monotonic() - began:.0f} s")
    print("\n".join(failed), file=sys.stderr)
    if options.readme and not failed and not options.names:
        before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
        table = "\n".join(["", *lines, "", ""])
        README.write_text(f"{before}{BEGIN}{table}{END}{rest.partition(END)[2]}", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Measure what the project promises, and print it: `python -m tests.benchmarks [-k TEXT] [--rounds N] [--json FILE]`.

Exit status 1 where a limit is exceeded.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.benchmarks.harness import measure, report
from tests.benchmarks.rows import ROWS


def main() -> int:
    """Measure the rows that were asked for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Measure what the project promises."
    )
    parser.add_argument("-k", metavar="TEXT", default="", help="only rows whose name has this in it")
    parser.add_argument("--rounds", metavar="N", type=int, help="measure each row so often")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything there, too")
    parser.add_argument("--list", action="store_true", help="print the names of the rows")
    options = parser.parse_args()
    rows = [row for row in ROWS if options.k in row.name]
    if options.list:
        print("\n".join(row.name for row in rows))
        return 0
    measured = []
    for row in rows:
        measured.append(measure(row, options.rounds))
        print("\n".join(measured[-1].lines()), flush=True)
    told = report(measured)
    print(f"load of the machine: {told['load']:.1f} on {told['processors']} processors")
    if options.json:
        options.json.write_text(json.dumps(told, indent=1), encoding="utf-8")
    return 0 if all(one.holds for one in measured) else 1


if __name__ == "__main__":
    sys.exit(main())

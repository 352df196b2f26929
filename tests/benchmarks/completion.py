"""How long Tab takes in the body of a `%%remote` cell, beside the same text in a cell of this kernel."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from IPython.core.completer import provisionalcompleter

from tests.benchmarks.harness import Case, Row
from tests.support.servers import JupyterServer
from tests.support.shells import bridged_shell, run

LIMIT_SECONDS = 0.2  # of the median: a list that pops up later is in the way
COUNT = 200
CODE = """
import collections, json, os
class Thing:
    alpha = 1
    def beta(self, x): return [x]
thing = Thing()
table = {'key one': 1, 'key two': {'inner': [1, 2]}}
numbers = [1, 2, 3]
"""
TEXTS = [
    "thing.al",
    "thing.beta(1).app",
    "table['key",
    "os.path.jo",
    "collections.Ord",
    "print(numb",
    "import o",
    "[n.bit for n in numbers]; numbers.co",
    "json.dumps(table, ind",
    "for key in tab",
]


def _prepare(stack: contextlib.ExitStack) -> Mapping[str, Case]:
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    server = stack.enter_context(JupyterServer(directory / "server"))
    server.wait_for_kernel(server.start_kernel(path="there.ipynb"))
    shell = stack.enter_context(bridged_shell(directory / "shell", server.runtime_dir))
    run(shell, f"%%remote -q there\n{CODE}")
    run(shell, CODE)

    def asking(head: str) -> Callable[[], float]:
        texts = itertools.cycle(TEXTS)

        def ask() -> float:
            text = head + next(texts)
            began = time.perf_counter()
            with provisionalcompleter():
                list(shell.Completer.completions(text, len(text)))
            return time.perf_counter() - began

        return ask

    return {"in the other kernel": asking("%%remote there\n"), "in this one": asking("")}


ROWS = [Row("Tab in the body of a cell", _prepare, LIMIT_SECONDS, rounds=COUNT, warm_up=len(TEXTS))]

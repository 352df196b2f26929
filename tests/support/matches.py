"""Kernels with the names that matching is tested with, and texts to match them by."""

from __future__ import annotations

import ast
import shlex
import uuid
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager

from kernel_bridge_magic.cli.arguments import parse
from kernel_bridge_magic.ipython.options import remote_parser
from kernel_bridge_magic.matching.levels import match_level
from kernel_bridge_magic.models import Kernel, KernelSpec, Origin, Server, Session

PYTHON = KernelSpec("python3", "Python 3 (ipykernel)", "python")
R = KernelSpec("ir", "R", "r")
JULIA = KernelSpec("julia-1.10", "Julia 1.10", "julia")


def server(name: str, port: int = 8888) -> Server:
    return Server(f"http://127.0.0.1:{port}/", name, Origin("http", "127.0.0.1", port, "/"), source="runtime")


LAB, GPU = server("lab"), server("gpu", 8889)


def kernel(number: int, *paths: str, spec: KernelSpec = PYTHON, at: Server | None = LAB, **known: object) -> Kernel:
    sessions = tuple(Session(path, path.rsplit("/", 1)[-1]) for path in paths)
    known.setdefault("id", f"{number:08x}-0000-4000-8000-000000000000")
    return Kernel(name=spec.name, spec=spec, sessions=sessions, server=at, **known)  # type: ignore[arg-type]


ANALYSIS = kernel(0x3F9C1C0E, "work/analysis.ipynb")
OTHER = kernel(0x3F9CFFFF, "work/other.ipynb", "copies/Other 2.ipynb")
STATS = kernel(0xABCD0001, "teach/stats.ipynb", spec=R)
CAFE = kernel(0xABCD0002, "café.ipynb", at=GPU)  # NFC here; one in NFD must mean it too
CONSOLE = kernel(0xDD, started_by="jupyter console", spec=JULIA, at=None, connection_file="/run/kernel-dd.json")
OWN = kernel(0xEEEE0001, "work/mine.ipynb", is_this_kernel=True)
ALL = [ANALYSIS, OTHER, STATS, CAFE, CONSOLE, OWN]


texts = (
    st.text(max_size=12) | st.text("ab/.,:#-'\" é\u0301", max_size=8) | st.sampled_from(["re:a", "lab::a", "python3"])
)
stray_kernels = st.builds(
    lambda paths, spec, at, started_by: Kernel(
        str(uuid.uuid4()),
        spec.name,
        spec,
        sessions=tuple(Session(path, path) for path in paths),
        server=at,
        started_by=started_by,
    ),
    st.lists(texts, max_size=2),
    st.sampled_from([PYTHON, R, JULIA]),
    st.sampled_from([LAB, GPU, None]),
    texts,
)
listings = st.lists(stray_kernels, max_size=6)
queries = texts | st.text().map("re:".__add__) | st.text("ab*+?(|)[]{}1,\\^$.", max_size=12).map("re:".__add__)


def match(query: str, kernels: Sequence[Kernel], *, rows: Sequence[Kernel] | None = None) -> list[Kernel]:
    return match_level(query, kernels, rows=rows)[1]


def pasted(text: str) -> Iterator[str]:
    """What we are given when a text is pasted: in a cell, in a line of code, and in a shell."""
    cell = TransformerManager().transform_cell(f"%%remote {text}\npass\n")
    (call,) = ast.parse(cell).body
    assert isinstance(call, ast.Expr) and isinstance(call.value, ast.Call), cell
    line = ast.literal_eval(call.value.args[1])
    yield remote_parser().parse_line(line, lambda word: pytest.fail(word) if word[:1] in "${" else word)[1]
    yield remote_parser().parse_head(f"{text} pass")[1]
    yield parse(shlex.split(f"exec --kernel-match {text} --code pass", comments=True)).kernel_match

"""What is told to mean a kernel means it alone, wherever it is pasted."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel_bridge_magic.errors import AmbiguousKernel
from kernel_bridge_magic.matching.find import find_one
from kernel_bridge_magic.matching.selectors import selector
from kernel_bridge_magic.models import Kernel, Server
from tests.support.matches import (
    ANALYSIS,
    GPU,
    LAB,
    OWN,
    R,
    kernel,
    listings,
    match,
    pasted,
    texts,
)


def test_a_selector_is_no_name_that_it_shares() -> None:
    twin = kernel(1, "work/mine.ipynb", at=GPU)
    assert selector(twin, [OWN, twin]) == "gpu::work/mine.ipynb"
    assert find_one("gpu::mine", [OWN, twin]) is twin
    with pytest.raises(AmbiguousKernel) as raised:
        find_one("work/mine.ipynb", [OWN, twin])
    assert raised.value.candidates == (("gpu::work/mine.ipynb", twin),)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.ipynb", "a.ipynb"),
        ("my nb.ipynb", '"my nb.ipynb"'),
        ("two  spaces.ipynb", '"two  spaces.ipynb"'),
        ("-o.ipynb", "00000001"),
        ("a -o b.ipynb", '"a -o b.ipynb"'),
        ("$x.ipynb", "00000001"),
        ("a'b.ipynb", '"a\'b.ipynb"'),
        ("'ab'", "00000001"),
        ("(1).ipynb", '"(1).ipynb"'),
        ("~/a.ipynb", '"~/a.ipynb"'),
        ("a # b.ipynb", '"a # b.ipynb"'),
        ("a;b&c.ipynb", '"a;b&c.ipynb"'),
        ('a"b.ipynb', "00000001"),
        ("a\u00a0b.ipynb", "00000001"),
        (" a.ipynb", "00000001"),
        ("a\x1b.ipynb", "00000001"),
        ("\u202eb.ipynb", "00000001"),
        ("re:a.ipynb", "00000001"),
        ("#1", '"lab::#1"'),
    ],
)
def test_selector_can_be_pasted(path: str, expected: str) -> None:
    one = kernel(1, path)
    assert selector(one, [one, ANALYSIS]) == expected


_names = texts | st.text(" #-~=()[]{}'\"$\\!?;&|<>*%@^,:./aé", min_size=1, max_size=8)


@given(st.lists(st.tuples(_names, st.sampled_from([LAB, GPU])), min_size=1, max_size=4))
@settings(max_examples=3 * settings().max_examples)
def test_a_selector_is_the_same_wherever_it_is_pasted(named: list[tuple[str, Server]]) -> None:
    kernels = [kernel(number, path, at=at) for number, (path, at) in enumerate(named, 1)]
    for one in kernels:
        text = selector(one, kernels)
        for query in pasted(text):
            assert match(query, kernels) == [one], text


@pytest.mark.parametrize(
    "path", ["two  blanks.ipynb", "a (1).ipynb", "~/x.ipynb", "r # 2.ipynb", "a;b|c&d.ipynb", "it's.ipynb"]
)
def test_a_real_shell_gives_a_selector_back(path: str) -> None:
    text = selector(kernel(1, path), [kernel(1, path)])
    assert path in text
    shells = [shell for shell in ("sh", "bash", "zsh", "dash") if shutil.which(shell)]
    for shell in shells:
        done = subprocess.run([shell, "-c", f"printf %s {text}"], capture_output=True, text=True, check=True)
        assert done.stdout == path


@given(listings)
def test_selector_means_its_kernel_alone(kernels: list[Kernel]) -> None:
    for one in kernels:
        assert match(selector(one, kernels), kernels) == [one]


def test_a_selector_of_an_id_that_another_kernel_has() -> None:
    alone = [
        kernel(1, at=None, id="x", started_by=f"python (pid {n})", connection_file=f"/{n}/kernel-x.json")
        for n in (1, 2)
    ]
    behind = [kernel(1, at=at, id="x", spec=R) for at in (LAB, GPU)]
    with pytest.raises(AmbiguousKernel) as raised:
        find_one("x", [*alone, *behind])
    texts = [text for text, _ in raised.value.candidates]
    assert texts == ['"python (pid 1)"', '"python (pid 2)"', "lab::x", "gpu::x"]
    assert [find_one(text, [*alone, *behind]) for text in texts] == [*alone, *behind]


@pytest.mark.parametrize(("name", "text"), [("gpu", "gpu::00000001"), (" $gpu", "URL::00000001")])
def test_what_a_sandboxed_server_claims_is_selected_by_that_server(name: str, text: str) -> None:
    at = replace(GPU, name=name)
    claim = replace(kernel(1, "a.ipynb", at=at, id="00000001"), claimed=True)
    assert selector(claim, [claim]).strip('"') == text.replace("URL", at.url)


def test_a_path_that_reads_as_something_else_is_no_selector() -> None:
    one = kernel(1, "re:[")
    assert selector(one, [one]) == "00000001"


def test_where_nothing_else_means_it_there_is_the_id() -> None:
    one, twin = (kernel(1, at=None, id="x", started_by="python") for _ in range(2))
    assert selector(one, [one, twin]) == "x"

"""Each face is told what can be done there, and of no command of another one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.bridge.search import only
from kernel_bridge_magic.display.servers import CheckList, ServerList
from kernel_bridge_magic.display.tables import KernelList
from kernel_bridge_magic.errors import KernelBridgeError
from kernel_bridge_magic.faces import COMMAND_LINE, MAGICS, PYTHON, Face, acting
from kernel_bridge_magic.matching.find import find_by_id, find_one, find_only
from kernel_bridge_magic.matching.misses import none_matches
from kernel_bridge_magic.models import Kernel, Server, Session
from kernel_bridge_magic.reports import Listing, ServerReport, Skipped

LAB = Server("http://localhost:8888/", "localhost:8888", parse_base_url("http://localhost:8888/").origin)
A = Kernel("3f9c1c0e-0000-4000-8000-000000000001", sessions=(Session("work/a.ipynb", "a.ipynb"),), server=LAB)
B = Kernel("3f9c1c0e-0000-4000-8000-000000000002", sessions=(Session("work/b.ipynb", "b.ipynb"),), server=LAB)
OWN = replace(A, is_this_kernel=True)
LISTING = Listing((A, B), (ServerReport(LAB),))
FACES = (MAGICS, acting(MAGICS, "restart"), COMMAND_LINE, acting(COMMAND_LINE, "interrupt"), PYTHON)
NOW = datetime(2026, 1, 2, tzinfo=UTC)
SKIPPED = [Skipped(f"/run/kernel-{number}.json", "not a regular file") for number in range(9)]


def raised(ask: Callable[[], object]) -> str:
    with pytest.raises(KernelBridgeError) as caught:
        ask()
    return str(caught.value)


def told(face: Face) -> Iterator[str]:
    """What this face is told where nothing, or too much, is meant."""
    yield raised(lambda: find_one("nothing", [A, B], face=face))
    yield raised(lambda: find_one("nothing", [], listing=Listing(skipped=tuple(SKIPPED)), face=face))
    yield raised(lambda: find_one("work", [A, B], face=face))
    yield raised(lambda: find_one("a", [OWN, B], face=face))
    yield raised(lambda: find_by_id("3f9c", [A, B], face=face))
    yield raised(lambda: find_by_id("3f9c", [OWN], face=face))
    yield raised(lambda: find_by_id("4711", [A], listing=Listing(skipped=tuple(SKIPPED)), face=face))
    yield raised(lambda: find_only(Listing(), face=face))
    yield raised(lambda: find_only(Listing((A, B)), face=face))
    yield raised(lambda: only(LISTING, "nothing", face))
    yield from (none_matches("nothing", kernels, face=face) for kernels in ((), (A,), (A, B)))
    yield KernelList(Listing(), now=NOW, face=face).text(200)
    yield KernelList(LISTING, [], now=NOW, face=face).text(200)
    yield ServerList([], face=face).text(200)
    yield repr(CheckList([], face))


@pytest.mark.parametrize("face", FACES)
def test_nobody_is_told_of_another_face_s_commands(face: Face) -> None:
    others = {field for other in FACES for field in other} - set(face)
    for text in told(face):
        assert not [other for other in others if re.search(rf"(?<![\w%]){re.escape(other)}(?!\w)", text)], text
        assert face.listing == MAGICS.listing or "%" not in text
        assert face.listing != MAGICS.listing or "kernel-bridge" not in text


@pytest.mark.parametrize(
    ("face", "added", "run", "undone"),
    [
        (MAGICS, "%servers --add URL --name NAME", "%%remote NAME", "nothing was run"),
        (
            COMMAND_LINE,
            "kernel-bridge servers --add URL --name NAME",
            "kernel-bridge exec NAME -c CODE",
            "nothing was run",
        ),
        (
            acting(COMMAND_LINE, "interrupt"),
            "kernel-bridge servers --add URL --name NAME",
            "kernel-bridge interrupt NAME",
            "nothing was interrupted",
        ),
        (PYTHON, "kernel-bridge servers --add URL --name NAME", "connect(NAME)", "nothing was run"),
    ],
)
def test_each_is_told_what_can_be_done_there(face: Face, added: str, run: str, undone: str) -> None:
    text = raised(lambda: only(LISTING, "nothing", face))
    assert text == f"no server is called 'nothing' (known: localhost:8888); add it with {added}"
    nothing = f"no server is known. Start one, or add one with {added} --token env:VAR"
    assert repr(CheckList([], face)) == nothing
    assert nothing in CheckList([], face)._repr_html_()
    assert raised(lambda: find_only(Listing((A, B)), face=face)) == f"2 kernels are running. Choose one: {run}"
    assert raised(lambda: find_one("work", [A, B], face=face)) == f"'work' matches 2 kernels, so {undone}. Use one of:"
    assert raised(lambda: find_by_id("3f9c", [A, B], face=face)) == (
        f"--kernel-id takes a whole id, and 2 begin with '3f9c', so {undone}. Use one of:"
    )

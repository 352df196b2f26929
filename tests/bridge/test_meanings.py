"""What a MATCH meant, and what a silent server listed: values and times of the test's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from kernel_bridge_magic.bridge.meanings import Meaning, Meanings
from kernel_bridge_magic.models import Kernel, Origin, Server, Session
from kernel_bridge_magic.reports import Listing, ServerReport, Skipped


def server(name: str, hub: Server | None = None) -> Server:
    return Server(f"http://{name}/", name, Origin("http", name, 80, "/"), hub=hub)


def kernel(number: int, path: str, at: Server | None, **known: object) -> Kernel:
    return Kernel(f"k{number}", sessions=(Session(path, path),), server=at, **known)  # type: ignore[arg-type]


LAB, OTHER, HUB = server("lab"), server("other"), server("hub")
CHILD = server("child", HUB)
MINE = kernel(1, "a.ipynb", LAB)


def listing(*kernels: Kernel, of: Sequence[ServerReport] = (), when: float = 10.0) -> Listing:
    return Listing(kernels, tuple(of), when=when)


def late(at: Server, kernels: int = 0) -> ServerReport:
    return ServerReport(at, kernels, "did not answer within 0.9 s", late=True)


@pytest.mark.parametrize(
    ("now", "last_listing", "fresh"),
    [(10.0, 10.0, True), (11.9, 10.0, True), (12.0, 10.0, False), (10.1, 10.05, False), (11.0, 9.0, True)],
)
def test_a_meaning_lasts_two_seconds_and_until_the_next_listing(now: float, last_listing: float, fresh: bool) -> None:
    assert Meaning(MINE, 10.0).is_fresh(now, last_listing) is fresh


def test_what_was_put_is_given_for_the_same_words_alone() -> None:
    known = Meanings()
    known.put("a", None, MINE, listing(when=7.0))
    assert known.get("a", None) == Meaning(MINE, 7.0)
    assert known.get("a", "lab") is known.get("b", None) is None
    known.clear()
    assert known.get("a", None) is None


def heard(*kernels: Kernel, of: Server = LAB, when: float = 10.0) -> Meanings:
    known = Meanings()
    known.hear(listing(*kernels, of=[ServerReport(of, len(kernels))], when=when))
    return known


def never(origin: Origin) -> float:
    return 0.0


def test_a_late_server_counts_as_it_was() -> None:
    namesake, elsewhere = kernel(2, "b.ipynb", LAB), kernel(3, "c.ipynb", OTHER)
    known = heard(MINE, namesake)
    alone = replace(MINE, server=None, sessions=(), connection_file="/run/kernel-k1.json")
    now = listing(elsewhere, alone, of=[ServerReport(OTHER, 1), late(LAB)])
    assert known.fill(now, MINE, never).kernels == (elsewhere, MINE, namesake)
    # its kernels without their notebooks are not what it lists
    bare = replace(MINE, sessions=())
    assert known.fill(listing(bare, of=[late(LAB, 1)]), MINE, never).kernels == (MINE, namesake)


@pytest.mark.parametrize(
    "reports",
    [
        [],  # it is not known any more
        [ServerReport(LAB, 0)],
        [ServerReport(LAB, 0, "404: no Jupyter server")],
        [late(OTHER)],
        [late(HUB)],
    ],
)
def test_what_a_server_says_counts(reports: list[ServerReport]) -> None:
    now = listing(kernel(9, "x.ipynb", OTHER), of=reports)
    assert heard(MINE).fill(now, MINE, never) is now


def test_a_hub_that_is_late_does_not_name_its_servers() -> None:
    child = kernel(5, "a.ipynb", CHILD)
    assert heard(child, of=CHILD).fill(listing(of=[late(HUB)]), child, never).kernels == (child,)


def test_what_somebody_else_has_heard_since_counts() -> None:
    now = listing(of=[late(LAB)])
    known = heard(MINE, when=10.0)
    assert known.fill(now, MINE, {LAB.origin: 10.5}.__getitem__) is now
    assert known.fill(now, MINE, {LAB.origin: 10.0}.__getitem__).kernels == (MINE,)
    known.hear(listing(of=[ServerReport(LAB)], when=11.0))  # it was closed
    known.hear(listing(MINE, of=[ServerReport(LAB, 1)], when=10.7))  # a thread that was slower
    assert known.fill(now, MINE, {LAB.origin: 11.0}.__getitem__).kernels == ()


def test_a_kernel_without_a_server_is_late_itself() -> None:
    console = kernel(4, "", None, connection_file="/run/kernel-4.json")
    for silent in (True, False):
        now = replace(listing(), skipped=(Skipped("/run/kernel-4.json", "its heartbeat", silent),))
        assert Meanings().fill(now, console, never).kernels == ((console,) if silent else ())


def test_a_disk_that_hangs_hides_a_server_and_ends_none() -> None:
    here = replace(MINE, connection_file="/run/kernel-k1.json")
    hung = (Skipped("/run", "the directory did not answer within 0.45 s", True),)
    assert heard(here).fill(replace(listing(), skipped=hung), here, never).kernels == (here,)
    answers = replace(listing(of=[ServerReport(LAB)]), skipped=hung)
    assert heard(here).fill(answers, here, never) is answers
    elsewhere = replace(listing(), skipped=(replace(hung[0], path="/var"),))
    assert heard(here).fill(elsewhere, here, never) is elsewhere


def test_a_claim_stays_a_claim() -> None:
    claim = replace(MINE, claimed=True)
    known = Meanings()
    known.hear(replace(listing(of=[ServerReport(LAB, 1)]), claims=(claim,)))
    filled = known.fill(listing(of=[late(LAB)]), claim, never)
    assert (filled.kernels, filled.claims) == ((), (claim,))

"""Resets at random places, many times: at most once, no fate untold, no loss untold (G7, G9)."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel_bridge_magic.errors import CannotConnect, Fate, KernelBridgeError, LinkError, ServerError
from tests.faults.proxy import DOWN, UP, FaultProxy
from tests.faults.truth import Run, run, through
from tests.support.servers import JupyterServer
from tests.support.transports import connect_over, found

LongRun = Callable[[str, str], None]
LINES, PAUSE = 40, 0.002
SENT = {UP: 5_500, DOWN: 31_000}  # bytes of one such session, handshake and all


def drop_once(
    server: JupyterServer, proxy: FaultProxy, kernel: str, directory: Path, dice: random.Random
) -> Run | None:
    """One cell on a connection that is reset at a random byte; None where it could not be opened or sent."""
    byte = dice.randrange(1, SENT[UP] + SENT[DOWN])
    if byte < SENT[UP]:
        proxy.reset_after(UP, byte)
    else:
        proxy.reset_after(DOWN, byte - SENT[UP])
    try:
        connection, _, _ = through(server, proxy, kernel)
    except (CannotConnect, ServerError, LinkError):
        return None
    with connection:
        try:
            cell = run(connection, directory, LINES, PAUSE)
        except KernelBridgeError:
            return None  # LinkLost: told, and the file must not be there
        cell.join()
        return cell


def drops(server: JupyterServer, proxy: FaultProxy, kernel: str, directory: Path, count: int, seed: int) -> str:
    """Many of them; gives the result in words. Fails at the first lie."""
    dice = random.Random(seed)
    fates: Counter[str] = Counter()
    lost = told = upper = uncounted = 0
    not_run: list[Path] = []
    for _ in range(count):
        cell = drop_once(server, proxy, kernel, directory, dice)
        if cell is None:
            fates["not sent"] += 1
            assert not list(directory.glob("truth-*")), "told that it was not sent, and it ran"
            continue
        missing = cell.check()
        fates[str(cell.fate)] += 1
        lost, told, upper = lost + missing, told + cell.missing_told, upper + (not cell.exact)
        uncounted += cell.uncounted
        if cell.fate is Fate.NOT_RUN:
            not_run.append(cell.path)
        cell.path.unlink(missing_ok=True)
    assert not any(path.exists() for path in not_run), "told that it was not run, and it ran later"
    assert set(fates) <= {"ok", "unknown", "not sent", "not run"}, fates
    # Where the cell's beginning or its end is lost as well, or the server asks the kernel beside it, it is "up to N".
    assert uncounted == 0, "each gap is counted"
    shares = ", ".join(f"{number} {fate}" for fate, number in sorted(fates.items()))
    told_so = f"{told} messages told as lost, {upper} times as an upper bound; {uncounted} times told as not countable"
    return f"{count} resets: {shares}; 0 ran twice; {lost} lines lost; {told_so}"


def test_g9_a_few_random_resets(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path
) -> None:
    drops(jupyter_server, proxy, own_kernel, tmp_path, 8, seed=1)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_g9_a_thousand_random_resets(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, long_run: LongRun
) -> None:
    result = drops(jupyter_server, proxy, own_kernel, tmp_path, 1000, seed=int(time.time()))
    long_run("G9: reset at a random byte, alone", result)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_g7_two_hundred_drops_beside_another_client(
    jupyter_server: JupyterServer, own_kernel: str, proxy: FaultProxy, tmp_path: Path, long_run: LongRun
) -> None:
    other, _ = connect_over(jupyter_server, found(jupyter_server, own_kernel), "ws")
    dice = random.Random(time.time())
    lost = exact = unknown = 0
    with other:
        for _ in range(200):
            connection, _, _ = through(jupyter_server, proxy, own_kernel)
            with connection:
                cell = run(connection, tmp_path, 120, 0.005)
                wanted = dice.randrange(5, 60)
                cell.until(lambda cell=cell, wanted=wanted: len(cell.lines) > wanted)
                with proxy.away():
                    time.sleep(dice.random() * 0.2)  # the fault itself
                cell.join()
                lost += cell.check()
                exact += cell.exact
                unknown += cell.fate is Fate.UNKNOWN
                assert cell.fate in (Fate.OK, Fate.UNKNOWN), cell.told
                cell.path.unlink()
    counted = f"{exact} times exactly, {200 - exact} times as an upper bound"
    result = f"200 drops: {lost} lines lost, all told: {counted}; {unknown} cells ended meanwhile: unknown"
    long_run("G7: drops with a second client attached", result)

"""A cell in the background: it is shown as it comes, waited for, awaited, interrupted, left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.bridge.pool import Pool
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.display.group_sink import GroupSink
from kernel_bridge_magic.errors import BadOption, Fate, FateError, NotRun, RemoteError
from kernel_bridge_magic.jobs.job import RemoteJob
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import Note, Queued
from kernel_bridge_magic.transfer.variables import Variables
from tests.support.scripted import ScriptedCell, ScriptedServer
from tests.support.servers import wait_for

SECONDS = 20.0


class Page:
    """Where a job is shown."""

    parent: Any = None
    tells_left = True
    tells_end = True

    def __init__(self) -> None:
        self.sink: Any = GroupSink("Stop", 1 << 16, lambda *update: None)
        self.lines: list[str] = []
        self.waits: list[bool] = []

    def line(self, text: str, *, over: bool) -> None:
        self.lines.append(text)

    def waited(self, *, raises: bool) -> None:
        self.waits.append(raises)

    @property
    def text(self) -> str:
        return "".join(item.get("text", "") or item.get("evalue", "") for item in self.sink.items)


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(Vault())
    yield pool
    pool.close()


@pytest.fixture
def page() -> Page:
    return Page()


def begins(cell: ScriptedCell) -> None:
    cell.busy()
    cell.iopub("execute_input", {"code": "", "execution_count": 1})


def ends(cell: ScriptedCell, error: str = "") -> None:
    if error:
        cell.iopub("error", {"ename": error, "evalue": "v", "traceback": [f"{error}: v"]})
        cell.reply("error", ename=error, evalue="v", traceback=[f"{error}: v"])
    else:
        cell.iopub("execute_result", {"data": {"text/plain": "42"}, "metadata": {}, "execution_count": 1})
        cell.reply()
    cell.idle()


def job_of(server: ScriptedServer, pool: Pool, page: Page, *, start: bool = True) -> RemoteJob:
    job = RemoteJob(3, server.kernel, Cell("x"), pool, page)
    if start:
        job.start()
    return job


def test_it_goes_on_while_nobody_waits_and_shows_what_comes(pool: Pool, page: Page) -> None:
    go = threading.Event()

    def script(cell: ScriptedCell) -> None:
        begins(cell)
        cell.print("first\n")
        go.wait(SECONDS)
        cell.print("second\n")
        ends(cell)

    with ScriptedServer(script) as server:
        job = job_of(server, pool, page)
        wait_for(lambda: page.text == "first\n", "what it prints")
        assert (job.status, repr(job)) == ("running", "<RemoteJob 3: a script, running>")
        assert [item["text"] for item in job.outputs] == ["first\n"]
        with pytest.raises(TimeoutError, match=r"^job 3 → a script is not over after 0\.05 s; it goes on$"):
            job.result(0.05)
        assert not job.wait(0.01)
        go.set()
        result = job.result(SECONDS)
    assert (str(result), result.stdout, job.status) == ("42", "first\nsecond\n", "ok")
    assert page.lines[0].startswith("job 3 → a script: connecting since ")
    assert any(line.startswith("job 3 → a script: running since ") for line in page.lines)
    assert page.lines[-1] == "job 3 → a script: ok 0:00"


def test_its_line_says_which_variables_did_not_come(pool: Pool, page: Page) -> None:
    def script(cell: ScriptedCell) -> None:
        begins(cell)
        ends(cell)  # without a word about variables

    with ScriptedServer(script) as server:
        job = RemoteJob(3, server.kernel, Cell("x", variables=Variables(wanted={"a": "a", "b": "c"})), pool, page)
        job.start()
        assert job.wait(SECONDS)
    assert page.lines[-1] == "job 3 → a script: ok 0:00; a, b did not come"


def test_its_error_is_shown_when_it_comes_and_raised_when_somebody_asks(pool: Pool, page: Page) -> None:
    def script(cell: ScriptedCell) -> None:
        begins(cell)
        ends(cell, "Oops")

    with ScriptedServer(script) as server:
        job = job_of(server, pool, page)
        assert job.wait(SECONDS) and page.text == "v"
        for _ in range(2):
            with pytest.raises(RemoteError) as raised:
                job.result()
            assert raised.value.ename == "Oops"
        with pytest.raises(RemoteError):
            asyncio.run(awaited(job))


async def awaited(job: RemoteJob) -> Any:
    return await job


def test_it_can_be_awaited_before_and_after_its_end(pool: Pool, page: Page) -> None:
    go = threading.Event()

    def script(cell: ScriptedCell) -> None:
        begins(cell)
        go.wait(SECONDS)
        ends(cell)

    async def both(job: RemoteJob) -> list[str]:
        beside = asyncio.create_task(awaited(job))
        again = asyncio.create_task(awaited(job))
        await asyncio.sleep(0)
        go.set()
        return [str(await beside), str(await again), str(await job)]

    with ScriptedServer(script) as server:
        assert asyncio.run(both(job_of(server, pool, page))) == ["42"] * 3


def test_a_wait_that_is_given_up_leaves_the_job(pool: Pool, page: Page) -> None:
    go = threading.Event()

    def script(cell: ScriptedCell) -> None:
        begins(cell)
        go.wait(SECONDS)
        ends(cell)

    async def gives_up(job: RemoteJob) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(awaited(job), 0.05)

    with ScriptedServer(script) as server:
        job = job_of(server, pool, page)
        asyncio.run(gives_up(job))
        go.set()
        assert str(job.result(SECONDS)) == "42"


def test_it_is_interrupted_once_and_left_at_the_second_time(pool: Pool, page: Page) -> None:
    go = threading.Event()

    def script(cell: ScriptedCell) -> None:
        begins(cell)
        go.wait(SECONDS)
        ends(cell, "KeyboardInterrupt")

    with ScriptedServer(script) as server:
        job = job_of(server, pool, page)
        wait_for(lambda: job.status == "running", "the job")
        job.interrupt()
        wait_for(lambda: server.interrupts, "the interrupt")
        job.interrupt()
        with pytest.raises(FateError) as raised:
            job.result(SECONDS)
        assert raised.value.fate is Fate.LEFT_RUNNING and job.status == "left running"
        go.set()


def test_one_that_cannot_be_sent_says_why(pool: Pool, page: Page) -> None:
    with ScriptedServer(begins) as server:
        server.state = None
        job = job_of(server, pool, page)
        with pytest.raises(FateError, match="a script was not reached"):
            job.result(SECONDS)
        assert (job.status, page.lines[-1]) == ("not run", "job 3 → a script: not run 0:00")
        assert "a script was not reached" in page.text


def test_one_that_is_stopped_before_it_is_sent_is_not_run(pool: Pool, page: Page) -> None:
    with ScriptedServer(begins) as server:
        job = job_of(server, pool, page, start=False)
        job.interrupt()
        job.start()
        with pytest.raises(FateError, match="interrupted before the cell was sent; nothing was run"):
            job.result(SECONDS)
        assert (job.status, server.cells()) == ("not run", [])


@pytest.mark.parametrize("ends_it", ["interrupt", "leave"])
def test_one_that_waits_for_a_connection_is_called_off_at_once(page: Page, ends_it: str) -> None:
    waits, goes_on = threading.Event(), threading.Event()

    class Late(Pool):
        def connect(self, kernel: Kernel, *arguments: Any, **options: Any) -> KernelConnection:
            options["note"](Queued(connecting=True))
            waits.set()
            goes_on.wait(SECONDS)
            return super().connect(kernel, *arguments, **options)

    late = Late(Vault())
    with ScriptedServer(begins) as server:
        job = job_of(server, late, page)
        assert waits.wait(SECONDS) and page.sink.waiting
        job.interrupt() if ends_it == "interrupt" else job.leave("this shell has ended")
        with pytest.raises(NotRun, match="nothing was run"):
            job.result(0)
        assert (job.status, page.sink.waiting, page.lines[-1]) == ("not run", "", "job 3 → a script: not run 0:00")
        late.close()
        goes_on.set()
        wait_for(lambda: not any(it.name == "kernel-bridge-job-3" for it in threading.enumerate()), "its thread's end")
        assert server.cells() == [] and not late.connections


def test_what_cannot_be_shown_while_it_connects_ends_it_too(pool: Pool, page: Page) -> None:
    class Notes(Pool):
        def connect(self, kernel: Kernel, *arguments: Any, **options: Any) -> KernelConnection:
            options["note"](Note("something"))
            return super().connect(kernel, *arguments, **options)

    def fail(text: str) -> None:
        raise OSError("no terminal")

    with ScriptedServer(begins) as server:
        page.sink.note = fail
        job = job_of(server, Notes(Vault()), page)
        with pytest.raises(NotRun, match="a script: OSError was raised here: no terminal"):
            job.result(SECONDS)
        assert server.cells() == []


@pytest.mark.parametrize("timeout", ["soon", object(), float("nan")])
def test_a_timeout_is_a_length_of_time(pool: Pool, page: Page, timeout: Any) -> None:
    with ScriptedServer(begins) as server:
        job = job_of(server, pool, page, start=False)
        for wait in (job.wait, job.result):
            with pytest.raises(BadOption):
                wait(timeout)
        assert not job.wait("10ms") and not job.wait(-3)


def test_what_cannot_be_shown_ends_the_wait_and_not_the_cell(pool: Pool, page: Page) -> None:
    go = threading.Event()

    def script(cell: ScriptedCell) -> None:
        begins(cell)
        cell.print("x\n")
        go.wait(SECONDS)
        ends(cell)

    def fail(name: str, text: str) -> None:
        raise OSError("no terminal")

    with ScriptedServer(script) as server:
        page.sink.stream = fail
        job = job_of(server, pool, page)
        with pytest.raises(FateError, match="OSError was raised here, so it is not waited for; the cell is still run"):
            job.result(SECONDS)
        go.set()


def test_whoever_waits_is_told_of(pool: Pool, page: Page) -> None:
    def script(cell: ScriptedCell) -> None:
        begins(cell)
        ends(cell)

    with ScriptedServer(script) as server:
        job = job_of(server, pool, page)
        assert not job.wait(0.0) or page.waits.pop() is False
        job.result(SECONDS)
        asyncio.run(awaited(job))
        assert job.wait()
    assert page.waits == [False] * 3


def test_one_that_is_left_is_shown_no_more(pool: Pool, page: Page) -> None:
    go = threading.Event()

    def script(cell: ScriptedCell) -> None:
        begins(cell)
        go.wait(SECONDS)
        ends(cell)

    with ScriptedServer(script) as server:
        job = job_of(server, pool, page)
        wait_for(lambda: job.status == "running", "the job")
        job.leave("this shell ends")
        with pytest.raises(FateError, match="this shell ends"):
            job.result(SECONDS)
        assert page.text == ""
        go.set()

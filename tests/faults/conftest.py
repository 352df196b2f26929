"""What the fault tests share: a proxy before the server, and the table of what was told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.proxy import FaultProxy
from tests.faults.table import Seen, save
from tests.support.servers import JupyterServer

_SEEN: list[Seen] = []
_LONG: dict[str, dict[str, object]] = {}


@pytest.fixture
def proxy(jupyter_server: JupyterServer) -> Iterator[FaultProxy]:
    with FaultProxy(jupyter_server.port) as made:
        yield made


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Note for the table: the fault's number, the words told, the seconds until then and the seconds allowed."""

    test = request.node.nodeid.partition("[")[0]

    def note(fault: int, told: str, seconds: float | None = None, bound: float | None = None) -> None:
        _SEEN.append(Seen(fault, None if seconds is None else round(seconds, 2), bound, told, test))
        if seconds is not None and bound is not None:
            assert seconds <= bound, f"F{fault}: told after {seconds:.1f} s, not within {bound} s"

    return note


@pytest.fixture
def long_run(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Note a long run's result for the table."""

    def note(name: str, result: str) -> None:
        command = f"python -m pytest -m long tests/faults/{request.path.name}::{request.node.originalname}"
        _LONG[name] = {"result": result, "command": command, "date": time.strftime("%Y-%m-%d")}

    return note


def pytest_sessionfinish() -> None:
    if os.environ.get("KERNEL_BRIDGE_FAULTS") and (_SEEN or _LONG):
        save(_SEEN, _LONG)

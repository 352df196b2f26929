"""One real server for the whole suite, and what goes with it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from kernel_bridge_magic.connection import KernelConnection
from tests.support.roads import ROADS, found, road_to
from tests.support.servers import JupyterServer


@pytest.fixture(scope="session")
def jupyter_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A real Jupyter server with a token, for tests that leave it as they found it."""
    with JupyterServer(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(scope="session")
def shared_kernel(jupyter_server: JupyterServer) -> str:
    """The id of a kernel that every test may run cells in, and none may end."""
    return jupyter_server.start_kernel(path="shared.ipynb")


@pytest.fixture
def own_kernel(jupyter_server: JupyterServer) -> Iterator[str]:
    """The id of a kernel that this test may end."""
    kernel_id = jupyter_server.start_kernel(path=f"own-{uuid.uuid4().hex[:6]}.ipynb")
    yield kernel_id
    jupyter_server.request("DELETE", f"api/kernels/{kernel_id}")


@pytest.fixture(params=ROADS)
def road(request: pytest.FixtureRequest) -> str:
    """Each transport in turn: what holds for one holds for the other."""
    return str(request.param)


@pytest.fixture
def connect(jupyter_server: JupyterServer, road: str) -> Iterator[Callable[[str], KernelConnection]]:
    """Open a connection to a kernel of the server by the road of the test."""
    opened: list[KernelConnection] = []

    def open_one(kernel_id: str) -> KernelConnection:
        connection, _ = road_to(jupyter_server, found(jupyter_server, kernel_id), road)
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        connection.close()

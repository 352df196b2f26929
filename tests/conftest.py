"""One real server for the whole suite, and what goes with it."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if sys.dont_write_bytecode and sys.pycache_prefix is None:
    # Nothing may be written beside the sources, and each of pytest-xdist's processes would compile all of them anew,
    # which takes longer than the tier `unit`. Only this process is told: its children find their environment as it was.
    sys.pycache_prefix = str(Path(__file__).parents[1] / ".pytest_cache" / "bytecode")
    sys.dont_write_bytecode = False

import hypothesis
import pytest

from kernel_bridge_magic.choices import TRANSPORTS
from tests.support.hangs import Hangs
from tests.support.records import Record, keep
from tests.support.servers import QUICK, JupyterServer, logs_of_the_running
from tests.support.tiers import Tiers, is_unit_only
from tests.support.turns import Turns

if TYPE_CHECKING:  # what takes long to import, where it is used: the tier `unit` takes seconds
    from kernel_bridge_magic.connection.connection import KernelConnection
    from tests.support.kernels import Kernels

if QUICK not in sys.path:  # pytest-xdist's processes have it from the one that started them
    sys.path.insert(0, QUICK)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [QUICK, os.environ.get("PYTHONPATH", "")]))

# A loaded machine is no failure: no test here has a deadline but the bounds that it states itself.
# Properties are tried with a hundred examples in CI, and with ten where somebody waits for them.
hypothesis.settings.register_profile("ci", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=10)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") == "true" else "quick")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    # The tier `unit` waits for nothing: more processes than cores would only import everything once more each.
    if is_unit_only(config) and config.pluginmanager.has_plugin("xdist"):
        config.option.maxprocesses = config.option.maxprocesses or os.cpu_count()


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Tiers())
    config.pluginmanager.register(Turns())
    config.pluginmanager.register(Hangs(float(config.getini("timeout") or 0)))
    if not is_unit_only(config):
        from tests.support import ports

        ports.for_kernels()
    # A shell's background job, or one under `nohup`: all its children would be as deaf as it is.
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the servers of this process had to say belongs to a failure: it may not be seen again soon."""
    report = yield
    if report.failed and (logs := logs_of_the_running()):
        report.sections.append(("logs of servers and kernels", logs))
    return report


def pytest_collection_finish() -> None:
    # Thousands of tests are many objects, which each collection of garbage would look through.
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_config_of_the_user_s(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What somebody keeps in their `kernel_bridge.json` must not come into a test, nor a test's servers into it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path_factory.getbasetemp() / "no-config"))
        yield


@pytest.fixture(scope="session")
def jupyter_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """A real Jupyter server with a token, for tests that leave it as they found it."""
    with JupyterServer(tmp_path_factory.mktemp("jupyter")) as server:
        yield server


@pytest.fixture(scope="session")
def shared_kernel(jupyter_server: JupyterServer) -> str:
    """The id of a kernel that every test may run cells in, and none may end."""
    kernel_id = jupyter_server.start_kernel(path="shared.ipynb")
    jupyter_server.wait_for_kernel(kernel_id)
    return kernel_id


@pytest.fixture(scope="session")
def spare_kernels(jupyter_server: JupyterServer) -> Kernels:
    """Kernels of the server that go from one test to the next, see `own_kernel`."""
    from tests.support.kernels import Kernels

    return Kernels(jupyter_server)


@pytest.fixture
def own_kernel(spare_kernels: Kernels, request: pytest.FixtureRequest) -> Iterator[str]:
    """The id of a kernel that this test may end."""
    kernel_id = spare_kernels.take()
    failed = request.session.testsfailed
    yield kernel_id
    spare_kernels.give_back(kernel_id, sound=request.session.testsfailed == failed)


@pytest.fixture(params=[it for it in TRANSPORTS if it != "auto"])
def transport_name(request: pytest.FixtureRequest) -> str:
    """Each transport in turn: what holds for one holds for the other."""
    return str(request.param)


@pytest.fixture
def connect(jupyter_server: JupyterServer, transport_name: str) -> Iterator[Callable[[str], KernelConnection]]:
    """Open a connection to a kernel of the server over the transport of the test."""
    from tests.support.transports import connect_over, found

    opened: list[KernelConnection] = []

    def open_one(kernel_id: str) -> KernelConnection:
        connection, _ = connect_over(jupyter_server, found(jupyter_server, kernel_id), transport_name)
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def record(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Record:
    """Print what a long run gave, and keep it."""

    assert request.node.get_closest_marker("long"), "only what long runs gave is kept"

    def record(**numbers: object) -> None:
        file = request.path.relative_to(request.config.rootpath).as_posix()
        name = request.node.name
        table = keep(name.removeprefix("test_").replace("_", " "), f"pytest -m long {file} -k {name}", numbers)
        with capsys.disabled():
            print(table)

    return record

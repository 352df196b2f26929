"""The owner's display hook: guests' results are shown by their own `;`, and what was found there is put back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from tests.support.raw_owner import RawOwner
from tests.support.servers import JupyterServer, private_env, wait_for
from tests.support.versions import with_subshells

Connect = Callable[[str], KernelConnection]
QUIET = "vars(__import__('IPython').get_ipython().displayhook).get('quiet')"


@pytest.fixture
def transport_name() -> str:
    return "zmq"


@pytest.fixture(scope="module")
def kernel_id(jupyter_server: JupyterServer) -> Iterator[str]:
    started = jupyter_server.start_kernel(path="quiet.ipynb")
    jupyter_server.wait_for_kernel(started)
    yield started
    jupyter_server.delete_kernel(started)


@pytest.fixture
def owner(jupyter_server: JupyterServer, kernel_id: str) -> Iterator[RawOwner]:
    with RawOwner(jupyter_server.connection_file(kernel_id)) as owner:
        owner.run("vars(get_ipython().displayhook).pop('quiet', None);")
        yield owner


@pytest.fixture
def guest(owner: RawOwner, connect: Connect, kernel_id: str) -> Callable[[], KernelConnection]:
    return lambda: connect(kernel_id)


Guest = Callable[[], KernelConnection]


def test_it_goes_with_its_guest(owner: RawOwner, guest: Guest) -> None:
    connection = guest()
    assert connection.execute("6 * 7").text == "42"  # the owner's last line ends with `;`
    assert connection.execute("6 * 7;").text == ""
    assert owner.run("1") == "1" and owner.run("2;") == ""
    assert "Quiet" in owner.run(QUIET)
    connection.close()
    assert owner.run(QUIET) == ""


@pytest.mark.parametrize("hidden", ["", "get_ipython = None", "%reset -f"])
def test_what_the_owner_had_put_there_is_called_and_put_back(owner: RawOwner, guest: Guest, hidden: str) -> None:
    owner.run("hook = get_ipython().displayhook; hook.mine = lambda h=hook: h.asked.append(1); hook.asked = []")
    owner.run("hook.quiet = hook.mine")
    connection = guest()
    assert connection.execute("6 * 7").text == "42"
    owner.run(f"{hidden}\n1")
    connection.close()
    hook = "__import__('IPython').get_ipython().displayhook"
    assert owner.run(f"vars({hook})['quiet'] is {hook}.mine, len({hook}.asked)") == "(True, 1)"
    owner.run(f"get_ipython = __import__('IPython').get_ipython; del {hook}.quiet, {hook}.mine, {hook}.asked")


def test_what_the_owner_s_class_has_stays(owner: RawOwner, guest: Guest) -> None:
    owner.run("kind = type(get_ipython().displayhook); kind.quiet = lambda self: False")
    connection = guest()
    assert connection.execute("6 * 7;").text == ""
    assert owner.run("1;") == "1"
    connection.close()
    assert owner.run(f"{QUIET} is None and kind.quiet(0)") == "False"
    owner.run("del kind.quiet")


def test_what_the_owner_puts_there_meanwhile_stays(owner: RawOwner, guest: Guest) -> None:
    connection = guest()
    connection.execute("1")
    owner.run("hook = get_ipython().displayhook; old = hook.quiet; hook.quiet = mine = lambda: old()")
    assert connection.execute("6 * 7").text == "42"
    connection.close()
    assert owner.run("vars(hook)['quiet'] is mine") == "True"
    assert owner.run("1;") == ""
    again = guest()
    assert again.execute("6 * 7").text == "42"
    again.close()
    assert owner.run("vars(hook)['quiet'] is mine") == "True"
    owner.run("del hook.quiet")


def test_several_guests(owner: RawOwner, guest: Guest) -> None:
    first, second, third = guest(), guest(), guest()
    for connection in (first, second, third):
        assert connection.execute("6 * 7").text == "42"
    owner.run("0;")
    second.close()
    assert owner.run(QUIET) == ""
    for connection in (first, third, first):
        owner.run("0;")
        assert connection.execute("6 * 7").text == "42"
    third.close()
    owner.run("0;")
    assert first.execute("6 * 7").text == "42"
    first.close()
    assert owner.run(QUIET) == ""


KILLED = """
import sys, time
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.transports.zmq import ZMQTransport
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
kernel = Kernel(id="k", connection_file=sys.argv[1])
transport = ZMQTransport(kernel)
transport.open(30)
print(KernelConnection(kernel, transport, Control(kernel, None)).execute("6 * 7").text, flush=True)
time.sleep(600)
"""


@pytest.fixture
def killed(owner: RawOwner, jupyter_server: JupyterServer, kernel_id: str, tmp_path: Path) -> None:
    file = str(jupyter_server.connection_file(kernel_id))
    env = {**os.environ, **private_env(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", KILLED, file], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"42\n"
        process.send_signal(signal.SIGKILL)
    assert "Quiet" in owner.run(QUIET)


@pytest.mark.usefixtures("killed")
def test_after_a_guest_that_was_killed_the_next_one_takes_it_along(owner: RawOwner, guest: Guest) -> None:
    with guest() as connection:
        assert connection.execute("x = 1").text == ""
    assert owner.run(QUIET) == ""


@pytest.mark.usefixtures("killed")
def test_after_a_guest_that_was_killed_it_goes_by_itself(owner: RawOwner) -> None:
    owner.run("get_ipython().displayhook.quiet.last -= 599")
    assert "Quiet" in owner.run(QUIET)
    owner.run("get_ipython().displayhook.quiet.last -= 2")
    assert owner.run("1;") == ""  # its first result behind that is judged as ever
    assert owner.run(QUIET) == ""


@with_subshells
def test_it_stays_for_a_guest_s_cell_in_a_subshell(
    owner: RawOwner, guest: Guest, tmp_path: Path, connect: Connect
) -> None:
    first, second, go = guest(), guest(), tmp_path / "go"
    first.execute("1")
    second.execute("1")
    owner.run("import os, time")
    wait = f"while not os.path.exists({str(go)!r}): time.sleep(0.02)"
    asked = owner.start(f"open({str(tmp_path / 'on')!r}, 'w')\n{wait}\n0;")
    wait_for((tmp_path / "on").exists, "the owner's cell")
    beside = first.start(Cell(f"{wait}\n6 * 7", if_busy="subshell"))
    events = iter(beside)
    next(events)
    second.close()  # behind the owner's cell
    go.touch()
    for _ in events:
        pass
    assert beside.result is not None and beside.result.value is not None
    owner.result(asked)
    first.close()
    assert owner.run(QUIET) == ""

"""What is asked of each server: is its kernel listed, does a cell run over WebSocket, is a wrong secret refused."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.starting import wanted
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.errors import AuthRefused, RemoteError, TimedOut
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.events import InputRequest, Stream
from kernel_bridge_magic.reports import Listing, ServerReport
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.servers.rest import ServerAPI
from tests.real.servers import TOKEN, Gateway, Hub, Notebook6, RealServer, Server2
from tests.real.variables import copies
from tests.real.venvs import proxy_command, version_of
from tests.test_notebooks import check_cluster, execute

__all__ = ["SCENES", "Row", "Scene", "play"]

ROOT = Path(__file__).parents[2]


@dataclass
class Row:
    """One line of the table; each column is what was seen, or begins with `FAILED`."""

    server: str
    version: str = ""
    listed: str = "–"
    ran: str = "–"
    auth: str = "–"
    seconds: float = 0.0


@dataclass
class Scene:
    """A server to try: what is installed for it, and what is done with it."""

    name: str
    package: str
    requirements: list[str]
    play: Callable[[Path, Path, Path], Iterator[Row]]


@contextmanager
def bridge_to(directory: Path, url: str = "", token: str = TOKEN, **more: Any) -> Iterator[Bridge]:
    """A bridge that knows the server at `url` as `it`, and finds what is in `directory`."""
    os.environ["JUPYTER_RUNTIME_DIR"] = str(directory)
    os.environ["KERNEL_BRIDGE_TEST_TOKEN"] = token
    bridge = Bridge()
    try:
        if url:
            bridge.add_server(Entry("it", url, token="env:KERNEL_BRIDGE_TEST_TOKEN", **more))
        yield bridge
    finally:
        bridge.close()


def problems(listing: Listing) -> list[str]:
    return [f"{report.problem}; {report.remedy}" for report in listing.servers if report.problem]


def ran(bridge: Bridge, kernel: Kernel, code: str = "print('out'); 6 * 7", text: str = "42") -> str:
    """Run a cell over a WebSocket; its stream and its result must come back."""
    connection = bridge.pool.connect(kernel, "ws")
    result = connection.execute(code)
    assert result.text == text, result
    assert [output["text"] for output in result.outputs if output["output_type"] == "stream"] == ["out\n"]
    return "yes"


def basics(bridge: Bridge, kernel: Kernel) -> str:
    """What every server must carry: streams, displays, errors, questions, an interrupt, a timeout."""
    said = ran(bridge, kernel)
    connection = bridge.pool.connect(kernel, "ws")
    shown = connection.execute(
        "import sys\nprint('err', file=sys.stderr, flush=True)\nfrom IPython.display import HTML, display\n"
        "handle = display(HTML('<b>x</b>'), metadata={'a': 1}, display_id=True)\nhandle.update(HTML('<i>y</i>'))"
    ).outputs
    assert [it.get("text") for it in shown if it["output_type"] == "stream"] == ["err\n"], shown
    assert [it["data"]["text/html"] for it in shown if it["output_type"] == "display_data"] == ["<i>y</i>"], shown
    try:
        connection.execute("1 / 0")
    except RemoteError as error:
        assert (error.ename, error.evalue) == ("ZeroDivisionError", "division by zero")
        assert error.traceback
    else:
        raise AssertionError("no error")
    asks = connection.start(Cell("print(input('who? '), len(__import__('getpass').getpass('secret: ')))", stdin=True))
    for event in asks:
        if isinstance(event, InputRequest):
            asks.answer("hunter22" if event.password else "ann")
    assert asks.result is not None and asks.result.outputs[-1]["text"] == "ann 8\n", asks.result
    sleeps = connection.start(Cell("print('on')\nimport time; time.sleep(60)"))
    for event in sleeps:
        if isinstance(event, Stream) and not sleeps.interrupted:  # the line may be two messages
            sleeps.interrupt()
    assert sleeps.result is not None and sleeps.result.error is not None
    assert getattr(sleeps.result.error, "ename", "") == "KeyboardInterrupt", sleeps.result
    try:
        connection.execute("import time; time.sleep(1.5)", timeout=0.5)
    except TimedOut as error:
        assert "still running there" in str(error) or "still queued" in str(error)
    else:
        raise AssertionError("no timeout")
    assert connection.execute("'usable'").text == "'usable'"
    return said


def lives(bridge: Bridge, server: str, beside: Kernel) -> None:
    """Start a kernel by a name, restart it and shut it down; the kernel `beside` it stays as it is."""
    neighbour = bridge.pool.connect(beside, "ws")
    neighbour.execute("life = 1")
    started = bridge.starting.start(wanted("python3", "scratch"), server, as_child=False).kernel
    kernel = bridge.find_to("restart", "scratch")
    assert (kernel.id, kernel.server) == (started.id, beside.server), kernel
    before = bridge.pool.connect(kernel, "ws")
    before.execute("life = 2")
    bridge.life.restart(kernel)
    assert bridge.pool.connect(kernel, "ws").execute("'life' in globals()").text == "False"
    bridge.life.shutdown(kernel)
    assert not [it for it in bridge.kernels() if it.id == kernel.id]
    assert neighbour.is_open and neighbour.execute("life").text == "1"


def refused(directory: Path, url: str) -> str:
    """A wrong token is refused, in one sentence."""
    with bridge_to(directory, url, "wrong") as bridge:
        (said,) = problems(bridge.search.look())
        assert "token not accepted" in said and "\n" not in said, said
    return "token; a wrong one is refused"


def plain(server: RealServer, row: Row, *, info_file: bool = False, lists: bool = True) -> None:
    """A server with a token: added by its URL, and found by its info file where it leaves one."""
    nowhere = server.directory / "nowhere"
    nowhere.mkdir(exist_ok=True)
    kernel_id = server.start_kernel()
    with bridge_to(nowhere, server.url) as bridge:
        listing = bridge.search.look()
        if lists:
            assert [kernel.id for kernel in listing.kernels] == [kernel_id], problems(listing)
            row.listed = "by its URL"
        else:
            (said,) = problems(listing)
            assert "does not list its kernels" in said, said
            row.listed = "no: it is told how to name one by its id"
        kernel = bridge.find_by_id(kernel_id, "it")
        row.ran = basics(bridge, kernel)
        with bridge_to(nowhere, server.url) as other:
            copies(bridge.pool.connect(kernel, "ws"), other.pool.connect(other.find_by_id(kernel_id, "it"), "ws"))
        (checkup,) = bridge.check("it")
        assert checkup.ok, checkup
    row.auth = refused(nowhere, server.url)
    if info_file:
        with bridge_to(server.runtime_dir) as bridge:
            (kernel,) = bridge.search.look().kernels
            assert kernel.id == kernel_id and kernel.is_yours
            assert kernel.connection_file, "its kernels are on this machine"
            ran(bridge, kernel)
            assert bridge.pool.connect(kernel).execute("6 * 7").text == "42"  # over ZMQ
            row.listed = "found here, and by its URL"


def jupyter_server(python: Path, cache: Path, directory: Path) -> Iterator[Row]:
    row = Row("Jupyter Server")
    with Server2(python, directory) as server:
        plain(server, row, info_file=True)
    yield row
    row = Row("Jupyter Server with a password")
    option = f"--PasswordIdentityProvider.hashed_password={_HASHED}"
    with Server2(python, directory / "password", "jupyter_server", option, token="") as server:
        os.environ["KERNEL_BRIDGE_TEST_PASSWORD"] = "a password"
        with bridge_to(server.directory) as bridge:
            bridge.add_server(Entry("it", server.url, password="env:KERNEL_BRIDGE_TEST_PASSWORD"))
            assert problems(bridge.search.look()) == []
            (it,) = bridge.registry.servers()
            kernel_id = ServerAPI(it, bridge.vault).start()["id"]
            row.ran = ran(bridge, bridge.find_by_id(kernel_id, "it"))
            (checkup,) = bridge.check("it")
            assert checkup.ok, checkup
            row.listed = "by its URL"
        os.environ["KERNEL_BRIDGE_TEST_PASSWORD"] = "another"
        with bridge_to(server.directory) as bridge:
            bridge.add_server(Entry("it", server.url, password="env:KERNEL_BRIDGE_TEST_PASSWORD"))
            assert problems(bridge.search.look()) == [
                "password not accepted (401); give the right one with --password env:VAR"
            ]
        row.auth = "password; a wrong one is refused"
    yield row


_HASHED = "sha1:67c9e60bb8b6:5d6577765952ed4fb7b6d2e45ff03c3a46889792"  # of "a password", as Jupyter Server keeps it


def xeus_python(python: Path, cache: Path, directory: Path) -> Iterator[Row]:
    """Try another kernel of Python, which takes text alone, and one large request at a time."""
    row = Row("Jupyter Server with xeus-python", auth="token")
    with Server2(python, directory) as server:
        server.start_body = {"name": "xpython"}
        kernel_id = server.start_kernel()
        with bridge_to(directory, server.url) as bridge, bridge_to(directory, server.url) as other:
            kernel = bridge.find_by_id(kernel_id, "it")
            assert bridge.pool.connect(kernel, "ws").execute("6 * 7").text == "42"
            row.ran = "yes"
            copies(bridge.pool.connect(kernel, "ws"), other.pool.connect(other.find_by_id(kernel_id, "it"), "ws"))
        row.listed = "by its URL"
    yield row


def jupyter_server_1(python: Path, cache: Path, directory: Path) -> Iterator[Row]:
    row = Row("Jupyter Server 1")
    with Server2(python, directory, setting="ServerApp.token") as server:
        plain(server, row, info_file=True)
    yield row


def notebook_6(python: Path, cache: Path, directory: Path) -> Iterator[Row]:
    row = Row("Notebook 6")
    with Notebook6(python, directory) as server:
        plain(server, row, info_file=True)
    yield row


def kernel_gateway(python: Path, cache: Path, directory: Path) -> Iterator[Row]:
    row = Row("Kernel Gateway")
    with Gateway(python, directory / "lists", enterprise=False) as server:
        plain(server, row)
        yield row
        front = Row("Jupyter Server before a gateway")
        options = (f"--gateway-url={server.url.rstrip('/')}", f"--GatewayClient.auth_token={TOKEN}")
        with Server2(python, directory / "front", "jupyter_server", *options) as before:
            server.json("DELETE", f"api/kernels/{server.json('GET', 'api/kernels')[0]['id']}")
            plain(before, front)
        yield front
    row = Row("Kernel Gateway, list_kernels off")
    with Gateway(python, directory / "silent", enterprise=False, lists=False) as server:
        plain(server, row, lists=False)
    yield row


def enterprise_gateway(python: Path, cache: Path, directory: Path) -> Iterator[Row]:
    row = Row("Enterprise Gateway")
    with Gateway(python, directory, enterprise=True) as server:
        plain(server, row)
        yield row
        row = Row("… and notebooks/cluster.ipynb")
        server.json("DELETE", f"api/kernels/{server.json('GET', 'api/kernels')[0]['id']}")
        # In an environment like a user's: the one that runs this.
        (directory / "notebook").mkdir()
        env = {"GATEWAY_URL": server.url, "GATEWAY_TOKEN": TOKEN, "PYTHONPATH": str(ROOT)}
        check_cluster(execute(ROOT / "notebooks" / "cluster.ipynb", directory / "notebook", **env))
        assert server.json("GET", "api/kernels") == []
        row.listed, row.ran, row.auth = "by its URL", "yes", "token"
    yield row


# -- JupyterHub

#: Run in a kernel of ann's own server: what it finds there with no word from the user.
_INSIDE = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from kernel_bridge_magic import kernels, connect
found = kernels()
with connect([k for k in found if not k.is_this_kernel][0], transport="ws") as other:
    answer = other.execute("6 * 7").text
print("out")
len(found), [s.server.is_yours for s in found.servers], sum(k.is_this_kernel for k in found), answer
"""


def jupyterhub(python: Path, cache: Path, directory: Path) -> Iterator[Row]:
    nowhere = directory / "nowhere"
    nowhere.mkdir(parents=True)
    with Hub(python, directory / "hub", proxy_command(cache, python)) as hub:
        hub.start_servers(("ann", ""), ("ann", "gpu"), ("bob", ""))
        everything = hub.token("ann", "inherit")
        base = hub.url.removesuffix("hub/")

        row = Row("JupyterHub, all of a user's servers")
        ids = {name: start_on(hub, f"user/ann/{name}", everything) for name in ("", "gpu/")}
        second = start_on(hub, "user/ann/", everything)
        with bridge_to(nowhere, f"{base}hub/home", everything) as bridge:
            listing = bridge.search.look()
            assert {k.server.name: k.id for k in listing.kernels if k.server and k.id != second} == {
                "it": ids[""],
                "it/gpu": ids["gpu/"],
            }, listing
            row.listed = "by the hub's URL, named ones too"
            row.ran = ran(bridge, bridge.find_by_id(ids["gpu/"], "it/gpu"))
            for server, one in (("it", ids[""]), ("it/gpu", ids["gpu/"])):
                lives(bridge, server, bridge.find_by_id(one, server))
            inside = bridge.find_by_id(ids[""], "it")
            # both of ann's servers leave their info files in her home
            ran(bridge, inside, _INSIDE, "(3, [True, True], 1, '42')")
        with bridge_to(nowhere, base, "wrong") as bridge:
            assert "does not know this token" in problems(bridge.search.look())[0]
        row.auth = "hub token; a wrong one is refused"
        yield row

        row = Row("JupyterHub, one named server")
        scoped = hub.token("ann", "access:servers!server=ann/gpu")
        with bridge_to(nowhere, f"{base}user/ann/gpu/lab", scoped) as bridge:
            (kernel,) = bridge.search.look().kernels
            assert kernel.id == ids["gpu/"]
            row.listed = "by its URL"
            row.ran = ran(bridge, kernel)
            (checkup,) = bridge.check("it")
            assert checkup.ok, checkup
        with bridge_to(nowhere, base, scoped) as bridge:
            assert "may not list servers" in problems(bridge.search.look())[0]
        with bridge_to(nowhere, f"{base}user/ann/", scoped) as bridge:
            assert "token not accepted" in problems(bridge.search.look())[0]
        with bridge_to(nowhere, f"{base}user/bob/", everything) as bridge:
            assert "who would get the token of ann, so nothing was sent" in problems(bridge.search.look())[0]
            try:
                bridge.find_by_id(ids[""], "it")
                raise AssertionError("bob's server was asked")
            except AuthRefused:
                pass
        row.auth = "scoped token; another user's server gets none"
        yield row

        row = Row("JupyterHub, a server that is stopped")
        hub.stop_server("ann")
        with bridge_to(nowhere, base, everything) as bridge:
            reports: dict[str, ServerReport] = {report.server.name: report for report in bridge.search.look().servers}
            assert reports["it"].problem == "it is stopped" and reports["it/gpu"].kernels == 1
            row.ran = "no, and said why"
        with bridge_to(nowhere, f"{base}user/ann/", everything) as bridge:
            assert problems(bridge.search.look())[0].startswith("its server is stopped")
        row.listed = "as stopped"
        row.auth = "hub token"
        yield row


def start_on(hub: Hub, path: str, token: str) -> str:
    """Start a kernel on a user's server; give its id."""
    return str(hub.json("POST", f"../{path}api/kernels", {"name": "python3"}, token)["id"])


OLD = "setuptools<81"  # brings pkg_resources, which they import
SCENES = [
    Scene("jupyter_server", "jupyter_server", ["jupyter_server>=2", "ipykernel"], jupyter_server),
    Scene("xeus_python", "xeus-python", ["jupyter_server>=2", "xeus-python"], xeus_python),
    Scene("jupyter_server_1", "jupyter_server", ["jupyter_server==1.24.*", "ipykernel", OLD], jupyter_server_1),
    Scene("notebook_6", "notebook", ["notebook==6.5.*", "jupyter_server<2", "ipykernel", OLD], notebook_6),
    Scene(
        "kernel_gateway",
        "jupyter_kernel_gateway",
        ["jupyter_kernel_gateway>=3", "ipykernel", "pandas", "pyarrow"],
        kernel_gateway,
    ),
    Scene(
        "enterprise_gateway",
        "jupyter_enterprise_gateway",
        ["jupyter_enterprise_gateway>=3.3", "ipykernel", OLD],
        enterprise_gateway,
    ),
    Scene("jupyterhub", "jupyterhub", ["jupyterhub>=5", "jupyter_server>=2", "ipykernel", "psutil"], jupyterhub),
]


def play(scene: Scene, python: Path, cache: Path, directory: Path) -> Iterator[Row]:
    """Start and try one server, with the Python of its environment."""
    began = time.monotonic()
    version = version_of(python, scene.package)
    for row in scene.play(python, cache, directory):
        row.version, row.seconds = version, time.monotonic() - began
        yield row
        began = time.monotonic()

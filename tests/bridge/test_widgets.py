"""Widgets and late output between two real kernels: `here` has the extension, a client is its front end."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client import BlockingKernelClient

from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.bridge.pump import Pump
from kernel_bridge_magic.bridge.widgets import WidgetBridge
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.control import Control
from kernel_bridge_magic.display.comm_proxies import Forward
from kernel_bridge_magic.display.relay import Relay, Sink
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.comms import Parent
from kernel_bridge_magic.protocol.messages import Message
from kernel_bridge_magic.servers.rest import ServerAPI
from kernel_bridge_magic.transports.websocket import WebSocketTransport
from tests.support.clients import client_of
from tests.support.hostile import HostileServer
from tests.support.servers import JupyterServer
from tests.support.transports import transport_of
from tests.support.versions import with_subshells

SECONDS = 20.0
SLIDER = "import ipywidgets as w\nslider = w.IntSlider(value=42)\n"


class FrontEnd:
    """What a front end of a kernel does, message by message."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self.client = client
        self.seen: list[dict[str, Any]] = []

    def send(self, code: str) -> str:
        return str(self.client.execute(code, store_history=False))

    def run(self, code: str) -> list[dict[str, Any]]:
        """Run a cell to its end; give all that came meanwhile."""
        return self.until_idle(self.send(code))

    def until_idle(self, msg_id: str) -> list[dict[str, Any]]:
        return self.until(lambda it: is_idle(it) and it["parent_header"].get("msg_id") == msg_id)

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        came: list[dict[str, Any]] = []
        end = time.monotonic() + SECONDS
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=max(end - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"not seen within {SECONDS:g} s, only {[describe(it) for it in came]}") from None
            came.append(message)
            self.seen.append(message)
            if wanted(message):
                return came

    def say(self, comm_id: str, **data: Any) -> str:
        """Send what a widget's view sends."""
        message = self.client.session.msg("comm_msg", {"comm_id": comm_id, "data": data})
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def set(self, comm_id: str, **state: Any) -> str:
        return self.say(comm_id, method="update", state=state, buffer_paths=[])

    def value(self, code: str) -> str:
        """The text of a cell's result."""
        results = [it["content"]["data"]["text/plain"] for it in self.run(code) if it["msg_type"] == "execute_result"]
        return str(results[-1])


def describe(message: dict[str, Any]) -> str:
    return f"{message['msg_type']} {str(message['content'])[:80]}"


def is_idle(message: dict[str, Any]) -> bool:
    return message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"


def of(messages: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [message for message in messages if message["msg_type"] == kind]


def is_stream(message: dict[str, Any]) -> bool:
    return bool(message["msg_type"] == "stream")


def text(messages: list[dict[str, Any]]) -> str:
    return "".join(message["content"]["text"] for message in of(messages, "stream"))


def comm_of(messages: list[dict[str, Any]], model: str) -> str:
    (found,) = [
        it["content"]["comm_id"]
        for it in of(messages, "comm_open")
        if it["content"]["data"]["state"].get("_model_name") == model
    ]
    return str(found)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    with JupyterServer(tmp_path_factory.mktemp("widgets")) as server:
        yield server


@pytest.fixture(scope="module")
def kernels(server: JupyterServer) -> dict[str, str]:
    return server.start_kernels("here.ipynb", "there.ipynb")


@pytest.fixture(scope="module")
def clients(server: JupyterServer, kernels: dict[str, str]) -> Iterator[dict[str, BlockingKernelClient]]:
    for kernel_id in kernels.values():
        server.wait_for_kernel(kernel_id)
    clients = {path: client_of(server.connection_file(kernel_id)) for path, kernel_id in kernels.items()}
    yield clients
    for client in clients.values():
        client.stop_channels()
        client.context.term()


@pytest.fixture(params=["zmq", "ws"])
def here(clients: dict[str, BlockingKernelClient], request: pytest.FixtureRequest) -> Iterator[FrontEnd]:
    """The front end of the kernel with the extension; `there` is reached over each transport in turn."""
    front = FrontEnd(clients["here.ipynb"])
    assert not of(front.run("%load_ext kernel_bridge_magic\nTRANSPORT = '" + request.param + "'"), "error")
    yield front
    with contextlib.suppress(queue.Empty):
        front.run("%unload_ext kernel_bridge_magic")


def remote(code: str) -> str:
    return f"%%remote --quiet --transport $TRANSPORT there.ipynb\n{code}"


def test_a_slider_works_both_ways(here: FrontEnd) -> None:
    came = here.run(remote(SLIDER + "slider"))
    kinds = [it["msg_type"] for it in came if it["msg_type"].startswith(("comm", "execute_result"))]
    assert kinds == ["comm_open"] * 3 + ["execute_result"]  # the models before the view
    slider = comm_of(came, "IntSliderModel")
    (result,) = of(came, "execute_result")
    assert result["content"]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"] == slider
    assert "IntSlider(value=42" in result["content"]["data"]["text/plain"]
    sent = here.set(slider, value=55)
    echo = of(here.until_idle(sent), "comm_msg")
    assert [it["content"]["data"]["method"] for it in echo] == ["echo_update"]
    assert here.value(remote("slider.value")) == "55"
    moved = of(here.run(remote("slider.value = 77")), "comm_msg")
    assert [it["content"]["data"]["state"] for it in moved] == [{"value": 77}]
    assert here.client.comm_info(target_name="jupyter.widget", reply=True)["content"]["comms"].get(slider)


def test_what_a_callback_shows_belongs_to_the_click(here: FrontEnd) -> None:
    came = here.run(
        remote(
            "import ipywidgets as w\nbutton = w.Button()\n"
            "def pressed(_):\n    print('pressed')\n    display('shown')\n    1 / 0\n"
            "button.on_click(pressed)\nbutton"
        )
    )
    click = here.say(comm_of(came, "ButtonModel"), method="custom", content={"event": "click"})
    came = here.until_idle(click)
    # ipykernel says idle last: a front end takes nothing for a message that is over.
    assert text(came) == "pressed\n"
    assert of(came, "display_data")[0]["content"]["data"] == {"text/plain": "'shown'"}
    assert of(came, "error")[0]["content"]["ename"] == "ZeroDivisionError"
    for kind in ("stream", "display_data", "error"):
        assert of(came, kind)[0]["parent_header"]["msg_id"] == click


def test_an_output_widget_takes_what_is_printed_into_it(here: FrontEnd) -> None:
    sent = here.send(
        remote(
            "import ipywidgets as w\nout = w.Output()\ndisplay(out)\nprint('before')\n"
            "with out:\n    print('in')\nprint('after')"
        )
    )
    came = here.until_idle(sent)
    output = comm_of(came, "OutputModel")
    wanted = [
        it for it in came if is_stream(it) or (it["msg_type"] == "comm_msg" and it["content"]["comm_id"] == output)
    ]
    order: list[str] = []
    # A line may come in pieces: ipykernel may flush between the two writes of a print.
    for is_text, group in itertools.groupby(wanted, is_stream):
        messages = list(group)
        order += [text(messages)] if is_text else [it["content"]["data"]["state"]["msg_id"] for it in messages]
    assert order == ["before\n", sent, "in\n", "", "after\n"]


def test_a_widget_moves_while_its_cell_runs(here: FrontEnd) -> None:
    sent = here.send(remote(SLIDER + "display(slider)\nfor slider.value in (1, 2):\n    pass\ninput('go on? ')"))
    came = here.until(lambda it: it["msg_type"] == "comm_msg" and it["content"]["data"]["state"] == {"value": 2})
    assert not [it for it in came if is_idle(it)]
    here.client.get_stdin_msg(timeout=SECONDS)
    here.client.input("yes")
    here.until_idle(sent)


@with_subshells
def test_a_cell_that_awaits_lets_its_widgets_be_used(here: FrontEnd) -> None:
    sent = here.send(
        remote(
            SLIDER + "import asyncio\nmoved = asyncio.Event()\nslider.observe(lambda _: moved.set(), 'value')\n"
            "display(slider)\nawait asyncio.wait_for(moved.wait(), 15)\nprint('moved to', slider.value)"
        )
    )
    came = here.until(lambda it: it["msg_type"] == "display_data")
    # JupyterLab sends a widget's messages to a subshell, which is free while the cell waits.
    here.client.control_channel.send(here.client.session.msg("create_subshell_request", {}))
    subshell = here.client.get_control_msg(timeout=SECONDS)["content"]["subshell_id"]
    data = {"method": "update", "state": {"value": 43}, "buffer_paths": []}
    message = here.client.session.msg("comm_msg", {"comm_id": comm_of(came, "IntSliderModel"), "data": data})
    message["header"]["subshell_id"] = subshell
    here.client.shell_channel.send(message)
    assert "moved to 43\n" in text(here.until_idle(sent))


def test_a_kernel_that_is_busy_is_not_waited_for(here: FrontEnd, clients: dict[str, BlockingKernelClient]) -> None:
    came = here.run(remote(SLIDER + "slider"))
    owner = FrontEnd(clients["there.ipynb"])
    sent = clients["there.ipynb"].execute("input()", allow_stdin=True)
    clients["there.ipynb"].get_stdin_msg(timeout=SECONDS)
    here.until_idle(here.set(comm_of(came, "IntSliderModel"), value=50))
    assert here.value("1 + 1") == "2"  # and the notebook here works on
    clients["there.ipynb"].input("")
    owner.until_idle(sent)
    assert here.value(remote("slider.value")) == "50"


def test_the_owners_widgets_are_left_alone(here: FrontEnd, clients: dict[str, BlockingKernelClient]) -> None:
    owner = FrontEnd(clients["there.ipynb"])
    sent = owner.send(SLIDER + "slider")
    (mine,) = [it for it in of(owner.until_idle(sent), "execute_result") if it["parent_header"]["msg_id"] == sent]
    assert not of(here.run(remote("2")), "comm_open")
    came = here.run(remote("slider").replace("--quiet ", ""))
    (result,) = of(came, "execute_result")
    assert result["content"]["data"] == {"text/plain": mine["content"]["data"]["text/plain"]}
    (why,) = [it["content"] for it in of(came, "display_data")]
    assert why["data"]["text/plain"] == "this widget is shown as text: it belongs to there.ipynb, which made it"
    assert why["metadata"] == {"kernel_bridge": {"line": "widgets"}}
    assert not of(came, "comm_open")


def test_late_output_belongs_to_its_cell(here: FrontEnd) -> None:
    here.run(remote("import threading\ngo = threading.Event()"))
    sent = here.send(
        remote(
            "def late():\n    go.wait()\n    print('late')\n    display('shown late')\n"
            "threading.Thread(target=late).start()"
        )
    )
    here.until_idle(sent)
    other = here.send(remote("go.set()"))
    came = here.until(lambda it: it["msg_type"] == "display_data")
    if not text(came):  # the kernel's own thread writes what is printed: on a loaded machine behind what is displayed
        came += here.until(lambda it: it["msg_type"] == "stream")
    assert text(came) == "late\n"
    assert of(came, "display_data")[0]["content"]["data"] == {"text/plain": "'shown late'"}
    parents = {it["parent_header"]["msg_id"] for it in came if it["msg_type"] in ("stream", "display_data")}
    # ipykernel gives a thread's output to the cell that began it; before 7 to the one that runs.
    assert parents <= {sent, other}
    if not [it for it in came if is_idle(it) and it["parent_header"]["msg_id"] == other]:
        here.until_idle(other)


@pytest.mark.parametrize("end", ["restart", "unload"])
def test_widgets_end_with_their_kernel_and_with_the_extension(
    here: FrontEnd, server: JupyterServer, kernels: dict[str, str], end: str
) -> None:
    opened = {it["content"]["comm_id"] for it in of(here.run(remote(SLIDER + "slider")), "comm_open")}
    closed: set[str] = set()

    def all_closed(message: dict[str, Any]) -> bool:
        if message["msg_type"] == "comm_close":
            closed.add(message["content"]["comm_id"])
        return opened <= closed

    if end == "unload":
        here.send("%unload_ext kernel_bridge_magic")
    else:
        status, _ = server.request("POST", f"api/kernels/{kernels['there.ipynb']}/restart")
        assert status == 200
    here.until(all_closed)
    assert here.client.comm_info(target_name="jupyter.widget", reply=True)["content"]["comms"] == {}


# -- a bridge by itself, between two connections


class Screen:
    """A front end without widgets, and the sink of all its cells; `problem` is what the end of a cell raises."""

    stop = "Ctrl-C"

    def __init__(self) -> None:
        self.printed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.drawn: list[str] = []
        self.problem: Exception | None = None

    def late(self, parent: Parent, kernel: Kernel, *, together: bool = False) -> Sink:
        return self  # type: ignore[return-value] # as much of one as these tests need

    def comm_proxies(self, forward: Forward) -> None:
        return None

    def stream(self, name: str, text: str) -> None:
        self.printed.put(text)

    def draw(self, key: str, text: str) -> None:
        self.drawn.append(text)

    def display(self, data: dict[str, Any], metadata: dict[str, Any], display_id: str, update: bool) -> None:
        self.printed.put(data["text/plain"])

    def inform(self, kind: str, text: str) -> None:
        """Say nothing of what is waited for."""

    def flush(self) -> None: ...

    def finish(self) -> None:
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def pump() -> Iterator[Pump]:
    pump = Pump()
    yield pump
    pump.close()


def test_of_other_clients_only_comm_messages_wait_with_a_cell(
    connect: Callable[[str], KernelConnection], shared_kernel: str, pump: Pump
) -> None:
    """Showing may stand still for long, in a stopped terminal or at a question."""
    kernel, other = connect(shared_kernel), connect(shared_kernel)
    widgets = WidgetBridge(kernel, screen := Screen(), pump)
    execution = kernel.start(Cell("1"))
    with widgets.cell(execution, None, screen):  # type: ignore[arg-type] # see above
        other.execute("for n in range(50): print(n, flush=True)\ndisplay(1)\n2")
        other.execute("from comm import create_comm\ncreate_comm(target_name='theirs').send({})")
        # All that came before this answer has been routed.
        transport_of(kernel).ask("kernel_info_request", {}, seconds=20, whole=True)
        transport_of(kernel).ask("kernel_info_request", {}, channel="control", seconds=20, whole=True)
        left = [it for it in execution.leftovers() if isinstance(it, Message)]
    theirs = {it.msg_type for it in left if it.parent_header.get("session") != transport_of(kernel).client_id}
    assert theirs <= {"comm_msg", "comm_close"}
    execution = kernel.start(Cell("import threading\nthreading.Timer(0.3, print, ['late'], {'end': ''}).start()"))
    with widgets.cell(execution, None, screen):  # type: ignore[arg-type]
        for _ in execution:
            pass
    assert screen.printed.get(timeout=SECONDS) == "late"  # what is ours is shown
    widgets.close()


BAR = """
import ipywidgets, os, time
bar = ipywidgets.IntProgress(max=2)
display(bar)
print("shown", end="")
while not os.path.exists({go!r}): time.sleep(0.02)
bar.value = 2
"""


@with_subshells
def test_cells_at_the_same_time_have_each_what_is_theirs(
    connect: Callable[[str], KernelConnection], shared_kernel: str, pump: Pump, tmp_path: Path
) -> None:
    kernel = connect(shared_kernel)
    widgets = WidgetBridge(kernel, late := Screen(), pump)

    def show(cell: Cell, screen: Screen) -> threading.Thread:
        def work() -> None:
            parent = {"header": {"msg_id": f"runs {execution.msg_id}"}}
            with widgets.cell(execution, parent, screen) as cell_widgets:  # type: ignore[arg-type] # see above
                relay = Relay(screen, kernel.kernel, widgets=cell_widgets)  # type: ignore[arg-type]
                for event in execution:
                    relay.show(event)

        execution = kernel.start(cell)
        thread = threading.Thread(target=work)
        thread.start()
        return thread

    first, second, beside = Screen(), Screen(), Screen()
    threads = [show(Cell(BAR.format(go=str(tmp_path / "go"))), first)]
    assert first.printed.get(timeout=SECONDS) == "shown"
    threads.append(
        show(Cell("out = ipywidgets.Output()\ndisplay(out)\nwith out: print('in it')\nprint('out')"), second)
    )
    # It ends while the others run, and takes nothing of theirs with it.
    show(Cell("display(ipywidgets.Label('beside'))", if_busy="subshell"), beside).join(SECONDS)
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join(SECONDS)
    assert first.drawn == ["|          |", "|██████████|"]
    assert second.drawn == ["in it\n"] and second.printed.get(timeout=SECONDS) == "out\n"
    assert beside.drawn == ["beside"]
    assert all(screen.printed.empty() for screen in (first, second, beside, late))
    widgets.close()


def test_a_cell_whose_end_cannot_be_shown_is_over(
    connect: Callable[[str], KernelConnection], shared_kernel: str, pump: Pump
) -> None:
    kernel = connect(shared_kernel)
    widgets = WidgetBridge(kernel, screen := Screen(), pump)
    screen.problem = OSError("disk full")
    execution = kernel.start(Cell("1"))
    with pytest.raises(OSError, match="disk full"), widgets.cell(execution, None, screen):  # type: ignore[arg-type]
        for _ in execution:
            pass
    screen.problem = None
    parent = {"msg_id": execution.msg_id}
    header = {"msg_type": "stream", "msg_id": "late", "session": "its own"}
    widgets.put(Message("iopub", header, parent, {}, {"name": "stdout", "text": "late\n"}))
    assert screen.printed.get(timeout=SECONDS) == "late\n"
    widgets.close()


# -- displays that others update


@pytest.fixture
def owner(clients: dict[str, BlockingKernelClient]) -> FrontEnd:
    """The notebook to which the other kernel belongs."""
    # Its kernel may have been restarted by the test before: what it said until IOPub is connected again was for nobody.
    clients["there.ipynb"].wait_for_ready(timeout=SECONDS)
    front = FrontEnd(clients["there.ipynb"])
    front.run("from IPython.display import update_display")
    return front


def the_update(here: FrontEnd, shown: list[dict[str, Any]], text: str) -> None:
    """Wait until the display in `shown`, and that alone, is updated to `text`, below its cell."""
    (display,) = [it for it in shown if it["content"].get("transient", {}).get("display_id")]
    update = here.until(lambda it: it["msg_type"] == "update_display_data")[-1]
    assert update["content"]["data"] == {"text/plain": repr(text)}
    assert update["content"]["transient"] == display["content"]["transient"]
    assert update["parent_header"]["msg_id"] == display["parent_header"]["msg_id"]


def test_a_display_of_ours_is_updated_by_its_owner_s_cell(here: FrontEnd, owner: FrontEnd) -> None:
    shown = here.run(remote("shown = display('before', display_id=True)"))
    owner.run("shown.update('by the owner')")
    the_update(here, shown, "by the owner")
    owner.run("display('again', display_id=shown.display_id)")  # front ends take that for an update, too
    the_update(here, shown, "again")
    (update,) = of(here.run(remote("shown.update('by us')")), "update_display_data")
    assert update["content"]["data"] == {"text/plain": "'by us'"}


def test_a_thread_of_our_cell_updates_its_display_while_the_owner_s_cell_runs(here: FrontEnd, owner: FrontEnd) -> None:
    shown = here.run(
        remote(
            "import threading\ngo, gone = threading.Event(), threading.Event()\n"
            "shown = display('before', display_id=True)\n"
            "def work():\n    go.wait(30)\n    shown.update('by the thread')\n    gone.set()\n"
            "threading.Thread(target=work).start()"
        )
    )
    owner.run("go.set()\ngone.wait(30)")
    the_update(here, shown, "by the thread")


def test_it_is_updated_while_a_cell_of_ours_waits_for_the_owner_s(here: FrontEnd, owner: FrontEnd) -> None:
    shown = here.run(remote("shown = display('before', display_id=True)"))
    theirs = owner.send("input('begun? ')\nshown.update('meanwhile')\ninput('go on? ')")
    # Ours is sent when theirs has begun: a kernel that is busy takes what two clients have sent in any order.
    owner.client.get_stdin_msg(timeout=SECONDS)
    ours = here.send(remote("print('our turn')"))
    here.until(lambda it: it["msg_type"] == "display_data" and "waiting: " in str(it["content"]["data"]))
    owner.client.input("yes")
    the_update(here, shown, "meanwhile")
    owner.client.get_stdin_msg(timeout=SECONDS)
    owner.client.input("yes")
    owner.until_idle(theirs)
    assert "our turn" in text(here.until_idle(ours))


def test_displays_that_are_the_owner_s_are_not_shown(here: FrontEnd, owner: FrontEnd) -> None:
    here.run(remote("shown = display('before', display_id='ours')"))
    owner.run("theirs = display('private', display_id='theirs')\ntheirs.update('private')\n'private'")
    owner.run("shown.update('ours, and so the last')")
    came = here.until(lambda it: "ours, and so" in str(it["content"]))
    assert "private" not in str(came)


def test_a_result_with_a_display_id_is_updated_by_a_later_cell(here: FrontEnd) -> None:
    result = {"data": {"text/plain": "'1'"}, "metadata": {}, "execution_count": 1, "transient": {"display_id": "r"}}
    came = here.run(remote(f"k = get_ipython().kernel\nk.send_response(k.iopub_socket, 'execute_result', {result});"))
    (shown,) = of(came, "execute_result")
    came = here.run(remote("from IPython.display import update_display\nupdate_display('2', display_id='r')"))
    (update,) = of(came, "update_display_data")
    assert update["content"]["transient"] == shown["content"]["transient"]
    assert "transient" not in of(here.run(remote("6 * 7")), "execute_result")[0]["content"]


@pytest.mark.parametrize(
    ("is_own", "why"),
    [
        (True, "widgets are shown as text: a terminal cannot display them"),
        (False, "{}'s widgets are shown as text: its server is not marked as yours (%servers --add URL --trust)"),
    ],
)
def test_why_widgets_are_text_is_said_once(pump: Pump, is_own: bool, why: str) -> None:
    with HostileServer() as server:
        kernel = server.kernel if is_own else server.foreign
        transport = WebSocketTransport(kernel, server.server, Vault())
        transport.open(SECONDS)
        with KernelConnection(kernel, transport, Control(kernel, ServerAPI(server.server, Vault()))) as connection:
            widgets = WidgetBridge(connection, Screen(), pump)
            assert [widgets.why_text(), widgets.why_text()] == [why.format(kernel.title), ""]

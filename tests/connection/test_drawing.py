"""A guest beside a cell that draws: the owner's picture comes whole and once, and so does the guest's."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.execution import Execution
from kernel_bridge_magic.connection.subshells import Subshell, ask_aside, look_busy
from kernel_bridge_magic.errors import RemoteError, TimedOut
from kernel_bridge_magic.protocol.events import DisplayData, Event, ExecuteResult, Payload, Stream
from kernel_bridge_magic.protocol.messages import evaluate_content, evaluated
from tests.support.owner import Owner
from tests.support.servers import JupyterServer, wait_for
from tests.support.transports import transport_of
from tests.support.versions import with_subshells

Connect = Callable[[str], KernelConnection]

PLOTS = """
import matplotlib.pyplot as plt
get_ipython().run_line_magic("matplotlib", "inline")
get_ipython().run_line_magic("config", "InlineBackend.figure_formats = ['svg']")
plt.rcParams["svg.fonttype"] = "none"  # its texts can be read
"""
DRAWS = """
import os, time
fig, ax = plt.subplots()
ax.plot([1, 2, 3])
while not os.path.exists({go!r}): time.sleep(0.05)
ax.set_title("the owner's, whole")
'main is done'
"""
#: What of ours, or of anybody's, stands where we put something.
LEFT = """(lambda ip, sys: [
    [name for part in (ip.events, ip.payload_manager, ip.displayhook) for name in vars(part) if name in {
        'trigger', 'register', 'read_payload', 'write_payload', 'clear_payload', 'fill_exec_result'}],
    type(sys.modules['matplotlib._pylab_helpers'].Gcf.figs).__name__,
    [thread.name for thread in sys.modules['threading'].enumerate() if 'subshell' in thread.name],
    len(plt.get_fignums()),
])(__import__('IPython').get_ipython(), __import__('sys'))"""
NOTHING = "[[], 'OrderedDict', [], 0]"
WRITES = "__import__('sys').stdout.write.__qualname__"


@pytest.fixture
def transport_name() -> str:
    """One transport: what is sent is the same by both."""
    return "zmq"


@pytest.fixture(scope="module")
def plotting(jupyter_server: JupyterServer) -> Iterator[str]:
    """A kernel in which all tests of this file draw."""
    kernel_id = jupyter_server.start_kernel(path="plots.ipynb")
    jupyter_server.wait_for_kernel(kernel_id)
    yield kernel_id
    jupyter_server.delete_kernel(kernel_id)


@pytest.fixture
def owners(connect: Connect, plotting: str) -> Iterator[KernelConnection]:
    connection = connect(plotting)
    connection.execute(PLOTS)
    yield connection
    wait_for(lambda: connection.execute(LEFT).text == NOTHING, "an end of all that is ours")
    # A cell that begins just within a request on control has its layer left until the next request.
    ask_aside(transport_of(connection), evaluate_content())
    reply = transport_of(connection).ask("execute_request", evaluate_content(value=WRITES), seconds=10)
    assert evaluated(reply or {}, "value") == "'OutStream.write'"


@pytest.fixture
def guest(owners: KernelConnection, connect: Connect, plotting: str) -> KernelConnection:
    connection = connect(plotting)
    connection.execute("1")
    return connection


@pytest.fixture
def owner(owners: KernelConnection, tmp_path: Path, guest: KernelConnection) -> Iterator[Owner]:
    owner = Owner(owners, tmp_path / "go", DRAWS)
    yield owner
    assert owner.unharmed()
    assert pictures(owner.events) == ["the owner's, whole"]


def pictures(events: list[Event]) -> list[str]:
    """The titles of what was displayed."""
    shown = [event for event in events if isinstance(event, DisplayData)]
    return [" + ".join(re.findall(r"<text [^>]*>([a-z' ,]+)</text>", event.data["image/svg+xml"])) for event in shown]


def drawn(connection: KernelConnection, code: str) -> list[str]:
    """Run a cell beside the owner's; give the titles of what it displayed."""
    execution = connection.start(Cell(code, if_busy="subshell"))
    events = list(execution)
    assert execution.result is not None
    execution.result.raise_for_error()
    return pictures(events)


def while_it_runs(execution: Execution, act: Callable[[], object]) -> list[str]:
    """Call `act` each time that a cell prints; give the titles of what it displayed."""
    events: list[Event] = []
    for event in execution:
        events.append(event)
        if isinstance(event, Stream):
            act()
    return pictures(events)


def test_a_question_on_control(owner: Owner, guest: KernelConnection) -> None:
    reply = ask_aside(transport_of(guest), evaluate_content(value="6 * 7"))
    assert reply["user_expressions"]["value"]["data"]["text/plain"] == "42"
    look_busy(transport_of(guest))


def test_a_question_whose_expression_fails(owner: Owner, guest: KernelConnection) -> None:
    reply = ask_aside(transport_of(guest), evaluate_content(value="nobody"))
    assert reply["user_expressions"]["value"]["ename"] == "NameError"


def test_hooks_of_the_owner_s_run_once_before_a_question_and_not_behind_it(
    owners: KernelConnection, owner: Owner, guest: KernelConnection
) -> None:
    hooks = "(lambda e, o: [e.register(name, (lambda n: lambda *a: o.append(n))(name)) for name in e.callbacks])"
    hooks += "(__import__('IPython').get_ipython().events, __import__('builtins').__dict__.setdefault('seen', []))"
    forget = "[e.pop() for e in __import__('IPython').get_ipython().events.callbacks.values()]"
    forget += " and __import__('builtins').__dict__.pop('seen')"
    try:
        ask_aside(transport_of(guest), evaluate_content(value=hooks))
        for _ in range(2):
            ask_aside(transport_of(guest), evaluate_content())
        reply = ask_aside(transport_of(guest), evaluate_content(value="__import__('builtins').seen[:]"))
    finally:
        ask_aside(transport_of(guest), evaluate_content(value=forget))
    assert reply["user_expressions"]["value"]["data"]["text/plain"] == str(["pre_execute"] * 3)


def test_what_runs_there_asks_for_no_name_of_the_owner_s_and_leaves_none(
    owners: KernelConnection, guest: KernelConnection, tmp_path: Path
) -> None:
    owners.execute("names = None; names = sorted(globals()); get_ipython = exec = eval = None")
    owner = Owner(owners, tmp_path / "go", DRAWS)
    look_busy(transport_of(guest))
    assert owner.unharmed() and pictures(owner.events) == ["the owner's, whole"]
    text = "sorted(set(globals()) - set(names) - {'get_ipython', 'exec', 'eval', 'fig', 'ax', 'os', 'time'})"
    assert owners.execute(text).text == "[]"
    owners.execute("get_ipython = __import__('IPython').get_ipython; del exec, eval, names")


ASKS = """
import os, time
get_ipython().set_next_input("the owner's")
results = []
get_ipython().events.register('post_run_cell', hook := lambda result: results.append(result.result))
while not os.path.exists({go!r}): time.sleep(0.05)
'main is done'
"""


def texts(events: list[Event]) -> list[str]:
    """What a cell has asked to put into the next one."""
    return [event.content["text"] for event in events if isinstance(event, Payload)]


@pytest.mark.parametrize("place", ["control", pytest.param("subshell", marks=with_subshells)])
def test_payloads_and_values_are_those_of_their_own_cell(
    owners: KernelConnection, guest: KernelConnection, tmp_path: Path, place: str
) -> None:
    owner = Owner(owners, tmp_path / "go", ASKS)
    if place == "control":
        found = ask_aside(transport_of(guest), evaluate_content(value="1"))["payload"]
        look_busy(transport_of(guest))
        events: Iterator[Event] = iter(())
    else:
        found = texts(list(guest.start(Cell("get_ipython().set_next_input('a guest\\'s'); 7", if_busy="subshell"))))
        beyond = f"print('on')\nwhile not os.path.exists({str(tmp_path / 'on')!r}): time.sleep(0.02)\n8"
        events = iter(guest.start(Cell(beyond, if_busy="subshell")))
        assert any(isinstance(event, Stream) for event in events)
    assert owner.unharmed()
    (tmp_path / "on").touch()
    shown = [event.data["text/plain"] for event in events if isinstance(event, ExecuteResult)]
    assert (found, shown) == (([], []) if place == "control" else (["a guest's"], ["8"]))
    assert texts(owner.events) == ["the owner's"]
    owners.execute("get_ipython().events.unregister('post_run_cell', hook)")
    assert owners.execute("sorted(map(str, results))").text in ("['main is done']", "['7', '8', 'main is done']")


#: Cells of guests, and the titles of what each draws.
CELLS = {
    "1 + 1": [],
    "x = 1": [],
    "import this; print(1)": [],
    "fig.axes[0].get_lines()[0].get_ydata()": [],
    "plt.plot([9, 9]); plt.title('a guest')": ["a guest"],  # into the current figure, which is not the owner's
    "f, a = plt.subplots(); a.set_title('a guest'); 1": ["a guest"],
    "for t in ('one', 'two'): plt.figure(); plt.title(t)": ["one", "two"],
    "plt.title('a guest'); plt.show(); plt.title('more')": ["a guest", "more"],
    "plt.title('closed'); plt.close('all')": [],
    "import pandas; pandas.Series([1, 2]).plot(title='a guest')": ["a guest"],
}


@with_subshells
def test_each_cell_draws_its_own(owner: Owner, guest: KernelConnection) -> None:
    for code, titles in CELLS.items():  # beside one cell of the owner's: each has all that came before to harm it
        assert drawn(guest, code) == titles, code


@with_subshells
def test_an_error_does_not_keep_the_guest_s_picture(owner: Owner, guest: KernelConnection) -> None:
    execution = guest.start(Cell("plt.title('a guest'); 1 / 0", if_busy="subshell"))
    assert pictures(list(execution)) == ["a guest"]
    assert execution.result is not None and isinstance(execution.result.error, RemoteError)


@with_subshells
def test_figures_that_the_owner_begins_meanwhile_are_the_owner_s(
    owners: KernelConnection, guest: KernelConnection, tmp_path: Path
) -> None:
    begin, begun, go = tmp_path / "begin", tmp_path / "begun", tmp_path / "go"
    more = f"""
while not os.path.exists({str(begin)!r}): time.sleep(0.02)
plt.figure(); plt.plot([1]); plt.title('the owner has two')
open({str(begun)!r}, 'w').close()
"""
    owner = Owner(owners, go, DRAWS.replace("while not", more + "while not"))
    code = f"""
import os, time
plt.plot([9]); open({str(begin)!r}, 'w').close()
while not os.path.exists({str(begun)!r}): time.sleep(0.02)
plt.title('a guest')"""
    assert drawn(guest, code) == ["a guest"]
    assert owner.unharmed()
    assert pictures(owner.events) == ["the owner's, whole", "the owner has two"]


@with_subshells
def test_a_cell_that_draws_beyond_the_owner_s(owner: Owner, guest: KernelConnection) -> None:
    execution = guest.start(Cell("plt.plot([9]); print('on'); time.sleep(1); plt.title('a guest')", if_busy="subshell"))
    unharmed: list[bool] = []
    assert while_it_runs(execution, lambda: unharmed.append(owner.unharmed())) == ["a guest"]
    assert unharmed and all(unharmed)


@with_subshells
def test_two_guests_at_once(owner: Owner, guest: KernelConnection, connect: Connect, plotting: str) -> None:
    other = connect(plotting)
    execution = guest.start(Cell("plt.plot([9]); print('on'); time.sleep(1); plt.title('a guest')", if_busy="subshell"))

    def draw() -> None:
        assert drawn(other, "plt.title('another')") == ["another"]
        look_busy(transport_of(other))

    assert while_it_runs(execution, draw) == ["a guest"]


@with_subshells
def test_the_interrupt_of_a_cell_that_draws(owner: Owner, guest: KernelConnection) -> None:
    execution = guest.start(Cell("plt.title('a guest'); print('on')\nwhile True: time.sleep(0.05)", if_busy="subshell"))
    assert while_it_runs(execution, execution.interrupt) == ["a guest"]
    assert execution.result is not None and isinstance(execution.result.error, RemoteError)


@with_subshells
def test_a_cell_that_is_left(owner: Owner, guest: KernelConnection) -> None:
    with pytest.raises(TimedOut):
        guest.execute("plt.title('a guest'); time.sleep(1.5)", timeout=0.7, if_busy="subshell")
    guest.close()


@with_subshells
def test_a_fetch_leaves_a_durable_cell_its_plot(
    guest: KernelConnection, owners: KernelConnection, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    code = DRAWS.format(go=str(go)).replace("while not", "print('on')\nwhile not")
    execution = guest.start(Cell(code, durable=True))
    events = []
    kept = execution.durable
    assert kept is not None
    for event in execution:
        events.append(event)
        if isinstance(event, Stream):
            wait_for(lambda: kept.armed, "the kernel's word that it keeps")
            kept.spool.hold()
            kept.tick(time.monotonic())
            wait_for(lambda: len(execution.inbox), "the chunk")
            go.touch()
    assert pictures(events) == ["the owner's, whole"]
    assert any(isinstance(event, ExecuteResult) for event in events)


@with_subshells
def test_a_subshell_whose_guest_was_killed_goes_by_itself(
    owners: KernelConnection, guest: KernelConnection, owner: Owner, plotting: str
) -> None:
    subshell = Subshell(transport_of(guest), "a.ipynb")
    there = "[t.kernel_bridge_guest for t in __import__('threading').enumerate() if hasattr(t, 'kernel_bridge_guest')]"
    age = f"[(vars(g).update(last=-1000.0), g.in_shell_channel(0, g.look)) for g in {there}]"
    assert subshell.thread
    ask_aside(transport_of(guest), evaluate_content(value=f"len({age})"))

    def left() -> str:
        reply = ask_aside(transport_of(guest), evaluate_content(value=f"len({there})"))
        return str(reply["user_expressions"]["value"]["data"]["text/plain"])

    wait_for(lambda: left() == "0", "its end")
    look_busy(transport_of(guest))


@with_subshells
@pytest.mark.parametrize("code", ["1 + 1", "1 / 0"])
def test_a_kernel_without_matplotlib_gets_none(connect: Connect, own_kernel: str, tmp_path: Path, code: str) -> None:
    owners, guest = connect(own_kernel), connect(own_kernel)
    guest.execute("1")
    owner = Owner(owners, tmp_path / "go")
    with contextlib.suppress(RemoteError):
        guest.execute(code, if_busy="subshell")
    assert owner.unharmed()
    loaded = "sorted(m for m in __import__('sys').modules if 'matplotlib' in m and 'inline' not in m)"
    assert owners.execute(loaded).text == "[]"


@with_subshells
def test_whoever_brings_matplotlib_each_gets_their_own(connect: Connect, own_kernel: str, tmp_path: Path) -> None:
    owners, guest, go = connect(own_kernel), connect(own_kernel), tmp_path / "go"
    guest.execute("1")
    begun = tmp_path / "begun"
    code = "import os, time\nwhile not os.path.exists({go!r}): time.sleep(0.05)\n" + PLOTS
    code += f"plt.title('the owner has one'); open({str(begun)!r}, 'w').close()\n'main is done'"
    owner = Owner(owners, go, code)
    text = f"import os, time\n{PLOTS}\nplt.title('a guest'); open({str(go)!r}, 'w').close()\n"
    text += f"while not os.path.exists({str(begun)!r}): time.sleep(0.02)"
    assert drawn(guest, text) == ["a guest"]
    assert owner.unharmed()
    assert pictures(owner.events) == ["the owner has one"]

"""Tab and Shift-Tab in cells of ours, in an IPython shell beside a real server."""

from __future__ import annotations

import random
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.introspection import Introspection
from kernel_bridge_magic.ipython.completion import TypingHelp
from kernel_bridge_magic.transports.base import Transport
from kernel_bridge_magic.transports.main_shell import MainShell
from tests.support.servers import JupyterServer, wait_for
from tests.support.shells import bridged_shell, private_shell, run
from tests.support.transports import connect_over, found, transport_of

Found = list[tuple[int, int, str, str]]

#: what the other kernel has, and this one has not
THERE = """
import collections, os
class Thing:
    'doc of Thing, which is only there'
    alpha_there = 1
    def beta_there(self, x): 'doc of beta'
thing_there = Thing()
dict_there = {'key there': 1, 'other': {'inner': 2}, 3: 4}
größe_there = [1, 2]
"""
#: fifty cells, as people write them
CELLS = [
    "thing_there.al",
    "thing_there.alpha_there.bit_length()",
    "x = thing_there.beta_there(thing_there.alpha_there)",
    "dict_there['key there']",
    'dict_there["other"]["inner"]',
    "dict_there[",
    "s = '😀𝒳🇳🇴'; thing_there.alpha_there",
    "# 😀 a comment\nthing_there.alpha_there  # 👩‍🔬 thing_there.",
    "größe_there.append(größe_there[0])",
    "größe_there.co",
    "%time thing_there.alpha_there",
    "%timeit -n 1 thing_there.al",
    "%%time\nfor i in range(3):\n    thing_there.al",
    "%%timeit -n 1\nthing_there.beta_there",
    "%%bash\necho $HOME; ls /usr/lo",
    "%%writefile x.txt\nthing_there.al",
    "%cd /us",
    "%load_ext auto",
    "%matplotlib in",
    "!ls /us",
    "files = !ls /tm",
    "!echo {thing_there.alpha_there}",
    "\n\n\nthing_there.al",
    "\n   \n\nimport os\nos.path.jo",
    "import collections\ncollections.Ord",
    "from os import pa",
    "from collections import (\n    OrderedDict,\n    def",
    "import o",
    "def f(thing_there):\n    thing_there.\n    return 1",
    "class A(Thing):\n    def g(self):\n        return self.al",
    "lambda q: q.re",
    "[thing_there.al for _ in range(3)]",
    "{'a': thing_there.be}",
    "f'{thing_there.al} and {dict_there[\"ot'",
    "thing_there.alpha_there if thing_there else thing_the",
    "x = (1 +",
    "def broken(:\n    thing_there.al",
    "'an unfinished string thing_there.al",
    '"""a text\nof lines thing_there.al\n"""\nthing_there.al',
    "print(thing_there.alpha_there, sep='', en",
    "thing_there.beta_there(x=",
    "open('/usr/lo",
    "\\alpha",
    "x\\bigcap",
    "\\GREEK SMALL LETTER ALP",
    "await thing_there.al",
    "with open('x') as file:\n\tfile.wri",
    "x = 1\n" * 40 + "thing_there.al\n" + "y = 2\n" * 40,
    "thing_there.alpha_there" + " + thing_there.alpha_there" * 30,
    "f <- function(x) {\n  thing_there$al\n}\nggplot(df, aes(x = on",
    "SELECT thing_there FROM table_there WHERE a = 'x'\r\nGROUP BY al",
]
POSITIONS = 250
HEADS = ["%%remote shared\n", "\n \n%%remote -q shared.ipynb\n", "%%remote --timeout 5m 'shared'  # 😀\n"]
#: of IPython in the other kernel
OPTIONS = "get_ipython().Completer"
UNKNOWN = "<unknown>"  # a type that it has not found in time, which another time it finds


LEAKS = ["thing_‸", "dict_here['‸", "only_‸", "pri‸", "%tim‸", "open('/‸", "‸", "import o‸", "thing_here.‸"]


def complete(shell: InteractiveShell, marked: str) -> Found:
    """What Tab gives at the ‸."""
    text, cursor = marked.replace("‸", ""), marked.index("‸")
    with provisionalcompleter():
        return [(it.start, it.end, it.text, it.type) for it in shell.Completer.completions(text, cursor)]


def texts(shell: InteractiveShell, marked: str) -> list[str]:
    return [text for _, _, text, _ in complete(shell, marked)]


def typing_help(shell: InteractiveShell) -> TypingHelp:
    found: TypingHelp = shell.Completer.completions.__self__
    return found


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found is the matter here, and not how fast a machine is that is busy with other tests."""
    monkeypatch.setattr("kernel_bridge_magic.ipython.completion._SECONDS", 60.0)
    monkeypatch.setattr("kernel_bridge_magic.ipython.completion._FIND_SECONDS", 60.0)


# -- with a shell of their own. There can be one at a time, and the one that the others share stays until their end


def test_no_name_of_here_where_nothing_is_connected(jupyter_server: JupyterServer, tmp_path: Path) -> None:
    with bridged_shell(tmp_path, jupyter_server.runtime_dir) as shell:
        shell.user_ns["only_here"] = 1
        for leak in LEAKS:
            assert complete(shell, f"%%remote shared\n{leak}") == []
        assert shell._kernel_bridge_magics.opened is None, "nothing was even loaded"


@pytest.fixture
def inspecting(
    jupyter_server: JupyterServer, shared_kernel: str, tmp_path: Path
) -> Iterator[tuple[InteractiveShell, Any]]:
    """A shell that an ipykernel has, as far as documentation is concerned."""
    asked: list[tuple[Any, ...]] = []

    def do_inspect(code: str, cursor_pos: int, detail_level: int = 0, omit_sections: tuple[str, ...] = ()) -> Any:
        asked.append((code, cursor_pos, detail_level))
        return {"status": "ok", "found": True, "data": {"text/plain": "of here"}, "metadata": {}}

    with private_shell(tmp_path) as shell, pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_RUNTIME_DIR", str(jupyter_server.runtime_dir))
        kernel = types.SimpleNamespace(do_inspect=do_inspect, asked=asked)
        shell.kernel = kernel
        shell.run_line_magic("load_ext", "kernel_bridge_magic")
        del shell.kernel  # from here on it is a terminal's shell
        run(shell, f"%%remote -q shared\n{THERE}")
        yield shell, kernel
        shell.run_line_magic("unload_ext", "kernel_bridge_magic")
        assert kernel.do_inspect is do_inspect


def inspect(kernel: Any, marked: str, detail_level: int = 0) -> str:
    told = kernel.do_inspect(marked.replace("‸", ""), marked.index("‸"), detail_level, omit_sections=())
    assert told["status"] == "ok" and told["found"] is bool(told["data"])
    return str(told["data"].get("text/plain", ""))


def test_documentation_is_the_other_kernel_s(inspecting: tuple[InteractiveShell, Any]) -> None:
    shell, kernel = inspecting
    shell.user_ns["only_here"] = 1
    assert "which is only there" in inspect(kernel, "%%remote shared\nThing‸")
    assert "doc of beta" in inspect(kernel, "%remote shared thing_there.beta_there‸")
    sources = [inspect(kernel, "%%remote shared\ncollections.Counter.most_common‸", level) for level in (0, 1)]
    assert ["nlargest" in source for source in sources] == [False, True]
    for nothing in ("%%remote shared\nonly_here‸", "%%remote nosuch\nonly_here‸", "%%remote shared,x\nonly_here‸"):
        assert inspect(kernel, nothing) == ""
    assert kernel.asked == []
    for here in ("only_here‸", "%%remote‸ shared\nx", "%%remote?‸", "%%remote -i only_here‸ shared\nx"):
        assert inspect(kernel, here) == "of here"
    run(shell, "%autoremote -q shared")
    assert "which is only there" in inspect(kernel, "Thing‸")
    run(shell, "%autoremote off")
    assert inspect(kernel, "Thing‸") == "of here"


def test_what_the_shell_had_is_as_it_was(tmp_path: Path) -> None:
    with private_shell(tmp_path) as shell:
        before = dict(vars(shell.Completer))
        shell.run_line_magic("load_ext", "kernel_bridge_magic")
        assert isinstance(typing_help(shell), TypingHelp)
        first = typing_help(shell)
        shell.run_line_magic("reload_ext", "kernel_bridge_magic")
        assert typing_help(shell) is not first
        shell.run_line_magic("unload_ext", "kernel_bridge_magic")
        assert vars(shell.Completer).keys() == before.keys() and "completions" not in vars(shell.Completer)


def test_a_kernel_that_is_no_ipykernel(tmp_path: Path) -> None:
    with private_shell(tmp_path) as shell:
        shell.kernel = types.SimpleNamespace()
        shell.run_line_magic("load_ext", "kernel_bridge_magic")
        assert complete(shell, "%%remote x\npri‸") == []
        shell.run_line_magic("unload_ext", "kernel_bridge_magic")
        assert vars(shell.kernel) == {}


def test_who_has_wrapped_ours_stays(tmp_path: Path) -> None:
    with private_shell(tmp_path) as shell:
        shell.user_ns["only_here"] = 1
        shell.run_line_magic("load_ext", "kernel_bridge_magic")
        ours = shell.Completer.completions

        def theirs(text: str, offset: int) -> Any:
            return ours(text, offset)

        shell.Completer.completions = theirs
        assert complete(shell, "%%remote x\nonly_her‸") == []
        shell.run_line_magic("reload_ext", "kernel_bridge_magic")
        assert complete(shell, "%%remote x\nonly_her‸") == []
        shell.run_line_magic("unload_ext", "kernel_bridge_magic")
        assert shell.Completer.completions is theirs
        assert "only_here" in texts(shell, "%%remote x\nonly_her‸"), "ours lets everything through"


# -- with one shell


@pytest.fixture(scope="module")
def shell(
    jupyter_server: JupyterServer, shared_kernel: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InteractiveShell]:
    with bridged_shell(tmp_path_factory.mktemp("completion"), jupyter_server.runtime_dir) as shell:
        shell.user_ns.update(thing_here=1, only_here=2, dict_here={"key here": 1}, _hidden_here=3)
        run(shell, f"%%remote shared\n{THERE}")
        yield shell


def own_answer(asked: Transport, code: str, cursor: int) -> Found:
    """What the kernel answers another client."""
    reply = asked.ask("complete_request", {"code": code, "cursor_pos": cursor}, seconds=60)
    assert reply is not None
    items = reply["metadata"].get("_jupyter_types_experimental", [])
    return [(it["start"], it["end"], it["text"], it["type"]) for it in items]


def test_at_250_positions_the_list_is_that_of_the_other_kernel(
    shell: InteractiveShell, jupyter_server: JupyterServer, shared_kernel: str
) -> None:
    chance = random.Random(20)
    # Most people press Tab at the end of what they type.
    places = [(code, chance.choice((len(code), chance.randint(0, len(code))))) for code in CELLS for _ in range(5)]
    assert len(CELLS) >= 50 and len(places) >= POSITIONS
    direct, transport = connect_over(jupyter_server, found(jupyter_server, shared_kernel), "zmq")
    nonempty = typed = 0
    with direct:
        # Jedi takes half a minute for all: it is asked at some of them.
        for jedi, some in ((False, places), (True, places[::26])):
            direct.execute(f"{OPTIONS}.use_jedi, {OPTIONS}.jedi_compute_type_timeout = {jedi}, 20")
            for number, (code, cursor) in enumerate(some):
                head = HEADS[number % len(HEADS)]
                wanted = own_answer(transport, code, cursor)
                shifted = [(len(head) + start, len(head) + end, *more) for start, end, *more in wanted]
                got = complete(shell, head + code[:cursor] + "‸" + code[cursor:])
                assert [one[:3] for one in got] == [one[:3] for one in shifted], (code, cursor)
                kinds = [(ours[3], theirs[3]) for ours, theirs in zip(got, shifted, strict=True)]
                known = [(ours, theirs) for ours, theirs in kinds if UNKNOWN not in (ours, theirs)]
                assert all(ours == theirs for ours, theirs in known), (code, cursor)
                nonempty, typed = nonempty + bool(wanted), typed + len(known)
        direct.execute(f"{OPTIONS}.use_jedi, {OPTIONS}.jedi_compute_type_timeout = True, 400")
    assert nonempty > POSITIONS / 3 and typed > POSITIONS, "or it shows nothing"


@pytest.mark.parametrize(
    ("marked", "texts_there"),
    [
        ("%remote shared thing_there.al‸", ["alpha_there"]),
        ("x = %remote -q 'shared' thing_there.al‸ + 1", ["alpha_there"]),
        ("a = 1\n%remote shared thing_there.be‸\nb = 2", ["beta_there"]),
        ("%%time\n%remote shared thing_there.al‸", ["alpha_there"]),
        ("%%remote $where\nthing_there.al‸", ["alpha_there"]),
        ("%%remote {where}\nthing_there.al‸", ["alpha_there"]),
    ],
)
def test_other_ways_to_say_where(shell: InteractiveShell, marked: str, texts_there: list[str]) -> None:
    shell.user_ns["where"] = "shared"
    assert texts(shell, marked) == texts_there
    start, end, *_ = complete(shell, marked)[0]
    assert marked.replace("‸", "")[start:end] == marked[marked.index(".") + 1 : marked.index("‸")]


def test_no_code_runs_for_a_tab(shell: InteractiveShell) -> None:
    shell.user_ns["ran"] = []
    assert texts(shell, "%%remote {ran.append(1)}\nthing_‸") == [] and shell.user_ns["ran"] == []
    assert texts(shell, "%%remote $nosuch\nthing_‸") == []

    class Watched:
        def __getattr__(self, name: str) -> object:
            return ran.append(name)

    ran = shell.user_ns["ran"]
    shell.user_ns["watched"] = Watched()
    assert texts(shell, "%%remote $watched\nthing_‸") == [] and ran == []
    (shell.user_ns["it"],) = shell._kernel_bridge_magics.bridge.kernels("shared.ipynb")
    assert texts(shell, "%%remote $it\nthing_there.al‸") == ["alpha_there"]


def test_a_fault_in_the_search_is_not_printed(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(*args: object) -> None:
        raise RuntimeError("a fault")

    printed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", printed.append)
    monkeypatch.setattr(shell._kernel_bridge_magics.bridge, "find", find)
    assert complete(shell, "%%remote never\nthing_‸") == [] and printed == []


def test_no_thread_can_be_started(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert complete(shell, "%%remote hared.ipyn\nthing_there.al‸") == []
    assert texts(shell, "%%remote hared.ipyn\nthing_there.al‸") == ["alpha_there"]


# -- nothing of here where the other kernel says nothing


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("line", ["nosuch", "--all shared", "shared,nosuch", "", "--nosuch shared", "-s nosuch shared"])
def test_no_name_of_here_where_nobody_or_several_are_meant(shell: InteractiveShell, line: str, leak: str) -> None:
    assert complete(shell, f"%%remote {line}\n{leak}") == []


def test_no_name_of_here_where_two_are_meant(
    shell: InteractiveShell,
    jupyter_server: JupyterServer,
    own_kernel: str,
    shared_kernel: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = {"path": "twin/shared.ipynb", "name": "", "type": "notebook", "kernel": {"id": own_kernel}}
    session = jupyter_server.rest("POST", "api/sessions", model)
    monkeypatch.setattr(
        "kernel_bridge_magic.ipython.completion._FRESH_SECONDS", 0.0
    )  # as if a while had passed since the last one
    search = shell._kernel_bridge_magics.bridge.search
    try:
        search.forget()
        for leak in LEAKS:
            assert complete(shell, f"%%remote share\n{leak}") == []  # a name that no other test has
        assert complete(shell, f"%%remote {shared_kernel}\nthing_‸")
    finally:
        jupyter_server.rest("PATCH", f"api/sessions/{session['id']}", {"path": f"{session['id']}.ipynb"})
        search.forget()


def test_no_name_of_here_where_the_other_has_none(shell: InteractiveShell) -> None:
    assert complete(shell, "%%remote shared\nonly_her‸") == []
    assert "key here" not in texts(shell, "%%remote shared\ndict_here['‸")
    assert complete(shell, "%%remote shared\nthing_here.‸") == []


@pytest.fixture
def asked(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The types of all messages that go to the other kernel."""
    sent: list[str] = []
    (connection,) = [it for it in shell._kernel_bridge_magics.bridge.pool.connections if it.is_open]
    transport = transport_of(connection)
    send = transport.send

    def counting(msg_type: str, *more: Any, **options: Any) -> str:
        sent.append(msg_type)
        return send(msg_type, *more, **options)

    monkeypatch.setattr(transport, "send", counting)
    return sent


@pytest.fixture
def busy(jupyter_server: JupyterServer, shared_kernel: str, shell: InteractiveShell, tmp_path: Path) -> Iterator[None]:
    """Another client's cell runs in the other kernel."""
    (connection,) = [it for it in shell._kernel_bridge_magics.bridge.pool.connections if it.is_open]
    go = tmp_path / "go"
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)"
    theirs, _ = connect_over(jupyter_server, found(jupyter_server, shared_kernel), "zmq")
    with theirs:
        execution = theirs.start(Cell(code))
        wait_for(lambda: connection.busy_since, "that it is busy")
        yield
        go.touch()
        for _ in execution:
            pass
    wait_for(lambda: not transport_of(connection).main_shell.is_running, "that it is idle")


def test_a_busy_kernel_is_asked_nothing_and_gives_nothing(
    shell: InteractiveShell, asked: list[str], busy: None
) -> None:
    for leak in LEAKS:
        assert complete(shell, f"%%remote shared\n{leak}") == []
    assert complete(shell, "%remote shared thing_‸") == []
    assert asked == []


def test_a_slow_kernel_is_asked_once_and_gives_nothing(
    shell: InteractiveShell, asked: list[str], busy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kernel_bridge_magic.ipython.completion._SECONDS", 0.2)
    monkeypatch.setattr(MainShell, "is_running", False)  # as if nobody had heard that it is busy
    for leak in LEAKS:
        assert complete(shell, f"%%remote shared\n{leak}") == []
    assert asked == ["complete_request"]


def test_its_late_answer_is_no_answer_to_the_next_question(shell: InteractiveShell, asked: list[str]) -> None:
    assert texts(shell, "%%remote shared\nthing_there.al‸") == ["alpha_there"]
    assert asked == ["complete_request"]


def test_ctrl_c_ends_the_wait_with_nothing(shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch) -> None:
    def complete_(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Introspection, "complete", complete_)
    assert complete(shell, "%%remote shared\nthing_‸") == []


# -- the line of a magic


def test_kernels_come_behind_the_magic(shell: InteractiveShell) -> None:
    for line in ("%%remote sha‸", "%remote sha‸", "%kernels sha‸", "%autoremote sha‸", "%kernels --restart sha‸"):
        start = line.index("sha")
        (offer,) = complete(shell, line)
        assert offer[:3] == (start, start + 3, "shared") and offer[3].isidentifier()
    assert texts(shell, "%%remote a, sha‸") == ["a,shared"]
    assert texts(shell, "%%remote 'sha‸") == ["shared"]
    assert "off" in texts(shell, "%autoremote ‸")
    assert complete(shell, "%%remote only_he‸") == []
    assert texts(shell, "%kernels --start sha‸") == [], "it names a kernel that does not run yet"


def test_options_and_their_values(shell: InteractiveShell, jupyter_server: JupyterServer) -> None:
    name = f"localhost:{jupyter_server.port}"
    assert complete(shell, "%%remote --if‸") == [(9, 13, "--if-busy", "option")]
    assert texts(shell, "%%remote --if-busy ‸") == ["wait", "fail", "skip", "subshell"]
    assert texts(shell, "%%remote --transport=z‸") == ["zmq"]
    assert complete(shell, "%kernels -s loc‸") == [(12, 15, name, "server")]
    assert complete(shell, "%%remote --timeout ‸") == []
    assert texts(shell, f"%%remote {name}::sha‸") == [f"{name}::shared"]


def test_names_of_here_that_go_there(shell: InteractiveShell) -> None:
    found = texts(shell, "%%remote -i ‸")
    assert {"thing_here", "only_here"} <= set(found) and not {"_hidden_here", "In", "Out", "exit"} & set(found)
    assert texts(shell, "%%remote -i thing_here,on‸") == ["thing_here,only_here"]
    assert texts(shell, "%%remote -i new=on‸") == ["new=only_here"]
    assert texts(shell, "%%remote -i 'thing_here, on‸") == ["thing_here,only_here"]


@pytest.mark.parametrize(
    "marked",
    ["only_h‸", "print(only_h‸", "%%time\nonly_h‸", "x = 1\nonly_h‸", "%%capture c\nonly_h‸", "!echo {only_h‸"],
)
def test_all_else_is_ipython_s(shell: InteractiveShell, marked: str) -> None:
    assert "only_here" in texts(shell, marked)
    assert "%%remote" in texts(shell, "%%rem‸")


# -- under %autoremote


def test_under_autoremote_the_whole_cell_is_the_other_kernel_s(shell: InteractiveShell) -> None:
    run(shell, "%autoremote shared")
    try:
        assert complete(shell, "thing_there.al‸") == [(12, 14, "alpha_there", complete(shell, "thing_there.al‸")[0][3])]
        assert texts(shell, "x = 1\n\nthing_there.be‸") == ["beta_there"]
        assert complete(shell, "only_her‸") == []
        assert not {"only_here", "thing_here"} & set(texts(shell, "\n‸"))
        assert "only_here" in texts(shell, "%%local\nonly_her‸")
        assert texts(shell, "%kernels sha‸") == ["shared"]
        for wrong in ("--nosuch shared", "-h", "--timeout never shared", "$nosuch"):  # no other kernel stands in
            assert complete(shell, f"%%remote {wrong}\nthing_there.al‸") == []
    finally:
        run(shell, "%autoremote off")
    assert "only_here" in texts(shell, "only_her‸")


# -- the warm-up


def test_only_a_cell_where_somebody_can_press_tab_warms_up(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch
) -> None:
    warmed: list[str] = []
    monkeypatch.setattr(Introspection, "warm_up", lambda self: warmed.append("up"))
    run(shell, "%%remote shared\n1")  # there is no terminal here
    assert warmed == []
    monkeypatch.setattr("kernel_bridge_magic.display.terminal.TerminalSink.can_ask", True)
    run(shell, "%remote shared 1")
    run(shell, "%%remote --all shared\n1")
    run(shell, "%%remote --bg shared\n1")
    assert warmed == []
    run(shell, "%%remote shared\n1")
    run(shell, "%%remote --no-raise-error shared\n1/0")
    assert warmed == ["up", "up"]


def test_the_transport_is_that_of_the_last_cell(shell: InteractiveShell) -> None:
    (connection,) = [it for it in shell._kernel_bridge_magics.bridge.pool.connections if it.is_open]
    before = transport_of(connection)
    assert texts(shell, "%%remote shared\nthing_there.al‸") == ["alpha_there"]
    assert transport_of(connection) is before

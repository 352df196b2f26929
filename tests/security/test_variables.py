"""Variables of a hostile kernel: what they do to whoever reads them, and what is sent to get them (T19, T21).

Each payload is read in a process of its own, with a bound on its memory: that one may end, and this one says why.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import functools
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

if not os.environ.get("CI"):
    for _name in ("numpy", "pandas", "polars", "pyarrow", "PIL"):
        pytest.importorskip(_name)

from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.connection.connection import KernelConnection
from kernel_bridge_magic.connection.copying import Copying
from kernel_bridge_magic.errors import BadOption, BadVariable, KernelBridgeError
from kernel_bridge_magic.models import Kernel, Session
from kernel_bridge_magic.remote_code import languages, spool
from kernel_bridge_magic.remote_code import variables as remote
from kernel_bridge_magic.remote_code.codec import codec
from kernel_bridge_magic.transfer.exchange import Exchange
from kernel_bridge_magic.transfer.get import INLINE, Getting
from kernel_bridge_magic.transfer.variables import Variables, variables_with
from tests.support.other_kernel import OtherKernel
from tests.support.payloads import MIB, MOST, Payload, honest, many, payloads
from tests.support.servers import wait_for
from tests.support.tables import EXAMPLES as TABLES
from tests.support.tables import same_table
from tests.support.transports import transport_of
from tests.support.values import EXAMPLES, same

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="bounds the memory of a process as Linux does")
#: bytes that reading may take beyond those that came and those that they may become
MARGIN = 32 * MIB
#: bytes of addresses: whoever reserves more has believed a size
ADDRESSES = 512 * MIB
SECONDS = 30


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with contextlib.closing(Nursery()) as nursery:
        yield nursery


class Nursery:
    """A process that has imported everything, and reads each payload in a child of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", __file__],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, name: str) -> dict[str, Any]:
        """Return what became of a payload."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(name, file=self._process.stdin, flush=True)
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def close(self) -> None:
        self._process.communicate(timeout=30)


def each_payload() -> list[Any]:
    return list(payloads(""))


@linux_only
@pytest.mark.parametrize("name", each_payload())
def test_t19_a_hostile_variable_is_one_plain_error(name: str, nursery: Nursery) -> None:
    told = nursery.read(name)
    assert told["status"] == 0, told
    assert told["error"] == "ours", told
    assert "\n" not in told["text"] and len(told["text"]) < 1500 and told["text"].isprintable(), told
    assert not told["bound"] and not told["ran"] and not told["canary"], told
    assert not told["memory"] and told["grown"] <= 3 * MOST + MARGIN, told
    assert told["stderr"] == "", told


@linux_only
def test_an_honest_variable_is_read_and_bound(nursery: Nursery) -> None:
    told = nursery.read("")
    assert (told["status"], told["error"], told["bound"]) == (0, "", ["x"]), told


@linux_only
@pytest.mark.parametrize("name", many())
def test_t19_many_small_values_take_about_what_is_counted(name: str, nursery: Nursery) -> None:
    told = nursery.read(name)
    assert (told["status"], told["error"], told["bound"]) == (0, "", ["x"]), told
    assert told["grown"] <= 3 * MOST + MARGIN, told


# -- a kernel of another user's

Connect = Callable[[str], KernelConnection]


@pytest.fixture
def sandboxed(connect: Connect, shared_kernel: str) -> Iterator[KernelConnection]:
    """A connection to a kernel whose server is not the user's own, over each transport."""
    kernel = connect(shared_kernel)
    assert kernel.kernel.server is not None
    kernel.kernel = replace(kernel.kernel, server=replace(kernel.kernel.server, source="added"))
    assert not kernel.kernel.is_yours
    yield kernel
    # What waited there may be dropped by a request beside the main shell.
    held = "'kernel_bridge_held' in vars(get_ipython())"
    wait_for(lambda: kernel.execute(held).text == "False", "a kernel that holds nothing of ours", 20)


@pytest.mark.parametrize("kind", [*EXAMPLES, *(f"table {name}" for name in TABLES)])
def test_t19_safe_formats_go_to_a_sandboxed_kernel_and_come_back(kind: str, sandboxed: KernelConnection) -> None:
    is_table = kind.startswith("table ")
    value: Any = TABLES[kind.removeprefix("table ")]() if is_table else EXAMPLES[kind]()
    sandboxed.put("x_there", value)
    found = sandboxed.get("x_there")
    assert same_table(found, value) if is_table else same(found, value)


def test_t19_large_ones_go_in_pieces_and_by_no_file(
    sandboxed: KernelConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*place: Any) -> None:
        pytest.fail("a file of a sandboxed kernel was opened")

    monkeypatch.setattr(codec(), "open_shared", opened)
    monkeypatch.setattr(codec(), "share", opened)
    value = bytes(range(256)) * 20_000
    sandboxed.put("x_there", value)
    assert sandboxed.get("x_there") == value


def test_t19_a_sandboxed_kernel_is_sent_nothing_where_pickles_are_asked_for(
    sandboxed: KernelConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandboxed.execute("x_there = {'a': 1}")
    sent: list[Any] = []
    monkeypatch.setattr(transport_of(sandboxed), "send", lambda *what, **more: sent.append(what))
    cells = [
        Cell("x_there = 2", variables=Variables(wanted={"x": "x_there"}, pickles=True)),
        Cell("x_there = 2", variables=variables_with({"x_there": 3}, pickles=True)),
    ]
    asked: list[Callable[[], Any]] = [
        lambda: sandboxed.get("x_there", pickle=True),
        lambda: sandboxed.put("x_there", 1, pickle=True),
        *(functools.partial(sandboxed.start, cell) for cell in cells),
    ]
    for ask in asked:
        with pytest.raises(BadOption, match="sandboxed"):
            ask()
    assert not sent
    monkeypatch.undo()
    assert sandboxed.get("x_there") == {"a": 1}


def test_t19_a_pickle_that_a_sandboxed_kernel_sends_is_not_read(
    sandboxed: KernelConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its codec is told to pickle, as if it were another one."""
    real = remote.give
    monkeypatch.setattr(
        remote, "give", lambda names, token, order, kept: real(names, token, replace(order, pickles=True), kept)
    )
    sandboxed.execute("class Odd_there: pass\nx_there = [Odd_there]")
    with pytest.raises(BadVariable, match="is a pickle, which nobody has asked for"):
        sandboxed.get("x_there")


# -- the code that is sent

FRAGMENTS = (
    *("'", '"', "\\", "'''", '"""', "\n", "\r", "\0", "\t", "\x1b[2J", "\u2028", "\u202e", "\ud800", "\N{PILE OF POO}"),
    *("é", "{0}", "{", "}}", "%s", "%(x)s", "$x", "`id`", "$(id)", "; import os; os.system('id')", "#", "]]>", "<b>"),
    *("')) or __import__('os').system('id') #", ".loads('[]'))", "))(__import__('builtins'), {})", "../../etc/passwd"),
    *("/dev/stdin", "C:\\x", "get_ipython()", "%%bash\nid", "!id", "?", "name=OTHER", " ", "x" * 300, "df", ".ipynb"),
)


#: What stands before the values in each request, and nowhere in the code before it.
LITERAL = "(*b.__import__('json').loads("


def hostile_texts(count: int) -> list[str]:
    """Return so many names, titles and paths, all of them different."""
    chance, found = random.Random(21), dict.fromkeys(FRAGMENTS)
    while len(found) < count:
        found.setdefault("".join(chance.choices(FRAGMENTS, k=chance.randrange(2, 6))))
    return list(found)


def without_values(content: Mapping[str, Any], *values: str) -> str:
    """Return the code of a request but for its one literal, which must be JSON that holds these values."""
    (expression,) = content["user_expressions"].values()
    head = expression.index(LITERAL) + len(LITERAL)
    end = expression.rindex(")))(__import__('builtins'), {})")
    literal = ast.parse(expression[head:end], mode="eval").body
    assert isinstance(literal, ast.Constant) and isinstance(literal.value, str) and literal.value.isascii()
    found = flattened(json.loads(literal.value))
    assert all(value in found for value in values)
    return f"{content['code']}\0{expression[:head]}\0{expression[end:]}"


def flattened(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return flattened([*value, *value.values()])
    return [inner for item in value for inner in flattened(item)] if isinstance(value, list) else [value]


def test_t21_five_thousand_hostile_texts_change_no_code() -> None:
    texts = hostile_texts(5000)
    assert len(set(texts)) == 5000
    codes: set[str] = set()
    # The codec is a text of 100 kB: each of its requests takes ten of them.
    for some in zip(*[iter(texts)] * 10, strict=True):
        a, b, c, d, *names = some
        order = remote.Order({a: b}, 7, 7, folder=c)
        codes |= {
            without_values(remote.ask(remote.give(names, d, order)), *some),
            without_values(remote.bind(names[0], [7], 7, order, data=d, place=names), *some),
            without_values(remote.expect(a, 7), a),
        }
    for text in texts:
        codes |= {
            without_values(remote.post(text, 1, 2, 1), text),
            without_values(remote.piece(text, 1, 2), text),
            without_values(remote.checksum(text, 2), text),
            without_values(remote.fill(text, 1, 7, text), text),
            without_values(remote.drop(text), text),
            without_values(spool.arm(text), text),
            without_values(spool.fetch(text, 1), text),
            languages.r_request([text], [text], 7)["code"],
        }
        whole = text.encode(errors="replace").decode()
        words = languages.bash_words([whole], {whole: whole})
        assert re.fullmatch("p:[A-Za-z0-9+/=]*:[A-Za-z0-9+/=]*", words)
        codes.add(languages.bash_request(words)["code"].replace(words, "", 1))
    # Three about the whole of a copy, five about its pieces, two of the durable mode, R, and bash.
    assert len(codes) == 12


@pytest.mark.parametrize("text", [text for text in FRAGMENTS if len(text) > 4], ids=ascii)
def test_t21_neither_titles_nor_paths_of_a_kernel_are_sent(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = (Session(path=f"{text}.ipynb", name=text),)
    kernel = Kernel(id=text, name=text, sessions=sessions, connection_file=f"/{text}")
    there = OtherKernel(monkeypatch)
    there.namespace["df"] = [1]
    copied = Copying(there, kernel, Variables(wanted={"df": "df"}, by_file=False)).get()
    assert copied["df"].value == [1]
    (sent,) = there.of("execute_request")
    code = without_values(sent.content, "df")
    assert code == without_values(remote.ask(Getting({"df": "df"}, 7).expression))
    (expression,) = sent.content["user_expressions"].values()
    values = expression[expression.index(LITERAL) : expression.rindex(")))(__import__('builtins'), {})")]
    assert json.dumps(text)[1:-1] not in values and text not in values


# -- in a process of its own


def receive(payload: Payload, folder: str, memory: Callable[[], None]) -> dict[str, Any]:
    """Have a payload come as a kernel's answer, and return what it is bound to; `memory` is called right before."""
    whole = payload.whole()
    told = payload.answer(whole)
    came = bytes(whole)
    waits = payload.piece is not None or payload.file is not None or len(came) > INLINE
    if payload.file is not None:
        told["place"] = payload.file(folder, came)
    if not waits:
        told.setdefault("data", base64.b64encode(came).decode())
    text = json.dumps(told)
    there = OtherKernel(pytest.MonkeyPatch())
    there.namespace["x"] = None

    def piece(token: str, start: int, stop: int) -> bytes:
        honest_piece = came[start:stop]
        return honest_piece if payload.piece is None else payload.piece(start // MIB, honest_piece)

    def lie(asked: Any, answer: dict[str, Any]) -> dict[str, Any]:
        if len(there.sent) == 1:
            answer["user_expressions"][remote.NAME]["data"]["text/plain"] = text
            there.shell.kernel_bridge_held = SimpleNamespace(piece=piece, drop=lambda token: None)
        return answer

    there.answers = lie
    getting = Getting({"x": "x"}, MOST, folder=folder if payload.file is not None else None)
    exchange = Exchange(there, "it")
    request = remote.drop("")  # whatever it is, the answer is the lie
    memory()
    copied = getting.receive(exchange.ask(request), exchange, lambda done, total: None)
    return {name: one.value for name, one in copied.items()}


class Memory:
    """How much memory this process takes from `begin` on."""

    before = 0

    def begin(self) -> None:
        import resource

        Path("/proc/self/clear_refs").write_text("5")  # the peak is what it has now
        self.before = self._of("VmRSS")
        most = self._of("VmSize") + ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    def grown(self) -> int:
        return self._of("VmHWM") - self.before

    def _of(self, name: str) -> int:
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name + ":")]
        return int(line.split()[1]) << 10


def in_child(build: Callable[[], Payload], folder: str) -> dict[str, Any]:
    """Read a payload, and return what became of it."""
    memory, ran, watching = Memory(), [], False
    events = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class"}
    sys.addaudithook(lambda event, args: ran.append(event) if watching and event in events else None)
    payload = build()
    bound: dict[str, Any] = {}
    told: dict[str, Any] = {"error": "", "text": "", "memory": False}
    try:
        watching = True
        bound.update(receive(payload, folder, memory.begin))
    except KernelBridgeError as problem:
        told.update(error="ours", text=str(problem), memory=has_memory_error(problem))
    except BaseException as problem:
        told.update(error=type(problem).__name__, text="".join(traceback.format_exception(problem))[-3000:])
    watching = False
    return {**told, "grown": memory.grown(), "bound": list(bound), "ran": ran}


def has_memory_error(problem: BaseException | None) -> bool:
    while problem is not None:
        if isinstance(problem, MemoryError) or "MemoryError" in str(problem):
            return True
        problem = problem.__cause__ or problem.__context__
    return False


def fork(build: Callable[[], Payload], folder: str) -> dict[str, Any]:
    """Return what became of a payload in a child, also if that has ended in the middle."""
    out, into = os.pipe()
    with tempfile.TemporaryFile() as errors:
        began = time.monotonic()
        pid = os.fork()
        if not pid:
            os.dup2(errors.fileno(), 2)
            told = in_child(build, folder)
            os.write(into, json.dumps(told).encode())
            os._exit(0)
        os.close(into)
        if not select.select([out], [], [], SECONDS)[0]:
            os.kill(pid, signal.SIGKILL)
        with os.fdopen(out, "rb") as file:
            text = file.read()
        _, status = os.waitpid(pid, 0)
        errors.seek(0)
        stderr = errors.read().decode(errors="replace")[-2000:]
    took = round(time.monotonic() - began, 2)
    return {**(json.loads(text) if text else {}), "status": status, "seconds": took, "stderr": stderr}


def serve() -> None:
    """Read the payloads that are named on the standard input, one a line."""
    import numpy
    import pandas
    import PIL.Image
    import polars
    import pyarrow

    assert codec() and numpy and pandas and PIL.Image and polars and pyarrow
    with tempfile.TemporaryDirectory() as scratch:
        canary = os.path.join(scratch, "canary")
        every = {**payloads(canary), **many(), "": honest}
        for number, line in enumerate(sys.stdin):
            told = fork(every[line.rstrip("\n")], os.path.join(scratch, str(number)))
            print(json.dumps({**told, "canary": os.path.exists(canary)}), flush=True)


if __name__ == "__main__":
    serve()

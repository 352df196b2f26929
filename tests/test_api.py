"""The Python face, run for real."""

from __future__ import annotations

import ast
import asyncio
import builtins
import doctest
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import kernel_bridge_magic
from kernel_bridge_magic import (
    AmbiguousKernel,
    BadCell,
    BadInput,
    BadMatch,
    BadOption,
    Kernel,
    KernelConnection,
    KernelList,
    KernelNotFound,
    RemoteError,
    RemoteResult,
    RemoteValue,
    api,
    connect,
    kernels,
)
from kernel_bridge_magic.protocol.events import Stream
from tests.support.servers import JupyterServer

NO_DURATION = "is not a duration: use seconds (30), 5m or 2h, or none"


@pytest.fixture(autouse=True)
def here(jupyter_server: JupyterServer, shared_kernel: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process looks where the server writes its files, and begins with nothing known."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(jupyter_server.runtime_dir))
    api._bridge.cache_clear()
    yield
    api._bridge.cache_clear()


def test_kernels_are_listed_and_filtered(shared_kernel: str) -> None:
    found = kernels()
    assert isinstance(found, KernelList)
    assert shared_kernel in [kernel.id for kernel in found]
    assert [kernel.id for kernel in kernels("shared.ipynb")] == [shared_kernel]
    assert isinstance(found[0], Kernel)


def test_the_example_of_the_interface(own_kernel: str) -> None:
    with connect(own_kernel) as kernel:
        assert isinstance(kernel, KernelConnection)
        result = kernel.execute("class D:\n    shape = (2, 3)\ndf = D()\ndf.shape")
        assert isinstance(result, RemoteResult)
        assert isinstance(result.value, RemoteValue)
        assert str(result.value) == "(2, 3)"
        assert result.value.literal() == (2, 3)
        events = [event for event in kernel.stream("print('x', end='')") if isinstance(event, Stream)]
        assert events == [Stream("stdout", "x")]
        with pytest.raises(RemoteError) as raised:
            kernel.execute("1 / 0")
        assert raised.value.ename == "ZeroDivisionError"
        assert str(raised.value) == f"division by zero (in {kernel.kernel.title})"
    assert not kernel.is_open


@pytest.mark.parametrize("transport", ["auto", "zmq", "ws"])
def test_a_kernel_that_was_listed_is_connected_to(shared_kernel: str, transport: str) -> None:
    (found,) = kernels("shared.ipynb")
    with connect(found, transport=transport) as kernel:
        assert kernel.transport == ("zmq" if transport == "auto" else transport)
        assert kernel.execute("1").text == "1"


_ASK_FOR_ONESELF = """
import contextlib, io, json
from kernel_bridge_magic import KernelBridgeError, connect
from kernel_bridge_magic.cli.main import main
def answers(name):
    try:
        python = connect(name).kernel.title
    except KernelBridgeError as error:
        python = type(error).__name__
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()):
        status = main(["exec", "--json", "--kernel-match", name, "--code", "1"])
    model = json.loads(out.getvalue())
    return python, status, model["error"] and model["error"]["name"], [it["paths"] for it in model["candidates"]]
"""


def test_a_name_of_the_asking_notebook_is_no_other_kernel_s(own_kernel: str, jupyter_server: JupyterServer) -> None:
    with connect(own_kernel) as kernel:
        path = kernel.kernel.paths[0]
        stem = path.removesuffix(".ipynb")
        kernel.execute(_ASK_FOR_ONESELF)

        def ask(name: str) -> object:
            value = kernel.execute(f"answers({name!r})").value
            assert value is not None
            return ast.literal_eval(value.data["text/plain"])

        nearly, twin = f"{stem}2.ipynb", f"twins/{path}"
        started = [jupyter_server.start_kernel(path=nearly)]
        try:
            for name in (path, stem, own_kernel[:8]):
                assert ask(name) == ("OwnKernel", 2, "OwnKernel", [])
            assert ask(stem[1:]) == (nearly, 0, None, [])
            started.append(jupyter_server.start_kernel(path=twin))
            assert ask(stem) == ("AmbiguousKernel", 2, "AmbiguousKernel", [[twin]])
        finally:
            for kernel_id in started:
                jupyter_server.delete_kernel(kernel_id)


def test_connections_are_the_caller_s_own(shared_kernel: str) -> None:
    with connect("shared") as one, connect("shared") as two:
        assert one is not two
        one.close()
        assert two.execute("1").text == "1"


def test_each_thread_has_its_own_connection(shared_kernel: str) -> None:
    texts: list[str] = []

    def work(number: int) -> None:
        with connect("shared") as kernel:
            texts.append(kernel.execute(f"{number}").text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(texts) == ["0", "1", "2", "3"]


def test_it_works_beside_a_running_event_loop(shared_kernel: str) -> None:
    async def main() -> str:
        with connect("shared") as kernel:
            assert kernel.execute("1").text == "1"  # blocks, but works
            result = await asyncio.to_thread(kernel.execute, "40 + 2")
        return result.text

    assert asyncio.run(main()) == "42"


def test_what_is_not_there_or_not_clear_is_said(shared_kernel: str, own_kernel: str) -> None:
    with pytest.raises(KernelNotFound, match=r"no running kernel matches .*kernels\(\) lists them"):
        connect("no-such-notebook-anywhere")
    with pytest.raises(AmbiguousKernel) as raised:
        connect("python3")
    for selector, kernel in raised.value.candidates:
        assert [found.id for found in kernels(selector)] == [kernel.id]


@pytest.mark.parametrize("given", ["soon", 0, -1, float("nan"), "5 weeks"])
def test_a_time_to_wait_that_is_none_is_refused_before_anything_is_done(given: object) -> None:
    with pytest.raises(BadOption, match=r"^reconnect_timeout=.* is not a duration: use seconds \(30\), 5m or 2h"):
        connect("any", reconnect_timeout=given)  # type: ignore[arg-type] # somebody may


@pytest.mark.parametrize("given", [None, 3, b"shared", ["shared"], object()])
def test_a_match_that_is_no_text_is_refused(given: Any) -> None:
    with pytest.raises(BadMatch, match=r"^match is a text or a Kernel, not .{4,80}; nothing was sent$"):
        connect(given)
    with pytest.raises(BadMatch, match=r"^match is a text, not .{4,80}; nothing was sent$"):
        kernels(given)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"server": 3}, "server is a name or URL, not 3 (int); nothing was sent"),
        ({"server": b"x" * 1000}, f"server is a name or URL, not b'{'x' * 57}… (bytes); nothing was sent"),
        ({"transport": "tcp"}, "transport is one of auto, zmq, ws, not 'tcp'; nothing was sent"),
        ({"transport": None}, "transport is one of auto, zmq, ws, not None; nothing was sent"),
        ({"transport": []}, "transport is one of auto, zmq, ws, not []; nothing was sent"),
        (
            {"reconnect_timeout": []},
            "reconnect_timeout=[] is not a duration: use seconds (30), 5m or 2h, or none",
        ),
    ],
)
def test_an_option_of_a_wrong_type_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(BadOption) as raised:
        connect("shared", **options)
    assert str(raised.value) == told


@pytest.mark.parametrize(
    ("code", "options", "told"),
    [
        (None, {}, "code is a text, not None (NoneType); nothing was sent"),
        (b"print(1)", {}, "code is a text, not b'print(1)' (bytes); nothing was sent"),
        (["1"], {}, "code is a text, not ['1'] (list); nothing was sent"),
        ("1", {"timeout": "x"}, f"timeout='x' {NO_DURATION}"),
        ("1", {"timeout": True}, f"timeout=True {NO_DURATION}"),
        ("1", {"timeout": -1}, f"timeout=-1 {NO_DURATION}"),
        ("1", {"if_busy": None}, "if_busy is a word, not None (NoneType); nothing was sent"),
        ("1", {"durable": "no"}, "an option that is on or off is True or False, not 'no' (str); nothing was sent"),
    ],
)
def test_what_cannot_be_executed_is_refused_in_one_line(
    shared_kernel: str, code: Any, options: dict[str, Any], told: str
) -> None:
    with connect(shared_kernel) as kernel:
        with pytest.raises(BadInput) as raised:
            kernel.execute(code, **options)
        assert str(raised.value) == told
        assert isinstance(raised.value, BadOption if options else BadCell)
        if "timeout" in options or not options:
            with pytest.raises(type(raised.value)):
                kernel.stream(code, **options)  # not only when it is gone through


def test_a_timeout_may_be_a_text(shared_kernel: str) -> None:
    with connect(shared_kernel) as kernel:
        assert kernel.execute("print(6)\n7", timeout="1m").stdout == "6\n"


def test_how_long_a_lost_link_is_waited_for_goes_with_the_connection(shared_kernel: str) -> None:
    for given, seconds in ((None, None), ("10m", 600.0), (7, 7.0)):
        with connect(shared_kernel, reconnect_timeout=given) as kernel:
            assert kernel.reconnect_timeout == seconds
    with connect(shared_kernel) as kernel:
        assert kernel.reconnect_timeout == 300.0


def test_no_repr_holds_a_secret(jupyter_server: JupyterServer, shared_kernel: str) -> None:
    with connect("shared") as kernel:
        result = kernel.execute("1")
        shown = [repr(it) for it in (kernels(), kernel, kernel.kernel, result, result.value, api._bridge())]
    assert not [text for text in shown if jupyter_server.token in text]
    assert all(shown)


@pytest.mark.parametrize("module", [kernel_bridge_magic, api])
def test_the_examples_in_the_docstrings_run(module: object, own_kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # doctest leaves its `_` among the builtins, where IPython takes it for gettext's and gives up its own
    monkeypatch.setattr(builtins, "_", None, raising=False)
    outcome = doctest.testmod(module, extraglobs={"my_kernel": own_kernel})  # type: ignore[arg-type]
    assert outcome.failed == 0
    assert module is kernel_bridge_magic or outcome.attempted > 3

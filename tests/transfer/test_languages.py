"""Variables of kernels of other languages: a real bash, and a real R where there is one."""

from __future__ import annotations

import datetime
import math
import os
import queue
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from kernel_bridge_magic.errors import BadVariable, NotCopied
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.protocol.messages import Message, execute_content
from kernel_bridge_magic.transfer import languages
from kernel_bridge_magic.transfer.exchange import Exchange
from kernel_bridge_magic.transports.inbox import Inbox
from kernel_bridge_magic.transports.zmq import ZMQTransport

pandas = pytest.importorskip("pandas")
MOST = 10**8
# Where everything must hold, a missing R is a failure.
MAY_LACK_R = not shutil.which("R") and os.environ.get("CI") != "true"
needs_r = pytest.mark.skipif(MAY_LACK_R, reason="needs R with IRkernel and jsonlite")
HOSTILE = [
    "", " ", "\n", "a\n\n", "\n\na", "\t", " a  b ", "'", '"', "`id`", "$(id)", "${HOME}", "\\", "\\n", "\\\n", "a\\",
    "-n", "-e x", "--", "*", "~", "!", "!!", "#", "a;b&c|d>e<f", "é ü 日本 😀", "\x01\x02\x1b[31m", "\r\n", "%s%n",
    "$'x'", "=", "@x", "): kernel_bridge;", "EOF\nEOF\n",
]  # fmt: skip

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


class Peer:
    """A kernel of ours, its connection, and one that listens to all that the kernel tells everybody."""

    def __init__(self, argv: list[str], language: str) -> None:
        self._manager = KernelManager()
        self._manager._kernel_spec = KernelSpec(argv=argv, display_name="x", language=language)
        self._manager.start_kernel(env={**os.environ, "HISTFILE": ""})
        client = self._manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        client.stop_channels()
        kernel = Kernel(id="x", name=language, state="idle", connection_file=self._manager.connection_file)
        self.transport, self._other = ZMQTransport(kernel), ZMQTransport(kernel)
        for transport in (self.transport, self._other):
            transport.open(30)
        self.info = self.transport.ask("kernel_info_request", {}, seconds=30) or {}
        self._seen: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._other.router.subscribe(self._seen)

    def run(self, code: str) -> str:
        """Run a cell as the owner does, and give what it prints."""
        inbox = Inbox()
        sent = self.transport.send("execute_request", execute_content(code, store_history=True), inbox=inbox)
        printed = ""
        for item in inbox.within(30):
            if isinstance(item, Message):
                printed += item.content.get("text", "")
                if item.execution_state == "idle":
                    break
        self.transport.forget(sent)
        return printed

    def seen(self) -> list[Message]:
        """What the other client has received since it was last asked."""
        self._other.ask("kernel_info_request", {}, seconds=30, whole=True)
        found = []
        while not self._seen.empty():
            found.append(self._seen.get())
        return [item for item in found if isinstance(item, Message)]

    def put(self, folder: Any = None, most: Any = MOST, **values: Any) -> dict[str, bool]:
        return languages.put(Exchange(self.transport, "it"), values, most=most, folder=folder)

    def get(self, *names: str, folder: str | None = None, most: int = MOST) -> dict[str, Any]:
        return languages.get(Exchange(self.transport, "it"), names, most=most, folder=folder)

    def close(self) -> None:
        for transport in (self.transport, self._other):
            transport.close()
        self._manager.shutdown_kernel(now=True)
        self._manager.cleanup_resources()


@pytest.fixture(scope="module")
def bash() -> Iterator[Peer]:
    peer = Peer([sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"], "bash")
    yield peer
    peer.close()


@pytest.fixture(scope="module")
def r() -> Iterator[Peer]:
    peer = Peer(["R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"], "R")
    yield peer
    peer.close()


@pytest.fixture(params=["file", "link"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    """The two roads to a bash; nothing is left in the folder."""
    yield str(tmp_path) if request.param == "file" else None
    assert not list(tmp_path.iterdir())


# -- bash


def test_texts_go_and_come_exactly(bash: Peer, folder: str | None) -> None:
    values = {f"v{number}": text for number, text in enumerate(HOSTILE)}
    bash.run("unset ${!v*}")
    assert bash.put(folder, **values) == dict.fromkeys(values, False)
    assert bash.get(*values, folder=folder) == values
    assert bash.put(folder, v0="x", fresh_1="y") == {"v0": True, "fresh_1": False}
    bash.run("unset fresh_1")
    assert bash.run('printf "<%s>" "$v3"').rstrip("\n") == "<a\n\n>"


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS, max_size=5))
def test_any_text_comes_back(bash: Peer, texts: list[str], tmp_path: Path) -> None:
    values = {f"t{number}": text for number, text in enumerate(texts)}
    for road in (None, str(tmp_path)) if values else ():
        bash.put(road, **values)
        assert bash.get(*values, folder=road) == values


def test_a_long_text(bash: Peer, tmp_path: Path) -> None:
    text = "é'$(x)\n" * 45_000
    bash.put(str(tmp_path), large=text)
    assert bash.get("large", folder=str(tmp_path)) == {"large": text}
    bash.put(None, large=text[::-1])
    assert bash.get("large", folder=str(tmp_path)) == {"large": text[::-1]}
    with pytest.raises(BadVariable, match=r"0\.3 MB can come"):
        bash.get("large")
    text = text[:200_000]
    bash.put(large=text)
    assert bash.get("large") == {"large": text}
    with pytest.raises(BadVariable, match=r"^large is larger than 1 kB; "):
        bash.get("large", folder=str(tmp_path), most=1000)
    with pytest.raises(BadVariable, match=r"^large is larger than 1 kB; "):
        bash.put(str(tmp_path), most=1000, large=text)
    bash.run("unset large")


def test_numbers_go_as_their_texts(bash: Peer) -> None:
    bash.put(a=10**30, b=-1.5, c=math.inf)
    assert bash.get("a", "b", "c") == {"a": str(10**30), "b": "-1.5", "c": "inf"}


@pytest.mark.parametrize("value", [None, True, b"x", [1], {"a": 1}, "a\0b", "\ud800"])
def test_what_bash_cannot_have_is_refused_and_nothing_is_set(bash: Peer, value: object) -> None:
    with pytest.raises(BadVariable):
        bash.put(fine="x", other=value)
    assert bash.run('echo "<${fine-none}>"') == "<none>\n"


@pytest.mark.parametrize(
    "name", ["", "a b", "a;id", "1a", "a[0]", "$(id)", "é", "a\n", "-n", "PATH", "IFS", "BASH_ENV"]
)
def test_names_that_are_none_are_refused(bash: Peer, name: str) -> None:
    for call in (lambda: bash.put(**{name: "x"}), lambda: bash.get(name)):
        with pytest.raises(BadVariable):
            call()


def test_all_or_none_is_set(bash: Peer, folder: str | None) -> None:
    bash.run(
        "readonly fixed=1 2>/dev/null; list=(1 2); declare -A map=([a]=1); declare -i number=3; declare -n ref=HOME"
    )
    for name in ("fixed", "list", "map", "number", "ref"):
        with pytest.raises(BadVariable, match=f"{name} cannot be set"):
            bash.put(folder, first="x", **{name: "2"})
    assert bash.run('echo "<${first-none}>"') == "<none>\n"
    for name in ("list", "map", "ref"):
        with pytest.raises(BadVariable, match="array"):
            bash.get("HOME", name, folder=folder)
    assert bash.get("fixed", "number", folder=folder) == {"fixed": "1", "number": "3"}
    with pytest.raises(BadVariable, match="it has no variable none_1"):
        bash.get("HOME", "none_1", folder=folder)


def test_bytes_that_are_no_text_are_told(bash: Peer, folder: str | None) -> None:
    bash.run(r"binary=$'\xff\xfe'")
    with pytest.raises(NotCopied, match="no UTF-8"):
        bash.get("binary", folder=folder)


def test_options_functions_and_aliases_of_the_owner_change_nothing(bash: Peer, folder: str | None) -> None:
    bash.run("printf() { echo mine; }; read() { echo mine; }; alias builtin=false base64=false unset=false")
    bash.run("IFS=v:=")
    bash.run("set -u -f -C; shopt -s nullglob; set a b c")
    try:
        bash.put(folder, plain="a:b=c v")
        assert bash.get("plain", folder=folder) == {"plain": "a:b=c v"}
        assert bash.run('echo "$# $-"').startswith("3 ")
    finally:
        bash.run("set +u +f +C; shopt -u nullglob; set --; \\unset -f printf read; unalias -a; \\unset IFS plain")


def test_nothing_is_left_and_nobody_else_is_told(bash: Peer, folder: str | None) -> None:
    bash.run("secret=1; kept=x; history -c")
    before = (
        bash.run("compgen -v | sort"),
        bash.run("history | grep -c '[k]ernel_bridge'"),
        bash.run("compgen -A function"),
    )
    bash.seen()
    bash.put(folder, secret="the-secret-value")
    assert bash.get("secret", folder=folder) == {"secret": "the-secret-value"}
    told = {message.msg_type for message in bash.seen()}
    assert told == {"status"}
    after = (
        bash.run("compgen -v | sort"),
        bash.run("history | grep -c '[k]ernel_bridge'"),
        bash.run("compgen -A function"),
    )
    assert after == before
    assert after[1] == "0\n" and "kernel_bridge" not in after[0]


# -- R


R_VALUES: list[Any] = [
    None, True, 5, -(2**31) + 1, 2**31, 2**53, 0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, math.inf, "",
    "é'\"\\\n$(x)", b"", b"\0\xff", [], {}, [1, None, 3], [True, None], [0.1, None, 2.5], ["a", None], [1, "a", None],
    [[1, 2], [3, 4]],
    {"a": 1, "b c": [1, 2], "é": {"x": None}}, datetime.date(2024, 2, 29),
    [datetime.date(1, 1, 1), datetime.date(9999, 1, 1)],
    datetime.datetime(2024, 7, 1, 12, 30, 1, 123456, datetime.UTC),
    datetime.datetime(2024, 7, 1, 12, 30, tzinfo=ZoneInfo("Europe/Berlin")),
]  # fmt: skip


def same(left: Any, right: Any) -> bool:
    """Whether two values are equal, with the types of all that is in them."""
    if isinstance(left, dict):
        return type(right) is dict and list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return type(right) is list and len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and (repr(left) == repr(right))


@needs_r
@pytest.mark.parametrize("value", R_VALUES, ids=lambda value: repr(value)[:30])
def test_values_go_to_r_and_come_back(r: Peer, value: Any) -> None:
    r.put(x=value)
    back = r.get("x")["x"]
    expected = float(value) if type(value) is int and abs(value) >= 2**31 else value
    assert same(expected, back), back


R_SCALARS = st.none() | st.booleans() | st.floats(allow_nan=False) | TEXTS
R_TREES = st.recursive(
    R_SCALARS | st.integers(-(2**31) + 1, 2**31 - 1),
    lambda inner: st.dictionaries(st.text("abc é$`\"'\\", min_size=1), inner) | st.lists(inner, min_size=2, max_size=4),
    max_leaves=12,
)


@needs_r
@settings(max_examples=40, deadline=None)
@given(values=st.lists(R_TREES, min_size=1, max_size=4))
def test_any_value_comes_back_from_r(r: Peer, values: list[Any]) -> None:
    names = {f"v{number}": value for number, value in enumerate(values)}
    r.put(**names)
    back = r.get(*names)
    for name, value in names.items():
        assert back[name] == value


@needs_r
def test_what_r_has_arrives(r: Peer) -> None:
    r.run("""
    a <- c(1, NA, NaN); b <- c(x=1L, y=NA); f <- factor(c("u","v","u")); one <- 3.5; n <- NULL
    l <- list(1, "a", c(TRUE,NA))
    seconds <- as.POSIXct("2024-01-02 03:04:05", tz="UTC"); local <- structure(0, class=c("POSIXct", "POSIXt"))
    big <- 100000L; empty <- character(0)
    df <- data.frame(i=1:3, d=c(0.1,NA,3), s=c("a",NA,"é"), f=factor(c("p","q","p"), levels=c("q","p")),
      l=c(TRUE,NA,FALSE), day=as.Date(c("2024-01-01",NA,"2024-01-03")), stringsAsFactors=FALSE)
    named <- data.frame(v=c(1,2), row.names=c("r1","r2"))
    """)
    got = r.get("a", "b", "f", "one", "n", "l", "seconds", "local", "big", "empty", "df", "named")
    assert got["a"][:2] == [1.0, None] and math.isnan(got["a"][2])
    assert got["b"] == {"x": 1, "y": None} and type(got["b"]["x"]) is int
    assert (got["f"], got["one"], got["n"], got["big"], got["empty"]) == (["u", "v", "u"], 3.5, None, 100000, [])
    assert got["l"] == [1.0, "a", [True, None]]
    assert got["seconds"] == datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    assert got["local"] == datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    frame = got["df"]
    assert frame["i"].dtype == "int64" and list(frame["i"]) == [1, 2, 3]
    assert frame["d"].dtype == "float64" and frame["d"].isna().tolist() == [False, True, False]
    assert frame["s"].isna().tolist() == [False, True, False] and frame["s"][2] == "é"
    assert list(frame["f"]) == ["p", "q", "p"] and list(frame["f"].cat.categories) == ["q", "p"]
    assert frame["l"].dtype == "boolean" and frame["l"].isna().tolist() == [False, True, False]
    assert frame["day"][0] == pandas.Timestamp("2024-01-01") and frame["day"].isna()[1]
    assert got["named"].index.tolist() == ["r1", "r2"]


@needs_r
def test_a_frame_goes_and_comes(r: Peer) -> None:
    frame = pandas.DataFrame(
        {
            "i": [1, 2],
            "f": [0.1, math.nan],
            "b": [True, False],
            "s": ["a", None],
            "c": pandas.Categorical(["x", None], categories=["y", "x"]),
            "t": pandas.to_datetime(["2024-01-01 01:02:03.000004", None]).tz_localize("Europe/Berlin"),
        }
    )
    r.put(df=frame)
    assert "factor" in r.run("cat(sapply(df, function(x) class(x)[1]))")
    back = r.get("df")["df"]
    assert list(back.columns) == list(frame.columns)
    for name in frame:
        assert back[name].isna().tolist() == frame[name].isna().tolist()
        assert back[name].dropna().tolist() == frame[name].dropna().tolist()
    assert str(back["t"].dt.tz) == "Europe/Berlin"
    for bad in (frame.set_axis([3, 4]), frame.set_axis(list("abcdea"), axis=1), pandas.DataFrame({1: [1]})):
        with pytest.raises(BadVariable):
            r.put(df=bad)


@needs_r
@pytest.mark.parametrize(
    "value", [2**53 + 1, "a\0b", "\ud800", {1: 2}, {"": 1}, 1j, {1, 2}, object(), [[["x", {3: 4}]]]]
)
def test_what_r_cannot_have_is_refused_and_nothing_is_set(r: Peer, value: object) -> None:
    r.run("rm(list=ls())")
    with pytest.raises(BadVariable, match=r"^bad "):
        r.put(fine=1, bad=value)
    assert r.run("cat(ls())") == ""


@needs_r
def test_names_and_bindings_that_cannot_be_set(r: Peer) -> None:
    for name in ("", "1a", ".1", "if", "a b", "é", "a;b", "TRUE", "_x", "..."):
        with pytest.raises(BadVariable):
            r.put(**{name: 1})
    r.run("locked <- 1; lockBinding('locked', globalenv()); makeActiveBinding('active', function() 1, globalenv())")
    for name in ("locked", "active"):
        with pytest.raises(BadVariable, match=name):
            r.put(**{"aaa": 1, name: 2})
    assert r.run("cat(exists('aaa'))") == "FALSE"
    r.run("unlockBinding('locked', globalenv()); rm(locked, active)")
    refused = {
        "x <- sum": "cannot be copied",
        "x <- matrix(1:4, 2)": "as.data.frame",
        "x <- 1i": "is of the type complex",
        "x <- lm(1 ~ 1)": "class lm",
        "x <- c(a=1, a=2)": "twice",
        "x <- globalenv()": r"^x is of the type environment, which cannot be copied \(in it\)",
        "x <- quote(a + b)": "^x is of the type language, which",
        "rm(x)": r"^x does not exist \(in it\)",
    }
    for code, words in refused.items():
        r.run(code)
        with pytest.raises(BadVariable, match=words):
            r.get("x")
    assert r.put(y=1) == {"y": False} and r.put(y=2) == {"y": True}


@needs_r
def test_masked_functions_change_nothing_and_nobody_else_is_told(r: Peer) -> None:
    r.run("c <- function(...) stop(1); list <- c; get <- c; structure <- c; .self <- 1")
    before = r.run("cat(ls(all.names=TRUE))")
    r.seen()
    r.put(c="the-secret-value")
    assert r.get("c") == {"c": "the-secret-value"}
    told = r.seen()
    assert {message.msg_type for message in told} <= {"status", "execute_input"}
    assert not any("the-secret-value" in str(message) for message in told)
    assert r.run("cat(ls(all.names=TRUE))") == before
    r.run("rm(list=ls(all.names=TRUE))")


@needs_r
def test_large_values_of_r(r: Peer) -> None:
    numbers = [number / 7 for number in range(100_000)]
    r.put(numbers=numbers, text="é" * 1_000_000)
    assert r.get("numbers", "text") == {"numbers": numbers, "text": "é" * 1_000_000}
    with pytest.raises(BadVariable, match=r"^numbers is larger than 1 kB; "):
        r.get("numbers", most=1000)
    with pytest.raises(BadVariable, match=r"^numbers, text are larger than 1 kB; ") as caught:
        r.put(most=1000, numbers=numbers, text="")
    assert caught.value.size > 1000


# -- others, and links that fail


def exchange_with(info: dict[str, Any], reply: dict[str, Any] | None) -> Any:
    """Return an exchange with a kernel that says this of itself, and answers so; None for no answer."""

    def ask(content: dict[str, Any], *, msg_type: str = "execute_request") -> dict[str, Any]:
        if reply is None:
            raise NotCopied("the connection broke")
        return reply

    transport = SimpleNamespace(state=SimpleNamespace(info=info))
    return SimpleNamespace(kernel="it", transport=transport, ask=ask, leave=lambda content: None)


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (
            {"implementation": "IJulia", "language_info": {"name": "julia", "version": "1.9"}},
            "it runs julia 1.9, for which",
        ),
        ({"implementation": "xr", "implementation_version": "1", "language_info": {"name": "R"}}, "it runs xr 1, for"),
        ({}, "it runs what it does not say"),
    ],
)
def test_other_languages_are_refused(info: dict[str, Any], words: str) -> None:
    nobody = exchange_with(info, None)
    for call in (lambda: languages.put(nobody, {"a": 1}, most=MOST), lambda: languages.get(nobody, ["a"], most=MOST)):
        with pytest.raises(BadVariable, match=words):
            call()


@pytest.mark.parametrize("reply", [None, {}, {"matches": ["$__kernel_bridge_answer_x"]}, {"payload": "x"}])
@pytest.mark.parametrize("language", ["R", "bash"])
def test_no_answer_is_not_copied(language: str, reply: dict[str, Any] | None, tmp_path: Path) -> None:
    info = {"implementation": "IRkernel" if language == "R" else "bash_kernel", "language_info": {"name": language}}
    silent = exchange_with(info, reply)
    for folder in (None, str(tmp_path)):
        with pytest.raises(NotCopied):
            languages.put(silent, {"a": "1", "b": "2"}, most=MOST, folder=folder)
        with pytest.raises(NotCopied):
            languages.get(silent, ["a", "b"], most=MOST, folder=folder)
    assert not list(tmp_path.iterdir())

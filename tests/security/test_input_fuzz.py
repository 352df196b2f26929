# ruff: noqa: E501 (tables)
"""What somebody may type, paste or write into a file: one line of this package's errors, never a traceback (G21)."""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import time

import pytest

from kernel_bridge_magic.access.references import read_secret
from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.choices import seconds
from kernel_bridge_magic.errors import BadInput, BadServer, KernelBridgeError
from kernel_bridge_magic.ipython.options import kernels_parser, remote_parser, servers_parser
from kernel_bridge_magic.matching.find import find_one
from kernel_bridge_magic.matching.levels import could_mean
from kernel_bridge_magic.matching.selectors import selector
from kernel_bridge_magic.models import Kernel, KernelSpec, Origin, Server, Session
from kernel_bridge_magic.protocol.messages import check_code
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.servers.registry import read_server
from tests.support.records import Record

WORDS = [
    "analysis", "a.ipynb", "work/a.ipynb", "#1", "#0", "#999999999", "#", "re:", "re:[", "re:(a+)+$", "re:^w.*", "re:(?P<x",
    "re:\\", "re:(?i)a|b{2,3}", "glob:*", "lab::a", "::", "::a", "a::", "http://[::1]:8888::a", "a,b", ",", ",,", "-", "--",
    "---", "--server", "-s", "-s=", "--server=", "--timeout", "--timeout=5m", "--timeout=nan", "--timeout=-1", "-q", "-qq",
    "--all", "--bg", "--no-raise-error", "--result", "--result=x", "--result=class", "--result=2x", "--transport=ws",
    "--transport=x", "-h", "--help", "--add", "--name", "--token", "--token=env:X", "--token=abc", "--trust", "--remove",
    "'", '"', "''", '""', "' '", "$x", "{x}", "{1/0}", "{", "}", "%", "%s", "%(prog)s", "\\", "\\\\", "\t", "\n", "\r", "\0",
    "\x1b[31m", "\x9b", "\u202e", "\u2028", "\ud800", "é", "e\u0301", "日本", "👩‍👩‍👧", "x" * 300, "0", "1e99", "=", "==", ";", "|",
]  # fmt: skip
URLS = [
    "http", "https", "ws", "wss", "ftp", "file", "javascript", "http+unix", "HTTP", ":", "//", "/", "///", "\\", "@", "user:pw@",
    "localhost", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "[::1]", "::1", "[::1", "::1]", "[fe80::1%eth0]", "[]", "[x]",
    "host", "HOST.", "ex ample", "münchen.de", "xn--a", "раураl.com", "-a", "a-", "a..b", "." , ":8888", ":0", ":65536", ":8888x",
    ":-1", ":" + "9" * 40, ":８８８８", "/lab", "/tree", "/lab/tree/x.ipynb", "/user/ann%20b/", "/user/lab/", "/..", "/%2e%2e/",
    "/a//b", "?token=x", "?token=", "?token", "&token=y", "?reset", "#frag", "%0a", "%00", "%0d%0a", "%", "%zz", "%2", "\r\n",
    "\0", "\t", " ", "\u202e", "\ud800", "%2Frun%2Fj.sock", "x" * 9000,
]  # fmt: skip
TIMES = [
    "1",
    "30",
    ".",
    "e",
    "E",
    "+",
    "-",
    "ms",
    "s",
    "m",
    "min",
    "h",
    "none",
    "nan",
    "inf",
    "1e99",
    "5",
    " ",
    "٣",
    "_",
    "0",
]
SECRETS = [
    "env:",
    "file:",
    "ask",
    "keyring:",
    "X",
    "/dev/zero",
    "/dev/null",
    "/",
    "~",
    "..",
    "\0",
    "\n",
    "=",
    "日",
    " ",
    ":",
]
ORIGIN = Origin("http", "lab.example", 80, "/")
SERVER = Server("http://lab.example/", "lab", ORIGIN)
KERNELS = [
    Kernel(f"0f3c2c1e-{number}", "python3", KernelSpec("python3", "Python 3", "python"), sessions=(Session(path, path),), server=SERVER)
    for number, path in enumerate(("work/a.ipynb", "analysis.ipynb", "b::c.ipynb", "é.ipynb", "日本/x y.ipynb", "'q'.ipynb", "#1", "-s", "a,b"))
] + [Kernel("own-kernel-id", sessions=(Session("own.ipynb", "own.ipynb"),), is_this_kernel=True)]  # fmt: skip


def random_text(pick: random.Random, words: list[str], glue: list[str]) -> str:
    parts = []
    for _ in range(pick.randrange(6)):
        word = pick.choice(words)
        if pick.random() < 0.2:
            at = pick.randrange(len(word) + 1)
            word = word[:at] + chr(pick.choice([pick.randrange(128), pick.randrange(0x3000), 0x1F600])) + word[at:]
        parts += [word, pick.choice(glue)]
    return "".join(parts)


def line_of(pick: random.Random) -> None:
    parser = pick.choice([remote_parser, kernels_parser, servers_parser])()
    line = random_text(pick, WORDS, [" ", " ", " ", "", "="])
    getattr(parser, pick.choice(["parse_line", "parse_head"]))(line)


def match_of(pick: random.Random) -> None:
    query = random_text(pick, WORDS, ["", "", " ", "::", ","])
    if pick.randrange(3) == 0:
        kernel = find_one(query, KERNELS, rows=pick.choice([None, (), KERNELS[:2]]))
        assert not kernel.is_this_kernel
        selector(kernel, KERNELS)
    else:
        could_mean(query, KERNELS, KERNELS)


def url_of(pick: random.Random) -> None:
    text = random_text(pick, URLS, [""])
    if pick.random() < 0.7:
        # In the order of a URL, so that many are good, and others bad in one place only.
        host = pick.choice(
            ["localhost", "127.0.0.1", "[::1]", "HOST.", "münchen.de", "user:pw@h", random_text(pick, URLS, [""])]
        )
        port, path, more = (
            pick.choice(["", *(part for part in URLS if part[0] in heads)]) for heads in (":", "/%", "?&#")
        )
        text = pick.choice(["http://", "https://", "HTTP://"]) + host + port + path + more
    base = parse_base_url(text)
    assert base.url.isascii() and base.url.isprintable() and base.url.endswith("/")
    assert parse_base_url(base.url).origin == base.origin
    with contextlib.suppress(BadServer):
        read_server(Entry(random_text(pick, WORDS, [""]), text), "added")


def time_of(pick: random.Random) -> None:
    with contextlib.suppress(argparse.ArgumentTypeError):
        value = seconds(random_text(pick, TIMES, [""]))
        assert value is None or 0 < value <= 1e9


def secret_of(pick: random.Random) -> None:
    read_secret(random_text(pick, SECRETS, [""]), ask=lambda: random_text(pick, SECRETS, [""]))


def cell_of(pick: random.Random) -> None:
    check_code(random_text(pick, WORDS, ["", "\n", " "]))


UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
KINDS = [line_of, match_of, url_of, time_of, secret_of, cell_of]


def fuzz(count: int, seed: int) -> tuple[dict[str, int], float]:
    pick = random.Random(seed)
    refused = dict.fromkeys((kind.__name__ for kind in KINDS), 0)
    longest = 0.0
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        state = pick.getstate() if number % 50 == 0 else None
        began = time.process_time()
        try:
            kind(pick)
        except BadInput as error:
            refused[kind.__name__] += 1
            text = str(error)
            assert text
            assert type(error).__name__ == "HelpWanted" or not UNSAFE.search(text), repr(text)
            assert error.__cause__ is None
        except KernelBridgeError as error:
            raise AssertionError(f"input is to blame, not {type(error).__name__}") from error
        except Exception as error:
            error.add_note(f"{kind.__name__}, input {number}, {state is not None}")
            raise
        longest = max(longest, time.process_time() - began)
    return refused, longest


def test_whatever_is_typed_is_taken_or_refused_in_one_line() -> None:
    refused, longest = fuzz(6_000, 1)
    assert all(20 < refused[kind] < 1000 for kind in refused if kind != "time_of"), refused
    assert longest < 0.5


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_hundred_thousand_inputs(record: Record) -> None:
    began = time.monotonic()
    refused, longest = fuzz(100_000, 2)
    record(
        inputs=100_000,
        refused=sum(refused.values()),
        tracebacks=0,
        longest_ms=round(longest * 1000),
        seconds=round(time.monotonic() - began),
    )
    assert longest < 1.0

# ruff: noqa: E501 (a table)
"""The list of bad inputs (B1 to B49): each row names the tests that show its right answer, or has one here.

A row whose tests are gone fails. What is not built yet says so, and is to be filled in with what builds it.
"""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest

from kernel_bridge_magic.access.urls import is_server
from kernel_bridge_magic.access.vault import Vault
from kernel_bridge_magic.bridge.search import only
from kernel_bridge_magic.discovery.look import look
from kernel_bridge_magic.discovery.runtime_files import read_runtime_files
from kernel_bridge_magic.errors import BadAnswer, BadServer, KernelBridgeError, KernelNotFound
from kernel_bridge_magic.ipython.line_parser import split_words
from kernel_bridge_magic.matching.find import find_one
from kernel_bridge_magic.matching.selectors import selector
from kernel_bridge_magic.models import Kernel, Session
from kernel_bridge_magic.reports import Listing
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.servers.registry import Registry, read_server
from kernel_bridge_magic.servers.rest import ServerAPI
from tests.support.raw import RawServer, http
from tests.support.servers import private_env

TESTS = Path(__file__).parent
HERE = "test_bad_input.py::"

ROWS: dict[str, tuple[str, ...]] = {
    "B1 no match": ("matching/test_find.py::nothing", "browser/test_remote.py::odd_names_and_what_is_refused"),
    "B2 two matches": (
        "matching/test_find.py::several",
        "ipython/test_magics.py::several_kernels_are_a_table_and_nothing_runs",
    ),
    "B3 empty match": ("matching/test_levels.py::empty", "ipython/test_magics.py::a_bad_line_is_explained_in_one_line"),
    "B4 bad regex": (
        "matching/test_safe_regex.py::what_is_broken",
        "ipython/test_magics.py::a_bad_line_is_explained_in_one_line",
    ),
    "B5 ReDoS": ("matching/test_safe_regex.py::what_is_broken", "security/test_input_fuzz.py::whatever_is_typed"),
    "B6 id prefix": ("matching/test_levels.py::levels",),
    "B7 URL without scheme": (
        "access/test_urls.py::refused_with_one_clear_line",
        "cli/test_main.py::each_mistake_is_explained",
    ),
    "B8 upper case": ("access/test_urls.py::one_server_one_identity", HERE + "a_server_s_url_is_one"),
    "B9 IPv6": ("access/test_urls.py::normalised_base_url", "access/test_urls.py::refused_with_one_clear_line"),
    "B10 pages": ("access/test_urls.py::normalised_base_url",),
    "B11 base path": (
        "access/test_urls.py::normalised_base_url",
        "cli/test_main.py::a_password_server_below_a_base_path",
    ),
    "B12 token in URL": (
        "access/test_urls.py::token_is_taken_out",
        "bridge/test_bridge.py::a_token_in_a_url_goes_to_the_vault",
        HERE + "a_server_that_is_not_known_is_named_without_its_secret",
    ),
    "B13 userinfo": ("access/test_urls.py::refused_with_one_clear_line",),
    "B14 port": ("access/test_urls.py::refused_with_one_clear_line",),
    "B15 other schemes": ("access/test_urls.py::refused_with_one_clear_line",),
    "B16 controls in the host": (
        "access/test_urls.py::refused_with_one_clear_line",
        "security/test_canaries.py::ten_thousand",
    ),
    "B17 IDN": ("access/test_urls.py::normalised_base_url",),
    "B18 odd tokens": (
        "access/test_vault.py::sent_verbatim",
        "access/test_vault.py::what_no_header_carries",
        "access/test_references.py::a_final_line_break_is_no_part_of_a_secret",
    ),
    "B19 empty token": ("access/test_vault.py::vault_forgets_and_shows_nothing", "servers/test_rest.py::wrong_token"),
    "B20 wrong token": ("servers/test_rest.py::wrong_token",),
    "B21 login page": ("servers/test_rest.py::wrong_answers_are_one_sentence",),
    "B22 other answers": ("servers/test_rest.py::wrong_answers_are_one_sentence", HERE + "a_bomb_is_not_unpacked"),
    "B23 password": (
        "cli/test_main.py::exec_on_a_password_server",
        "cli/test_main.py::a_token_is_asked_for_on_a_terminal",
        "servers/test_login.py::a_password_is_dropped_when_it_is_refused",
    ),
    "B24 TLS": ("servers/test_rest.py::tls", "security/test_canaries.py::tls"),
    "B25 odd paths": (
        HERE + "a_path_is_one",
        "matching/test_find.py::hostile_query",
        "display/test_tables.py::hostile_names",
    ),
    "B26 quotes, globs, dots": (
        HERE + "a_path_is_meant_as_it_is_written",
        "matching/test_selectors.py::selector_can_be_pasted",
        "matching/test_several.py::all_that_a_match_means",
    ),
    "B27 empty cell": ("ipython/test_magics.py::an_empty_body_is_not_sent", "protocol/test_messages.py::an_empty_cell"),
    "B28 only comments": ("ipython/test_magics.py::only_a_comment_is_code",),
    "B29 another cell magic": ("ipython/test_magics.py::another_cell_magic_in_the_body_runs_there",),
    "B30 NUL, surrogates": ("protocol/test_messages.py::what_no_kernel_can_be_sent",),
    "B31 20 MB cell": ("connection/test_connection.py::a_cell_beyond_the_server_s_limit_is_refused_here",),
    "B32 input without anybody": (
        "connection/test_connection.py::input_is_refused_at_once",
        "test_nbclient.py::input_is_refused",
    ),
    "B33 byte-exact": ("ipython/test_magics.py::the_body_is_sent_verbatim",),
    "B34 not Python": ("test_terminal.py::bash",),
    "B35 timeouts": ("test_choices.py::times_that_are_none_are_refused",),
    "B36 misspelt option": (
        "ipython/test_line_parser.py::a_bad_option_is_one_line",
        "cli/test_main.py::each_mistake_is_explained",
    ),
    "B37 option without value": (
        "ipython/test_line_parser.py::a_bad_option_is_one_line",
        "ipython/test_line_parser.py::two_dashes_end",
    ),
    "B38 expansion": (
        "ipython/test_magics.py::a_whole_word_is_expanded",
        "ipython/test_magics.py::a_regular_expression_survives",
    ),
    "B40 fetch into a bad name": ("ipython/test_magics.py::names_that_are_not_one_s_own_are_refused",),
    "B41 own kernel": (
        "matching/test_find.py::its_own_name_is_no_other_kernel",
        "ipython/test_magics.py::a_kernel_that_waits_for_us_is_refused",
    ),
    "B42 odd states": (
        "bridge/test_bridge.py::one_s_own_kernel_and_a_dead_one_are_refused",
        "test_models.py::any_state",
    ),
    "B43 sessions without kernels": ("discovery/test_asking.py::join_counts", "discovery/test_look.py::five_thousand"),
    "B44 odd lists": ("discovery/test_look.py::bad_data_is_reported", "servers/test_rest.py::a_huge_body_is_not_read"),
    "B45 broken configuration": (
        "servers/test_config_file.py::broken_json",
        "servers/test_config_file.py::a_literal_secret",
    ),
    "B46 runtime directory": (HERE + "any_runtime_directory", "discovery/test_runtime_files.py::bad_directories"),
    "B47 loaded twice": (
        "ipython/test_magics.py::the_extension_comes_and_goes",
        "ipython/test_magics.py::after_a_reset",
    ),
    "B48 elsewhere": (HERE + "plain_python", "test_nbclient.py::execution_stops", "test_terminal.py::kernels_fit"),
    "B49 poor environments": (
        "cli/test_main.py::poor_environments",
        "cli/test_main.py::a_closed_pipe_is_no_traceback",
        "cli/test_main.py::closed_streams_are_no_traceback",
    ),
}


def test_every_row_is_there() -> None:
    numbers = [number for number in range(1, 50) if number != 39]  # variables are not transferred: there is no fetch
    assert [row.split(" ")[0] for row in ROWS] == [f"B{number}" for number in numbers]


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_tests(row: str) -> None:
    for pointer in ROWS[row]:
        file, _, name = pointer.partition("::")
        assert re.search(rf"def test_{name}", (TESTS / file).read_text(encoding="utf-8")), pointer


# -- what has no other place


def kernel(path: str, number: int = 0) -> Kernel:
    return Kernel(f"id{number}-{abs(hash(path))}", "python3", sessions=(Session(path, path.rsplit("/", 1)[-1]),))


ODD = [
    "Übung/Größe.ipynb",
    "🚀/👩‍👩‍👧 family.ipynb",
    "דוח/שנתי.ipynb",
    "日本語/分析.ipynb",
    "a" * 300 + "/" + "b" * 300 + ".ipynb",
    "e\u0301.ipynb",
]


@pytest.mark.parametrize("path", ODD, ids=ascii)
def test_a_path_is_one_however_it_is_spelt(path: str) -> None:
    kernels = [kernel(path), kernel("other.ipynb", 1)]
    for form in ("NFC", "NFD"):
        for query in (path, path.rsplit("/", 1)[-1], path.rsplit("/", 1)[-1].removesuffix(".ipynb")):
            assert find_one(unicodedata.normalize(form, query), kernels) is kernels[0]


@pytest.mark.parametrize(
    "path",
    ["a*b.ipynb", "[x].ipynb", "a?.ipynb", "it's.ipynb", 'say "hi".ipynb', "a b  c.ipynb", "x/../y.ipynb", "$HOME.ipynb",
     "{a}.ipynb", "-dash.ipynb", "#1.ipynb", "re:x.ipynb", "a,b.ipynb", "a::b.ipynb", "%pct.ipynb", "back\\slash.ipynb"],
)  # fmt: skip
def test_a_path_is_meant_as_it_is_written(path: str) -> None:
    kernels = [kernel(path), kernel("aXb.ipynb", 1), kernel("y.ipynb", 2), kernel("ab.ipynb", 3)]
    found = selector(kernels[0], kernels)
    (word,) = split_words(found)  # what is pasted is one word of the line
    assert find_one(word.text, kernels) is kernels[0]
    if not path.startswith("re:"):
        assert find_one(path, kernels) is kernels[0]
    with pytest.raises(KernelNotFound):
        find_one("*.ipynb", kernels)


def test_a_bomb_is_not_unpacked() -> None:
    # 50 MB in 50 kB: nobody asked for an encoding, so that none is undone (T23)
    bomb = gzip.compress(b"[" + b"0," * 25_000_000 + b"0]", 1)
    assert len(bomb) < 2**20
    with RawServer(http(body=bomb, Content_Encoding="gzip")) as raw:
        with pytest.raises(BadAnswer, match="not JSON"):
            ServerAPI(raw.server(), Vault()).kernels()
        assert b"Accept-Encoding: identity" in raw.requests[0]


CANARY = "canary-a0b1"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("lab", True),
        ("https://lab.example/user/Bob/", True),
        ("https://lab.example/user/Bob", True),
        ("HTTPS://Lab.Example:443/user/Bob/lab/tree/x.ipynb", True),
        (f"https://lab.example/user/Bob/?token={CANARY}", True),
        ("https://hub.example:443/hub/home", True),  # its hub's
        ("https://lab.example/user/bob/", False),
        ("http://lab.example/user/Bob/", False),
        ("https://lab.example:444/user/Bob/", False),
        ("https://lab.example/", False),
        ("LAB", False),
        ("://", False),
        ("https://[/", False),
    ],
)
def test_a_server_s_url_is_one_however_it_is_spelt_and_no_other_one(name: str, is_one: bool) -> None:
    hub, _ = read_server(Entry("hub", "https://hub.example/"), "added")
    server, _ = read_server(Entry("lab", "https://lab.example/user/Bob/"), "added")
    assert is_server(name, replace(server, hub=hub)) is is_one


def test_a_socket_s_server_is_meant_by_both_of_its_urls() -> None:
    server, _ = read_server(Entry("", "http+unix://%2Frun%2Fj.sock/a/"), "added")
    assert is_server("http+unix://%2Frun%2Fj.sock/a/lab", server) and is_server(server.url, server)
    assert not is_server("http+unix://%2Frun%2Fother.sock/a/", server)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (f"host:8888/?token={CANARY}", "'host:8888/'"),
        (f"host:8888/#{CANARY}", "'host:8888/'"),
        (f"ann:{CANARY}@host:8888/", "'host:8888/'"),
        (f"https://ann:{CANARY}@host:8888/", "'https://host:8888/'"),
        ("ann@lab", "'ann@lab'"),
    ],
)
def test_a_server_that_is_not_known_is_named_without_its_secret(
    name: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry(Vault())
    for refuse in (lambda: only(Listing((), (), ()), name), lambda: registry.remove(name)):
        with pytest.raises(BadServer) as error:
            refuse()
        assert f"is called {shown} (" in str(error.value)
        assert CANARY not in str(error.value)


@pytest.mark.parametrize("how", ["missing", "a file", "unreadable", "empty", "a loop", "NUL", "long"])
def test_any_runtime_directory_gives_a_listing(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = tmp_path / "runtime"
    name = str(where)
    if how == "a file":
        where.write_text("")
    elif how == "unreadable":
        where.mkdir(mode=0o000)
    elif how == "a loop":
        where.symlink_to(where)
    elif how == "long":
        name = "/" + "x" * 5000
    if how == "NUL":
        assert read_runtime_files(["a\0b"]).skipped[0].reason
        return
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", "" if how == "empty" else name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    listing = look([], Vault())
    assert listing.kernels == ()
    assert all(item.reason for item in listing.skipped)


def test_plain_python_says_in_one_line_what_is_missing(tmp_path: Path) -> None:
    code = (
        "from kernel_bridge_magic import KernelBridgeError, connect, kernels\n"
        "print(kernels())\n"
        "try:\n    connect('nothing')\nexcept KernelBridgeError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=private_env(tmp_path), capture_output=True, text=True, timeout=60, check=True
    )
    assert "no running kernel matches 'nothing' (looked at 0 kernels on 0 servers). Open a notebook, or" in done.stdout
    assert done.stderr == ""


def test_each_of_our_errors_is_one_line() -> None:
    for cls in KernelBridgeError.__subclasses__():
        assert "\n" not in str(cls.__doc__).splitlines()[0]

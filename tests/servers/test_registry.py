"""Servers that the user named, with the file and the configuration that they come from; no server is asked here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.servers.config_file import save_entry
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.servers.registry import Registry, read_server

CANARY = "canary-c3e8"
URL = "https://lab.example/"
Make = Callable[..., Registry]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    return tmp_path / "kernel_bridge.json"


def names(registry: Registry) -> list[tuple[str, str]]:
    return [(server.name, server.source) for server in registry.servers()]


def test_saved_configured_and_added_together(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", CANARY)
    save_entry(str(file), Entry("saved", "https://saved.example/", token="env:LAB_TOKEN"))
    save_entry(str(file), Entry("both", "https://file.example/"))
    configured = {"both": {"url": "https://config.example/", "trust": True}}
    vault = Vault()
    registry = Registry(vault, lambda: configured)
    registry.add(Entry("mine", URL, token="env:LAB_TOKEN"))
    assert sorted(names(registry)) == [("both", "config"), ("mine", "added"), ("saved", "saved")]
    by_name = {server.name: server for server in registry.servers()}
    assert by_name["both"].url == "https://config.example/" and by_name["both"].is_yours
    assert vault.has(by_name["saved"].origin) and vault.has(by_name["mine"].origin)
    assert CANARY not in repr(registry.servers()) + repr(vault)


def test_a_server_on_a_unix_socket_is_saved_as_one(file: Path) -> None:
    url = "http+unix://%2Frun%2Fuser%2Fj%20x.sock/base/"
    added = Registry(Vault()).add(Entry("sock", f"{url}lab/tree/x.ipynb"), save=True)
    assert json.loads(file.read_text()) == {"servers": {"sock": {"url": url}}}
    (again,) = Registry(Vault()).servers()
    assert (again.origin, again.socket_path) == (added.origin, "/run/user/j x.sock")


def test_save_is_for_all_processes_and_holds_no_secret(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", CANARY)
    other = Registry(Vault())
    assert other.servers() == []
    here = Registry(Vault())
    here.add(Entry("lab", URL, token="env:LAB_TOKEN"), save=True)
    assert json.loads(file.read_text()) == {"servers": {"lab": {"url": URL, "token": "env:LAB_TOKEN"}}}
    assert names(other) == names(here) == [("lab", "saved")]
    with pytest.raises(BadServer, match="already"):
        other.add(Entry("lab", "https://other.example/"))
    here.remove("lab")
    assert names(other) == names(here) == []


def test_a_token_in_the_url_is_not_saved(file: Path) -> None:
    registry = Registry(Vault())
    with pytest.raises(BadServer, match="not saved"):
        registry.add(Entry("lab", f"{URL}?token={CANARY}"), save=True)
    assert registry.servers() == [] and not file.exists()


def test_a_file_that_changes_is_read_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A", "a-token")
    vault = Vault()
    registry = Registry(vault)
    save_entry(str(file), Entry("lab", URL, token="env:A"))
    (before,) = registry.servers()
    save_entry(str(file), Entry("lab", "https://elsewhere.example/"))
    (after,) = registry.servers()
    assert after.url == "https://elsewhere.example/"
    # The token was for the old place.
    assert not vault.has(before.origin) and not vault.has(after.origin)


def test_a_secret_that_cannot_be_had_is_said_until_it_can(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_TOKEN", raising=False)
    save_entry(str(file), Entry("lab", URL, token="env:LAB_TOKEN"))
    vault = Vault()
    registry = Registry(vault)
    (server,) = registry.servers()
    assert "LAB_TOKEN" in registry.unready()[server.origin]
    monkeypatch.setenv("LAB_TOKEN", CANARY)
    registry.servers()
    assert registry.unready() == {} and vault.has(server.origin)


def test_what_is_to_be_asked_for_is_asked_once(file: Path) -> None:
    save_entry(str(file), Entry("lab", URL, token="ask"))
    save_entry(str(file), Entry("pw", "https://pw.example/", password="ask"))
    vault = Vault()
    registry = Registry(vault)
    lab, pw = registry.servers()
    assert set(registry.unready()) == {lab.origin, pw.origin}
    asked: list[str] = []

    def ask(what: str) -> str:
        asked.append(what)
        return CANARY

    registry.ask_for_secrets(ask, "lab")
    assert asked == ["token of lab (https://lab.example/)"] and set(registry.unready()) == {pw.origin}
    registry.ask_for_secrets(ask)
    registry.ask_for_secrets(ask)
    assert asked[1:] == ["password of pw (https://pw.example/)"] and registry.unready() == {}
    assert vault.auth_method(pw.origin) == "password"


def test_where_nobody_can_be_asked_it_is_that_server_s_problem(file: Path) -> None:
    save_entry(str(file), Entry("lab", URL, token="ask"))
    save_entry(str(file), Entry("open", "https://open.example/"))
    registry = Registry(Vault())

    def nobody(what: str) -> str:
        raise BadServer("nobody can be asked here")

    registry.ask_for_secrets(nobody)
    lab, _ = registry.servers()
    assert registry.unready() == {lab.origin: "nobody can be asked here"}
    registry.ask_for_secrets(lambda what: CANARY, "HTTPS://lab.example:443/lab")
    assert registry.unready() == {}


# -- one name, one server


def test_what_is_removed_is_removed_where_it_was_saved_too(file: Path) -> None:
    registry = Registry(Vault())
    registry.add(Entry("lab", URL), save=True)
    registry.add(Entry("lab", URL, trust=True))
    assert names(registry) == [("lab", "added")]
    registry.remove("lab")
    assert names(registry) == names(Registry(Vault())) == []
    assert json.loads(file.read_text()) == {"servers": {}}


def test_another_server_that_was_saved_under_the_name_stays(file: Path) -> None:
    registry = Registry(Vault())
    registry.add(Entry("lab", URL))
    save_entry(str(file), Entry("lab", "https://other.example/"))
    assert [server.url for server in registry.servers()] == [URL]
    registry.remove("lab")
    assert [server.url for server in registry.servers()] == ["https://other.example/"]


def test_what_was_added_over_the_configuration_gives_way_to_it_again(file: Path) -> None:
    registry = Registry(Vault(), lambda: {"lab": {"url": URL}})
    registry.add(Entry("lab", URL, trust=True))
    registry.remove("lab")
    assert names(registry) == [("lab", "config")]


def test_a_file_that_cannot_be_written_is_said_as_it_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(Vault())
    registry.add(Entry("lab", URL), save=True)

    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(BadServer, match=r"Read-only file system\); 'lab' is still in it"):
        registry.remove("lab")
    assert names(registry) == [("lab", "saved")]


def test_a_server_has_one_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", CANARY)
    vault = Vault()
    registry = Registry(vault)
    registry.add(Entry("a", URL, token="env:LAB_TOKEN"))
    with pytest.raises(BadServer, match="known already, as 'a'"):
        registry.add(Entry("b", "HTTPS://lab.example:443/lab"))
    # Without a name of its own it is the one that is known.
    assert registry.add(Entry("", f"{URL}tree", trust=True)).name == "a"
    (only,) = registry.servers()
    assert (only.name, only.trusted, vault.has(only.origin)) == ("a", True, True)
    registry.remove("a")
    assert not vault.has(only.origin)


def test_a_second_name_in_the_file_is_said_and_can_be_removed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", CANARY)
    for name in ("a", "b"):
        save_entry(str(file), Entry(name, URL, token="env:LAB_TOKEN"))
    vault = Vault()
    registry = Registry(vault)
    assert names(registry) == [("a", "saved")]
    assert registry.notes == ("kernel_bridge.json, b: it is the same server as 'a', so that name is used",)
    assert registry.remove("a").name == "a"
    (left,) = registry.servers()
    assert left.name == "b" and vault.has(left.origin) and not registry.notes
    save_entry(str(file), Entry("c", URL))
    registry.servers()
    assert registry.remove("c").name == "c"
    assert names(registry) == [("b", "saved")] and vault.has(left.origin)


def test_of_two_names_that_of_the_configuration_counts(file: Path) -> None:
    save_entry(str(file), Entry("a", URL))
    registry = Registry(Vault(), lambda: {"b": {"url": URL}, "c": {"url": URL}})
    assert names(registry) == [("b", "config")]
    in_config, in_file = registry.notes
    assert in_config.startswith("c.KernelBridge.servers['c']: ") and in_file.startswith("kernel_bridge.json, a: ")


# -- what is said now


@pytest.mark.parametrize("kept", ["env:OLD", "ask", "env:NOT_SET_AT_ALL"])
def test_a_secret_that_is_given_now_wins_over_the_one_that_is_kept(
    file: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLD", CANARY)
    save_entry(str(file), Entry("lab", URL, token=kept, trust=True))
    vault = Vault()
    registry = Registry(vault)
    given, _ = read_server(Entry("", "https://lab.example/lab"), "option")
    used = registry.override(given, secret=True)
    vault.put(given.origin, Secret("new"))
    assert (used.name, used.trusted) == ("lab", True)
    registry.servers()
    assert registry.unready() == {}
    assert vault.headers(given.origin) == {"Authorization": "token new"}


def test_how_to_get_there_is_what_is_said_now(file: Path) -> None:
    save_entry(str(file), Entry("lab", URL, ca_file="/old.pem"))
    registry = Registry(Vault())
    given, _ = read_server(Entry("", URL, ca_file="/new.pem", allow_plain_http=True), "option")
    registry.override(given, secret=False)
    (used,) = registry.servers()
    assert (used.ca_file, used.allow_plain_http) == ("/new.pem", True)
    registry.override(read_server(Entry("", URL), "option")[0], secret=False)
    assert registry.servers() == [used]
    other, _ = read_server(Entry("", "https://other.example/"), "option")
    assert registry.override(other, secret=True) is other


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"url": URL, "token": CANARY}, "the token is written out"),
        ({"url": URL, "toke": "env:X"}, "did you mean 'token'"),
        ("https://lab.example/", "a server is written"),
    ],
)
def test_the_configuration_s_mistakes_are_one_line_each(file: Path, value: Any, says: str) -> None:
    registry = Registry(Vault(), lambda: {"lab": value, "ok": {"url": "https://ok.example/"}})
    assert ("ok", "config") in names(registry)
    (note,) = registry.notes
    assert note.startswith("c.KernelBridge.servers['lab']: ") and says in note
    assert CANARY not in note
    with pytest.raises(BadServer, match="take it out there"):
        registry.remove("ok")


def test_a_file_beside_the_notebook_has_no_effect(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    save_entry(os.path.abspath("kernel_bridge.json"), Entry("gpu", "https://evil.example/", trust=True))
    registry = Registry(Vault())
    assert registry.servers() == [] and registry.notes == ()


def test_a_ca_file_must_be_one(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no certificate")
    registry = Registry(Vault())
    for name in ("text", "missing", "."):
        with pytest.raises(BadServer, match=r"the CA file .* is missing or no PEM file"):
            registry.add(Entry("lab", URL, ca_file=name))
    assert registry.servers() == []
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    assert registry.add(Entry("lab", URL, ca_file="ca.pem")).ca_file == str(tmp_path / "ca.pem")

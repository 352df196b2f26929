"""Servers that the user named, with the file and the configuration that they come from; no server is asked here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from kernel_bridge_magic.auth import Vault
from kernel_bridge_magic.entries import Entry
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.registry import Registry
from kernel_bridge_magic.server_file import save_entry

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
    assert by_name["both"].url == "https://config.example/" and by_name["both"].own
    assert vault.has(by_name["saved"].origin) and vault.has(by_name["mine"].origin)
    assert CANARY not in repr(registry.servers()) + repr(vault)


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
    assert asked == ["token"] and set(registry.unready()) == {pw.origin}
    registry.ask_for_secrets(ask)
    registry.ask_for_secrets(ask)
    assert asked == ["token", "password"] and registry.unready() == {}
    assert vault.way(pw.origin) == "password"


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

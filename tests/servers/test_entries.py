from __future__ import annotations

from typing import Any

import pytest

from kernel_bridge_magic.servers.entries import BadEntry, Entry, is_reference, read_entry

CANARY = "canary-5d20"
URL = "https://lab.example/"


def test_a_whole_entry_and_back() -> None:
    value = {"url": URL, "token": "env:LAB", "ca_file": "/etc/ca.pem", "trust": True, "allow_plain_http": True}
    entry, passed_over = read_entry("lab", value)
    assert passed_over == []
    assert entry == Entry("lab", URL, "env:LAB", "", "/etc/ca.pem", True, True)
    assert entry.as_json() == value
    assert read_entry("lab", {"url": URL})[0].as_json() == {"url": URL}


@pytest.mark.parametrize(
    ("value", "field", "says"),
    [
        ([], "", "a server is written"),
        ({}, "", "it has no 'url'"),
        ({"url": 1}, "url", "is not text"),
        ({"url": URL, "trust": "yes"}, "trust", "is not true or false"),
        ({"url": URL, "trust": 1}, "trust", "is not true or false"),
        ({"url": "lab.example:8888"}, "url", "http://"),
        ({"url": f"{URL}?token={CANARY}"}, "url", "has a token in it"),
        ({"url": f"https://me:{CANARY}@lab.example/"}, "url", "user name or password"),
        ({"url": URL, "token": CANARY}, "token", "is written out"),
        ({"url": URL, "token": f"token:{CANARY}"}, "token", "is written out"),
        ({"url": URL, "token": "env:"}, "token", "is written out"),
        ({"url": URL, "password": CANARY}, "password", "is written out"),
        ({"url": URL, "token": "ask", "password": "ask"}, "password", "one of them"),
        ({"url": URL, "ca_file": "ca.pem"}, "ca_file", "absolute"),
    ],
)
def test_what_cannot_be_used_names_its_field_and_no_secret(value: Any, field: str, says: str) -> None:
    with pytest.raises(BadEntry, match=says) as raised:
        read_entry("lab", value)
    assert raised.value.field == field
    assert CANARY not in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "a::b", "#1", "-x", " lab", "all", "ALL"])
def test_names_that_would_mean_something_else(name: str) -> None:
    with pytest.raises(BadEntry):
        read_entry(name, {"url": URL})


def test_unknown_fields_are_passed_over_with_the_nearest() -> None:
    entry, passed_over = read_entry("lab", {"url": URL, "tokn": CANARY, "colour": "red"})
    assert entry == Entry("lab", URL)
    assert passed_over[0] == ("tokn", "'tokn' is not known; did you mean 'token'?")
    assert "there are url, token" in passed_over[1][1]
    assert CANARY not in str(passed_over)


@pytest.mark.parametrize(("text", "is_one"), [("ask", True), ("env:X", True), ("file:/x", True), ("file:", False)])
def test_references(text: str, is_one: bool) -> None:
    assert is_reference(text) is is_one

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic.access.urls import (
    hub_and_user,
    is_server,
    parse_base_url,
    server_url,
    servers_named,
    without_secrets,
)
from kernel_bridge_magic.errors import BadServer
from kernel_bridge_magic.models import Origin, Server


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8888", "http://127.0.0.1:8888/"),
        ("  http://127.0.0.1:8888/  ", "http://127.0.0.1:8888/"),
        ("HTTP://HOST:8888/", "http://host:8888/"),
        ("http://host:80/", "http://host/"),
        ("https://host:443/x", "https://host/x/"),
        ("http://host:", "http://host/"),
        ("http://host./", "http://host/"),
        ("http://[::1]:8888", "http://[::1]:8888/"),
        ("http://[0:0:0:0:0:0:0:1]:8888", "http://[::1]:8888/"),
        ("http://h/lab", "http://h/"),
        ("http://h/hub/home", "http://h/"),
        ("http://h/base/hub/user/ann", "http://h/base/"),
        ("http://h/base/user/hub/lab", "http://h/base/user/hub/"),
        ("http://h/tree///", "http://h/"),
        ("http://h/lab/tree/a/b.ipynb?reset", "http://h/"),
        ("http://h/notebooks/x.ipynb#cell", "http://h/"),
        ("http://h/jupyter//lab?token=a", "http://h/jupyter/"),
        ("http://h/user/ann%20b/lab/tree/x.ipynb", "http://h/user/ann%20b/"),
        ("http://h/user/ann b/", "http://h/user/ann%20b/"),
        ("http://h/user/lab/lab", "http://h/user/lab/"),
        ("http://h/a%c3%a9é%zz", "http://h/a%C3%A9%C3%A9%25zz/"),
        ("http://h/./a/", "http://h/a/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://a_b-c.d/", "http://a_b-c.d/"),
    ],
)
def test_normalised_base_url(text: str, url: str) -> None:
    parsed = parse_base_url(text)
    assert parsed.url == url
    assert parse_base_url(url).origin == parsed.origin


def test_one_server_one_identity() -> None:
    texts = ["HTTP://HOST:8888/", "http://host:8888", "http://host:8888/lab?reset", "http://host.:8888//tree/"]
    assert {parse_base_url(text).origin for text in texts} == {Origin("http", "host", 8888, "/")}


def test_token_is_taken_out_and_in_no_repr() -> None:
    parsed = parse_base_url("http://h:1/lab?x=1&token=abc%2B1")
    assert parsed.token == "abc+1"
    assert "abc" not in parsed.url + repr(parsed) + repr(parsed.origin)
    assert parse_base_url("http://h:1/lab?token=").token is None


def test_unix_socket() -> None:
    parsed = parse_base_url("http+unix://%2Frun%2Fj.sock/base/lab?token=T")
    assert parsed.url == "http+unix://%2Frun%2Fj.sock/base/"
    assert parsed.origin == parse_base_url(parsed.url).origin == Origin("unix", "/run/j.sock", 0, "/base/")
    assert parsed.token == "T"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no URL"),
        ("foo", "'foo' has no scheme: write http://foo/ or https://foo/"),
        (
            "localhost:8888/lab",
            "'localhost:8888' has no scheme: write http://localhost:8888/ or https://localhost:8888/",
        ),
        ("8888", "'127.0.0.1:8888' has no scheme: write http://127.0.0.1:8888/ or https://127.0.0.1:8888/"),
        ("//host", "'host' has no scheme: write http://host/ or https://host/"),
        ("::1:8888", "[ ]"),
        ("http://::1:8888/", "[ ]"),
        ("http://[::1:8888/", "brackets"),
        ("http://[host]/", "IPv6"),
        ("http://[::zz]/", "IPv6"),
        ("http://[fe80::1%eth0]:8888/", "zone"),
        ("http://user:pw@host/", "user name or password"),
        ("user:pw@host:80", "https://"),
        ("pw@host:80", "user name or password"),
        ("http://h:0/", "the port 0 is not within 1 to 65535"),
        ("http://h:65536/", "the port 65536 is not within 1 to 65535"),
        ("http://h:8888x/", "the port '8888x' is not a number"),
        ("http://h:٣/", "not a number"),
        ("http:///lab", "no host"),
        ("http://:8888/", "no host"),
        ("http:/host", "two slashes"),
        ("ftp://h/", "http:// or https://"),
        ("file:///etc", "http:// or https://"),
        ("javascript:alert(1)", "http:// or https://"),
        ("ws://h/", "http://"),
        ("wss://h/", "https://"),
        ("http://a\r\nb/", "control character"),
        ("http://a\0b/", "control character"),
        ("http://a\tb/", "control character"),
        ("http://h/\u202e", "control character"),
        ("http://evil.com\\@good/", "backslash"),
        ("http://a b/", "space"),
        ("http://h/%0d%0aX: y", "encoded control"),
        ("http://h%20x/", "is neither a name nor an address"),
        ("http://h/a/../b", "goes up"),
        ("http://h/%2e%2e/b", "goes up"),
        ("http://127.1/", "IPv4"),
        ("http://0x7f000001/", "IPv4"),
        ("http://2130706433/", "IPv4"),
        ("http://-x/", "is neither a name nor an address"),
        ("http://a..b/", "is neither a name nor an address"),
        ("http://h/" + "x" * 9000, "longer than"),
        ("http+unix://x/", "socket"),
    ],
)
def test_refused_with_one_clear_line(text: str, part: str) -> None:
    with pytest.raises(BadServer) as error:
        parse_base_url(text)
    assert part in str(error.value)
    assert "\n" not in str(error.value)
    assert "pw" not in str(error.value).replace("password", "")


def test_parts_that_are_known_keep_their_path() -> None:
    assert server_url("http", "::1", 8888, "/lab/")[0] == "http://[::1]:8888/lab/"
    assert server_url("https", "h", 443, "a/b%20c") == ("https://h/a/b%20c/", Origin("https", "h", 443, "/a/b%20c/"))


@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://h:1/", "http://[", "http+unix://"]))
def test_anything_is_read_or_refused(text: str, before: str) -> None:
    try:
        parsed = parse_base_url(before + text)
    except BadServer:
        return
    assert parsed.url.isascii() and parsed.url.endswith("/") and " " not in parsed.url
    if parsed.origin.scheme != "unix":
        assert parse_base_url(parsed.url).origin == parsed.origin


@pytest.mark.parametrize(
    ("path", "hub", "user"),
    [
        ("/user/ann/", "/", "ann"),
        ("/a/b/user/ann%20b/gpu/", "/a/b/", "ann b"),
        ("/%75ser/bob/", "/", "bob"),
        ("/user/mallory/user/alice/", "/", "mallory"),
        ("/user/bob/files/x.ipynb", "/", "bob"),
        ("/user/", "", ""),
        ("/", "", ""),
        ("/users/ann/", "", ""),
    ],
)
def test_whose_server_a_path_of_a_hub_is(path: str, hub: str, user: str) -> None:
    assert hub_and_user(path) == (hub, user)


@pytest.mark.parametrize("host", ["ü" * 70, "a\u3002\u3002b", "ü..x"])
def test_a_name_that_nobody_can_look_up_is_refused(host: str) -> None:
    with pytest.raises(BadServer, match="the host is not a name that can be looked up"):
        parse_base_url(f"http://{host}/")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("https://me:hunter2@h/lab?token=s3cr3t", "https://h/lab"),
        ("https://h/#s3cr3t", "https://h/"),
        ("lab", "lab"),
    ],
)
def test_a_server_is_named_without_what_may_be_secret(name: str, shown: str) -> None:
    assert without_secrets(name) == shown


def test_which_servers_a_name_or_a_url_means() -> None:
    origin = Origin("http", "h", 80, "/")
    hub = Server("http://h/hub/", "our hub", origin._replace(base_path="/hub/"))
    lab = Server("http://h/", "Lab e\u0301", origin)
    ann = Server("http://h/user/ann/", "ann", origin._replace(base_path="/user/ann/"), hub=hub)
    known = [lab, ann]
    assert servers_named("Lab \u00e9", known) == [lab] and servers_named("our hub", known) == [ann]
    assert servers_named("http://h/lab/tree?token=x", known) == [lab]
    assert servers_named("http://h/user/ann", known) == [ann]
    for nobody in ("lab", "http://h:99999/", "http://other/", "http://"):
        assert servers_named(nobody, known) == [], nobody
    assert is_server("ann", ann) and not is_server("ann", lab)

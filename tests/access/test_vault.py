from __future__ import annotations

import copy
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import IPython
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel_bridge_magic import connect, kernels
from kernel_bridge_magic.access.references import read_secret
from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.cli import arguments
from kernel_bridge_magic.cli.login import give_secret
from kernel_bridge_magic.discovery.heartbeat import Endpoint
from kernel_bridge_magic.discovery.runtime_files import read_runtime_files
from kernel_bridge_magic.errors import BadServer, KernelBridgeError
from kernel_bridge_magic.ipython.options import servers_parser
from kernel_bridge_magic.models import Origin
from kernel_bridge_magic.servers.config_file import save_entry
from kernel_bridge_magic.servers.entries import Entry
from kernel_bridge_magic.servers.registry import Registry
from kernel_bridge_magic.servers.rest import ServerAPI
from tests.support.raw import RawServer, http

CANARY = "canary-9f2c41"
HERE = Origin("http", "127.0.0.1", 8888, "/")


def test_a_secret_shows_itself_to_reveal_alone() -> None:
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    assert CANARY not in f"{secret!r} {secret!s} {secret} {secret:>20} {[secret]} {secret.reveal()!r}"
    for copying in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            copying(secret)
    assert not hasattr(secret, "__dict__")
    assert secret == Secret(CANARY) and secret != Secret("x") and secret != CANARY


@pytest.mark.parametrize("value", ["+/=%&#", " ends ", "x" * 4096])
def test_sent_verbatim(value: str) -> None:
    vault = Vault()
    vault.put(HERE, Secret(value))
    assert vault.headers(HERE) == {"Authorization": f"token {value}"}


@pytest.mark.parametrize("value", ["a\nb", "a\r", "a\0", "日本", "é"])
def test_what_no_header_carries_is_refused_unseen(value: str) -> None:
    with pytest.raises(BadServer) as error:
        Vault().put(HERE, Secret(CANARY + value))
    assert CANARY not in str(error.value)


def test_a_password_may_have_any_characters() -> None:
    vault = Vault()
    vault.put_password(HERE, lambda: Secret("日本é"))
    password = vault.password(HERE)
    assert password is not None and password.reveal() == "日本é"
    assert password.login_form("x") == "password=%E6%97%A5%E6%9C%AC%C3%A9&_xsrf=x"


def test_what_was_given_for_one_name_of_a_server_holds_for_its_other_one() -> None:
    vault, other = Vault(), HERE._replace(host="localhost")
    vault.put(HERE, Secret("of its file"), found=True)
    vault.adopt(other, HERE)
    assert vault.headers(HERE) == {"Authorization": "token of its file"}, "nothing was given"
    vault.put(other, Secret("given"))
    vault.adopt(other, HERE)
    assert vault.headers(HERE) == {"Authorization": "token given"}
    vault.put(HERE, Secret("given for this one"))
    vault.adopt(other, HERE)
    assert vault.headers(HERE) == {"Authorization": "token given for this one"}
    vault.put_password(other, lambda: Secret("pw"), once=True)
    vault.adopt(other, HERE)
    assert vault.password(HERE) == Secret("pw")
    vault.put_cookies(HERE, {"in": "yes"})
    vault.login_was(HERE, accepted=True)
    vault.adopt(other, HERE)
    assert vault.password(HERE) is None, "it was for one login"


@pytest.mark.parametrize("empty", [False, True])
def test_what_was_given_for_another_name_can_be_given_anew_and_taken_back(empty: bool) -> None:
    vault, other = Vault(), HERE._replace(host="localhost")
    for value in ("" if empty else "wrong", "right"):
        vault.put(HERE, Secret("of its file"), found=True)
        vault.put(other, Secret(value))
        vault.adopt(other, HERE)
        assert vault.headers(HERE).get("Authorization") == (f"token {value}" if value else None)
    vault.adopt(HERE._replace(host="::1"), HERE)
    assert vault.headers(HERE) == {"Authorization": "token right"}
    vault.forget(other)
    assert not vault.has(HERE)
    vault.put(HERE, Secret("of its file"), found=True)
    assert vault.headers(HERE) == {"Authorization": "token of its file"}
    vault.put_password(other, lambda: Secret("pw"))
    vault.adopt(other, HERE)
    vault.put_cookies(HERE, {"in": "yes"})
    vault.forget(other)
    assert vault.password(HERE) is None and "in=yes" not in vault.headers(HERE).get("Cookie", "")


def test_a_secret_is_withheld_until_it_is_known_whose_it_is() -> None:
    vault = Vault()
    vault.put(HERE, Secret(CANARY))
    vault.withhold(HERE)
    assert "Authorization" not in vault.headers(HERE)
    vault.put_owner(HERE, "ann", withhold=False)
    assert vault.headers(HERE)["Authorization"] == f"token {CANARY}"


def test_a_vault_for_one_question_holds_one_secret() -> None:
    vault, hub = Vault(), HERE._replace(base_path="/hub/")
    vault.put(HERE, Secret("mine"))
    vault.put(hub, Secret("the hub's"))
    alone = vault.alone(HERE, hub)
    assert alone.headers(hub) == {"Authorization": "token mine"}
    assert not alone.has(HERE)
    with pytest.raises(AssertionError):
        vault.alone(HERE, HERE._replace(host="evil.example"))


def shown_by_tracebacks(error: BaseException) -> str:
    """What rich and `%xmode Verbose` show of the local variables of an error's frames, and all that hangs on it."""
    import rich.console
    import rich.traceback
    from IPython.core.ultratb import VerboseTB

    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals["__name__"] == __name__:
        trace = trace.tb_next  # a test may well know the secret
    error = error.with_traceback(trace)
    console = rich.console.Console(file=io.StringIO(), width=400)
    for one in (error, error.__cause__, error.__context__):
        if one is not None:
            made = rich.traceback.Traceback.from_exception(type(one), one, one.__traceback__, show_locals=True)
            console.print(made)
            console.print(repr(vars(one)), repr(one.args))
    assert isinstance(console.file, io.StringIO)
    verbose = VerboseTB(**({"color_scheme": "NoColor"} if IPython.version_info < (9,) else {"theme_name": "nocolor"}))
    text = console.file.getvalue() + verbose.text(type(error), error, error.__traceback__)
    # The search finds what it looks for: our frames are there, with their variables.
    assert "kernel_bridge_magic" in text and "locals" in text
    return text


LONG = f"{CANARY}{'x' * 200}"  # of a long text only the beginning is shown
BAD_SECRETS = {
    "a line break": f"{CANARY}\nmore",
    "a carriage return and much more": f"{LONG}\rmore",
    "a NUL": f"{CANARY}\0",
    "not UTF-8": f"{CANARY}\udcff",
    "not Latin": f"{LONG}日本",
    "Latin": f"{CANARY}é",
}


def use_as_token(reference: str) -> None:
    vault, origin = Vault(), HERE
    vault.put(origin, read_secret(reference))


def use_as_password(reference: str) -> None:
    with RawServer(lambda connection, request: connection.sendall(login(request))) as raw:
        server = raw.server()
        vault = Vault()
        vault.put_password(server.origin, lambda: read_secret(reference, what="password"))
        ServerAPI(server, vault).kernels()


def use_in_a_registry(reference: str) -> None:
    Registry(Vault()).add(Entry("lab", "http://127.0.0.1:1/", token=reference))


def login(request: bytes) -> bytes:
    if request.startswith(b"GET /login"):
        return http(body=b'<form><input type="password" name="password">', Set_Cookie="_xsrf=a")
    return http("403 Forbidden", b"{}")


USES = [use_as_token, use_as_password, use_in_a_registry]


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    ("place", "kind"),
    [(place, kind) for kind in BAD_SECRETS for place in ("env", "file") if (place, kind) != ("env", "a NUL")],
)
def test_a_secret_that_cannot_be_used_is_in_no_traceback(
    place: str, kind: str, use: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reference = put_where(place, kind, monkeypatch, tmp_path)
    with pytest.raises(KernelBridgeError) as caught:
        use(reference)
    assert CANARY not in shown_by_tracebacks(caught.value)


def put_where(place: str, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Put the bad secret there, and give the reference to it; no frame of a test holds the secret."""
    if place == "file":
        file = tmp_path / "secret"
        file.write_bytes(os.fsencode(BAD_SECRETS[kind]))
        file.chmod(0o600)
        return f"file:{file}"
    monkeypatch.setenv("LAB_TOKEN", BAD_SECRETS[kind])
    return "env:LAB_TOKEN"


# Each is wrong in its own way, or leads nowhere.
URLS = [
    f"http://127.0.0.1:1/lab?token={CANARY}",
    f"http://127.0.0.1:x/?token={CANARY}",
    f"http://h/%0a?token={CANARY}",
    f"http://h/?token={CANARY}\n",
    f"http://ann:{CANARY}@h/",
    f"http://h/../#token={CANARY}",
    f"ftp://h/?token={CANARY}",
    f"127.0.0.1:1/?token={CANARY}",
]
CALLS: list[Callable[[str], object]] = [
    parse_base_url,
    lambda url: kernels(server=url).servers[0].problem or kernels("re:[", server=url),
    lambda url: connect("nb", server=url),
    lambda url: connect(f"{url}::nb"),
    lambda url: connect(f"{url}::''"),
    lambda url: Bridge().check(arguments.parse(["list", "--base-url", url]).base_url),
    lambda url: give_secret(Bridge(), arguments.parse(["list", "--base-url", url])),
    lambda url: Bridge().add_server(Entry("", servers_parser().parse_args(["--add", url]).add, ca_file="/nowhere")),
    lambda url: Bridge().add_server(Entry("", servers_parser().parse_args(["--add", url]).add), save=True),
]


@pytest.mark.parametrize(
    ("call", "number"),
    [(call, n) for call in CALLS for n in range(len(URLS)) if call is parse_base_url or n in (0, 1, 4)],
)
def test_a_secret_in_a_url_is_in_no_traceback(
    call: Callable[[str], object], number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    try:
        call(URLS[number])
    except KernelBridgeError as error:
        assert CANARY not in str(error) + shown_by_tracebacks(error)


NO_NAMES = [
    "s3cr3t_" + "0a" * 20,
    "ghp_" + "Z9" * 18,
    "AKIA" + "Q7" * 8,
    "hunter2",
    "correct horse",
    "x" * 300,
    "K" * 32,
]


def refusal_of(place: str, number: int) -> BadServer:
    """What is raised for a reference to nothing."""
    with pytest.raises(BadServer) as caught:
        read_secret(f"{place}:{NO_NAMES[number]}")
    return caught.value


@pytest.mark.parametrize("number", range(len(NO_NAMES)))
@pytest.mark.parametrize("place", ["env", "file"])
def test_a_secret_that_a_shell_put_for_its_name_is_not_repeated(place: str, number: int) -> None:
    error = refusal_of(place, number)
    assert "$" in str(error) or place == "file"
    assert NO_NAMES[number] not in str(error) + shown_by_tracebacks(error)
    for parse in (servers_parser().parse_args, arguments.parse):
        words = ["--add", "x"] if parse is not arguments.parse else ["list", "--base-url", "x"]
        parsed = parse([*words, f"--token={place}:{NO_NAMES[number]}"])
        assert NO_NAMES[number] not in repr(parsed) + repr(Entry("lab", "http://h/", token=parsed.token))


def test_what_is_read_of_files_is_in_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "kernel_bridge.json").write_text('{"servers": {"lab": {"token": "' + CANARY + '"}}, x')
    (tmp_path / "kernel_bridge.json").chmod(0o600)
    with pytest.raises(BadServer, match="line 1") as caught:
        save_entry(str(tmp_path / "kernel_bridge.json"), Entry("a", "http://h/"))
    assert CANARY not in shown_by_tracebacks(caught.value)
    (tmp_path / "jpserver-1.json").write_text(json.dumps({"token": CANARY}))
    (tmp_path / "kernel-1.json").write_text(json.dumps({"key": CANARY, "curve_secretkey": CANARY}))
    files = read_runtime_files([str(tmp_path)])
    assert len(files.servers) == len(files.kernels) == 1
    assert CANARY not in repr(files) + repr(Endpoint("/r/k.json", "tcp", "127.0.0.1", 1, 2, CANARY, CANARY))


def test_vault_without_a_secret_submits_xsrf_twice() -> None:
    headers = Vault().headers(HERE)
    assert headers["Cookie"] == f"_xsrf={headers['X-XSRFToken']}"
    assert len(headers["X-XSRFToken"]) == 32
    assert "Authorization" not in headers


def test_vault_forgets_and_shows_nothing() -> None:
    vault = Vault()
    vault.put(HERE, Secret(CANARY))
    assert vault.has(HERE)
    assert CANARY not in repr(vault) + repr(vault.headers(HERE)) + repr(list(vault.headers(HERE).items()))
    with pytest.raises(TypeError):
        pickle.dumps(vault)
    vault.put(HERE, Secret(""))
    assert not vault.has(HERE)
    vault.put(HERE, Secret(CANARY))
    vault.forget(HERE)
    vault.forget(HERE)
    assert not vault.has(HERE)


ORIGINS = st.builds(
    Origin, st.sampled_from(["http", "https"]), st.sampled_from(["a", "b"]), st.integers(1, 3), st.sampled_from("/x")
)


@given(ORIGINS, ORIGINS)
def test_a_secret_goes_to_its_own_origin_only(mine: Origin, other: Origin) -> None:
    vault = Vault()
    vault.put(mine, Secret(CANARY))
    assert (CANARY in "".join(vault.headers(other).values())) == (mine == other)


# -- passwords, hubs


def test_a_typed_password_is_for_one_login_and_a_refused_one_for_none() -> None:
    vault = Vault()
    vault.put_password(HERE, lambda: Secret(CANARY), once=True)
    assert vault.auth_method(HERE) == "password" and vault.password(HERE) == Secret(CANARY)
    vault.login_was(HERE, accepted=True)
    assert vault.password(HERE) is None
    vault.put_password(HERE, lambda: Secret(CANARY))
    vault.login_was(HERE, accepted=True)
    assert vault.password(HERE) == Secret(CANARY)
    vault.login_was(HERE, accepted=False)
    assert vault.password(HERE) is None and vault.auth_method(HERE) == "none"


def test_a_hub_s_token_is_lent_to_its_servers_and_taken_back() -> None:
    vault, child = Vault(), HERE._replace(base_path="/user/ann/")
    vault.lend(HERE, child)
    assert not vault.has(child)
    vault.put(HERE, Secret(CANARY))
    vault.lend(HERE, child)
    assert vault.headers(child)["Authorization"] == f"token {CANARY}"
    vault.forget(HERE)
    assert not vault.has(child)
    vault.put(HERE, Secret("the hub's"))
    vault.put(child, Secret("its own"))
    for _ in range(2):
        vault.lend(HERE, child)
        assert vault.headers(child)["Authorization"] == "token its own"
    vault.forget(child)
    vault.lend(HERE, child)
    vault.put(child, Secret("its own, given later"))
    vault.lend(HERE, child)
    assert vault.headers(child)["Authorization"] == "token its own, given later"
    for elsewhere in ({"host": "b"}, {"port": 1}, {"scheme": "https"}):
        with pytest.raises(AssertionError):
            vault.lend(HERE, child._replace(**elsewhere))


def test_a_token_of_somebody_else_is_withheld_until_there_is_another() -> None:
    vault = Vault()
    vault.put(HERE, Secret(CANARY))
    assert vault.owner(HERE) is None
    vault.put_owner(HERE, "ann", withhold=True)
    assert vault.owner(HERE) == "ann"
    assert CANARY not in "".join(vault.headers(HERE).values())
    vault.put(HERE, Secret(CANARY))
    assert vault.owner(HERE) is None and CANARY in vault.headers(HERE)["Authorization"]


def test_a_secret_that_is_no_text_is_refused_unseen() -> None:
    with pytest.raises(BadServer, match="the secret is not UTF-8 text") as raised:
        Secret("s3cr3t\udcff")
    assert "s3cr3t" not in str(raised.value)


def test_a_vault_for_one_question_is_empty_where_there_is_no_secret() -> None:
    other = HERE._replace(base_path="/other/")
    alone = Vault().alone(HERE, other)
    assert not alone.has(other) and not alone.has(HERE) and alone.auth_method(other) == "none"


def test_who_has_logged_in_is_known_by_cookies() -> None:
    vault = Vault()
    vault.put_cookies(HERE, {"session": CANARY})
    assert vault.auth_method(HERE) == "password" and not vault.has(HERE)
    assert CANARY not in repr(vault) and CANARY in "".join(vault.headers(HERE).values())
    assert vault.auth_method(HERE._replace(base_path="/other/")) == "none"

from __future__ import annotations

import dataclasses
import json

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.discovery.asking import ask_all, join
from kernel_bridge_magic.models import Server
from kernel_bridge_magic.reports import ServerReport
from tests.support.ports import free_port
from tests.support.raw import RawServer, http


def server_at(url: str, name: str) -> Server:
    base = parse_base_url(url)
    return Server(base.url, name, base.origin)


def asked(*servers: Server, seconds: float = 3.0) -> list[ServerReport]:
    answers = ask_all(servers, Vault(), Deadline.after(seconds), seconds)
    assert [len(one) for one in answers] == [1] * len(servers)
    return [one.report for [one] in answers]


def listing(*ids: str) -> dict[str, bytes]:
    kernels = json.dumps([{"id": one, "name": "python3"} for one in ids]).encode()
    return {"kernels": http(body=kernels), "sessions": http(), "kernelspecs": http(body=b'{"kernelspecs": {}}')}


def test_answers_come_in_the_order_of_the_servers() -> None:
    with RawServer(listing("a", "b")) as first, RawServer(listing("c")) as second:
        servers = [first.server("one"), second.server("two")]
        reports = asked(*servers)
    assert [(it.server.name, it.kernels, it.problem) for it in reports] == [("one", 2, ""), ("two", 1, "")]


def test_what_is_skipped_is_not_asked() -> None:
    with RawServer(listing("a")) as raw:
        server = raw.server("one")
        [[answer]] = ask_all([server], Vault(), Deadline.after(3.0), 3.0, {server.origin: "it was silent just now"})
        assert raw.requests == []
    assert (answer.report.problem, answer.report.remedy, answer.kernels) == ("it was silent just now", "", [])


def test_a_server_that_says_nothing_is_late() -> None:
    with RawServer(lambda connection, request: raw.closing.wait(20)) as raw:
        [report] = asked(raw.server("one"), seconds=0.5)
    assert report.late
    assert (report.problem, report.remedy) == ("no answer within 0.5 s", "is it suspended or behind a firewall?")


def test_what_is_wrong_and_what_to_do_are_told_apart() -> None:
    with RawServer(http("500 Oops")) as raw:
        [report] = asked(raw.server("one"))
    assert (report.problem, report.remedy) == ("the server failed (500)", "its log says why")
    port = free_port()
    url, why = f"http://127.0.0.1:{port}/", "the server has stopped, or the URL is wrong"
    named, called = asked(server_at(url, f"127.0.0.1:{port}"), server_at(url, "lab"))
    hub = dataclasses.replace(server_at(f"{url}user/bob/", f"127.0.0.1:{port}"), source="given")
    vault = Vault()
    vault.put(hub.origin, Secret("token"))
    [[answer]] = ask_all([hub], vault, Deadline.after(3.0), 3.0)
    assert answer.report.is_named
    # The address is said once where it is the name.
    assert (named.problem, named.remedy) == (f"nothing is listening on 127.0.0.1:{port}: {why}", "")
    assert (called.problem, called.remedy) == (f"nothing is listening on 127.0.0.1:{port}", why)
    assert (named.is_named, called.is_named) == (True, False)
    assert named.misplaced and called.misplaced


def test_join_counts_each_once() -> None:
    server = parse_base_url("http://h/")
    given = Server(server.url, "h", server.origin)
    kernels = [{"id": "a"}, {"id": "a", "name": "again"}, {"id": "b"}]
    sessions = [
        {"path": "1.ipynb", "type": "notebook", "kernel": {"id": "a"}},
        {"path": "2.ipynb", "type": "notebook", "kernel": {"id": "a"}},
        {"path": "1.ipynb", "type": "notebook", "kernel": {"id": "a"}},
        {"path": "3.ipynb", "type": "notebook", "kernel": {"id": "c", "name": "r"}},
    ]
    found = {kernel.id: kernel.paths for kernel in join(given, kernels, sessions)}
    assert found == {"a": ("1.ipynb", "2.ipynb"), "b": (), "c": ("3.ipynb",)}

from __future__ import annotations

from dataclasses import replace

import pytest

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.discovery import claims
from kernel_bridge_magic.discovery.asking import Answer
from kernel_bridge_magic.discovery.claims import listed_by, of_frozen_servers
from kernel_bridge_magic.discovery.runtime_files import FileContent
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.reports import ServerReport


def server(path: str, source: str = "added") -> Server:
    url, origin, _ = parse_base_url(f"http://h{path}")
    return Server(url, path, origin, source, trusted=True)


def answer(server: Server, *ids: str, problem: str = "") -> Answer:
    kernels = [Kernel(kernel_id, server=server) for kernel_id in ids]
    return Answer(ServerReport(server, len(ids), problem), kernels)


LAB, HUB = server("/gpu/"), server("/")
CHILD = replace(server("/user/ann/"), hub=HUB)
FILES = [FileContent("/r/kernel-a.json", {}, 0.0), FileContent("/r/kernel-b.json", {}, 0.0)]


@pytest.fixture(autouse=True)
def nothing_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "_LISTED", {})


def test_what_a_server_listed_stays_its_own_while_it_does_not_answer() -> None:
    assert listed_by([answer(LAB, "a", "b")]) == {"a", "b"}
    for _ in range(2):
        assert listed_by([answer(LAB, problem="did not answer")]) == {"a", "b"}
    assert listed_by([answer(LAB, "b", problem="its notebooks are not known")]) == {"b"}
    assert listed_by([answer(LAB)]) == set()
    assert listed_by([answer(LAB, problem="did not answer")]) == set()


def test_a_hub_s_kernels_stay_its_own_while_it_does_not_answer() -> None:
    assert listed_by([answer(CHILD, "a"), answer(LAB, "b")]) == {"a", "b"}
    assert listed_by([answer(HUB, problem="did not answer"), answer(LAB)]) == {"a"}
    assert listed_by([answer(LAB)]) == set()  # taken out, and no more ours


def test_files_here_are_those_of_a_server_here_that_does_not_answer() -> None:
    frozen = answer(server("/gpu/", "runtime"), problem="did not answer")
    assert of_frozen_servers([frozen], FILES) == {"a", "b"}
    assert of_frozen_servers([answer(server("/gpu/", "runtime"), "a")], FILES) == set()
    assert of_frozen_servers([answer(LAB, problem="did not answer")], FILES) == set()

"""Looking for kernels where servers fail, or are slow."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.bridge.search import Search, only
from kernel_bridge_magic.errors import BadServer, KernelNotFound
from kernel_bridge_magic.models import Kernel
from kernel_bridge_magic.reports import Listing, ServerReport, Skipped
from kernel_bridge_magic.servers.entries import Entry
from tests.support.raw import RawServer, http
from tests.support.servers import wait_for


@pytest.fixture
def bridge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bridge]:
    """One that finds nothing by itself."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    made = Bridge()
    yield made
    made.close()


def test_a_slow_server_is_heard_for_the_next_cell(bridge: Bridge) -> None:
    uuid = "3f9c1c0e-0000-4000-8000-000000000001"
    path, slow = "before.ipynb", threading.Event()

    def answer(connection: socket.socket, request: bytes) -> None:
        if slow.is_set() and b"/api/kernels" in request:
            raw.closing.wait(1.2)
        sessions = [{"path": path, "name": path, "type": "notebook", "kernel": {"id": uuid, "name": "k"}}]
        known = {b"sessions": sessions, b"kernels": [{"id": uuid, "name": "k"}]}
        found = next((body for name, body in known.items() if name in request.split(b" ")[1]), {})
        connection.sendall(http(body=json.dumps(found).encode()))

    with RawServer(answer) as raw:
        bridge.add_server(Entry("slow", f"http://127.0.0.1:{raw.port}/"))
        (kernel,) = bridge.search.look().kernels
        path = "after.ipynb"
        slow.set()
        (again,) = bridge.search.look_again(None, kernel).kernels
        assert again == kernel
        wait_for(lambda: bridge.search.look_again(None, kernel).kernels[0].title == "after.ipynb", "what it said late")


def test_a_server_that_failed_is_passed_over_for_a_while(bridge: Bridge) -> None:
    well = threading.Event()

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(http() if well.is_set() else http("500 Internal Server Error", b"{}"))

    with RawServer(answer) as raw:
        bridge.add_server(Entry("lab", f"http://127.0.0.1:{raw.port}/"))
        assert bridge.search.look().servers[0].problem
        well.set()
        raw.requests.clear()
        # It answers now, and a cell does not ask it; %kernels does.
        with pytest.raises(KernelNotFound, match="lab was not reached"):
            bridge.find("train.ipynb")
        assert raw.requests == []
        assert not bridge.search.look().servers[0].problem
        with pytest.raises(KernelNotFound):
            bridge.find("train.ipynb")
        assert raw.requests != []


def test_a_server_that_is_added_again_is_asked_at_once(bridge: Bridge) -> None:
    with RawServer(http("500 Internal Server Error", b"{}")) as raw:
        bridge.add_server(Entry("lab", f"http://127.0.0.1:{raw.port}/"))
        bridge.search.look()
        raw.requests.clear()
        bridge.search.look(rest=True)
        assert raw.requests == []
        bridge.add_server(Entry("lab", f"http://127.0.0.1:{raw.port}/"))
        bridge.search.look(rest=True)
        assert raw.requests != []


@pytest.mark.parametrize(
    ("match", "files", "means"),
    [
        ("/run/kernel-1.json", ("/run/kernel-1.json",), "/run/kernel-1.json"),
        ("kernel-1.json", ("/run/kernel-1.json",), "/run/kernel-1.json"),
        ("kernel-2.json", ("/run/kernel-2.json",), "/run/kernel-2.json"),
        ("a.json", ("/elsewhere/a.json",), "a.json"),
        ("/elsewhere/a.json", ("/elsewhere/a.json",), "/elsewhere/a.json"),
        ("copy.json", ("/run/copy.json",), "/run/kernel-1.json"),
        ("x.json", ("/run/copy.json", "/run/kernel-1.json"), "/run/kernel-1.json"),
        ("x.json", ("/run/copy.json", "/run/other.json"), "/run/kernel-1.json,other"),
        ("train", (), "train"),
    ],
)
def test_a_match_that_names_a_connection_file_means_its_path(match: str, files: tuple[str, ...], means: str) -> None:
    listing = Listing(
        (Kernel("1", connection_file="/run/kernel-1.json"),),
        skipped=(Skipped("/run/kernel-2.json", "it is no JSON"),),
        copies={"/run/copy.json": "/run/kernel-1.json", "/run/other.json": "other"},
    )
    assert Search.file_or_match(match, files, listing) == means


def test_a_listing_is_kept_to_one_server(bridge: Bridge) -> None:
    lab, gpu = (bridge.add_server(Entry(name, f"http://{name}.example/")) for name in ("lab", "gpu"))
    here, there, claim = Kernel("1", server=lab), Kernel("2", server=gpu), Kernel("1", server=gpu, claimed=True)
    listing = Listing((here, there), (ServerReport(lab), ServerReport(gpu)), (Skipped("/a", "b"),), claims=(claim,))
    assert only(listing, "gpu") == Listing((there, claim), (ServerReport(gpu),))
    with pytest.raises(BadServer, match=r"no server is called 'hpc' \(known: lab, gpu\)"):
        only(listing, "hpc")

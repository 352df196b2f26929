from __future__ import annotations

import dataclasses

import pytest

from kernel_bridge_magic.models import Origin, Server
from kernel_bridge_magic.reports import Checkup, Listing, ServerReport, Step

SERVER = Server("http://127.0.0.1:8888/", "lab", Origin("http", "127.0.0.1", 8888, "/"))


def test_a_server_is_well_unless_a_step_failed() -> None:
    assert Checkup(SERVER).ok
    assert Checkup(SERVER, (Step("DNS", True, "found"), Step("TLS", None, "none"))).ok
    assert not Checkup(SERVER, (Step("DNS", True, "found"), Step("TCP", False, "refused", "start it"))).ok


def test_what_was_seen_does_not_change() -> None:
    for value, field in ((Listing(), "kernels"), (ServerReport(SERVER), "problem"), (Checkup(SERVER), "steps")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, field, ())

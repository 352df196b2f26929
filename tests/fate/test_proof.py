"""The steps of a proof, with a clock of our own."""

from __future__ import annotations

from kernel_bridge_magic.fate import timing
from kernel_bridge_magic.fate.proof import Proof, ProofStep

T = timing.current


def test_the_plain_case() -> None:
    proof = Proof(100.0)
    assert proof.tick(100.0) is ProofStep.ASK_SERVER
    assert proof.tick(100.1) is None
    proof.server_says(1, 100.0)
    assert proof.tick(100.0 + T.socket_linger - 0.1) is None, "a socket that was closed may still send"
    assert proof.tick(100.0 + T.socket_linger) is ProofStep.ASK_KERNEL
    assert proof.tick(103.0) is None
    proof.answered(103.0)
    assert proof.tick(103.0) is ProofStep.ASK_KERNEL, "a busy kernel reads its queues in turns"
    proof.answered(103.1)
    assert proof.tick(103.2) is None
    assert proof.tick(103.2 + T.settle) is ProofStep.COUNT


def test_a_server_that_has_not_closed_the_old_connection_is_asked_again() -> None:
    proof = Proof(100.0)
    for number in range(4):
        assert proof.tick(100.0 + number * T.ask_connections_again) is ProofStep.ASK_SERVER
        proof.server_says(2, 100.0 + number * T.ask_connections_again)
    proof.server_says(1, 103.5)
    assert proof.tick(103.5 + T.socket_linger) is ProofStep.ASK_KERNEL


def test_what_the_server_said_before_does_not_count() -> None:
    proof = Proof(100.0)
    proof.server_says(1, 99.9)
    assert proof.tick(100.0) is ProofStep.ASK_SERVER
    assert proof.tick(100.5) is None


def test_a_server_that_does_not_count_ends_it_at_once() -> None:
    proof = Proof(100.0)
    proof.server_says(None, 100.1)
    assert proof.tick(100.2) is ProofStep.GIVE_UP


def test_it_ends_whatever_does_not_come() -> None:
    for connections in (None, 1):
        proof = Proof(100.0)
        if connections:
            proof.server_says(connections, 100.0)
        assert proof.tick(100.0 + T.proof) is ProofStep.GIVE_UP

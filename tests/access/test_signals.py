"""Signals that wait while the command line is imported."""

from __future__ import annotations

import signal

import pytest

from kernel_bridge_magic.access.signals import ENDING, postpone, resume


def test_they_wait_until_they_are_let_come() -> None:
    mask = postpone()
    try:
        assert set(ENDING) == {signal.SIGTERM, signal.SIGHUP}
        assert {signal.SIGINT, *ENDING} <= signal.pthread_sigmask(signal.SIG_BLOCK, ())
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
            resume(mask)
    finally:
        resume(mask)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask


def test_where_nothing_can_wait_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(signal, "pthread_sigmask")
    resume(postpone())

"""Another machine, as near as can be: a network namespace of its own, with a cable to this one. For root only."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from functools import cache


@cache
def can_be_far() -> bool:
    """Whether network namespaces can be made here."""
    try:
        with far_machine():
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


@contextlib.contextmanager
def far_machine() -> Iterator[tuple[str, list[str]]]:
    """Give its address, and what stands before a command that is to run there."""
    name, net = f"kb{os.getpid()}", f"10.231.{os.getpid() % 250}"
    try:
        _ip("netns", "add", name)
        _ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b")
        _ip("link", "set", f"{name}b", "netns", name)
        _ip("addr", "add", f"{net}.1/24", "dev", f"{name}a")
        _ip("link", "set", f"{name}a", "up")
        _ip("-n", name, "addr", "add", f"{net}.2/24", "dev", f"{name}b")
        _ip("-n", name, "link", "set", f"{name}b", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield f"{net}.2", ["ip", "netns", "exec", name]
    finally:
        with contextlib.suppress(OSError):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
            subprocess.run(["ip", "link", "del", f"{name}a"], capture_output=True, check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)

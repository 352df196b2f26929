"""A process that ends with a connection open (G27): `python -m tests.faults.exits URL TOKEN KERNEL FILE TRANSPORT HOW`.

It says "ends" when all that it had to do is done; from there on nothing may hold it up, and nothing may be said.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
from pathlib import Path

from kernel_bridge_magic.access.urls import parse_base_url
from kernel_bridge_magic.access.vault import Secret, Vault
from kernel_bridge_magic.bridge.bridge import Bridge
from kernel_bridge_magic.connection.cell import Cell
from kernel_bridge_magic.models import Kernel, Server
from kernel_bridge_magic.protocol.events import Stream
from tests.support.shells import private_shell


def kernel_at(url: str, token: str, kernel: str, file: str, vault: Vault) -> Kernel:
    base = parse_base_url(url)
    vault.put(base.origin, Secret(token))
    return Kernel(id=kernel, server=Server(base.url, "test", base.origin, trusted=True), connection_file=file)


def main(url: str, token: str, kernel: str, file: str, transport_name: str, how: str) -> None:
    faulthandler.dump_traceback_later(90, exit=True)  # a process that hangs says where
    if how == "live":
        in_a_shell(Path(file).parent, kernel, transport_name)
        return
    bridge = Bridge()
    connection = bridge.pool.connect(kernel_at(url, token, kernel, file, bridge.vault), transport_name)
    assert connection.execute("1 + 1").text == "2"
    if how in ("running", "thread", "broken"):
        cell = connection.start(Cell("import time\nfor n in range(2000): print('L', flush=True); time.sleep(0.02)"))
        shown = iter(cell)
        next(event for event in shown if isinstance(event, Stream))
    if how == "thread":
        # A thread that nobody joins is the user's own; it must not be held up by us, nor speak when Python ends.
        threading.Thread(target=list, args=(shown,), daemon=True).start()
    say_that_it_ends()
    if how == "broken":
        # The parent resets the connection; what is heard next is either the loss or the return.
        next(event for event in shown if not isinstance(event, Stream))


def in_a_shell(runtime: Path, kernel: str, transport_name: str) -> None:
    """A shell in which output comes late when the process ends: the pump's thread shows it."""
    with private_shell(runtime.parent / f"exit-{transport_name}") as shell:
        shell.run_line_magic("load_ext", "kernel_bridge_magic")
        code = (
            "import threading, time\n"
            "def late():\n    for n in range(200): print('late', n, flush=True); time.sleep(0.02)\n"
            "threading.Thread(target=late, daemon=True).start()"
        )
        assert shell.run_cell(f"%%remote --quiet --transport {transport_name} {kernel}\n{code}").success
        until_pumped()
        say_that_it_ends()
        sys.exit()  # with the shell as it is, as quit() in a notebook's kernel


def say_that_it_ends() -> None:
    """On a line of its own, whatever the pump's thread is writing."""
    sys.stdout.write("\nends\n")
    sys.stdout.flush()


def until_pumped() -> None:
    """Wait for the thread that shows what comes late."""
    waited = threading.Event()
    for _ in range(500):
        if any(thread.name == "kernel-bridge-pump" for thread in threading.enumerate()):
            return
        waited.wait(0.02)
    raise AssertionError([thread.name for thread in threading.enumerate()])


if __name__ == "__main__":
    main(*sys.argv[1:])

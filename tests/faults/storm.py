"""A shell whose user presses Ctrl-C all the time (G11, G12): `python -m tests.faults.storm URL TOKEN DIRECTORY`.

It reads one cell a line, as JSON, runs it by `%%remote` in the main thread, and answers with one line of JSON: what
became of it, in seconds since the last signal. Signals that come while no cell runs are nobody's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.support.shells import private_shell

#: A connection's; the thread that shows late output is one for the shell, and stays.
OURS = ("kernel-bridge-ws", "kernel-bridge-zmq", "kernel-bridge-probe", "kernel-bridge-action")


class Press:
    """What the kernel's own terminal does with Ctrl-C: while a cell runs it is a KeyboardInterrupt, else nothing."""

    running = False

    def __call__(self, number: int, frame: object) -> None:
        if self.running:
            raise KeyboardInterrupt


def run_cell(shell: Any, press: Press, cell: str) -> dict[str, Any]:
    outcome: dict[str, Any] = {"error": "", "text": "", "fate": "none"}
    began = time.monotonic()
    try:
        press.running = True
        result = shell.run_cell(cell)
        press.running = False
        error = result.error_in_exec or result.error_before_exec
        if error is not None:
            outcome["error"] = f"{type(error).__name__}: {error}"
            outcome["fate"] = str(getattr(error, "fate", "none"))
        else:
            outcome["fate"] = "ok"
    except KeyboardInterrupt:
        outcome["error"] = "KeyboardInterrupt: outside"
    finally:
        press.running = False
    ended = time.monotonic()
    outcome["seconds"] = ended - began
    outcome["ended"] = ended
    outcome["threads"] = [one.name for one in threading.enumerate() if one.name.startswith(OURS)]
    outcome["descriptors"] = len(os.listdir("/proc/self/fd"))
    return outcome


def main(url: str, token: str, directory: str) -> None:
    # What the shell prints is looked at by the parent only in the end.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(Path(directory) / "shown", os.O_WRONLY | os.O_CREAT, 0o600), 1)
    press = Press()
    signal.signal(signal.SIGINT, press)
    os.environ["STORM_TOKEN"] = token
    with private_shell(Path(directory)) as shell:
        shell.run_line_magic("load_ext", "kernel_bridge_magic")
        shell.run_line_magic("servers", f"--add {url} --name storm --token env:STORM_TOKEN --trust")
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            outcome = run_cell(shell, press, json.loads(line))
            print(json.dumps(outcome), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

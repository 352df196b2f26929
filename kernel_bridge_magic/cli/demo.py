"""`kernel-bridge demo`: a private Jupyter server, two notebooks' kernels, and this extension between them.

What it shows is real: the cells below go through the magics of an IPython shell to kernels behind a server. All files
are in one temporary directory, and everything ends with the command.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kernel_bridge_magic.access.deadline import Deadline
from kernel_bridge_magic.access.signals import ENDING
from kernel_bridge_magic.cli.outcome import say
from kernel_bridge_magic.errors import CannotConnect, KernelBridgeError

_START_SECONDS = 60.0
_LOG = "server.log"
_NOTEBOOKS = ("analysis.ipynb", "training.ipynb")
_CELLS = (
    "%load_ext kernel_bridge_magic",
    "%kernels",
    "%%remote analysis\nimport numpy as np, pandas as pd\n"
    "df = pd.DataFrame({'city': ['Oslo', 'Lima', 'Pune'], 'rain': [763, 16, 722]})\ndf",
    "%%remote analysis\n%matplotlib inline\ndf.plot.bar(x='city', y='rain');",
    "%%remote training\nimport time\nfor step in range(1, 6):\n"
    "    print(f'\\rstep {step}/5', end='', flush=True)\n    time.sleep(0.2)\nprint()",
    "rows = %remote analysis len(df)",
    "rows",
    "%%remote training\n1 / 0",
)


def demo(*, shell: bool) -> int:
    """Run the demo, with `shell` up to an IPython prompt with the extension loaded; return the exit status.

    Raises:
        CannotConnect: the private server did not start.
    """
    missing = [name for name in ("jupyter_server", "ipykernel", "pandas", "matplotlib") if find_spec(name) is None]
    if missing:
        say(f"the demo needs {', '.join(missing)}. Run pip install 'kernel_bridge_magic[demo]'")
        return 2
    with _cleaned_up() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kernel-bridge-demo-")))
        stack.enter_context(_private(folder))
        print("starting a private Jupyter server with two notebooks' kernels ...", flush=True)
        process, url, token = stack.enter_context(_server(folder))
        api = _api(url, token)
        _wait(process, api, token, folder / _LOG)
        for name in _NOTEBOOKS:
            api.start("python3", name)
        return _show(shell)


@contextlib.contextmanager
def _cleaned_up() -> Iterator[contextlib.ExitStack]:
    """Yield a stack that is unwound even where a signal ends this process.

    The signal's handler does that. It cannot raise: IPython would show the exception as the cell's, and go on.
    """
    with contextlib.ExitStack() as stack:

        def end(number: int, frame: object) -> None:
            stack.close()
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                stack.callback(signal.signal, number, signal.signal(number, end))
        yield stack


@contextlib.contextmanager
def _private(folder: Path) -> Iterator[None]:
    """Keep Jupyter's and IPython's files in `folder`: the user's own are neither read nor written."""
    names = {f"JUPYTER_{kind}_DIR": str(folder / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    names |= {"IPYTHONDIR": str(folder / "ipython"), "XDG_RUNTIME_DIR": str(folder / "xdg"), "MPLBACKEND": ""}
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(names)
    # Plots are pictures only with the inline backend, which a kernel chooses where no other is named.
    os.environ.pop("MPLBACKEND")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str, str]]:
    root = folder / "notebooks"
    root.mkdir()
    empty = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    for name in _NOTEBOOKS:
        (root / name).write_text(json.dumps(empty), encoding="utf-8")
    token = secrets.token_hex(16)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with open(folder / _LOG, "wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyter_server", "--no-browser", "--ip=127.0.0.1", f"--port={port}"),
                *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}", "--allow-root"),
            ],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            # In the environment, since every user of the machine can read a process's arguments.
            env={**os.environ, "JUPYTER_TOKEN": token},
        )
    try:
        yield process, f"http://127.0.0.1:{port}/", token
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], api: Any, token: str, log: Path) -> None:
    deadline = Deadline.after(_START_SECONDS)
    while not deadline.is_over:
        if process.poll() is not None:
            last = "".join(log.read_text(errors="replace").strip().splitlines()[-1:])[:200].replace(token, "***")
            raise CannotConnect(f"the demo's private server ended at once. Its log ends with {last!r}")
        try:
            api.version()
        except KernelBridgeError:
            time.sleep(0.1)
        else:
            return
    late = f"the demo's private server did not answer within {_START_SECONDS:g} s"
    raise CannotConnect(f"{late}. Try again when the machine is idle")


def _api(url: str, token: str) -> Any:
    from kernel_bridge_magic.access.urls import parse_base_url
    from kernel_bridge_magic.access.vault import Secret, Vault
    from kernel_bridge_magic.models import Server
    from kernel_bridge_magic.servers.rest import ServerAPI

    base = parse_base_url(url)
    vault = Vault()
    vault.put(base.origin, Secret(token))
    return ServerAPI(Server(base.url, "demo", base.origin), vault)


def _show(stay: bool) -> int:
    from IPython.terminal.interactiveshell import TerminalInteractiveShell
    from traitlets.config import Config

    # Its history would be in a directory that is gone before IPython closes it.
    shell = TerminalInteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    failed = 0
    for cell in _CELLS:
        lines = cell.splitlines()
        print("\n" + "\n".join([f"In: {lines[0]}", *(f"  : {line}" for line in lines[1:])]), flush=True)
        outcome = shell.run_cell(cell, store_history=True)
        failed += not outcome.success
    # The last cell is meant to fail; any other must not.
    if failed != 1:
        say("a cell of the demo did not end as it should; what it raised stands above")
        return 1
    print("\nThat traceback was the other kernel's own. Everything above ran in kernels that were running already.")
    if stay:
        print("Now it is your turn. %kernels lists them, %%remote NAME runs a cell there. Ctrl-D ends it all.\n")
        shell.mainloop()
    shell.run_cell("%unload_ext kernel_bridge_magic")
    return 0

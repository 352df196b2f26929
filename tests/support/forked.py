"""The command line in processes that are forked from one that has imported it: real ones, which start at once.

Importing takes most of what a command takes, and there are hundreds in a run of the tests. What a process does before
and while it imports is for those tests that start one by `python -m kernel_bridge_magic`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

#: reads what to run from its stdin, one JSON object in a line, and answers each with the exit status
_PARENT = """
import gc, json, os, sys
import kernel_bridge_magic.cli.commands
import kernel_bridge_magic.transports.websocket
import kernel_bridge_magic.transports.zmq
from kernel_bridge_magic.__main__ import main

def child(asked):
    for number, (name, flags) in enumerate(zip(asked["files"], (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY))):
        file = os.open(name, flags)
        os.dup2(file, number)
        os.close(file)
    sys.argv[1:] = asked["argv"]
    sys.exit(main())

requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
gc.freeze()
for line in iter(requests.readline, ""):
    pid = os.fork()
    if pid == 0:
        requests.close()
        answers.close()
        child(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), file=answers, flush=True)
"""


class Forked:
    """Runs `kernel-bridge` in one environment. A context manager: at its end the process goes that the others are of.

    `folder` is where their streams are; it is made if missing. One command runs at a time.
    """

    def __init__(self, env: Mapping[str, str], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        #: the environment of each command
        self.env = env
        self._folder = folder
        self._parent = subprocess.Popen(
            [sys.executable, "-c", _PARENT],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run one command to its end, with files for its streams; pytest's own limit holds for how long it takes."""
        files = [str(self._folder / name) for name in ("stdin", "stdout", "stderr")]
        for name, text in zip(files, (stdin, "", ""), strict=True):
            Path(name).write_text(text, "utf-8")
        requests, answers = self._parent.stdin, self._parent.stdout
        assert requests is not None and answers is not None
        print(json.dumps({"argv": arguments, "files": files}), file=requests, flush=True)
        status = int(answers.readline())
        out, err = (Path(name).read_text("utf-8") for name in files[1:])
        return subprocess.CompletedProcess(["kernel-bridge", *arguments], status, out, err)

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        os.killpg(self._parent.pid, signal.SIGKILL)  # a command that hangs goes as well
        self._parent.communicate()

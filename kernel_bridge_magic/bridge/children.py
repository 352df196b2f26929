"""`Children`: kernels that this process has started without a server. They end with it, and leave no file behind.

jupyter_client starts them. It tells them who their parent is, so that they end as well where this process is killed;
only their connection files stay then.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernel_bridge_magic.errors import CannotConnect, KernelDied
from kernel_bridge_magic.models import Kernel

_START_SECONDS = 60.0  # for a kernel that compiles something first; a server waits as long


class Children:
    """The kernels that one process has started. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._managers: dict[str, Any] = {}  # by connection file
        self._closed = False
        self._pid = os.getpid()

    @staticmethod
    def specs() -> Sequence[str]:
        """Return the names of the kernelspecs of this machine."""
        from jupyter_client.kernelspec import KernelSpecManager

        return sorted(KernelSpecManager().find_kernel_specs())

    def start(self, spec: str, session: str = "", directory: str | None = None) -> str:
        """Start a kernel of that kernelspec, in that directory; return the path of its connection file.

        `session` is what a server would call it by: the path of its notebook, or a name.

        Raises:
            CannotConnect: it did not start.
        """
        from jupyter_client.manager import KernelManager
        from jupyter_core.paths import jupyter_runtime_dir

        runtime = Path(jupyter_runtime_dir()).absolute()
        runtime.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = str(runtime / f"kernel-{uuid.uuid4()}.json")  # a name that is chosen may be that of a file that was left
        manager = KernelManager(kernel_name=spec, connection_file=file)
        # This process may be a kernel with a notebook, whose name its child must not inherit.
        env = {name: value for name, value in os.environ.items() if name != "JPY_SESSION_NAME"}
        env |= {"JPY_SESSION_NAME": session} if session else {}
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        try:
            with self._lock:
                if self._closed:
                    raise RuntimeError("this shell has ended")
                if not self._managers:
                    atexit.register(self.close)
                manager.start_kernel(env=env, **silent, **({"cwd": directory} if directory else {}))
                self._managers[file] = manager  # now: whatever comes, it ends with this process
            _wait_until_ready(manager)
        except (RuntimeError, OSError) as problem:
            self._end(file, manager)
            raise CannotConnect(f"the kernel {spec} did not start ({' '.join(str(problem).split())})") from None
        except BaseException:
            self._end(file, manager)
            raise
        return file

    def has(self, kernel: Kernel) -> bool:
        """Return whether a kernel was started here."""
        return kernel.connection_file in self._managers

    def restart(self, kernel: Kernel) -> None:
        """Restart a kernel that was started here.

        Raises:
            KernelDied: it did not come up again.
        """
        try:
            with self._lock:  # else it may come up again behind the end of this shell
                manager = self._managers.get(kernel.connection_file)
                if manager is None:
                    raise RuntimeError("it was shut down, or this shell has ended")
                manager.restart_kernel(now=True)
            _wait_until_ready(manager)
        except (RuntimeError, OSError) as problem:
            reason = " ".join(str(problem).split())
            text = f"{kernel.title} was ended, and did not start again ({reason})"
            raise KernelDied(text, kernel=kernel.title) from None

    def shutdown(self, kernel: Kernel) -> bool:
        """Shut a kernel down; return False where it was not started here."""
        manager = self._managers.get(kernel.connection_file)
        if manager is not None:
            self._end(kernel.connection_file, manager, now=False)
        return manager is not None

    def close(self) -> None:
        """End all of them, and start no other one. After a fork only the parent does so."""
        if self._pid != os.getpid():
            return
        atexit.unregister(self.close)
        with self._lock:
            self._closed, managers = True, dict(self._managers)
        for file, manager in managers.items():
            self._end(file, manager)

    def _end(self, file: str, manager: Any, *, now: bool = True) -> None:
        with self._lock:
            self._managers.pop(file, None)
        process = getattr(manager.provisioner, "process", None)
        with contextlib.suppress(Exception):  # it has ended by itself
            manager.shutdown_kernel(now=now)
        with contextlib.suppress(Exception):  # what jupyter_client could not do at the end of this process
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()
        with contextlib.suppress(OSError):
            os.unlink(file)


def _wait_until_ready(manager: Any) -> None:
    """Wait until a kernel that was started answers.

    Raises:
        RuntimeError: it has ended, or does not answer in time.
    """
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=_START_SECONDS)
    finally:
        client.stop_channels()

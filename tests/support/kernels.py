"""Kernels for tests that want one to themselves; handed on to the next test where they are as they were.

Starting one costs most of what such a test does. A kernel is handed on only if it is idle, nobody is connected, and
all that a cell of ours might have left in it is what it was when it started; its names are forgotten first.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient

from tests.support.servers import JupyterServer, end_kernel_of

_LOOK_SECONDS = 5.0
# Runs over there, where names that begin and end like this one are in nobody's way.
_LOOK = """
def __look__():
    import builtins, gc, glob, json, os, signal, socket, subprocess, sys, threading, time, warnings
    ip = get_ipython()
    kernel, formatters = ip.kernel, ip.display_formatter.formatters.values()
    name = lambda value: getattr(value, '__qualname__', type(value).__qualname__)
    known = sys.stdlib_module_names | {'asttokens', 'executing', 'pure_eval', 'stack_data'}  # tracebacks need those
    # ipykernel puts its own in their place for each cell, and leaves them where two cells run side by side.
    asks = {'input', '_sys_raw_input', '_save_getpass'}
    kinds = [kind for one in (ip, kernel, kernel.session, sys.stdout) for kind in type(one).__mro__]
    owners = [*kinds, *(module for module in (os, time, signal, socket, subprocess, threading))]
    parts = [(key, id(value)) for owner in owners for key, value in vars(owner).items()
        if callable(value) or isinstance(value, property)]
    ip.reset()
    return json.dumps([
        ip.exit_now,  # it answers, and ends a moment later
        os.getpid(), os.getcwd(), sorted(os.environ.items()), sys.path, [name(one) for one in sys.meta_path],
        sorted(thread.name for thread in threading.enumerate()),
        [open(file).read() for file in glob.glob('/proc/self/task/*/children')],
        [str(signal.getsignal(number)) for number in range(1, 32)],
        [id(one) for one in (sys.stdin, sys.stdout, sys.stderr, sys.displayhook, sys.excepthook, sys.gettrace())],
        sorted((key, name(value)) for key, value in vars(builtins).items() if key not in asks | {'_'}),
        sorted({module.partition('.')[0] for module in sys.modules} - known),
        [type(one).__qualname__ for one in (ip, ip.display_pub, ip.displayhook, kernel)],
        sorted((k, name(v)) for one in (ip, kernel) for k, v in vars(one).items() if callable(v) and k not in asks),
        hash(tuple(parts)),
        sorted({'trigger', 'register', 'quiet'} & {*vars(ip.events), *vars(ip.displayhook)}),
        sorted((event, len(callbacks)) for event, callbacks in ip.events.callbacks.items()),
        [len(one.type_printers) + len(one.deferred_printers) for one in formatters],
        [len(ip.ast_transformers), len(ip.input_transformers_cleanup), len(ip.input_transformers_post)],
        [sorted(kernel.shell_handlers), sorted(kernel.control_handlers)],
        [sorted(kernel.comm_manager.comms), sorted(kernel.comm_manager.targets)],
        len(warnings.filters), gc.isenabled(), sys.getrecursionlimit(), sys.getswitchinterval(),
    ])
"""


class Kernels:
    """The kernels of a server that are taken by one test at a time."""

    def __init__(self, server: JupyterServer) -> None:
        self._server = server
        self._states: dict[str, Any] = {}  # of all that run: how they were when they started
        self._returned: list[str] = []

    def take(self) -> str:
        """Give the id of a kernel that is nobody else's, and as new."""
        while self._returned:
            kernel_id = self._returned.pop()
            if self._is_idle(kernel_id, alone=True) and self._look(kernel_id) == self._states[kernel_id]:
                return kernel_id
            self._end(kernel_id)
        kernel_id = self._server.start_kernel(path=f"own-{uuid.uuid4().hex[:6]}.ipynb")
        self._server.wait_for_kernel(kernel_id)
        self._states[kernel_id] = self._look(kernel_id)
        return kernel_id

    def give_back(self, kernel_id: str, *, sound: bool = True) -> None:
        """Take a kernel back, whatever has become of it. Whether it can be handed on is seen when the test is over.

        `sound`: nothing is known that speaks against it.
        """
        if sound and self._states[kernel_id] and self._is_idle(kernel_id):
            self._returned.append(kernel_id)
        else:
            self._end(kernel_id)

    def _is_idle(self, kernel_id: str, *, alone: bool = False) -> bool:
        status, body = self._server.request("GET", f"api/kernels/{kernel_id}")
        model = json.loads(body) if status == 200 else {"execution_state": "gone"}
        return model["execution_state"] == "idle" and not (alone and model["connections"])

    def _end(self, kernel_id: str) -> None:
        del self._states[kernel_id]
        end_kernel_of(self._server.connection_file(kernel_id))  # it ends by itself with half as much work as it starts
        self._server.delete_kernel(kernel_id)

    def _look(self, kernel_id: str) -> Any:
        """See how a kernel is, with no names in it; None if it does not tell."""
        client = BlockingKernelClient()
        client.load_connection_file(str(self._server.connection_file(kernel_id)))
        client.start_channels(iopub=False, stdin=False, hb=False, control=False)
        try:
            asked = {"look": "__look__()"}
            request = client.execute(_LOOK, silent=True, store_history=False, user_expressions=asked, allow_stdin=False)
            while (reply := client.get_shell_msg(timeout=_LOOK_SECONDS))["parent_header"].get("msg_id") != request:
                pass
            return reply["content"]["user_expressions"]["look"]["data"]["text/plain"]
        except Exception:
            return None  # it is in no state to be handed on, whatever that is
        finally:
            client.stop_channels()

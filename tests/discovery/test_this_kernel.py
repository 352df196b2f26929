from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from kernel_bridge_magic.discovery.this_kernel import own_connection_file, own_kernel_id
from tests.support.servers import ConsoleKernel, private_env


def test_outside_a_kernel() -> None:
    code = (
        "import sys; from kernel_bridge_magic.discovery.this_kernel import *;"
        "print(repr(own_connection_file() + own_kernel_id()), 'ipykernel' in sys.modules, 'IPython' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["''", "False", "False"]


def test_module_without_an_application(tmp_path: Path) -> None:
    code = (
        "import ipykernel.kernelapp; from kernel_bridge_magic.discovery.this_kernel import *;"
        "print(repr(own_connection_file() + own_kernel_id()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=private_env(tmp_path)
    )
    assert done.stdout == "''\n"


def test_inside_a_kernel(tmp_path: Path) -> None:
    from jupyter_client.blocking import BlockingKernelClient

    code = "import kernel_bridge_magic.discovery.this_kernel as t"
    root = str(Path(__file__).parents[2])
    with ConsoleKernel(tmp_path / "runtime", "abc-1", env={"PYTHONPATH": root}) as kernel:
        client = BlockingKernelClient()
        client.load_connection_file(str(kernel.connection_file))
        client.start_channels()
        try:
            client.wait_for_ready(timeout=20)
            reply = client.execute_interactive(
                code, user_expressions={"f": "t.own_connection_file()", "i": "t.own_kernel_id()"}, timeout=20
            )
        finally:
            client.stop_channels()
    found = {name: item["data"]["text/plain"] for name, item in reply["content"]["user_expressions"].items()}
    assert found == {"f": repr(str(kernel.connection_file)), "i": "'abc-1'"}


def test_here() -> None:
    # pytest runs in no kernel, whatever plugins have imported.
    assert own_connection_file() == own_kernel_id() == ""

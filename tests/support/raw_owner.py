"""The owner's own front end: cells that are counted, with nothing of ours in between."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from tests.support.clients import client_of


class RawOwner:
    """Runs cells as a notebook does. A context manager."""

    def __init__(self, connection_file: Path) -> None:
        self._connection_file = connection_file

    def start(self, code: str) -> str:
        """Send a cell, and give what `result` needs."""
        return str(self._client.execute(code))

    def result(self, asked: str) -> str:
        """Wait for a cell's end, and give its result's text; "" if none was shown."""
        shown = ""
        while True:
            message = self._client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != asked:
                continue
            assert message["msg_type"] != "error", message["content"]
            if message["msg_type"] == "execute_result":
                shown = message["content"]["data"]["text/plain"]
            if message["content"].get("execution_state") == "idle":
                return shown

    def run(self, code: str) -> str:
        return self.result(self.start(code))

    def __enter__(self) -> Self:
        self._client = client_of(self._connection_file)
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.stop_channels()

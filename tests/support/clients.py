"""Clients of jupyter_client's own: what a front end, or an owner's script, has."""

from __future__ import annotations

from pathlib import Path

from jupyter_client.blocking.client import BlockingKernelClient


def client_of(connection_file: str | Path) -> BlockingKernelClient:
    """A client of a running kernel, with its IOPub connected. Who asks for one calls `stop_channels`."""
    client = BlockingKernelClient(connection_file=str(connection_file))
    client.load_connection_file()
    client.start_channels()
    # A kernel that starts on a machine with much to do misses a beat of one second: it would be taken for dead.
    client.hb_channel.time_to_dead = 30.0
    try:
        client.wait_for_ready(timeout=60)
    except BaseException:
        client.stop_channels()
        raise
    return client

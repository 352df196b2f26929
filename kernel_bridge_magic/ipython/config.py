"""`c.KernelBridge.*` in `ipython_config.py`, and `%config KernelBridge`. Only `ipython/` reads it."""

from __future__ import annotations

from typing import Any

from traitlets import Dict, Int, TraitError, TraitType, Unicode
from traitlets.config import Configurable

from kernel_bridge_magic.choices import RECONNECT, duration
from kernel_bridge_magic.protocol.tails import MAX_OUTPUT


class Duration(TraitType):  # generic since traitlets 5.10 only
    """A trait for a length of time: seconds, or a text with a unit; None or "none" for no limit."""

    def validate(self, obj: Any, value: Any) -> float | None:
        """Return the value in seconds.

        Raises:
            TraitError: it is no duration.
        """
        try:
            return duration(value)
        except ValueError as problem:
            raise TraitError(f"c.{type(obj).__name__}.{self.name}={problem}") from None


class KernelBridge(Configurable):
    """The user's configuration. IPython reads it from the user's own files, never from one beside a notebook."""

    servers = Dict(
        key_trait=Unicode(),
        value_trait=Dict(),
        help="""Servers by name, for example
        {"lab": {"url": "https://lab.example/", "token": "env:LAB_TOKEN", "ca_file": "/etc/lab.pem"}}.
        Also: "password", "trust", "allow_plain_http". A secret is named by where it is (env:VAR, file:PATH,
        ask), never written out.""",
    ).tag(config=True)

    max_output = Int(
        MAX_OUTPUT,
        min=1 << 10,
        help="""Bytes of printed text that one cell leaves in a notebook. Of more, the beginning and the end are
        shown, and all of it is kept in a file until this kernel ends. The default is what a Jupyter server lets
        through to a browser at its default iopub_data_rate_limit; raise it together with that.""",
    ).tag(config=True)

    reconnect_timeout = Duration(
        RECONNECT,
        help="""For how long a link that is lost under a cell is waited for, counted from its last sign while this
        machine was awake: seconds, "5m", "2h", or "none" for ever. Then the cell ends as unknown. Of a cell with
        --durable nothing is lost meanwhile: its link is waited for without an end.""",
    ).tag(config=True)

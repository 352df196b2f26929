"""`c.KernelBridge.*` in `ipython_config.py`, and `%config KernelBridge`. Nobody below reads it."""

from __future__ import annotations

from traitlets import Dict, Int, Unicode
from traitlets.config import Configurable

from kernel_bridge_magic.protocol.tails import MAX_OUTPUT

__all__ = ["KernelBridge"]


class KernelBridge(Configurable):
    """What a user may configure; IPython gives it the user's own configuration files, never one beside a notebook."""

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
        shown, and all of it is kept in a file until this kernel ends.""",
    ).tag(config=True)

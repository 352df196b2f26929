"""The codec of variables: the one text that both sides of a copy run, loaded here as a module.

`there/codec.py` says what it is. A format is one entry in one of these files, and its test. The other kernel is sent
their text; here each is compiled under its own name, so that tracebacks and coverage find it.
"""

from __future__ import annotations

import functools
import types
from importlib import resources
from typing import Any

from kernel_bridge_magic.remote_code import source

#: in the order in which they run, as one namespace
FILES = (
    *("codec", "codec_refusals", "codec_builtins", "codec_hashing", "codec_standard", "codec_numpy", "codec_arrow"),
    *("codec_polars", "codec_columns", "codec_extension", "codec_pandas", "codec_pictures"),
    *("parcel", "shared_file"),
)


@functools.cache
def codec() -> Any:
    """Return the codec as a module. Its interface: `pack`, `unpack`, `libraries`, `Refused`, `TooLarge`."""
    module = types.ModuleType(f"{__name__}.loaded", __doc__)
    for name in FILES:
        where = str(resources.files(__package__).joinpath("there", f"{name}.py"))
        exec(compile(source(name), where, "exec"), vars(module))
    return module

"""What only newer kernels have, for tests that need it."""

from __future__ import annotations

import ipykernel
import pytest

HAS_SUBSHELLS = ipykernel.version_info >= (7,)
with_subshells = pytest.mark.skipif(not HAS_SUBSHELLS, reason="needs ipykernel 7, which has subshells")

from __future__ import annotations

import pytest

from tests.support.other_kernel import OtherKernel


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> OtherKernel:
    """A kernel in this process."""
    return OtherKernel(monkeypatch)

"""Marks that say for which generations of the API a test runs; without one, it runs for both."""

from __future__ import annotations

import pytest

fresh = pytest.mark.parametrize("world", ["fresh"], indirect=True)
idempotent = pytest.mark.parametrize("world", ["idempotent"], indirect=True)
# Both, but the older one only with the slow tests.
idempotent_slow = pytest.mark.parametrize(
    "world", ["fresh", pytest.param("idempotent", marks=pytest.mark.slow)], indirect=True
)

"""Marks of tests that run in one generation of the API only."""

from __future__ import annotations

import pytest

fresh = pytest.mark.parametrize("world", ["fresh"], indirect=True)
idempotent = pytest.mark.parametrize("world", ["idempotent"], indirect=True)

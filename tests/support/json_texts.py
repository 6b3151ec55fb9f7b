"""How the tap writes what JSON in PostgreSQL cannot hold. It imports nothing of the tap."""

from __future__ import annotations

import re
from typing import Any

UNTEXTUAL = re.compile("[\0\ud800-\udfff]")


def escaped(value: Any) -> Any:
    """Return a JSON value as it stands in JSON text: odd characters as the six of their escape."""
    if isinstance(value, str):
        return UNTEXTUAL.sub(lambda found: f"\\u{ord(found[0]):04x}", value)
    if isinstance(value, list):
        return [escaped(item) for item in value]
    if isinstance(value, dict):
        return {escaped(name): escaped(item) for name, item in value.items()}
    return value

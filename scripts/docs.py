"""Write the generated parts of the documentation: ``python -m scripts.docs``.

A generated part stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``; the tests fail
when one differs from what the code says.
"""

from __future__ import annotations

from pathlib import Path

from tap_prolific_export.schema import STREAMS
from tap_prolific_export.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md",)


def settings_table() -> str:
    """Return the table of the settings."""
    rows = ["| Setting | Type | Default | Meaning |", "| --- | --- | --- | --- |"]
    for setting in SETTINGS:
        type_ = "array of strings" if setting.type == "array" else setting.type
        default = f"`{setting.default}`" if setting.default is not None else ""
        if setting.environment:
            default = f"`${setting.environment}`"
        secret = " **Secret.**" if setting.secret else ""
        allowed = f" One of {', '.join(f'`{a}`' for a in setting.allowed)}." * bool(setting.allowed)
        rows.append(
            f"| `{setting.name}` | {type_} | {default} | {setting.description}{allowed}{secret} |"
        )
    return "\n".join(rows)


def streams_tables() -> str:
    """Return each stream's row, key and columns."""
    parts = []
    for stream in STREAMS:
        key = ", ".join(f"`{name}`" for name in stream.key)
        parts += [f"### `{stream.name}`", f"One row is {stream.row}. Key: {key}."]
        rows = ["| Column | Type | Meaning | Example |", "| --- | --- | --- | --- |"]
        for column in stream.columns:
            example = f"`{column.example.replace('|', chr(92) + '|')}`" if column.example else ""
            type_ = {"json": "text (JSON)", "answers": "object"}.get(column.type, column.type)
            rows.append(f"| `{column.name}` | {type_} | {column.description} | {example} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


PARTS = {"settings": settings_table, "streams": streams_tables}


def generated(page: str) -> str:
    """Return a page with its generated parts made anew."""
    for name, make in PARTS.items():
        begin, end = f"<!-- begin {name} -->\n", f"\n<!-- end {name} -->"
        head, begun, rest = page.partition(begin)
        _, ended, tail = rest.partition(end)
        if begun and ended:
            page = head + begun + make() + ended + tail
    return page


if __name__ == "__main__":
    for name in PAGES:
        path = ROOT / name
        path.write_text(generated(path.read_text(encoding="utf-8")), encoding="utf-8")

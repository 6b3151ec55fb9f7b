"""Write the generated parts of the documentation: ``python -m scripts.docs``.

A generated part stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. The definition
for Meltano Hub and some files of the dbt package are generated as a whole. The tests fail if one of
them differs from the code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scripts.dbt_package import dbt_files
from scripts.hub import hub_file
from tap_prolific_export.rows.collection import instructions
from tap_prolific_export.rows.schema import STREAMS, answer_schema
from tap_prolific_export.settings import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "docs/settings.md", "docs/tables.md")
HUB = "docs/meltano-hub.yml"


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
        meaning = setting.description.replace("](docs/", "](")  # links relative to docs/
        rows.append(f"| `{setting.name}` | {type_} | {default} | {meaning}{allowed}{secret} |")
    return "\n".join(rows)


def streams_table() -> str:
    """Return the table of the streams: what a row is, and its key."""
    rows = ["| Stream | A row is | Key |", "| --- | --- | --- |"]
    for stream in STREAMS:
        link = f"[`{stream.name}`](docs/tables.md#{stream.name})"
        rows.append(f"| {link} | {stream.row} | {_names(stream.key)} |")
    return "\n".join(rows)


def columns_tables() -> str:
    """Return each stream's row, key and columns."""
    parts = []
    for stream in STREAMS:
        parts += [f"## `{stream.name}`", f"One row is {stream.row}. Key: {_names(stream.key)}."]
        rows = ["| Column | Type | Meaning | Example |", "| --- | --- | --- | --- |"]
        for column in stream.columns:
            type_ = {"json": "text (JSON)", "answers": "object"}.get(column.type, column.type)
            example = f"`{column.example}`" if column.example else ""
            rows.append(f"| `{column.name}` | {type_} | {column.description} | {example} |")
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


def answers_table() -> str:
    """Return the table of the types in ``responses.answers``, with one example for each."""
    rows = ["| Question | JSON Schema of its property |", "| --- | --- |"]
    for what, raw in QUESTIONS.items():
        [instruction] = instructions(None, [{"id": "q", **raw}])
        schema = json.dumps(answer_schema(instruction))
        rows.append(f"| {what} | `{schema}` |")
    return "\n".join(rows)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _choice(type_: str, limit: int, values: list[object]) -> dict[str, Any]:
    options = [{"label": str(value), "value": value} for value in values]
    return {"type": type_, "answer_limit": limit, "options": options}


NUMBER = {"validation": {"type": "number"}}
QUESTIONS: dict[str, dict[str, Any]] = {
    "`free_text`": {"type": "free_text"},
    "`free_text`, validated as a number": {"type": "free_text", **NUMBER},
    "`multiple_choice`, one answer, all options text": _choice("multiple_choice", 1, ["a", "b"]),
    "`multiple_choice`, one answer, all options numbers": _choice("multiple_choice", 1, [1, 2]),
    "`multiple_choice`, one answer, all options true or false": _choice(
        "multiple_choice", 1, [True, False]
    ),
    "`multiple_choice`, one answer, mixed options": _choice("multiple_choice", 1, ["a", 2]),
    "`multiple_choice`, several answers": _choice("multiple_choice", -1, ["a", "b"]),
    "`multiple_choice_with_free_text`": _choice("multiple_choice_with_free_text", 1, ["a", "b"]),
    "`free_text_with_unit`": {"type": "free_text_with_unit", "unit_options": [{"value": "g"}]},
    "`multiple_choice_with_unit`": {
        "type": "multiple_choice_with_unit",
        "options": [{"value": "a"}],
        "unit_options": [{"value": "g"}],
    },
    "`free_text_with_unit`, every unit validated as a number": {
        "type": "free_text_with_unit",
        "unit_options": [{"value": "g", **NUMBER}],
    },
    "`file_upload`, `video_narration`": {"type": "file_upload"},
    "`star_rating`": {"type": "star_rating"},
    "any other": {"type": "something_new"},
}

PARTS = {
    "settings": settings_table,
    "streams": streams_table,
    "columns": columns_tables,
    "answers": answers_table,
}


def generated(page: str) -> str:
    """Return a page with its generated parts updated."""
    for name, make in PARTS.items():
        begin, end = f"<!-- begin {name} -->\n", f"\n<!-- end {name} -->"
        head, begun, rest = page.partition(begin)
        _, ended, tail = rest.partition(end)
        if begun and ended:
            page = head + begun + make() + ended + tail
    return page


def generated_files() -> dict[str, str]:
    """Return the files that are generated as a whole, by path."""
    return {HUB: hub_file(), **dbt_files()}


if __name__ == "__main__":
    for name in PAGES:
        path = ROOT / name
        path.write_text(generated(path.read_text(encoding="utf-8")), encoding="utf-8")
    for name, content in generated_files().items():
        (ROOT / name).write_text(content, encoding="utf-8")

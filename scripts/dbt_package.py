"""The generated files of the dbt package: its sources and staging models, from the tap's columns.

``python -m scripts.docs`` writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from tap_prolific_export.rows.schema import STREAMS

if TYPE_CHECKING:
    from tap_prolific_export.rows.schema import Column, StreamColumns

FOLDER = "examples/dbt/models"
NOTICE = "Written by `python -m scripts.docs` from the columns of the tap."

DbtTest = dict[str, Any]


def refers_to(
    table: str, *columns: str, to_columns: list[str] | None = None, **config: str
) -> DbtTest:
    """Return the test that rows refer to rows of another staging model.

    Args:
        table: The other table.
        columns: The columns that refer to it, besides ``data_collection_id``.
        to_columns: What they are called there, if it is not the same.
        config: Configuration of the test.
    """
    arguments: dict[str, Any] = {"to": f"ref('stg_prolific__{table}')"}
    arguments["columns"] = ["data_collection_id", *columns]
    if to_columns:
        arguments["to_columns"] = ["data_collection_id", *to_columns]
    return {"refers_to": {"arguments": arguments} | ({"config": config} if config else {})}


REFERENCES = {
    "instructions": [refers_to("collections")],
    "tasks": [refers_to("collections")],
    "responses": [refers_to("collections"), refers_to("tasks", "task_id")],
    "answers": [
        refers_to("responses", "response_id"),
        # Not of a question that the metadata no longer has: the tap does not know its text.
        refers_to("instructions", "instruction_id", where="question is not null"),
        # An answer may name an upload that is not in the archive.
        refers_to("files", "file_path", to_columns=["path"], severity="warn"),
    ],
    "files": [refers_to("collections")],
}
# Prolific may add values: another one is only a warning.
ACCEPTED = {
    ("collections", "data_collection_method"): [
        "AI_TASK_BUILDER_COLLECTION",
        "AI_TASK_BUILDER_BATCH",
    ]
}


def dbt_files() -> dict[str, str]:
    """Return the generated files by path."""
    files = {
        f"{FOLDER}/sources.yml": _yaml({"sources": [_source()]}),
        f"{FOLDER}/staging/staging.yml": _yaml({"models": [_staging(each) for each in STREAMS]}),
    }
    for stream in STREAMS:
        files[f"{FOLDER}/staging/stg_prolific__{stream.name}.sql"] = _staging_model(stream)
    return files


def _source() -> dict[str, Any]:
    return {
        "name": "prolific",
        "description": "The tables of tap-prolific-export, as the loader makes them.",
        "schema": "{{ var('prolific_schema', target.schema) }}",
        "tables": [
            {
                "name": stream.name,
                "description": f"One row is {stream.row}.",
                "columns": [
                    {"name": column.name, "description": column.description}
                    for column in stream.columns
                ],
            }
            for stream in STREAMS
        ],
    }


def _staging(stream: StreamColumns) -> dict[str, Any]:
    unique = {"unique_combination": {"arguments": {"columns": [*stream.key]}}}
    return {
        "name": f"stg_prolific__{stream.name}",
        "description": f"One row is {stream.row}. The table `{stream.name}`, with the same types "
        "in every database; times are UTC.",
        "data_tests": [unique, *REFERENCES.get(stream.name, ())],
        "columns": [_staging_column(stream, column) for column in stream.columns],
    }


def _staging_column(stream: StreamColumns, column: Column) -> dict[str, Any]:
    described: dict[str, Any] = {"name": column.name, "description": column.description}
    if column.name in {*stream.key, "exported_at"}:
        described["data_tests"] = ["not_null"]
    if values := ACCEPTED.get((stream.name, column.name)):
        test = {"arguments": {"values": values}, "config": {"severity": "warn"}}
        described["data_tests"] = [{"accepted_values": test}]
    return described


def _staging_model(stream: StreamColumns) -> str:
    columns = ",\n".join(
        f"    {{{{ prolific_export.column('{column.name}', '{column.type}', loaded) }}}}"
        for column in stream.columns
    )
    return (
        f"-- {NOTICE}\n"
        f"{{%- set loaded = prolific_export.loaded_columns('{stream.name}') %}}\n\n"
        f"select\n{columns}\n"
        f"from {{{{ source('prolific', '{stream.name}') }}}}\n"
        "where {{ prolific_export.not_deleted(loaded) }}\n"
    )


def _yaml(content: dict[str, Any]) -> str:
    text = yaml.safe_dump(content, sort_keys=False, width=100, allow_unicode=True)
    return f"# {NOTICE}\n{text}"

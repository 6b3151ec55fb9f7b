"""What is quoted of an error's body, whatever its shape."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tap_prolific_export.prolific.error_reason import error_reason


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param(
            {"error": {"status": 400, "title": "Bad request", "detail": "Wrong", "traceback": "x"}},
            "Bad request: Wrong",
            id="the envelope",
        ),
        pytest.param({"error": {"detail": ["a", {"b": ["c"]}]}}, "a; b: c", id="lists, fields"),
        pytest.param({"error": {"message": "Wrong"}}, "Wrong", id="a message in the envelope"),
        pytest.param({"error": "in words"}, "in words", id="only text"),
        pytest.param({"error": None, "detail": "Wrong"}, "Wrong", id="an empty envelope"),
        pytest.param(
            {"message": "Forbidden", "detail": "You cannot access this feature."},
            "Forbidden: You cannot access this feature.",
            id="message and detail",
        ),
        pytest.param({"detail": "Not found."}, "Not found.", id="only a detail"),
        pytest.param({"message": "Too many\n exports"}, "Too many exports", id="only a message"),
        pytest.param(
            {"statusCode": 403, "error": "Forbidden", "message": "Forbidden"},
            "Forbidden",
            id="the same twice",
        ),
        pytest.param(
            {
                "type": "validation_error",
                "message": "Invalid request",
                "issues": [
                    {"code": "invalid_type", "path": ["from"], "message": "Not a date"},
                    {"path": ["ids", 0], "message": "Required"},
                ],
            },
            "Invalid request: from: Not a date; ids.0: Required",
            id="issues",
        ),
        pytest.param(
            {"detail": [{"loc": ["query", "to"], "msg": "Not a date", "input": "x"}]},
            "query.to: Not a date",
            id="issues as another framework has them",
        ),
        pytest.param({"issues": ["Wrong", {"from": ["old"]}]}, "Wrong; from: old", id="odd issues"),
        pytest.param({"message": "Bad", "issues": []}, "Bad", id="no issues"),
        pytest.param({"type": "quota_exceeded"}, "quota_exceeded", id="only a type"),
        pytest.param({"type": "about:blank", "title": "Gone"}, "Gone", id="a problem document"),
        pytest.param(
            {"workspace_id": ["This field is required."]},
            "workspace_id: This field is required.",
            id="only fields",
        ),
        pytest.param(["Wrong", "Really"], "Wrong; Really", id="a list"),
        pytest.param("Forbidden", "Forbidden", id="a text"),
    ],
)
def test_the_reason_is_found_in_any_shape(body: Any, said: str) -> None:
    assert error_reason(json.dumps(body).encode()) == said


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>No</html>",
        b"null",
        b"5",
        b"{}",
        b'{"error": {"status": 400, "traceback": "x"}}',
        b'{"detail": null, "message": ""}',
        b'{"status": "failed", "url": "https://s3.example/x"}',
        b'{"message": "\xff"}',
        b"[" * 100_000,
        b'{"detail": ' + b"[" * 900 + b"]" * 900 + b"}",
    ],
)
def test_what_gives_no_reason_is_not_quoted(body: bytes) -> None:
    assert error_reason(body) == ""

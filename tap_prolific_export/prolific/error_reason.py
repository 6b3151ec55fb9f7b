"""Find the reason in the body of an API error, whose shape differs by endpoint; pure."""

from __future__ import annotations

from typing import Any

import msgspec

# The fields of an error that say what is wrong, in the order in which they are quoted. Others, such
# as `traceback`, are never quoted.
_FIELDS = ("title", "message", "detail", "details", "issues", "errors")
# The fields of one problem in a list: what is wrong, and with what.
_PROBLEM = ("message", "msg", "detail")
_PLACE = ("path", "loc", "field")


def error_reason(body: bytes) -> str:
    """Return what the body of an error says is wrong, in one line; empty if it says nothing.

    The text is not scrubbed.

    Args:
        body: The usual envelope (``{"error": {"title", "detail"}}``), or the fields without it, as
            the Task Builder endpoints send them.
    """
    try:
        return _reason(msgspec.json.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""


def _reason(body: Any) -> str:
    if not isinstance(body, dict):
        return _text(body) if isinstance(body, (str, list)) else ""
    error = body.get("error")
    parts = _fields(error) if isinstance(error, dict) else [_text(error)]
    # Some frameworks give the status in words twice, as "error" and as "message".
    parts += [text for text in _fields(body) if text not in parts]
    if text := ": ".join(filter(None, parts)):
        return text
    if body and all(isinstance(value, list) for value in body.values()):
        return _text(body)  # a validation error: the problems of each field
    return _text(body.get("type"))


def _fields(error: dict[str, Any]) -> list[str]:
    return [_text(error.get(name)) for name in _FIELDS]


def _text(value: Any) -> str:
    """Return a text, a list of texts or problems, or texts by field, in one line."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, map(_text, value)))
    if not isinstance(value, dict):
        return " ".join(str(value).split())
    problem = next((text for name in _PROBLEM if (text := _text(value.get(name)))), "")
    if not problem:
        return "; ".join(f"{name}: {_text(item)}" for name, item in value.items())
    place = next((value[name] for name in _PLACE if value.get(name)), ())
    places = place if isinstance(place, list) else [place]
    where = ".".join(map(_text, places))
    return f"{where}: {problem}" if where else problem

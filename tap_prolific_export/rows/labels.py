"""The text of a question without markup, and readable names made of it; pure functions."""

from __future__ import annotations

import re
from html import unescape

from anyascii import anyascii

# These tags stand inside a word.
_INLINE = (
    "a|abbr|b|bdi|bdo|cite|code|del|em|font|i|ins|kbd|mark|q|s|small|span|strike|strong|sub|sup|tt|"
    "u|var|wbr"
)
# These separate words. Other names are no tags: a question may hold "x<y and y>z".
_BLOCKS = (
    "article|aside|audio|blockquote|br|button|caption|center|col|colgroup|dd|details|div|dl|dt|"
    "figcaption|figure|footer|form|h[1-6]|header|hr|iframe|img|input|label|li|main|nav|ol|option|p|"
    "picture|pre|section|select|source|summary|table|tbody|td|textarea|tfoot|th|thead|tr|ul|video"
)
# No match goes beyond the next "<", so that looking for tags takes linear time.
_ATTRIBUTES = r"""[^<>"']*(?:(?:"[^"<]*"|'[^'<]*')[^<>"']*)*"""
_INLINE_TAG, _BLOCK_TAG = (
    re.compile(rf"</?(?:{names})(?![\w-]){_ATTRIBUTES}>", re.IGNORECASE)
    for names in (_INLINE, _BLOCKS)
)
_COMMENT = re.compile(r"<!--[^<>]*-->")
# More of a question is in no label.
_MAX_TEXT = 500


def plain_text(text: str) -> str:
    """Return a text without markup and entities, its white space collapsed to single spaces.

    >>> plain_text("<p>H<sub>2</sub>O &amp;<br>tea?</p>")
    'H2O & tea?'
    """
    text = _INLINE_TAG.sub("", _COMMENT.sub("", text))
    return " ".join(unescape(_BLOCK_TAG.sub(" ", text)).split())


def slug(text: str) -> str:
    """Return a text as a lower-case ASCII name that begins with a letter; empty if nothing is left.

    >>> slug("3 things: Größe, сколько?")
    'q_3_things_grosse_skolko'
    """
    ascii_ = anyascii(plain_text(text)[:_MAX_TEXT]).lower().replace("'", "")
    name = re.sub(r"[^a-z0-9]+", "_", ascii_).strip("_")
    # BigQuery and Avro have no names that begin with a digit.
    return f"q_{name}" if name[:1].isdigit() else name

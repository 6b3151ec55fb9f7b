"""The text of a question without markup, and the names of the answers' properties; pure.

`AnswerNames` is the only statement of which name a property of ``responses.answers`` has.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

from anyascii import anyascii

from tap_prolific_export.model import sha256_hex

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tap_prolific_export.rows.collection import Instruction
    from tap_prolific_export.settings import AnswerKeys

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
# PostgreSQL rejects names over 63 bytes, and flattening makes names longer: a value with a unit
# becomes `answers__<key>__value`.
MAX_KEY_BYTES = 63 - len("answers__") - len("__value")


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


def answer_key(instruction: Instruction, keys: AnswerKeys) -> str:
    """Return the name that an instruction gives its property in ``responses.answers``.

    Either its id, or a label: the question as a lower-case ASCII slug that begins with a letter,
    and 8 hex digits of the id's SHA-256, at most `MAX_KEY_BYTES` long. The name depends on nothing
    but the instruction.
    """
    if keys == "instruction_id":
        return instruction.id
    digest = sha256_hex(instruction.id, 8)
    name = slug(instruction.question or "")[: MAX_KEY_BYTES - len(digest) - 1].rstrip("_")
    return f"{name or 'question'}_{digest}"


class KnownNames:
    """Names of properties, found by the ids of their questions, whatever the questions' texts are.

    Args:
        names: The names, whether they are ids or labels.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = frozenset(names)
        self._labels: dict[str, list[str]] = {}
        for name in sorted(self.names):
            text, _, digest = name.rpartition("_")
            if text:
                self._labels.setdefault(digest, []).append(name)

    def labels(self, id_: str) -> list[str]:
        """Return the labels of a question in alphabetical order."""
        return self._labels.get(sha256_hex(id_, 8), [])

    def of(self, id_: str) -> list[str]:
        """Return all names of a question: its id, if that is one, and its labels."""
        return [*self.names.intersection([id_]), *self.labels(id_)]


class AnswerNames:
    """Names the properties of ``responses.answers``.

    With labels, a question whose text was edited keeps the property that the catalog has for it:
    the label of its present text if the catalog has that, else the first of its labels in
    alphabetical order. Names never depend on what was delivered before, nor in which order.

    With a frozen schema, whatever name the catalog has for a question is kept, because no other can
    be added: also an id where labels are wanted, and the reverse.

    Args:
        keys: Whether ids or labels are wanted.
        catalog: The names in the catalog, as they were when the run began.
        is_frozen: Whether the schema is frozen.
    """

    def __init__(
        self, keys: AnswerKeys, catalog: Iterable[str] = (), *, is_frozen: bool = False
    ) -> None:
        self._keys = keys
        self._catalog = KnownNames(catalog)
        self._is_frozen = is_frozen

    def of(self, instructions: Iterable[Instruction]) -> dict[str, str]:
        """Return the names of a data collection's properties, by instruction id."""
        names = {each.id: answer_key(each, self._keys) for each in instructions}
        # Two ids may have the same 8 digits: only one of them keeps the property.
        taken = self._catalog.names.intersection(names.values())
        for id_, own in names.items():
            if own not in taken:
                names[id_] = next((name for name in self._known(id_) if name not in taken), own)
                taken |= {names[id_]}
        return names

    def kept(self, instructions: Iterable[Instruction]) -> dict[str, str]:
        """Return the names that are not those of the present texts, by instruction id."""
        questions = [*instructions]
        names = self.of(questions)
        own = {each.id: answer_key(each, self._keys) for each in questions}
        return {id_: name for id_, name in names.items() if name != own[id_]}

    def _known(self, id_: str) -> list[str]:
        """Return the names in the catalog that a question may keep; the first ones are better."""
        labels = self._catalog.labels(id_)
        if self._is_frozen:
            return [*labels, *self._catalog.names.intersection([id_])]
        return labels if self._keys == "label" else []

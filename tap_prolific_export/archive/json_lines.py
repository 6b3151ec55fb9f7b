"""Split the content of a JSON Lines member into lines; pure functions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BOM = b"\xef\xbb\xbf"
# A line from its first character that is no white space.
_NOT_BLANK = re.compile(rb"\S[^\n]*")
# Lines that are shorter, on average, are blank for the most part.
_SHORT = 16
_AT_ONCE = 20


def whole_lines(chunks: Iterable[bytes], limit: int) -> Iterator[bytes | None]:
    """Yield a text in blocks of whole lines; only a line feed ends a line.

    For a line that is longer than the limit, yield None. Not much more than the limit is buffered.
    """
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        end = chunk.rfind(b"\n") + 1
        if end:
            begin = 0
            if size > limit:  # the end of a line that is too long
                begin = chunk.index(b"\n") + 1
                parts = []
                yield None
            if block := b"".join([*parts, memoryview(chunk)[begin:end]]):
                yield block
            parts, size = [], 0
        size += len(chunk) - end
        if size <= limit:
            parts.append(chunk[end:])
        else:
            parts.clear()
    if size > limit:
        yield None
    elif block := b"".join(parts):
        yield block


def lines_in(
    block: bytes | None, *, is_first: bool
) -> Iterator[tuple[int, Sequence[bytes | None]]]:
    """Yield the lines of a block, a few at a time, and how many of the member's lines they are.

    Few lines at a time stay in the processor's cache until their rows have been written. Runs of
    blank lines are passed over without looking at each: a few MB may hold billions of them.

    Args:
        block: Whole lines; None for one that is too long.
        is_first: Whether it is the first block of the member.
    """
    if block is None:
        yield 1, [None]
        return
    if is_first:
        block = block.removeprefix(BOM)
    if block.isspace():
        yield block.count(b"\n"), ()
        return
    texts = block.removesuffix(b"\n").split(b"\n")
    if len(texts) * _SHORT > len(block):  # most of them are blank
        end = 0
        for found in _NOT_BLANK.finditer(block):
            if blank := block.count(b"\n", end, found.start()):
                yield blank, ()
            end = block.find(b"\n", found.end() - 1) + 1 or len(block)
            yield 1, [found[0]]
        yield block.count(b"\n", end), ()
        return
    for begin in range(0, len(texts), _AT_ONCE):
        few = texts[begin : begin + _AT_ONCE]
        yield len(few), few

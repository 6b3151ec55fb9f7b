"""Archives that no honest exporter packs, made by code: what each is, and what has to come of it.

Whatever a ZIP says of itself can be said otherwise here than it is. This module imports nothing of
the tap: what is expected is written down beside what is sent.
"""

from __future__ import annotations

import json
import os
import random
import struct
import tempfile
import unicodedata
import zlib
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.json_texts import escaped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

MB, GB = 10**6, 10**9
STORED, DEFLATED = 0, 8
UTF_8 = 1 << 11
SYMLINK, DEVICE = 0o120777 << 16, 0o060666 << 16
IN_64_BITS = 0xFFFFFFFF
# Stands in whatever participants have said, sent, or are called.
SAID = "what-a-participant-said"
# A path at which nobody has a file.
ABSOLUTE = Path(tempfile.gettempdir(), f"hostile-{os.getpid()}")

Row = dict[str, Any]


# How they are packed.


@dataclass(frozen=True)
class Packed:
    """Deflated data, and the truth of it."""

    data: bytes
    size: int
    crc32: int


def deflated(*parts: tuple[bytes, int], checked: bool = True) -> Packed:
    """Deflate blocks, each so many times, in no more memory than the result takes."""
    data, size, crc32 = b"", 0, 0
    for block, times in parts:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        data += (deflate.compress(block) + deflate.flush(zlib.Z_FULL_FLUSH)) * times
        size += len(block) * times
        for _ in range(times if checked else 0):
            crc32 = zlib.crc32(block, crc32)
    return Packed(data + b"\3\0", size, crc32)


@dataclass(frozen=True)
class Entry:
    """A member of a ZIP.

    Attributes:
        at: The entry whose header and data are said to be its own.
        told: What the directory says instead of the truth.
        header: What the header does.
    """

    name: str | bytes
    content: bytes | Packed = b""
    method: int = STORED
    flags: int = UTF_8
    attributes: int = 0
    at: str | None = None
    told: Mapping[str, int] = field(default_factory=dict)
    header: Mapping[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    @property
    def packed(self) -> Packed:
        if isinstance(self.content, Packed):
            return self.content
        data = deflated((self.content, 1)).data if self.method == DEFLATED else self.content
        return Packed(data, len(self.content), zlib.crc32(self.content))

    @property
    def truth(self) -> dict[str, int]:
        method = DEFLATED if isinstance(self.content, Packed) else self.method
        sums = {"crc32": self.packed.crc32, "packed": len(self.packed.data)}
        return {"flags": self.flags, "method": method, **sums, "size": self.packed.size}


def begun(entry: Entry) -> bytes:
    """Return an entry's header and data."""
    said: dict[str, Any] = {"name": entry.called, **entry.truth, **entry.header}
    sizes = [min(said[name], IN_64_BITS) for name in ("crc32", "packed", "size")]
    name: bytes = said["name"]
    numbers = (20, said["flags"], said["method"], 0, 0, *sizes, len(name), 0)
    return struct.pack("<4s5H3L2H", b"PK\3\4", *numbers) + name + entry.packed.data


def listed(entry: Entry, offset: int) -> bytes:
    """Return what the directory says of an entry."""
    said = {**entry.truth, "offset": offset, **entry.told}
    large = [name for name in ("size", "packed", "offset") if said[name] >= IN_64_BITS]
    extra = b"".join(struct.pack("<Q", said[name]) for name in large)
    extra = struct.pack("<2H", 1, len(extra)) + extra if large else b""
    said |= dict.fromkeys(large, IN_64_BITS)
    numbers = (said["flags"], said["method"], 0, 0, said["crc32"], said["packed"], said["size"])
    lengths = (len(entry.called), len(extra), 0)
    head = struct.pack("<4s2H", b"PK\1\2", 20, 20) + struct.pack("<4H3L", *numbers)
    rest = struct.pack("<5H2L", *lengths, 0, 0, entry.attributes, said["offset"])
    return head + rest + entry.called + extra


def zipped(
    entries: Iterable[Entry],
    *,
    before: bytes = b"",
    after: bytes = b"",
    comment: bytes = b"",
    end: Mapping[str, int] | None = None,
    end_64: Mapping[str, int] | None = None,
) -> bytes:
    """Return a ZIP; `end` and `end_64` are what its last records say instead of the truth."""
    parts, directory, at = [before], list[bytes](), 0
    offsets: dict[str | bytes, int] = {}
    for entry in entries:
        if entry.at is None:
            offsets[entry.name] = at
            parts.append(begun(entry))
            at += len(parts[-1])
        directory.append(listed(entry, offsets[entry.at or entry.name]))
    true = {"disk": 0, "count": len(directory), "size": sum(map(len, directory)), "offset": at}
    if end_64 is not None:
        said = {**true, **end_64}
        counts = [said["count"]] * 2
        numbers = (45, 45, 0, 0, *counts, said["size"], said["offset"])
        directory.append(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, *numbers))
        directory.append(struct.pack("<4sLQL", b"PK\6\7", 0, at + true["size"], 1))
    said = {**true, **(end or {})}
    counts = [min(said["count"], 0xFFFF)] * 2
    numbers = (said["disk"], said["disk"], *counts, said["size"], said["offset"], len(comment))
    last = struct.pack("<4s4H2LH", b"PK\5\6", *numbers)
    return b"".join([*parts, *directory, last, comment, after])


# An honest archive, and what comes of it.

QUESTIONS: list[Row] = [
    {"id": "q-text", "type": "free_text", "description": "Say something."},
    {"id": "q-number", "type": "free_text", "validation": {"type": "number"}},
    {"id": "q-stars", "type": "star_rating", "max_stars": 5},
    {"id": "q-file", "type": "file_upload"},
]
METADATA = json.dumps({"name": "Hostile", "instructions": QUESTIONS}).encode()
UPLOAD = f"files/s1_{SAID}.png"
UPLOADS = {UPLOAD: b"a photo"}


def line(number: int, **answers: Any) -> Row:
    answers = answers or {"q-text": f"{SAID} {number}"}
    return {"submission_id": f"s{number}", "participant_id": SAID, "responses": answers}


def json_lines(*lines: Any) -> bytes:
    """Return lines; bytes are one as they are."""
    return b"\n".join(x if isinstance(x, bytes) else json.dumps(x).encode() for x in lines)


LINES = json_lines(line(1), line(3))
# What comes of a response: its answers and its additional_fields.
Response = tuple[Row, str | None]
RESPONSES: dict[str, Response] = {f"s{n}": (line(n)["responses"], None) for n in (1, 3)}


def members(
    lines: bytes | Packed = LINES,
    metadata: bytes | Packed | None = METADATA,
    uploads: Mapping[str, bytes] = UPLOADS,
) -> list[Entry]:
    return [
        Entry("responses.jsonl", lines),
        *([] if metadata is None else [Entry("collection.json", metadata)]),
        *(Entry(name, content) for name, content in uploads.items()),
    ]


def with_member(entry: Entry) -> list[Entry]:
    """Return the honest members, with another in the place of that of its name."""
    return [entry, *(each for each in members() if each.name != entry.name)]


@dataclass(frozen=True)
class Case:
    """An archive, and what has to come of it.

    Attributes:
        archive: Its bytes, or what writes them to a path.
        responses: By id; None: whatever they are.
        texts: What the responses hold of "q-text", whatever their ids; None: as above.
        files: The contents of uploads, by path; None: whatever they are.
        error: What the closing table says of it; empty: it is delivered; None: it may be. What is
            wrong with an upload keeps nobody from the rest; else, there may be fewer rows.
        skipped: What the table of lines left out says of it; None: whatever that is.
        answers: Value, number and raw by response, instruction and index; None: not looked at.
        columns: Properties of `answers` that are made from the lines.
        warning: What the log says of it.
    """

    archive: bytes | Callable[[Path], object]
    responses: Mapping[str, Response] | None = field(default_factory=lambda: RESPONSES)
    texts: Collection[str] | None = None
    files: Mapping[str, bytes] | None = field(default_factory=lambda: UPLOADS)
    error: str | None = ""
    skipped: str | None = ""
    answers: Mapping[tuple[str, str, int], tuple[Any, Any, Any]] | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    warning: str = ""


Cases = dict[str, Case]


def honest() -> Cases:
    return {"honest": Case(zipped(members()))}


# 1. Names.

LONG = f"{SAID}-{'n' * 976}"
CALLED = {
    "dots": [f"../{SAID}", f"../../{SAID}", f"a/../../../{SAID}", "..", ".", "...", f"./{SAID}"],
    "absolute": [f"{ABSOLUTE}", f"/{ABSOLUTE}", f"//{SAID}/share", f"~/{SAID}", f"~root/{SAID}"],
    "drives": [f"C:/{SAID}", f"C:{SAID}", f"C:\\{SAID}", f"a:{SAID}.png", f"\\\\?\\C:\\{SAID}"],
    "backslashes": [f"..\\{SAID}", f"..\\..\\{SAID}", f"a\\b\\{SAID}", "\\", f"\\{SAID}"],
    "controls": [f"{SAID}\0.png", f"\0{SAID}", "\0", f"{SAID}\r\n\t", f"\x1b[31m{SAID}\x7f\x85"],
    "invisible": [f"{SAID}\u202egnp.exe", f"\u200b{SAID}", f"\ufeff{SAID}", f"{SAID}\u2028"],
    "cases": [f"{SAID}.PNG", f"{SAID}.png", f"{SAID.upper()}.png", f"D/{SAID}", f"d/{SAID}"],
    "forms": [f"\xe9{SAID}", f"e\u0301{SAID}", f"\u212b{SAID}", f"\xc5{SAID}", f"\ufb01{SAID}"],
    "form": [f"\u2126{SAID}"],
    "folds": [f"{SAID}\xdf", f"{SAID}ss", f"{SAID}\u017fs", f"{SAID}\u1e9e"],
    "devices": ["CON", "nul.txt", "com1", "LPT9.tar", f"Aux/{SAID}", f"{SAID}/prn", "PRN."],
    "ends": [f"{SAID}.", f"{SAID} ", f"{SAID}. . ", f" {SAID}", f"{SAID}./x", f"{SAID} /x", " "],
    "long": [LONG, LONG + "x", f"{LONG}.png", f"{LONG}/{LONG}", "\xe9" * 120 + SAID, "n" * 60_000],
    "deep": ["a/" * 3000 + SAID, "a/" * 30_000 + SAID, "a/" * 3000 + f"{SAID}b"],
    "slashes": [f"a//{SAID}", f"a///{SAID}", f"/{SAID}", f"files/{SAID}"],
    "shells": [f"-{SAID}", f"$({SAID})", f"{SAID};true", f"%2e%2e%2f{SAID}", f"*?<>|\"'{SAID}"],
    "parts": [f".{SAID}.part", f".{SAID}", ".tap-prolific-export", f"{SAID}.part"],
}


def numbered(names: Sequence[str]) -> dict[str, bytes]:
    return {f"files/{name}": b"content %d" % number for number, name in enumerate(names)}


def kept(uploads: Mapping[str, bytes], *others: Entry) -> Case:
    """Return the case of an archive of which all uploads are stored."""
    clean = {path.replace("\0", "\ufffd"): content for path, content in uploads.items()}
    forms = Counter(unicodedata.normalize("NFC", path) for path in clean)
    files = {
        form if forms[form := unicodedata.normalize("NFC", path)] == 1 else path: content
        for path, content in clean.items()
    }
    return Case(zipped([*members(uploads=uploads), *others]), files=files)


def names() -> Cases:
    all_names = [name for of_kind in CALLED.values() for name in of_kind]
    elsewhere = [f"../{SAID}", f"../files/{SAID}", f"{ABSOLUTE}", f"C:\\{SAID}", f"files\\{SAID}"]
    links = [Entry(f"files/{SAID}-link", b"/etc/passwd", attributes=SYMLINK)]
    links += [Entry(f"files/{SAID}-device", b"\1\3", attributes=DEVICE)]
    named = {f"files/{SAID}-link": b"/etc/passwd", f"files/{SAID}-device": b"\1\3"}
    folders = [Entry("files/"), Entry("files/a/"), Entry("files/../"), Entry("files/b/", b"x")]
    of_1989 = Entry(f"files/\x82{SAID}".encode("latin-1"), b"old", flags=0)
    return {
        **{f"called-{kind}": kept(numbered(of_kind)) for kind, of_kind in CALLED.items()},
        "called-anything": kept(numbered(all_names)),
        "elsewhere": kept({}, *(Entry(name, b"no upload") for name in elsewhere)),
        "links": Case(zipped([*members(uploads={}), *links]), files=named),
        "folders": kept(numbered([SAID]), *folders),
        "cp437": Case(zipped([*members(uploads={}), of_1989]), files={f"files/\xe9{SAID}": b"old"}),
    }


def file_and_folder() -> Cases:
    """Return archives with files whose names are folders of others."""
    names = [f"{SAID}/{SAID}", SAID, f"{SAID}/b/c", f"{SAID}/b"]
    # Some file systems say of a folder that it has this size.
    sizes = {f"files/{SAID}/x": b"x", f"files/{SAID}": b"\0" * 4096}
    return {
        "file-first": kept(numbered([*reversed(names)])),
        "folder-first": kept(numbered(names)),
        "size-of-a-folder": kept(sizes),
    }


def windows_devices() -> Cases:
    """Return an archive with names that Windows reserves, too, or would as they are kept."""
    of_rules = ["con .txt", "COM\xb9", "lpt\xb2.txt", "nul .tar.gz"]
    of_what_is_kept = ["nul.tar.gz", f"con.{SAID}.txt", "\xe9nul.txt", "nul?.txt", "aux.b.c."]
    return {"windows-devices": kept(numbered(of_rules + of_what_is_kept))}


def lookalikes() -> Cases:
    """Return an archive in which names are as others are stored: anybody can work that out."""
    uploads: dict[str, bytes] = {}
    for number in range(60):
        path = f"files/{SAID}{number}?.txt"
        digest = sha256(path.encode()).hexdigest()[:16]
        uploads[path] = b"one" * 1000
        uploads[f"files/{SAID}{number}_-sha256-{digest}.txt"] = b"the other" * 1000
    return {"lookalikes": kept(uploads)}


# 2. Bombs and lies.

BAD_ZIP = "The archive is damaged or not a ZIP"
LIES = {
    # What the directory says of a member, and what of that is said.
    "short": ({"size": 3}, "is damaged: it is longer or shorter"),
    "long": ({"size": 10**6}, "is damaged: it is longer or shorter"),
    "packed-short": ({"packed": 3}, "is damaged: "),
    "packed-long": ({"packed": 10**5}, "is damaged: it overlaps with the next member"),
    "packed-absurd": ({"packed": 2**64 - 1}, "is damaged: it overlaps with the next member"),
    "checksum": ({"crc32": 1}, "is damaged: its checksum differs"),
}
HEADERS = {
    "name": {"name": b"files/another"},
    "name-case": {"name": b"RESPONSES.JSONL"},
    "method": {"method": DEFLATED},
    "no-name": {"name": b""},
}
MEMBERS = {"lines": "responses.jsonl", "metadata": "collection.json", "upload": UPLOAD}
CONTENTS = {"responses.jsonl": LINES, "collection.json": METADATA} | UPLOADS


def wrong(member: str, why: str, **entry: Any) -> Case:
    """Return the case of an archive with one bad member."""
    name = MEMBERS[member]
    archive = zipped(with_member(Entry(name, **{"content": CONTENTS[name], **entry})))
    if member == "upload":
        return Case(archive, files={}, error=f"1 of its uploaded files could not be stored. {why}")
    return Case(archive, error=why)


def lies() -> Iterator[tuple[str, Case]]:
    for member, name in MEMBERS.items():
        called = "An uploaded file" if member == "upload" else name
        for lie, (told, why) in LIES.items():
            for method in (STORED, DEFLATED):
                case = wrong(member, f"{called} {why}", told=told, method=method)
                yield f"{member}-{lie}-{method}", case
        for header, said in HEADERS.items():
            why = f"{called} is damaged: its header differs from the directory"
            yield f"{member}-header-{header}", wrong(member, why, header=said)
        for method in (1, 12, 14, 93, 99):
            why = f"{called} is damaged: it is compressed by method {method}"
            yield f"{member}-method-{method}", wrong(member, why, method=method)
        flags = UTF_8 | 1
        why = f"{called} is damaged: it is encrypted"
        yield f"{member}-encrypted", wrong(member, why, flags=flags)
        whole = deflated((CONTENTS[name], 1))
        for cut, data in {"cut": whole.data[:-4], "garbage": b"\xff" * 40}.items():
            packed = Packed(data, whole.size, whole.crc32)
            why = f"{called} is damaged: it {'is cut off' if cut == 'cut' else 'cannot be '}"
            yield f"{member}-{cut}", wrong(member, why, content=packed)
        beyond = deflated((CONTENTS[name], 1), (b"\0" * 1000, 1))
        why = f"{called} is damaged: it is longer or shorter"
        packed = Packed(beyond.data, whole.size, whole.crc32)
        yield f"{member}-more", wrong(member, why, content=packed)


def overlaps() -> Iterator[tuple[str, Case]]:
    """Yield archives in which the same bytes belong to several members."""
    same = Entry(f"files/{SAID}-a", b"the same")
    another = Entry(f"files/{SAID}-b", b"the same", at=f"files/{SAID}-a")
    rest = members(uploads={})
    one = "1 of its uploaded files could not be stored. An uploaded file is damaged: "
    yield (
        "overlap-same",
        Case(
            zipped([same, another, *rest]),
            files={f"files/{SAID}-a": b"the same"},
            error=one + "its header differs from the directory",
        ),
    )
    # As in a bomb without recursion, each member holds the next one, with its header.
    nested = [Entry(f"files/{SAID}-{30:02}", b"\0" * 1000)]
    for number in range(29, -1, -1):
        nested.insert(0, Entry(f"files/{SAID}-{number:02}", begun(nested[0])))
    offset = 30 + len(nested[0].called)
    inner = [
        Entry(each.name, each.content, at=str(nested[0].name), told={"offset": offset * number})
        for number, each in enumerate(nested)
    ][1:]
    yield (
        "overlap-nested",
        Case(
            zipped([nested[0], *inner, *rest]),
            files={str(nested[-1].name): b"\0" * 1000},
            error="30 of its uploaded files could not be stored. An uploaded file is damaged: "
            "it overlaps with the next member",
        ),
    )


def ends() -> Iterator[tuple[str, Case]]:
    """Yield archives whose end, or directory, says what is not so."""
    good = members()
    data = zipped(good)
    directory = data.index(b"PK\1\2")
    cuts = {"nothing": 0, "begin": 40, "half": directory // 2, "directory": directory}
    cuts |= {"in-directory": directory + 60, "end": len(data) - 22, "last": len(data) - 1}
    for name, length in cuts.items():
        yield f"cut-{name}", Case(data[:length], error=f"{BAD_ZIP} (it has no end record)")
    offsets = {"behind": len(data), "far": 2**32 - 2, "absurd": 2**64 - 1, "directory": directory}
    for name, offset in offsets.items():
        entry = Entry(UPLOAD, UPLOADS[UPLOAD], told={"offset": offset})
        why = f"{BAD_ZIP} (its directory has an invalid offset)"
        yield f"offset-{name}", Case(zipped(with_member(entry)), error=why)
    before = f"{BAD_ZIP} (its directory begins before the archive)"
    none = f"{BAD_ZIP} (its directory has an invalid entry)"
    for name, end, why in [
        ("far-directory", {"offset": 2**32 - 2}, before),
        ("long-directory", {"size": 2**32 - 2}, before),
        ("late-directory", {"offset": directory + 1}, before),
        ("shifted", {"offset": directory - 3}, "collection.json is damaged: "),
        ("shifted-far", {"offset": 7}, f"{BAD_ZIP} (its directory has an invalid offset)"),
        ("short-directory", {"size": 100}, none),
        ("several-disks", {"disk": 1}, f"{BAD_ZIP} (it has several parts)"),
        ("last-disk", {"disk": 0xFFFE}, f"{BAD_ZIP} (it has several parts)"),
        ("no-directory", {"size": 0}, "It has neither"),
    ]:
        yield name, Case(zipped(good, end=end), error=why)
    absurd = {"size": 2**64 - 1, "offset": 2**64 - 1, "both": 0}
    for name, number in absurd.items():
        end_64 = {name: number} if number else {"size": 2**63, "offset": 2**63}
        yield f"absurd-{name}", Case(zipped(good, end_64=end_64), error=before)
    commented = bytearray(data)
    commented[data.rindex(b"PK\1\2") + 32] = 10
    yield "long-entry", Case(bytes(commented), error=f"{BAD_ZIP} (its directory is cut off)")
    # It may be honest, too.
    far = {"count": 0xFFFF, "size": IN_64_BITS, "offset": IN_64_BITS}
    yield "in-64-bits", Case(zipped(good, end_64={}, end=far))
    yield "few", Case(zipped(good, end={"count": 1}))
    yield "many", Case(zipped(good, end={"count": 60_000}))
    yield "junk-before", Case(zipped(good, before=b"#!/bin/sh\n" + b"PK\3\4PK\1\2" * 100))
    yield "junk-after", Case(zipped(good, after=b"\0" * 60_000))
    yield "much-after", Case(zipped(good, after=b"\0" * 70_000), error=f"{BAD_ZIP} (it has no end ")
    other = zipped(members(lines=json_lines(line(7)), uploads={}))
    yield "zip-before", Case(zipped(good, before=other))
    yield "comment", Case(zipped(good, comment=b"PK\1\2PK\3\4PK\6\6PK\6\7" * 50 + b"PK\5\6"))
    fake = b"PK\5\6" + b"\0" * 18
    yield "comment-end", Case(zipped(good, comment=fake + b"."), error="It has neither")
    yield "not-utf-8", Case(zipped([*good, Entry(b"files/\xff")]), error=f"{BAD_ZIP} (its dire")
    yield "no-members", Case(zipped([]), error="It has neither")
    yield "no-zip", Case(f"<Error>{SAID}</Error>".encode(), error=f"{BAD_ZIP} (it has no end ")


def twice() -> Iterator[tuple[str, Case]]:
    """Yield archives with two members of one name."""
    good = members()
    for name in ("responses.jsonl", "collection.json"):
        again = Entry(name, CONTENTS[name].replace(b"a", b"b"))
        why = f"It has several members named {name}."
        yield f"twice-{name[:4]}", Case(zipped([*good, again]), error=why)
    yield "twice-alike", Case(zipped([*good, *good]))
    yield "twice-upload", Case(zipped([*good, Entry(UPLOAD, b"last")]), files={UPLOAD: b"last"})


def damages() -> Cases:
    inner = zipped(members(lines=json_lines(line(7))))
    nested = {f"files/{SAID}.zip": inner, "files/responses.jsonl": LINES[:40]}
    unread = Entry("README.md", deflated((b"\0" * MB, 10_000), checked=False), flags=UTF_8 | 1)
    method = Entry(
        "README.md", b"?", method=99, header={"name": b"another"}, told={"size": 2**64 - 1}
    )
    trailing = deflated((LINES, 1))
    packed = Packed(trailing.data + b"junk", trailing.size, trailing.crc32)
    return {
        **dict(lies()),
        **dict(overlaps()),
        **dict(ends()),
        **dict(twice()),
        "nested": kept(nested),
        "unread-bomb": Case(zipped([unread, *members()])),
        "unread-lies": Case(zipped([*members(), method])),
        "junk-behind": Case(zipped(members(lines=packed))),
    }


def too_large(called: str, size: int, most: int) -> str:
    return f"{called} holds {size:,} bytes; the limit is {most:,}."


def large_upload(megabytes: int, **told: int) -> Cases:
    zeros = deflated((b"\0" * MB, megabytes), checked=False)
    why = too_large("an uploaded file", zeros.size, 100 * MB)
    why = "an uploaded file is damaged: it is longer or shorter" if told else why
    case = wrong("upload", why, content=zeros, told=told)
    return {"large-upload": case}


def stored_bomb() -> Cases:
    """Return an archive whose upload is a thousand times as large as the archive, and allowed."""
    zeros = deflated((b"\0" * MB, 100))
    return {
        "stored-bomb": Case(
            zipped(with_member(Entry(UPLOAD, zeros))), files={UPLOAD: b"\0" * 10**8}
        )
    }


def large_lines() -> Cases:
    zeros = deflated((b"\0" * MB, 1000), checked=False)
    why = too_large("responses.jsonl", GB, 100 * MB)
    return {"large-lines": wrong("lines", why, content=zeros)}


def large_metadata(**told: int) -> Cases:
    zeros = deflated((b"\0" * MB, 1000), checked=False)
    why = too_large("collection.json", GB, 64 << 20)
    why = "collection.json is damaged: it is longer or shorter" if told else why
    return {"large-metadata": wrong("metadata", why, content=zeros, told=told)}


def large_directory() -> Cases:
    """Return an archive with a directory of 100 MB, all of it zeros."""

    def write(path: Path) -> None:
        with path.open("wb") as file:
            offset = file.write(b"".join(map(begun, members())))
            file.seek(offset + 100 * MB)
            file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 9, 9, 100 * MB, offset, 0))

    why = too_large("its directory", 100 * MB, 64 << 20)
    return {"large-directory": Case(write, error=why)}


MANY = 100_000


def many_members() -> Cases:
    """Return an archive of so many members, a tenth of them uploads that are not stored."""
    others = (Entry(f"{'' if n % 10 else 'files/'}{SAID}-{n}.txt") for n in range(MANY))
    return {"many-members": Case(zipped([*members(uploads={}), *others]), files=None)}


# 3. Lines.

NO_JSON, NO_OBJECT = "is no valid JSON.", "is no JSON object."
LONGEST = MB
BAD_LINES = {
    "no-json": (SAID.encode(), NO_JSON),
    "cut-off": (b'{"submission_id": "%b"' % SAID.encode(), NO_JSON),
    "two-objects": (json.dumps(line(2)).encode() * 2, NO_JSON),
    "comma": (b'{"submission_id": "s2",}', NO_JSON),
    "single-quotes": (f"{{'{SAID}': 1}}".encode(), NO_JSON),
    "array": (f'["{SAID}"]'.encode(), NO_OBJECT),
    "string": (f'"{SAID}"'.encode(), NO_OBJECT),
    "number": (b"2", NO_OBJECT),
    "null": (b"null", NO_OBJECT),
    "not-utf-8": (b'{"submission_id": "%b\xff"}' % SAID.encode(), NO_JSON),
    "long-nul": (b'{"submission_id": "%b\xc0\x80"}' % SAID.encode(), NO_JSON),
    "raw-surrogate": (b'{"submission_id": "%b\xed\xa0\x80"}' % SAID.encode(), NO_JSON),
    "utf-16": (json.dumps(line(2)).encode("utf-16-le").replace(b"\n", b""), NO_JSON),
    "raw-nul": (b'{"submission_id": "%b\0"}' % SAID.encode(), NO_JSON),
    "nul": (b"\0", NO_JSON),
    "deep-arrays": (b'{"submission_id": %b}' % (b"[" * 10_000 + b"]" * 10_000), NO_JSON),
    "deep-objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, NO_JSON),
    "deep-answer": (b'{"responses":{"q-text":%b}}' % (b"[" * 10_000 + b"]" * 10_000), NO_JSON),
    "unclosed": (b"[" * 500_000, NO_JSON),
    "too-long": (
        b'{"submission_id": "s2", "x": "%b"}' % (b"x" * LONGEST),
        f"holds over {LONGEST:,} bytes; max_line_bytes is {LONGEST:,}.",
    ),
}
# The text of the second line's responses, and what comes of it: answers, what is kept in
# additional_fields under answers, and value, number and raw of the rows in answers.
FITTING = 2**63 - 1
EXACT = 2**53  # in a column of numbers
ODD_ANSWERS: dict[str, tuple[str, Row, str | None, dict[str, tuple[Any, Any, Any]]]] = {
    "nul": (
        rf'{{"q-text": "{SAID}\u0000."}}',
        {"q-text": f"{SAID}\ufffd."},
        rf'{{"q-text":"{SAID}\\u0000."}}',
        {"q-text": (f"{SAID}\ufffd.", None, rf'"{SAID}\\u0000."')},
    ),
    "surrogate": (
        rf'{{"q-text": "{SAID}\ud800."}}',
        {"q-text": f"{SAID}\ufffd."},
        rf'{{"q-text":"{SAID}\\ud800."}}',
        {"q-text": (f"{SAID}\ufffd.", None, rf'"{SAID}\\ud800."')},
    ),
    "pairs": (
        r'{"q-text": "\udc00\ud800\ud83d\ude00"}',
        {"q-text": "\ufffd\ufffd\U0001f600"},
        r'{"q-text":"\\udc00\\ud800' + '\U0001f600"}',
        {"q-text": ("\ufffd\ufffd\U0001f600", None, r'"\\udc00\\ud800' + '\U0001f600"')},
    ),
    "nul-within": (
        r'{"q-file": {"path": "files/\u0000"}, "q-text": "x"}',
        {
            "q-file": [
                {"path": "files/\ufffd", "file_name": "\ufffd", "content_type": None}
                | {"size_bytes": None}
            ],
            "q-text": "x",
        },
        r'{"q-file":{"path":"files/\\u0000"}}',
        {"q-file": (None, None, r'{"path":"files/\\u0000"}'), "q-text": ("x", None, None)},
    ),
    "nul-key": (
        r'{"q\u0000": "x"}',
        {},
        r'{"q\\u0000":"x"}',
        {"q\ufffd": ("x", None, '"x"')},
    ),
    "nan": (
        '{"q-number": NaN, "q-stars": -Infinity, "q-text": Infinity}',
        {"q-number": None, "q-stars": None, "q-text": "Infinity"},
        '{"q-number":"NaN","q-stars":"-Infinity"}',
        {
            "q-number": ("NaN", None, '"NaN"'),
            "q-stars": ("-Infinity", None, '"-Infinity"'),
            "q-text": ("Infinity", None, None),
        },
    ),
    "fitting": (
        f'{{"q-number": {EXACT}, "q-stars": {-FITTING - 1}}}',
        {"q-number": EXACT, "q-stars": -FITTING - 1},
        None,
        {
            "q-number": (f"{EXACT}", EXACT, None),
            "q-stars": (f"{-FITTING - 1}", None, None),
        },
    ),
    "not-exact": (
        f'{{"q-number": {EXACT + 1}, "q-stars": {EXACT + 1}}}',
        {"q-number": None, "q-stars": EXACT + 1},
        f'{{"q-number":{EXACT + 1}}}',
        {
            "q-number": (f"{EXACT + 1}", None, f"{EXACT + 1}"),
            "q-stars": (f"{EXACT + 1}", None, None),
        },
    ),
    **{
        name: (
            f'{{"q-number": {number}, "q-stars": {number}, "q-text": {number}}}',
            dict.fromkeys(("q-number", "q-stars", "q-text")),
            f'{{"q-number":{number},"q-stars":{number},"q-text":{number}}}',
            dict.fromkeys(("q-number", "q-stars", "q-text"), (f"{number}", None, f"{number}")),
        )
        for name, number in [
            ("2-to-the-63", FITTING + 1),
            ("minus-2-to-the-63", -FITTING - 2),
            ("2-to-the-64", 2**64),
            ("30-digits", 10**30),
        ]
    },
    "texts-of-numbers": (
        f'{{"q-number": "{10**30}", "q-stars": "{2**63}"}}',
        {"q-number": None, "q-stars": None},
        f'{{"q-number":"{10**30}","q-stars":"{2**63}"}}',
        {
            "q-number": (f"{10**30}", None, f'"{10**30}"'),
            "q-stars": (f"{2**63}", None, f'"{2**63}"'),
        },
    ),
    **{
        name: (
            f'{{"q-number": {number}, "q-text": {number}}}',
            {"q-number": None, "q-text": number},
            f'{{"q-number":"{number}"}}',
            {"q-number": (number, None, f'"{number}"'), "q-text": (number, None, None)},
        )
        for name, number in [
            ("5000-digits", "7" * 5000),
            ("huge", "1e400"),
            ("very-negative", "-1e400"),
            ("many-digits", "9" * 5000 + ".5"),
        ]
    },
    "large": (
        '{"q-number": 1e30, "q-stars": 1e30}',
        {"q-number": 1e30, "q-stars": None},
        '{"q-stars":1e30}',
        {"q-number": ("1e30", 1e30, None), "q-stars": ("1e30", 1e30, "1e30")},
    ),
    "tiny": ('{"q-number": 1e-400}', {"q-number": 0.0}, None, {"q-number": ("0.0", 0.0, None)}),
    "key-twice": (
        '{"q-text": "first", "q-text": "last"}',
        {"q-text": "last"},
        None,
        {"q-text": ("last", None, None)},
    ),
    "deep": (
        f'{{"q-text": {"[" * 150}1{"]" * 150}}}',
        {"q-text": None},
        f'{{"q-text":{"[" * 150}1{"]" * 150}}}',
        {"q-text": (None, None, f"{'[' * 150}1{']' * 150}")},
    ),
}


def unnamed(text: str) -> str:
    """Return the id of a response without one, whose line is JSON in order."""
    return f"line-{sha256(text.encode()).hexdigest()}"


ODD_IDS = '{"id":{},"participant_id":[],"submission_id":5}'
# Whole lines, and what comes of them.
ODD_LINES: dict[str, tuple[str, str, Response]] = {
    "nul-id": (
        r'{"submission_id": "s\u00002"}',
        "s\ufffd2",
        ({}, r'{"submission_id":"s\\u00002"}'),
    ),
    "nul-field": (
        rf'{{"submission_id": "s2", "{SAID}\u0000": "\u0000", "b": {{"\ud800": [NaN]}}}}',
        "s2",
        ({}, rf'{{"{SAID}\\u0000":"\\u0000","b":{{"\\ud800":["NaN"]}}}}'),
    ),
    "large-field": (
        f'{{"submission_id": "s2", "a": {10**30}, "b": 1e400}}',
        "s2",
        ({}, f'{{"a":{10**30},"b":"1e400"}}'),
    ),
    "empty": ("{}", unnamed("{}"), ({}, None)),
    "odd-ids": (ODD_IDS, unnamed(ODD_IDS), ({}, ODD_IDS)),
    "odd-answers": (
        '{"submission_id": "s2", "responses": 5}',
        "s2",
        ({}, '{"responses":5}'),
    ),
    "odd-list": (
        '{"submission_id": "s2", "responses": [1, null, {"instruction_id": 5}]}',
        "s2",
        ({}, '{"responses":[1,null,{"instruction_id":5}]}'),
    ),
    "odd-time": (
        '{"submission_id": "s2", "submitted_at": "9999-12-31T23:59:59-12:00"}',
        "s2",
        ({}, '{"submitted_at":"9999-12-31T23:59:59-12:00"}'),
    ),
}


def with_line(text: str | bytes | Packed, **expected: Any) -> Case:
    """Return the case of an archive with a line between the honest ones."""
    if isinstance(text, str):
        text = text.encode()
    lines = text if isinstance(text, Packed) else json_lines(line(1), text, line(3))
    return Case(zipped(members(lines=lines)), **expected)


def odd_lines() -> Iterator[tuple[str, Case]]:
    """Yield archives with lines that are odd, and come all the same."""
    for name, (text, answers, misfits, rows) in ODD_ANSWERS.items():
        additional = misfits and f'{{"answers":{misfits}}}'
        honest = {(s, "q-text", 1): (f"{SAID} {s[1]}", None, None) for s in ("s1", "s3")}
        yield (
            f"answer-{name}",
            with_line(
                f'{{"submission_id": "s2", "responses": {text}}}',
                responses=RESPONSES | {"s2": (answers, additional)},
                answers=honest | {("s2", id_, 1): row for id_, row in rows.items()},
            ),
        )
    for name, (text, id_, response) in ODD_LINES.items():
        yield f"line-{name}", with_line(text, responses=RESPONSES | {id_: response})


def left_out(count: int, name: str = "responses.jsonl") -> str:
    return f"{count} lines of {name}, the first of them line 2."


def batches(*, skip: bool) -> Cases:
    """Return batches with a bad line in one of the two files that say the same."""
    by_submission, by_task = "responses-by-submission.jsonl", "responses-by-task.jsonl"
    cases: Cases = {}
    for bad in (by_submission, by_task):
        entries = [Entry("batch.json", METADATA), *members(metadata=None)[1:]]
        for name in (by_submission, by_task):
            others = (line(1), SAID.encode(), line(3)) if name == bad else (line(1), line(3))
            entries.append(Entry(name, json_lines(*others)))
        error = "" if skip else f"{bad}, line 2, {NO_JSON}"
        skipped = left_out(1, bad) if skip else ""
        cases[bad.removesuffix(".jsonl")] = Case(zipped(entries), error=error, skipped=skipped)
    return cases


def lines(*, skip: bool) -> Cases:
    cases = dict(odd_lines())
    for name, (text, why) in BAD_LINES.items():
        said = {"skipped": left_out(1)} if skip else {"error": f"responses.jsonl, line 2, {why}"}
        cases[f"bad-{name}"] = with_line(text, **said)
    cases |= batches(skip=skip)
    several = b"\n".join([b"?", b"", b"[]", json.dumps(line(3)).encode(), b"{"])
    said = {"skipped": left_out(3)} if skip else {"error": f"responses.jsonl, line 2, {NO_JSON}"}
    return cases | {"several": with_line(several, **said)}


def framed(block: bytes, times: int) -> Packed:
    """Return deflated lines, with blocks of anything between the honest ones."""
    begin, end = json_lines(line(1), b""), json_lines(b"", line(3))
    return deflated((begin, 1), (block, times), (end, 1))


def long_line(megabytes: int, *, skip: bool) -> Cases:
    """Return an archive with a line a thousand times as long as the archive."""
    why = f"responses.jsonl, line 2, holds over {16 << 20:,} bytes; max_line_bytes is {16 << 20:,}."
    said = {"skipped": left_out(1)} if skip else {"error": why}
    return {"long-line": with_line(framed(b"\0" * MB, megabytes), **said)}


BLANK = {"line-feeds": b"\n", "carriage-returns": b"\r\n", "spaces": b"    \n"}


def blank_lines(megabytes: int, *kinds: str) -> Cases:
    """Return archives with blank lines of some kinds, a thousand times as long as the archive."""
    return {
        kind: with_line(framed(BLANK[kind] * (MB // len(BLANK[kind])), megabytes)) for kind in kinds
    }


def same_id(count: int) -> Cases:
    """Return an archive in which one response comes very often, each time with other answers."""
    text = b"".join(
        b'{"submission_id": "s", "responses": {"q-text": "%b %d"}}\n' % (SAID.encode(), n)
        for n in range(count)
    )
    archive = zipped(with_member(Entry("responses.jsonl", text, DEFLATED)))
    texts = [f"{SAID} {n}" for n in range(count)]
    return {"same-id": Case(archive, responses=None, texts=texts)}


def large_tasks(count: int) -> Cases:
    """Return a batch of many tasks, with 1 KB of data each."""
    data = {"x": "x" * 1000}
    each = (
        {"submission_id": "s1", "task_id": f"t{n}", "datapoint": data | {"n": n}}
        for n in range(count)
    )
    lines = Entry("responses-by-submission.jsonl", json_lines(*each), DEFLATED)
    archive = zipped([Entry("batch.json", METADATA), lines, *members(metadata=None)[1:]])
    responses: dict[str, Response] = {f"s1:t{n}": ({}, None) for n in range(count)}
    return {"large-tasks": Case(archive, responses=responses)}


def many_types(count: int) -> Cases:
    """Return an archive that nothing describes, in which each answer has a type of its own."""
    each = (line(n, q={"type": f"{n}{'x' * 1000}", "value": "x"}) for n in range(count))
    entries = members(metadata=None)
    entries[0] = Entry("responses.jsonl", json_lines(*each), DEFLATED)
    return {"many-types": Case(zipped(entries), responses=None, columns={"q": TEXT})}


# 4. Metadata.

NO_METADATA = "It has neither collection.json nor batch.json."
NOTHING_DESCRIBES = "nothing describes its questions: the types of {} columns are made from"
TEXT, NUMBER = {"type": ["string", "null"]}, {"type": ["number", "null"]}
BOOLEAN, INTEGER = {"type": ["boolean", "null"]}, {"type": ["integer", "null"]}
FILE = {"path": TEXT, "file_name": TEXT, "content_type": TEXT, "size_bytes": INTEGER}


def array(items: Row) -> Row:
    return {"type": ["array", "null"], "items": items}


def objects(**properties: Row) -> Row:
    return array({"type": "object", "properties": properties})


def with_unit(value: Row) -> Row:
    return {"type": ["object", "null"], "properties": {"value": value, "unit": TEXT}}


# The entries of two lines, the type of the column that is made from them, and what it holds. What
# is ambiguous is text: of it, a column holds what is text, or all of it as JSON.
SIZE = len(UPLOADS[UPLOAD])
A_FILE = {"path": UPLOAD, "file_name": "a.png", "content_type": "image/png", "size_bytes": SIZE}
NO_FILE = {"path": "files/b", "file_name": "b", "content_type": None, "size_bytes": None}
INFERENCES: dict[str, tuple[list[Any], Row, list[Any]]] = {
    "number": ([1, 2.5], NUMBER, [1, 2.5]),
    "boolean": ([True, False], BOOLEAN, [True, False]),
    "text": (["a", "1"], TEXT, ["a", "1"]),
    "nothing": ([None, None], TEXT, [None, None]),
    "some": ([None, 3], NUMBER, [None, 3]),
    "wrapped": ([{"value": 1}, {"answer": [{"value": 2}]}], NUMBER, [1, 2]),
    "texts": ([["a"], ["b", "c"]], array({"type": "string"}), [["a"], ["b", "c"]]),
    "numbers": ([[1], [2, 3.5]], array({"type": "number"}), [[1], [2, 3.5]]),
    "sometimes-several": ([1, [2, 3]], array({"type": "number"}), [[1], [2, 3]]),
    "units": (
        [{"value": 3, "unit": "g"}, {"value": 4.5, "unit": "kg"}],
        with_unit(NUMBER),
        [{"value": 3, "unit": "g"}, {"value": 4.5, "unit": "kg"}],
    ),
    "texts-with-units": (
        [{"value": "3", "unit": "g"}, "4"],
        with_unit(TEXT),
        [{"value": "3", "unit": "g"}, {"value": "4", "unit": None}],
    ),
    "explained": (
        [{"value": "x", "explanation": "y"}, {"value": "z"}],
        objects(value=TEXT, explanation=TEXT),
        [[{"value": "x", "explanation": "y"}], [{"value": "z", "explanation": None}]],
    ),
    "files": (
        [{"path": UPLOAD, "file_name": "a.png", "content_type": "image/png"}, {"path": "files/b"}],
        objects(**FILE),
        [[A_FILE], [NO_FILE]],
    ),
    "number-or-text": ([1, "two"], TEXT, [None, "two"]),
    "boolean-or-number": ([True, 2], TEXT, [None, None]),
    "two-types": (
        [{"type": "a", "value": "x"}, {"type": "b", "value": 1}],
        TEXT,
        ['{"type":"a","value":"x"}', '{"type":"b","value":1}'],
    ),
    "unforeseen": ([{"strokes": [[0, 1]]}, 5], TEXT, ['{"strokes":[[0,1]]}', "5"]),
}
# What does not fit stays as it came.
MISFITS = ['{"number-or-text":1,"boolean-or-number":true}', '{"boolean-or-number":2}']


def inferred(name: str, metadata: bytes | None) -> Case:
    """Return the case of an archive whose metadata tells no question."""
    columns = {f"{name}-{kind}": column for kind, (_, column, _) in INFERENCES.items()}
    responses = {}
    each = []
    for place, (number, misfits) in enumerate(zip((1, 3), MISFITS, strict=True)):
        answers = {f"{name}-{kind}": held[place] for kind, (_, _, held) in INFERENCES.items()}
        each.append(
            line(number, **{f"{name}-{k}": e[place] for k, (e, _, _) in INFERENCES.items()})
        )
        misfits = misfits.replace('{"', f'{{"{name}-').replace(',"', f',"{name}-')  # noqa: PLW2901
        responses[f"s{number}"] = (answers, f'{{"answers":{misfits}}}')
    entries = members(json_lines(*each), metadata)
    warning = NOTHING_DESCRIBES.format(len(columns))
    return Case(zipped(entries), responses=responses, columns=columns, warning=warning)


DEEP = b"[" * 10_000 + b"]" * 10_000
# Metadata that is none, and what the log says of it.
NO_OBJECTS: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, NO_METADATA),
    "empty": (b"", f"collection.json {NO_JSON}"),
    "no-json": (SAID.encode(), f"collection.json {NO_JSON}"),
    "cut-off": (METADATA[:-1], f"collection.json {NO_JSON}"),
    "not-utf-8": (b'{"name": "%b\xff"}' % SAID.encode(), f"collection.json {NO_JSON}"),
    "too-deep": (b'{"layout": %b}' % DEEP, f"collection.json {NO_JSON}"),
    "array": (b'["%b"]' % SAID.encode(), "collection.json holds no JSON object."),
    "null": (b"null", "collection.json holds no JSON object."),
}
# Metadata of which the instructions are none.
NO_INSTRUCTIONS: dict[str, Any] = {
    "no-instructions": {},
    "instructions-text": {"instructions": SAID},
    "instructions-number": {"instructions": 5},
    "instructions-object": {"instructions": {"q-text": {"type": "free_text"}}},
    "instructions-nested": {"instructions": [[QUESTIONS]]},
    "instructions-mixed": {"instructions": [None, 1, SAID, [], {}, True]},
    "ids-numbers": {"instructions": [{**question, "id": 5} for question in QUESTIONS]},
    "ids-missing": {"instructions": [{"type": "free_text"}, {"id": None}, {"id": ""}]},
    "layout-text": {"collection_items": SAID, "instructions": None},
    "layout-odd": {"collection_items": [{"page_items": 5}, {"page_items": [{"id": 1}]}]},
    "all-odd": {"id": [], "name": {}, "created_at": 5, "schema_version": 1e300, "status": True},
}
# Questions that are odd, and are questions all the same: text, and what a line's "x" becomes.
ODD_QUESTIONS: dict[str, tuple[Row, Any]] = {
    "type-number": ({"type": 5}, '"x"'),
    "type-array": ({"type": ["free_text"]}, '"x"'),
    "no-type": ({}, '"x"'),
    "text-odd": ({"type": "free_text", "validation": "number", "description": {"a": 1}}, "x"),
    "options-numbers": ({"type": "multiple_choice", "answer_limit": 1, "options": [1, 2]}, "x"),
    "options-text": ({"type": "multiple_choice", "answer_limit": 1, "options": "x"}, "x"),
    "values-mixed": (
        {"type": "multiple_choice", "answer_limit": 1, "options": [{"value": 1}, {"value": "x"}]},
        "x",
    ),
    "values-objects": (
        {"type": "multiple_choice", "answer_limit": 1, "options": [{"value": {}, "label": 5}]},
        "x",
    ),
    "limit-text": ({"type": "multiple_choice", "answer_limit": "1"}, ["x"]),
    "numbers-large": (
        {"type": "free_text", "max_stars": 10**30, "max_file_size_mb": 2**64, "order": -(10**400)},
        "x",
    ),
}


def odd_question(name: str, question: Row, value: Any) -> Case:
    id_ = f"q-{name}"
    metadata = {"instructions": [{"id": id_, **question}, {"id": f"{id_}\0", "type": "free_text"}]}
    entries = members(
        json_lines(line(1, **{id_: "x", f"{id_}\0": "y"})), json.dumps(metadata).encode()
    )
    answers = {id_: value, f"{id_}\ufffd": "y"}
    additional = f'{{"answers":{{"{id_}\\\\u0000":"y"}}}}'
    return Case(zipped(entries), responses={"s1": (answers, additional)})


# Keys that are ids, but too many of them, and such as are none.
IDS = [f"{random.Random(n).getrandbits(64):016x}" for n in range(3000)]  # noqa: S311
NO_IDS = ["", " ", "a b", "a.b", "x" * 129, f"{SAID}\n", '"', "\xe9", "../a", "$ref", "a\ufffd"]


def random_keys() -> Case:
    text = json_lines(line(1, **dict.fromkeys([*NO_IDS, *IDS], "x")))
    return Case(zipped(members(text, None)), responses=None)


def metadata() -> Cases:
    cases = {}
    for name, (text, warning) in NO_OBJECTS.items():
        cases[name] = inferred(name, text)
        cases[f"{name}-said"] = Case(zipped(members(metadata=text)), warning=warning)
    for name, fields in NO_INSTRUCTIONS.items():
        cases[name] = inferred(name, json.dumps(fields).encode())
    for name, (question, value) in ODD_QUESTIONS.items():
        cases[name] = odd_question(name, question, value)
    return cases | {"random-keys": random_keys()}


# Laws of names and depths.


def same_ids() -> Cases:
    """Return an archive in which an id is what another one becomes, where it comes twice."""
    each = [{**line(n), "id": id_} for n, id_ in enumerate(("a", "a", "a:2", "a:2", "a:2:2"))]
    texts = [f"{SAID} {n}" for n in range(len(each))]
    return {"same-ids": Case(zipped(members(json_lines(*each))), responses=None, texts=texts)}


def same_keys() -> Cases:
    """Return archives in which names are one when U+0000 is replaced in them."""
    cases = {}
    for name, keys in {"nul-first": "\0\ufffd", "nul-last": "\ufffd\0", "both": "\0\ud800"}.items():
        first, last = (f"q{key}" for key in keys)
        text = json.dumps(line(2, **{first: "x", last: "y"}))
        # In the order of the names as they came.
        answers = escaped(dict(sorted({first: "x", last: "y"}.items())))
        additional = json.dumps({"answers": answers}, separators=(",", ":"), ensure_ascii=False)
        cases[name] = with_line(text, responses=RESPONSES | {"s2": ({}, additional)})
    return cases


def nul_response_id() -> Cases:
    text = r'{"submission_id": "s2", "id": "r\u0000"}'
    response: Response = ({}, r'{"response_id":"r\\u0000"}')
    return {"nul-response-id": with_line(text, responses={**RESPONSES, "r\ufffd": response})}


def alike_keys() -> Cases:
    """Return an archive with a line of 80 KB, whose keys are all one when they are cleaned."""
    pairs = [rf"\ud8{n % 256:02x}\ud8{n // 256:02x}" for n in range(5000)]
    text = ",".join(f'"{pair}":0' for pair in pairs)
    return {"alike-keys": with_line(f'{{"submission_id":"s2",{text}}}', responses=None)}


# More than this is no JSON; at the others, some Python comes to the end of its stack.
DEEPEST = 200
DEPTHS = [*range(DEEPEST - 8, DEEPEST + 4), 495, 970, 990, 1490, 9990]


def deep_lines() -> Cases:
    """Return archives with lines of such depths."""
    begins = ['{"x":', '{"submission_id":"s2","x":', '{"responses":{"q":']
    cases: Cases = {}
    for begin, value in product(begins, ("1", "NaN", r'"\u0000"')):
        outer = begin.count("{")
        first = next(n for n, depth in enumerate(DEPTHS) if depth + outer > DEEPEST)
        skipped = (
            f"{len(DEPTHS) - first} lines of responses.jsonl, the first of them line {2 + first}."
        )
        for opened, closed in (("[", "]"), ('{"value":', "}")):
            texts = (f"{begin}{opened * d}{value}{closed * d}{'}' * outer}" for d in DEPTHS)
            archive = zipped(members(json_lines(line(1), *(text.encode() for text in texts))))
            cases[f"deep-{len(cases)}"] = Case(archive, responses=None, skipped=skipped)
    return cases


def deep_metadata() -> Cases:
    """Return archives with metadata of such depths."""
    cases: Cases = {}
    for depth in DEPTHS:
        deep = f"{'[' * depth}1{']' * depth}"
        option = f'{{"value":{deep}}}'
        question = f'{{"id":"q-deep","type":"multiple_choice","options":[{option}],"x":{deep}}}'
        text = f'{{"layout":{deep},"collection_items":{deep},"instructions":[{question}]}}'
        warning = f"collection.json {NO_JSON}" if depth + 5 > DEEPEST else ""
        archive = zipped(members(metadata=text.encode()))
        cases[f"deep-{depth}"] = Case(archive, responses=None, warning=warning)
    return cases


def absurd_size() -> Cases:
    """Return an archive with an upload of 16 EB, which an answer names."""
    upload = Entry(UPLOAD, UPLOADS[UPLOAD], told={"size": 2**64 - 1})
    text = json_lines(line(1, **{"q-file": {"path": UPLOAD}}))
    archive = zipped([upload, *members(lines=text, uploads={})])
    return {"absurd-size": Case(archive, responses=None, files=None, error=None)}

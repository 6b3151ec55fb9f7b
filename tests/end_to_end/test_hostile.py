"""The hostile archives of `tests.support.hostile`, each read by the tap as a process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unicodedata
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from zlib import crc32

import pytest
from jsonschema import Draft202012Validator

from tap_prolific_export.archive.export_archive import MAX_MEMBER_BYTES
from tests.support import hostile
from tests.support.expected import KEYS
from tests.support.hostile import ABSOLUTE, CALLED, LONGEST, MANY, MB, SAID, Case
from tests.support.tap import answer_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Run = Callable[[str], "Ran"]

Row = dict[str, Any]

# A process takes its parent's peak of memory for its own, to begin with: this one is small.
LAUNCHER = """
import os, signal, sys
told, limit, *command = sys.argv[1:]
pid = os.posix_spawn(command[0], command, os.environ)
signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
signal.alarm(int(limit))
_, status, usage = os.wait4(pid, 0)
with open(told, "w") as file:
    print(os.waitstatus_to_exitcode(status), usage.ru_maxrss, file=file)
"""
# The tap with another limit than its own.
TAP = """
import sys
from tap_prolific_export import tap
from tap_prolific_export.snapshots import source
limits, most = source.Limits, int(sys.argv.pop(1))
source.Limits = lambda **others: limits(max_member_bytes=most, **others)
tap.TapProlificExport.cli()
"""
KILOBYTE = 1 if sys.platform == "darwin" else 1024
# How often one id comes; for whoever has time, a million.
COUNT = int(os.environ.get("HOSTILE", "10000"))
# More columns than these are not made from lines.
MAX_COLUMNS = 1000


@dataclass(frozen=True)
class Chapter:
    """Archives that one process reads.

    Attributes:
        cases: By the id of their data collection.
        config: Settings.
        megabytes: How much more memory it may take than an honest archive does.
        seconds: How much time.
        most: The limit `max_member_bytes`.
    """

    cases: Callable[[], Mapping[str, Case]]
    config: Row = field(default_factory=dict)
    megabytes: int = 6
    seconds: int = 60
    most: int = MAX_MEMBER_BYTES


LESS = 100 * MB
LINE = {"max_line_bytes": LONGEST}
SKIP = {"on_bad_line": "skip"}
CHAPTERS = {
    "honest": Chapter(hostile.honest),
    "names": Chapter(hostile.names, megabytes=6),
    "a file and a folder of one name": Chapter(hostile.file_and_folder, {"files_concurrency": 1}),
    "names as others are stored": Chapter(hostile.lookalikes),
    "damages": Chapter(hostile.damages, megabytes=12, most=LESS),
    "upload of 1 GB": Chapter(partial(hostile.large_upload, 1000), most=LESS),
    "upload of 10 GB": Chapter(partial(hostile.large_upload, 10_000), most=LESS),
    "upload of 10 GB that says 10 B": Chapter(partial(hostile.large_upload, 10_000, size=10)),
    "upload of 100 MB": Chapter(hostile.stored_bomb),
    "lines of 1 GB": Chapter(hostile.large_lines, most=LESS),
    "metadata of 1 GB": Chapter(hostile.large_metadata),
    "metadata of 1 GB that says 10 B": Chapter(partial(hostile.large_metadata, size=10)),
    "directory of 100 MB": Chapter(hostile.large_directory),
    "many members": Chapter(hostile.many_members, {"files_include": ["*.pdf"]}, 70),
    "lines": Chapter(partial(hostile.lines, skip=False), LINE, 12),
    "lines, skipped": Chapter(partial(hostile.lines, skip=True), LINE | SKIP, 12),
    "line of 1 GB": Chapter(partial(hostile.long_line, 1000, skip=False), {}, 25),
    "line of 200 MB, skipped": Chapter(partial(hostile.long_line, 200, skip=True), SKIP, 25),
    "blank lines": Chapter(partial(hostile.blank_lines, 100, *hostile.BLANK), megabytes=16),
    "one id": Chapter(partial(hostile.same_id, COUNT), megabytes=16),
    "metadata": Chapter(hostile.metadata, megabytes=28),
}
# What this corpus has found to be wrong.
FOUND = {
    "names that Windows reserves, too": Chapter(hostile.windows_devices),
    "keys as others become": Chapter(hostile.same_keys),
    "a response's id with U+0000": Chapter(hostile.nul_response_id),
    "many keys that become one": Chapter(hostile.alike_keys, megabytes=10, seconds=6),
    "deep lines": Chapter(hostile.deep_lines, SKIP, 10),
    "deep metadata": Chapter(hostile.deep_metadata, megabytes=10),
    "a size beyond 64 bits": Chapter(hostile.absurd_size, {"files_max_bytes": 1000}),
    "many large tasks": Chapter(partial(hostile.large_tasks, COUNT), megabytes=18),
    "ids as others become": Chapter(hostile.same_ids),
    "many types of answers": Chapter(partial(hostile.many_types, COUNT), megabytes=12),
}
# Archives of 5 MB: of each, the lines are 5 GiB, and nearly all of them are blank.
BILLIONS = {
    f"5 GiB of {kind}": Chapter(partial(hostile.blank_lines, (5 << 30) // MB, kind), {}, 16)
    for kind in hostile.BLANK
}
ALL = CHAPTERS | FOUND | BILLIONS


@dataclass(frozen=True)
class Ran:
    """What a process has done.

    Attributes:
        new: The files and directories that it has made, below the folder and beside it.
    """

    chapter: Chapter
    cases: Mapping[str, Case]
    folder: Path
    new: frozenset[Path]

    @property
    def store(self) -> Path:
        return self.folder / "a" / "b" / "store"

    @cached_property
    def told(self) -> tuple[int, float]:
        """Return its exit code, and how many megabytes it took."""
        code, peak = map(int, (self.folder / "told").read_text().split())
        return code, peak * KILOBYTE / MB

    @cached_property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def messages(self) -> Iterator[Row]:
        with (self.folder / "output").open() as lines:
            yield from map(json.loads, lines)

    @cached_property
    def rows(self) -> dict[tuple[str, str], dict[tuple[Any, ...], Row]]:
        """Return what a target holds in the end, by stream and data collection."""
        rows: dict[tuple[str, str], dict[tuple[Any, ...], Row]] = {}
        for message in self.messages():
            if message["type"] == "RECORD":
                stream, row = message["stream"], message["record"]
                id_, *key = (row[name] for name in KEYS[stream])
                rows.setdefault((stream, id_), {})[tuple(key)] = row
        return rows

    def of(self, stream: str, id_: str) -> list[Row]:
        return list(self.rows.get((stream, id_), {}).values())

    def table(self, heading: str) -> dict[str, str]:
        """Return what a table in the log says, by data collection."""
        lines = iter(self.log.splitlines())
        if not any(re.match(f"id +{heading} +what to do", line) for line in lines):
            return {}
        (_, ids), (begin, _), _ = (match.span() for match in re.finditer("-+", next(lines)))
        cells: dict[str, list[str]] = {}
        id_ = ""
        for line in lines:
            if re.match(r"\d{4}-\d\d-\d\d ", line):
                break
            if not line.startswith(" "):
                named = line if line[ids:begin].strip() else line[:ids]  # a long one stands alone
                id_ = re.sub(r".*[ /]|-export-x\.zip$", "", named.rstrip())
            if line[ids:begin].isspace() and line[begin] != " ":
                cells.setdefault(id_, []).append(line[begin:].partition("  ")[0].rstrip())
        return {id_: " ".join(parts) for id_, parts in cells.items()}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return what runs a chapter, once."""

    @cache
    def run(name: str) -> Ran:
        return _run(ALL[name], tmp_path_factory.mktemp("hostile"))

    return run


def _run(chapter: Chapter, around: Path) -> Ran:
    folder = around / "folder"
    for name in ("archives", "tmp", "a/b"):
        (folder / name).mkdir(parents=True)
    cases = chapter.cases()
    for id_, case in cases.items():
        path = folder / "archives" / f"{id_}-export-x.zip"
        if isinstance(case.archive, bytes):
            path.write_bytes(case.archive)
        else:
            case.archive(path)
    config = {
        "archive_paths": ["archives/*.zip"],
        "files_uri": (folder / "a/b/store").as_uri(),
        "answer_keys": "instruction_id",
        **chapter.config,
    }
    (folder / "config.json").write_text(json.dumps(config))
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    tap = [sys.executable, "-c", TAP, str(chapter.most), "--config", "config.json"]
    (folder / "told").touch()
    with (folder / "output").open("wb") as output, (folder / "log").open("wb") as log:
        before = {*around.rglob("*")}
        subprocess.run(  # noqa: S603
            [sys.executable, "-ISc", LAUNCHER, "told", str(chapter.seconds), *tap],
            cwd=folder,
            env=environment | {"TMPDIR": str(folder / "tmp")},
            stdout=output,
            stderr=log,
            check=True,
        )
    return Ran(chapter, cases, folder, frozenset({*around.rglob("*")} - before))


def _stored(row: Row) -> Path:
    return Path(unquote(urlsplit(row["uri"]).path))


# The laws, each of which returns or yields what breaks it.


def misreported(ran: Ran) -> Iterator[str]:
    """Yield what is wrong with how the process ended."""
    code, _ = ran.told
    failed, left_out = ran.table("what failed"), ran.table("left out")
    for id_, case in ran.cases.items():
        # A word that is longer than its column may leave a comma in the next one.
        failure, error = (
            text.lower().replace(",", "") for text in (failed.get(id_, ""), case.error or "")
        )
        if case.error is not None and (bool(error) != bool(failure) or error not in failure):
            yield f"{id_}: failed as {failure!r}, not {case.error!r}"
        if case.skipped is not None and left_out.get(id_, "") != case.skipped:
            yield f"{id_}: left out {left_out.get(id_)!r}, not {case.skipped!r}"
        about = (line for line in ran.log.splitlines() if f" {id_}: " in line)
        if case.warning and not any(case.warning in line for line in about):
            yield f"{id_}: no warning says {case.warning!r}"
    if unknown := (failed | left_out).keys() - ran.cases.keys():
        yield f"what is not there failed: {unknown}"
    counts = re.findall(r"Failed: (\d+), as listed below\. Delivered: (\d+)\.", ran.log)
    whole = [(str(len(failed)), str(len(ran.cases) - len(failed)))] if failed else []
    if (code, counts) != (int(bool(failed)), whole):
        yield f"ended with {code}, and {counts}, not {whole}"


def wrong_rows(ran: Ran) -> Iterator[str]:
    """Yield what is wrong with the rows that came, as a target holds them in the end."""
    for id_, case in ran.cases.items():
        whole = not case.error or "uploaded files could not be stored" in case.error
        texts = case.texts if case.texts is None else dict.fromkeys(case.texts)
        looked_at: list[tuple[str, Mapping[Any, Any] | None, Mapping[Any, Any]]] = [
            ("responses", case.responses and _sorted(case.responses), _responses(ran, id_)),
            ("texts", texts, _texts(ran, id_)),
            ("answers", case.answers, _answers(ran, id_)),
            ("files", case.files, _files(ran, id_)),
        ]
        for what, expected, found in looked_at:
            if expected is None:
                continue
            for key in found.keys() | expected.keys():
                if key not in found and whole:
                    yield f"{id_}: {what}: {str(key)[:100]} is missing"
                elif key in found and found[key] != expected.get(key, ...):
                    yield f"{id_}: {what}: {str(key)[:100]} is {str(found[key])[:300]}"


def _responses(ran: Ran, id_: str) -> Row:
    rows = ran.of("responses", id_)
    return _sorted({r["response_id"]: (r["answers"], r["additional_fields"]) for r in rows})


def _sorted(responses: Mapping[str, tuple[Any, str | None]]) -> Row:
    """Return responses with the fields in `additional_fields` in one order."""
    return {
        id_: (answers, text and json.dumps(json.loads(text), sort_keys=True))
        for id_, (answers, text) in responses.items()
    }


def _texts(ran: Ran, id_: str) -> Row:
    return {row["answers"].get("q-text"): None for row in ran.of("responses", id_)}


def _answers(ran: Ran, id_: str) -> dict[tuple[str, str, int], tuple[Any, ...]]:
    return {
        (row["response_id"], row["instruction_id"], row["answer_index"]): (
            *(row["value"], row["value_number"], row["raw"]),
        )
        for row in ran.of("answers", id_)
    }


def _files(ran: Ran, id_: str) -> Row:
    return {row["path"]: row["uri"] and _content(row) for row in ran.of("files", id_)}


def _content(row: Row) -> bytes | str:
    """Return the content of a stored file, or what its row wrongly says of it."""
    content = _stored(row).read_bytes()
    true = {"sha256": sha256(content).hexdigest(), "crc32": f"{crc32(content):08x}"}
    wrong = [n for n, v in {**true, "size_bytes": len(content)}.items() if row[n] != v]
    return f"not as its row says: {wrong}" if wrong else content


def wasted(ran: Ran, honest: Ran) -> list[str]:
    """Return whether a process took more memory or time than it may."""
    (code, megabytes), (_, enough) = ran.told, honest.told
    more = megabytes - enough
    return [
        *(["it was killed, having taken too long"] if code < 0 else []),
        *([f"it took {more:.0f} MB more"] if more > ran.chapter.megabytes else []),
    ]


def strays(ran: Ran) -> set[Path]:
    """Return what was made and should not have been, or is no plain file."""
    stored = {_stored(m["record"]) for m in ran.messages() if m.get("record", {}).get("uri")}
    expected = stored | {folder for path in stored for folder in path.parents}
    expected |= {ran.store, *(ran.store / id_ for id_ in ran.cases)}
    wrong = {path for path in ran.new if path not in expected or path.is_symlink()}
    return wrong | ({ABSOLUTE} if ABSOLUTE.exists() else set())


def told_too_much(ran: Ran) -> list[str]:
    """Return the lines of the log that quote a participant, or Python."""
    quoted = (SAID, "n" * 100, "Traceback", "unforeseen")
    return [
        line[:300]
        for line in ran.log.splitlines()
        if any(text.lower() in line.lower() for text in quoted)
    ]


DEVICES = r"CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9\xb9\xb2\xb3]"


def is_safe(name: str) -> bool:
    """Whether a name is one on Windows, macOS and Linux, and hides nowhere."""
    return not (
        re.search(r'[\0-\x1f\x7f-\x9f<>:"/\\|?*\u200b-\u200f\u2028-\u202e\ufeff]', name)
        or re.fullmatch(DEVICES, name.partition(".")[0].rstrip(" "), re.IGNORECASE)
        or name.startswith((".", " ", "-", "~"))
        or name.endswith((".", " "))
        or len(name.encode()) > 255
        or name != unicodedata.normalize("NFC", name)
    )


def unsafe_names(ran: Ran) -> Iterator[str]:
    """Yield the names of stored files that are not safe, or not only theirs."""
    known: set[str] = set()
    for message in ran.messages():
        if message.get("record", {}).get("uri"):
            name = _stored(message["record"]).relative_to(ran.store)
            folded = unicodedata.normalize("NFKC", f"{name}").casefold()
            if folded in known or not all(map(is_safe, name.parts)):
                yield f"{name}"
            known.add(folded)


def unfit(ran: Ran) -> Iterator[str]:
    """Yield the messages that some table cannot hold; of very many, a sample."""
    validators: dict[str, Draft202012Validator] = {}
    for number, message in enumerate(ran.messages()):
        if message["type"] == "SCHEMA":
            validators[message["stream"]] = Draft202012Validator(message["schema"])
        if any(map(_is_unfit, _leaves(message))):
            yield f"{number}: {str(message)[:300]!r}"
        if message["type"] == "RECORD" and (number < 3000 or number % 100 == 0):
            for error in validators[message["stream"]].iter_errors(message["record"]):
                yield f"{number}: {error.json_path}: {error.message[:300]}"


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _is_unfit(value: Any) -> bool:
    if isinstance(value, str):
        return re.search("[\0\ud800-\udfff]", value) is not None
    if isinstance(value, int):
        return not -(2**63) <= value < 2**63
    return isinstance(value, float) and not -1e308 < value < 1e308


def columns(ran: Ran) -> Row:
    """Return the properties of `answers` in the last schema, but for the questions."""
    schemas = [m for m in ran.messages() if (m["type"], m.get("stream")) == ("SCHEMA", "responses")]
    found = answer_columns(schemas[-1]["schema"])
    return {
        name: {n: v for n, v in column.items() if n != "title"} for name, column in found.items()
    }


@pytest.mark.parametrize("name", CHAPTERS)
def test_exactly_the_right_rows_come_or_a_clean_error(ran: Run, name: str) -> None:
    assert [*misreported(ran(name)), *wrong_rows(ran(name))] == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_it_takes_little_memory_and_time(ran: Run, name: str) -> None:
    assert wasted(ran(name), ran("honest")) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_nothing_is_written_outside_of_the_store(ran: Run, name: str) -> None:
    assert strays(ran(name)) == set()


@pytest.mark.parametrize("name", CHAPTERS)
def test_the_log_quotes_nobody(ran: Run, name: str) -> None:
    assert told_too_much(ran(name)) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_any_table_can_hold_what_is_emitted(ran: Run, name: str) -> None:
    assert [*unfit(ran(name))] == []


def test_stored_names_are_safe_everywhere_and_nobody_elses(ran: Run) -> None:
    assert len(ran("names").of("files", "called-anything")) == sum(map(len, CALLED.values()))
    assert [*unsafe_names(ran("names"))] == []


def test_very_many_members_are_listed_each_once(ran: Run) -> None:
    rows = ran("many members").of("files", "many-members")
    assert len(rows) == MANY // 10
    assert not any(row["uri"] for row in rows)


def test_without_metadata_columns_are_made_from_what_the_lines_hold(ran: Run) -> None:
    found = columns(ran("metadata"))
    expected = {
        name: c for case in ran("metadata").cases.values() for name, c in case.columns.items()
    }
    assert len(expected) > 300
    assert {name: found[name] for name in expected} == expected


def test_of_very_many_keys_few_become_columns_and_nothing_is_lost(ran: Run) -> None:
    [row] = ran("metadata").of("responses", "random-keys")
    misfits = json.loads(row["additional_fields"])["answers"]
    assert row["answers"] == dict.fromkeys(hostile.IDS[:MAX_COLUMNS], "x")
    assert misfits == dict.fromkeys([*hostile.NO_IDS, *hostile.IDS[MAX_COLUMNS:]], "x")
    assert not columns(ran("metadata")).keys() & misfits.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", BILLIONS)
def test_billions_of_blank_lines_are_passed_over(ran: Run, name: str) -> None:
    found = ran(name)
    assert [*wasted(found, ran("honest")), *misreported(found), *wrong_rows(found)] == []


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_to_be_wrong(ran: Run, name: str) -> None:
    found = ran(name)
    assert [*wasted(found, ran("honest")), *misreported(found), *wrong_rows(found)] == []
    assert [*strays(found), *told_too_much(found), *unsafe_names(found), *unfit(found)] == []

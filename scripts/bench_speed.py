"""What a response costs the tap, against the minimum for any tap (the floor).

Both read an archive that is generated from a seed. The tap has one stream or all streams selected.
The floor decompresses the lines, decodes, wraps and encodes them with msgspec, and writes them. For
`answers` it also makes the same rows as the tap; for all streams it writes both. Start-up is
measured with an archive of one line. Exits with 1 if a process fails or if rows are missing.
"""

from __future__ import annotations

import sys
import zipfile
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if __name__ != "__main__":  # else this is the floor, which imports only what it needs
    import json
    import os
    import random
    import re
    import socket
    import subprocess
    import tempfile
    import threading
    import time
    import uuid
    from collections import Counter
    from datetime import timedelta
    from pathlib import Path
    from statistics import median

    from scripts.bench_tools import ROOT, BenchError, count_of, digits, lacks_room, markdown, say
    from tests.support.stand_in.samples import BEGIN, DIARY, STUDY, WORKSPACE

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Mapping, Sequence

Json = dict[str, Any]

LINES = "responses.jsonl"
METADATA = "collection.json"
CHUNK, BUFFER = 1 << 18, 1 << 16
NOW = "2026-11-23T09:00:00.000000+00:00"


# Separate processes: `python -m scripts.bench_speed --floor STREAM ARCHIVE`, or --sdk.


def floor(stream: str, path: str) -> None:
    """Write the records of one or both streams with the least work possible in plain Python."""
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    with zipfile.ZipFile(path) as archive, open(1, "wb", BUFFER, closefd=False) as out:
        write = out.write
        answers_of = _explodes(archive)
        for line in map(decode, _lines(archive)):
            if stream != "answers":
                write(encode(_message("responses", line)) + b"\n")
            if stream != "responses":
                for answer in answers_of(line):
                    write(encode(_message("answers", answer)) + b"\n")


def _message(stream: str, record: Json) -> Json:
    return {"type": "RECORD", "stream": stream, "record": record, "time_extracted": NOW}


def sdk(stream: str, path: str) -> None:
    """Write the records of a stream as a tap with the SDK's defaults does."""
    from json import loads  # noqa: PLC0415  # the floor does not import this

    from singer_sdk import Stream, Tap  # noqa: PLC0415  # the same

    sample = zip(range(1000), _records(stream, path, loads), strict=False)
    properties = _schema_of([record for _, record in sample])

    class PlainStream(Stream):
        name = stream

        def get_records(self, context: Mapping[str, Any] | None) -> Iterator[Json]:  # noqa: ARG002  # the SDK's signature
            return _records(stream, path, loads)

    class PlainTap(Tap):
        name = "tap-plain"
        config_jsonschema = {"type": "object", "properties": {}}  # noqa: RUF012  # the SDK's

        def discover_streams(self) -> Sequence[Stream]:
            return [PlainStream(self, schema=properties)]

    PlainTap(config={}).sync_all()


def _records(stream: str, path: str, decode: Callable[[bytes], Any]) -> Iterator[Json]:
    """Yield the lines unchanged, or one answer for each value in them."""
    with zipfile.ZipFile(path) as archive:
        answers_of = _explodes(archive)
        for line in map(decode, _lines(archive)):
            yield from (line,) if stream == "responses" else answers_of(line)


def _lines(archive: zipfile.ZipFile) -> Iterator[bytes]:
    with archive.open(LINES) as member:
        rest = b""
        while chunk := member.read(CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines


def _explodes(archive: zipfile.ZipFile) -> Callable[[Json], Iterator[Json]]:
    """Return a function that yields one answer for each value in a line."""
    encode = msgspec.json.Encoder().encode
    metadata = msgspec.json.decode(archive.read(METADATA))
    id_ = metadata["id"]
    questions = {
        question["id"]: (
            question["type"],
            question["description"],
            {option["value"]: option["label"] for option in question.get("options", ())},
        )
        for question in metadata["instructions"]
    }

    def answers_of(line: Json) -> Iterator[Json]:
        submission_id, participant_id = line["submission_id"], line["participant_id"]
        for instruction_id, entry in line["responses"].items():
            type_, question, labels = questions[instruction_id]
            values = entry["value"]
            for index, item in enumerate(values if type(values) is list else (values,), 1):
                value, explanation, path = item, None, None
                if type(item) is dict:
                    value, explanation, path = map(item.get, ("value", "explanation", "path"))
                kind = type(value)
                yield {
                    "data_collection_id": id_,
                    "response_id": submission_id,
                    "instruction_id": instruction_id,
                    "answer_index": index,
                    "export_id": None,
                    "exported_at": NOW,
                    "submission_id": submission_id,
                    "participant_id": participant_id,
                    "task_id": None,
                    "instruction_type": type_,
                    "question": question,
                    "value": value if kind is str or path else encode(value).decode(),
                    "value_number": value if kind is int or kind is float else None,
                    "value_boolean": value if kind is bool else None,
                    "value_label": labels.get(value),
                    "unit": entry.get("unit"),
                    "explanation": explanation,
                    "file_path": path,
                    "raw": None,
                }

    return answers_of


def _schema_of(values: Sequence[Any]) -> Json:
    """Return a JSON Schema that fits all the values."""
    there = [value for value in values if value is not None]
    kinds = {type(value) for value in there}
    if dict in kinds:
        names = dict.fromkeys(name for value in there for name in value)
        properties = {name: _schema_of([value.get(name) for value in there]) for name in names}
        return {"type": ["object", "null"], "properties": properties}
    if list in kinds:
        items = [item for value in there for item in value]
        return {"type": ["array", "null"], "items": _schema_of(items)}
    names_of = {bool: "boolean", int: "integer", float: "number"}
    name = "number" if kinds == {int, float} else names_of.get(min(kinds, default=str, key=str))
    return {"type": [name or "string", "null"]}


# The archive.

UPLOADED = 8  # one of so many responses has an uploaded file,
UPLOADS = 500  # and the archive has at most so many files: memory must depend on the lines alone
VARIANTS = 256  # of answers per question
PACKED_AT = (2026, 11, 20, 12, 0, 0)
TEXT = """\
Porridge with honey and a small cup of tea that had gone cold before anybody sat down; two slices
of toast & jam, because there was no time for more. We call it a "full English", which it is not:
eggs, beans and mushrooms, größtenteils ohne Fleisch, und dazu Müsli. 朝ごはん は パン でした。
Nothing much on weekdays, though on Sundays the whole family cooks together and it takes hours."""


def _options(values: Sequence[Any]) -> list[Json]:
    return [{"label": f"Choice {number}", "value": value} for number, value in enumerate(values)]


NUMBER: Json = {"validation": {"type": "number", "min": 0, "max": 600}}
TEXTS = _options(["tea", "coffee", "water", "something else"])
NUMBERS, BOOLEANS = _options([-1, 0, 1, 2.5]), _options([True, False])
UNITS = [{"label": "Grams", "value": "g"}, {"label": "Ounces", "value": "oz"}]
ASKED: tuple[tuple[str, Json], ...] = (
    *[("free_text", {})] * 6,
    *[("free_text", NUMBER)] * 2,
    ("multiple_choice", {"answer_limit": 1, "options": TEXTS}),
    ("multiple_choice", {"answer_limit": 1, "options": NUMBERS}),
    ("multiple_choice", {"answer_limit": 1, "options": BOOLEANS}),
    ("multiple_choice", {"answer_limit": -1, "options": TEXTS}),
    ("multiple_choice", {"answer_limit": 3, "options": NUMBERS}),
    ("multiple_choice_with_free_text", {"answer_limit": 1, "options": TEXTS}),
    ("multiple_choice_with_free_text", {"answer_limit": 2, "options": NUMBERS}),
    ("free_text_with_unit", {"unit_options": [{**unit, **NUMBER} for unit in UNITS]}),
    ("free_text_with_unit", {"unit_options": UNITS}),
    *[("star_rating", {"max_stars": 5})] * 2,
    ("file_upload", {"max_file_count": 1, "accepted_file_types": ["image/png"]}),
)


class Made(NamedTuple):
    """An archive on disk, and how many rows each stream makes from it."""

    path: Path
    line_bytes: int
    rows: Mapping[str, int]


def make(path: Path, lines: int, seed: int) -> Made:
    """Write an archive with different responses to questions of every type."""
    chance = random.Random(seed)  # noqa: S311  # test data, not a secret
    questions = [
        {
            "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "type": type_,
            "description": f"Question {number}: what did you have?",
            "order": number,
            **settings,
        }
        for number, (type_, settings) in enumerate(ASKED)
    ]
    page = {"id": "page-0", "order": 0, "page_items": questions}
    metadata = {
        "id": DIARY,
        "name": "Breakfast diary",
        "workspace_id": WORKSPACE,
        "collection_items": [page],
        "instructions": questions,
    }
    *others, photo = [_variants(question, chance) for question in questions]
    size = answers = 0
    uploads: list[str] = []
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open(_info(LINES), "w", force_zip64=True) as member:
            for number in range(lines):
                id_ = f"6651{number:020x}"
                given = [chance.choice(variants) for variants in others]
                if number % UPLOADED == 0:
                    name = f"{id_}_table.png"
                    uploads += [name] if len(uploads) < UPLOADS else []
                    given.append((photo[0][0].replace("NAME", name), 1))
                submitted_at = (BEGIN + timedelta(seconds=number)).isoformat()
                line = (
                    f'{{"submission_id": "{id_}", "participant_id": "{chance.getrandbits(96):024x}"'
                    f', "study_id": "{STUDY}", "submitted_at": "{submitted_at[:19]}Z", '
                    f'"responses": {{{", ".join(text for text, _ in given)}}}}}\n'
                ).encode()
                size += member.write(line)
                answers += sum(count for _, count in given)
        archive.writestr(_info(METADATA), json.dumps(metadata, indent=2))
        for name in uploads:
            archive.writestr(_info(f"files/{name}"), name)
    return Made(path, size // lines, {"responses": lines, "answers": answers})


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, PACKED_AT)
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _variants(question: Json, chance: random.Random) -> list[tuple[str, int]]:
    """Return answers to a question as JSON text, each with its number of values."""
    entries = [_entry(question, chance) for _ in range(VARIANTS)]
    return [
        (f'"{question["id"]}": {json.dumps(entry, ensure_ascii=False)}', _count(entry["value"]))
        for entry in entries
    ]


def _count(value: Any) -> int:
    return len(value) if isinstance(value, list) else 1


def _entry(question: Json, chance: random.Random) -> Json:
    """Return an answer in the shape of its question type."""
    type_, options = question["type"], question.get("options", [])
    text = " ".join(chance.choices(TEXT.split(), k=chance.randint(4, 18)))
    number = chance.choice([chance.randint(0, 600), round(chance.uniform(0, 600), 1)])
    if type_ == "file_upload":
        file = {"path": "files/NAME", "file_name": "table.png", "content_type": "image/png"}
        return {"value": file}
    if type_ == "star_rating":
        return {"value": chance.randint(1, 5)}
    if type_ == "free_text":
        return {"value": number if "validation" in question else text}
    if type_ == "free_text_with_unit":
        units = question["unit_options"]
        value = number if "validation" in units[0] else f"about {number}"
        return {"value": value, "unit": chance.choice(units)["value"]}
    limit = question["answer_limit"] % (len(options) + 1)
    chosen = [option["value"] for option in chance.sample(options, chance.randint(1, limit))]
    if type_ == "multiple_choice":
        return {"value": chosen[0] if limit == 1 else chosen}
    return {"value": [{"value": value, "explanation": text[:40]} for value in chosen]}


# Measured processes.

# A child's peak memory is at least its parent's memory at the start, so the parent must be small.
LAUNCHER = """
import os, sys, time
began = time.monotonic()
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(child, 0)
wall = time.monotonic() - began
with open(sys.argv[1], "w") as file:
    print(used.ru_utime + used.ru_stime, wall, used.ru_maxrss, file=file)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""
RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
TAP, FLOOR, SDK = "the tap", "the floor", "the SDK's defaults"
HEAD = (
    "Stream",
    "Process",
    "Runs:",
    "CPU seconds:",
    "of them start-up:",
    "the rest:",
    "Wall seconds:",
    "Peak memory:",
)
MEMORY_HEAD = ("Stream", "Responses:", "Peak memory:", "Growth per response:")
# All streams that the tap has, from one reading of the lines.
ALL = "all"
# Maximum number of bytes that a stream writes per response.
WRITTEN = {"responses": 5_000, "answers": 20_000, ALL: 25_000}


class Used(NamedTuple):
    """What a process used: CPU and wall time in seconds, peak memory in bytes."""

    cpu: float
    wall: float
    memory: float


class Numbers(NamedTuple):
    """The table's numbers of a run; start-up comes from a separate run with one line."""

    cpu: float
    start: float
    rest: float
    wall: float
    memory: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lines", type=count_of, default=100_000, help="lines of 1.9 KB in the archive (100000)"
    )
    parser.add_argument(
        "--runs", type=count_of, default=3, help="runs; the table shows medians (3)"
    )
    parser.add_argument(
        "--stream", choices=[*WRITTEN], help="stream to measure, or all at once (each in turn)"
    )
    parser.add_argument("--seed", type=int, default=1, help="seed of the archive (1)")
    parser.add_argument(
        "--with-sdk", action="store_true", help="also measure a tap with the SDK's defaults"
    )
    parser.add_argument(
        "--memory", action="store_true", help="also measure peak memory with ten times the lines"
    )


def run(arguments: argparse.Namespace) -> int:
    lines: int = arguments.lines
    streams = [arguments.stream] if arguments.stream else [*WRITTEN]
    most = lines * (10 if arguments.memory else 1)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        if lack := lacks_room(folder, most * (2_000 + max(WRITTEN[each] for each in streams))):
            raise BenchError(f"{most} responses: {lack}.")
        made = make(folder / "export.zip", lines, arguments.seed)
        one = make(folder / "one.zip", 1, arguments.seed)
        ten = make(folder / "ten.zip", most, arguments.seed) if arguments.memory else None
        rows: list[list[str]] = []
        memory: list[list[str]] = []
        for stream in streams:
            select(one, stream)
            numbers = compare(made, one, stream, arguments.runs, with_sdk=arguments.with_sdk)
            rows += _rows(stream, numbers)
            if ten:
                before = median(each.memory for each in numbers[TAP])
                after = once(ten, stream, TAP).memory
                growth = f"{(after - before) / (most - lines):.1f} B"
                memory.append([stream, f"{lines:,}", say(before), ""])
                memory.append(["", f"{most:,}", say(after), growth])
        size = made.path.stat().st_size
    print(markdown(HEAD, rows))
    print(
        f"\n- {lines:,} responses of {made.line_bytes:,} bytes, {made.rows['answers']:,} answers; "
        f"the archive: {say(size)}."
    )
    if memory:
        print("", markdown(MEMORY_HEAD, memory), sep="\n")
    return 0


def compare(
    made: Made, one: Made, stream: str, runs: int, *, with_sdk: bool
) -> dict[str, list[Numbers]]:
    """Run the processes in turn, in reverse order every second round.

    Raises:
        BenchError: A process failed, rows are missing, or it took no longer than its start-up.
    """
    names = [TAP, FLOOR, *([SDK] if with_sdk and stream != ALL else [])]
    numbers: dict[str, list[Numbers]] = {name: [] for name in names}
    for number in range(runs):
        for name in names if number % 2 == 0 else reversed(names):
            used = once(made, stream, name)
            start = once(one, stream, name).cpu
            if used.cpu <= start:
                raise BenchError(f"{stream}, {name}: too few lines to measure anything.")
            numbers[name].append(Numbers(used.cpu, start, used.cpu - start, *used[1:]))
        # For the archive of one line, the floor must make the same rows as the tap.
        if stream == "answers" and _answers_of(one, TAP) != _answers_of(one, FLOOR):
            raise BenchError("answers: the floor's rows are not the tap's.")
    return numbers


def once(made: Made, stream: str, name: str) -> Used:
    """Run a process on an archive.

    Raises:
        BenchError: The process failed, or rows are missing.
    """
    out = _output(made, name)
    used = measure(f"{stream}, {name}", _command(made, stream, name), out)
    with out.open("rb") as lines:
        found = (re.match(rb'\{"type": ?"RECORD", ?"stream": ?"(\w+)"', line) for line in lines)
        records = Counter(match[1].decode() for match in found if match)
    of = [*made.rows] if stream == ALL else [stream]
    if any(records[each] != made.rows[each] for each in of):
        raise BenchError(f"{stream}, {name}: {dict(records)} came of {dict(made.rows)} rows.")
    if made.rows["responses"] > 1:
        out.unlink()
        print(
            f"{stream}, {name}: {made.rows['responses']} responses, {used.cpu:.2f} s CPU, "
            f"{used.wall:.2f} s, {say(used.memory)}",
            file=sys.stderr,
        )
    return used


def _command(made: Made, stream: str, name: str) -> list[str]:
    if name != TAP:
        mode = "--floor" if name == FLOOR else "--sdk"
        return ["scripts.bench_speed", mode, stream, str(made.path)]
    config = made.path.with_suffix(".json")
    config.write_text(json.dumps({"archive_paths": [str(made.path)]}))
    catalog = made.path.with_name(f"{stream}.json")
    return ["tap_prolific_export.tap", "--config", str(config), "--catalog", str(catalog)]


def _output(made: Made, name: str) -> Path:
    return made.path.with_suffix(f".{name.rpartition(' ')[2]}.jsonl")


def select(made: Made, stream: str) -> None:
    """Write a catalog in which one stream is selected."""
    *command, _, catalog = _command(made, stream, TAP)
    out = made.path.with_suffix(".catalog")
    measure("--discover", [*command, "--discover"], out)
    found = json.loads(out.read_text())
    for entry in found["streams"]:
        for metadata in entry["metadata"]:
            if not metadata["breadcrumb"]:
                metadata["metadata"]["selected"] = stream in {entry["tap_stream_id"], ALL}
    Path(catalog).write_text(json.dumps(found))


def measure(what: str, command: Sequence[str], out: Path) -> Used:
    """Run a module as a separate process.

    Args:
        what: Name of the process in errors.
        command: The module and its arguments.
        out: The file for its output.

    Raises:
        BenchError: The process failed.
    """
    usage = out.with_suffix(".usage")
    python = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(usage), sys.executable, "-m"]
    with out.open("wb") as lines, tempfile.TemporaryFile() as log:
        ended = subprocess.run(
            [*python, *command], cwd=ROOT, env=_environment(), stdout=lines, stderr=log, check=False
        )
        if ended.returncode:
            log.seek(0)
            end = log.read().decode(errors="replace")[-4000:]
            raise BenchError(f"{what}: the process failed:\n{end}")
    cpu, wall, memory = map(float, usage.read_text().split())
    return Used(cpu, wall, memory * RSS_UNIT)


def _environment() -> dict[str, str]:
    """Return the environment without variables that change Python or set a proxy."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PYTHON") and not name.lower().endswith("_proxy")
    }


def _answers_of(made: Made, name: str) -> list[str]:
    """Return the rows that a process wrote, as JSON text, which distinguishes 1, 1.0 and true."""
    messages = map(json.loads, _output(made, name).read_text().splitlines())
    records = [message["record"] for message in messages if message["type"] == "RECORD"]
    return [json.dumps({**record, "exported_at": None}, sort_keys=True) for record in records]


def _rows(stream: str, numbers: Mapping[str, Sequence[Numbers]]) -> Iterator[list[str]]:
    first = stream
    for name, runs in numbers.items():
        *times, memory = (median(column) for column in zip(*runs, strict=True))
        yield [first, name, str(len(runs)), *map(digits, times), say(memory)]
        first = ""
    for name, runs in numbers.items():
        if name != FLOOR:
            pairs = zip(runs, numbers[FLOOR], strict=True)
            ratios = [[one / another for one, another in zip(*pair, strict=True)] for pair in pairs]
            medians = [digits(median(column)) for column in zip(*ratios, strict=True)]
            yield ["", f"{name} / the floor", str(len(runs)), *medians]


class Start:
    """How long the tap takes until its first request, against importing the SDK alone.

    The request goes to a server on loopback, which rejects the token.
    """

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--runs", type=count_of, default=10, help="of which medians are shown (10)"
        )

    @staticmethod
    def run(arguments: argparse.Namespace) -> int:
        came: list[float] = []
        pairs: list[tuple[float, float]] = []
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            tempfile.TemporaryDirectory(prefix="bench-") as name,
        ):
            threading.Thread(target=_refuse, args=(server, came), daemon=True).start()
            api_url = f"http://127.0.0.1:{server.getsockname()[1]}"
            config = {"api_url": api_url, "api_token": "made-up", "collection_ids": [DIARY]}
            path = Path(name) / "config.json"
            path.write_text(json.dumps(config))
            for number in range(-1, arguments.runs):  # the first round only fills caches
                times = {}
                for which in ("tap", "SDK") if number % 2 == 0 else ("SDK", "tap"):
                    times[which] = _first_request(path, came) if which == "tap" else _import_sdk()
                if number >= 0:
                    pairs.append((times["tap"], times["SDK"]))
        tap, sdk_alone = (median(column) for column in zip(*pairs, strict=True))
        ratio = median(one / another for one, another in pairs)
        runs = str(len(pairs))
        rows = [
            ["the tap, until its first request", runs, digits(tap)],
            ['`python -c "import singer_sdk"`, until its end', runs, digits(sdk_alone)],
            ["ratio", runs, digits(ratio)],
        ]
        print(markdown(("Process", "Runs:", "Wall seconds:"), rows))
        return 0


def _first_request(config: Path, came: list[float]) -> float:
    """Run the tap, and return the seconds until its first request.

    Raises:
        BenchError: No request came, or the tap did not exit with 1 for the rejected token.
    """
    came.clear()
    command = [sys.executable, "-m", "tap_prolific_export.tap", "--config", str(config)]
    began = time.monotonic()
    ended = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, check=False)
    if not came or ended.returncode != 1:
        end = ended.stderr.decode(errors="replace")[-4000:]
        raise BenchError(f"the tap ended with exit code {ended.returncode}:\n{end}")
    return came[0] - began


def _import_sdk() -> float:
    command = [sys.executable, "-c", "import singer_sdk"]
    began = time.monotonic()
    ended = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, check=False)
    if ended.returncode:
        raise BenchError("the SDK cannot be imported.")
    return time.monotonic() - began


def _refuse(server: socket.socket, came: list[float]) -> None:
    """Record when requests arrive, and reply 401."""
    while True:
        connection, _ = server.accept()
        with connection:
            if connection.recv(BUFFER).startswith(b"GET /"):
                came.append(time.monotonic())
            connection.sendall(
                b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )


if __name__ == "__main__":
    mode, stream_name, archive_path = sys.argv[1:]
    {"--floor": floor, "--sdk": sdk}[mode](stream_name, archive_path)

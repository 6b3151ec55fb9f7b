"""Rows made straight from typed lines, and encoded straight from them: the fast way.

`lines`, `answers` and `records` read whatever may come, field by field. Of a line that fits the
types which its collection's questions call for (`typed`), the same rows are made here, to the
letter of every value; `tests/unit/rows/test_fast.py` and `tests/support/fuzz.py` compare them.
Only in what order the fields and answers of a line came is not told: they are in that of the first
lines, and of the questions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET

from tap_prolific_export.rows.answers import ColumnKind, ScalarType
from tap_prolific_export.rows.files import NamedFile, names_in
from tap_prolific_export.rows.tables import VALUE_COLUMNS, value_rows
from tap_prolific_export.rows.typed import (
    DoesNotFitError,
    choices,
    encode,
    files,
    json_of,
    measure,
    number,
    number_measure,
    numbers,
    other_fields,
    several,
    value_of,
)
from tap_prolific_export.times import parse_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from tap_prolific_export.rows.files import Uploads
    from tap_prolific_export.rows.tables import AnswerColumn, ExportFacts

    # What is told of one value, in the order of `VALUE_COLUMNS`, as far as it is not null.
    Told = tuple[Any, ...]
    Teller = Callable[[Any], Iterable[Told]]


class _Making:
    def use(self, others: Sequence[str]) -> None:
        """See `Maker.use`."""


class ResponseRows:
    """Makes of each typed line its row of `responses`.

    Args:
        facts: Of the export.
        columns: The properties of ``answers``, by instruction id.
        uploads: The uploaded files in the archive, by path.
    """

    def __init__(
        self, facts: ExportFacts, columns: Mapping[str, AnswerColumn], uploads: Uploads
    ) -> None:
        self._columns = columns
        self._facts = facts
        self._uploads = uploads

    def use(self, others: Sequence[str]) -> None:
        """See `Maker.use`."""
        columns, uploads = self._columns.values(), self._uploads
        if len({column.key for column in columns}) < len(columns):
            raise DoesNotFitError
        names = {
            **self._types(others),
            "number": number,
            "several": several,
            "numbers": numbers,
            "choices": choices,
            "measure": measure,
            "number_measure": number_measure,
            "files": lambda value: files(value, uploads),
            "json": json_of,
            "value": value_of,
            "rest": _rest,
            "UNSET": UNSET,
            "NUMBERS": (int, float),
            "TEXTS": (str,),
        }

        def make(*, of_objects: bool) -> Callable[[Any, str | None], Any]:
            answers = ", ".join(
                _source(column, is_object=of_objects).format(f"a.a{place}")
                for place, column in enumerate(columns)
            )
            rest = ", ".join(f"line.o{place}" for place in range(len(others)))
            # As source: no other way to take fields of fields is nearly as fast. It is made of our
            # own names only.
            made: Callable[[Any, str | None], Any] = eval(  # noqa: S307
                "lambda line, time: ResponseRow(line.submission_id, line.submission_id, "
                "line.participant_id, line.study_id, time, "
                f"(a := line.responses) and AnswersRow({answers}), "
                f"{f'rest(Rest({rest}))' if rest else None})",
                names,
            )
            return made

        self._make, self._make_of_any = make(of_objects=True), make(of_objects=False)

    def _types(self, others: Sequence[str]) -> dict[str, Any]:
        """Return the type of a row, whose constants are defaults, and of its parts."""
        fields = ("response_id", "submission_id", "participant_id", "study_id", "submitted_at")
        constant = {**self._facts.as_row(), "task_id": None}
        answers = [
            (f"a{place}", Any, msgspec.field(name=column.key))
            for place, column in enumerate(self._columns.values())
        ]
        row = [
            *((name, Any) for name in (*fields, "answers", "additional_fields")),
            *((name, Any, value) for name, value in constant.items()),
        ]
        types: dict[str, list[Any]] = {
            "ResponseRow": row,
            "AnswersRow": answers,
            "Rest": other_fields(others),
        }
        return {name: msgspec.defstruct(name, of, gc=False) for name, of in types.items()}

    def rows(self, lines: Sequence[Any]) -> list[Any]:
        """See `Maker.rows`."""
        times = _times(lines)
        try:
            return list(map(self._make, lines, times))
        except AttributeError:  # an entry is no object
            return list(map(self._make_of_any, lines, times))


def _source(column: AnswerColumn, *, is_object: bool) -> str:
    """Return the source of an answer's value, of that of its entry.

    What is the usual case is in it; what is not is a function's.

    Args:
        column: The question's.
        is_object: Whether the entry is certainly an object.
    """
    kind, is_number = column.column_type.kind, column.column_type.scalar is ScalarType.NUMBER
    value = "{}.value" if is_object else "value({})"
    if kind is ColumnKind.JSON:
        return "json({})"
    if kind is ColumnKind.WITH_UNIT:
        kinds, measure = ("NUMBERS", "number_measure") if is_number else ("TEXTS", "measure")
        usual = f"(e if (e := {{}}).value.__class__ in {kinds} else {measure}(e))"
        return usual if is_object else f"{measure}({{}})"
    if kind is ColumnKind.EXPLAINED:
        usual = "(v if (v := (e := {}).value).__class__ is list and e.explanation is None"
        return f"{usual} else choices(e))" if is_object else "choices({})"
    if kind is ColumnKind.FILES:
        return f"(v if (v := {value}) is UNSET else files(v))"
    if kind is ColumnKind.SCALARS:
        is_there = "str not in map(type, v)" if is_number else "True"
        several = "numbers" if is_number else "several"
        return f"(v if (v := {value}).__class__ is list and {is_there} else {several}(v))"
    if is_number and kind is not ColumnKind.RATING:
        return f"(v if (v := {value}).__class__ in NUMBERS else number(v))"
    return value


def _times(lines: Sequence[Any]) -> list[str | None]:
    """Return the times of lines in UTC, as `isoformat` has them, in a seventh of its time."""
    told: list[str | None] = msgspec.to_builtins([line.time for line in lines])
    return [text and (f"{text[:-1]}+00:00" if text[-1] == "Z" else _in_utc(text)) for text in told]


def _in_utc(text: str) -> str:
    moment = parse_timestamp(text)
    if moment is None:
        raise DoesNotFitError
    return moment.isoformat()


def _rest(fields: Any) -> str | None:
    text: str = json_of(fields)
    return None if text == "{}" else text


# Rows of `answers`.


class AnswerRows(_Making):
    """Makes of each typed line a list of its rows of `answers`; see `ResponseRows`."""

    def __init__(
        self, facts: ExportFacts, columns: Mapping[str, AnswerColumn], uploads: Uploads
    ) -> None:
        self._questions = [
            (f"a{place}", _answer_row(facts, id_, column), _teller(column, uploads))
            for place, (id_, column) in enumerate(columns.items())
        ]

    def rows(self, lines: Sequence[Any]) -> list[Any]:
        """See `Maker.rows`."""
        return list(map(self._rows_of, lines))

    def _rows_of(self, line: Any) -> list[Any]:
        id_, person, answers = line.submission_id, line.participant_id, line.responses
        rows = []
        for place, row, tell in self._questions:
            entry = getattr(answers, place)
            if entry is not None and entry is not UNSET:
                for index, told in enumerate(tell(entry), 1):
                    rows.append(row(id_, id_, person, index, *told))
        return rows


def _answer_row(facts: ExportFacts, id_: str, column: AnswerColumn) -> Any:
    """Return the type of the rows of a question, whose constants are defaults."""
    constant: dict[str, Any] = {
        **facts.as_row(),
        "instruction_id": id_,
        "task_id": None,
        "instruction_type": column.instruction.type,
        "question": column.instruction.question,
    }
    return msgspec.defstruct(
        "AnswerRow",
        [
            *((name, Any) for name in ("response_id", "submission_id", "participant_id")),
            ("answer_index", int),
            *((name, Any, None) for name in VALUE_COLUMNS),
            *((name, Any, value) for name, value in constant.items()),
        ],
        gc=False,
    )


def _teller(column: AnswerColumn, uploads: Uploads) -> Teller:
    """Return what tells an entry's values."""
    kind = column.column_type.kind
    if kind is ColumnKind.JSON:
        return lambda entry: _told_of_any(entry, column, uploads)
    if kind is ColumnKind.FILES:
        is_odd = bool(column.labels)  # options of what is uploaded
        return lambda entry: _told_files(files(value_of(entry), uploads), is_odd=is_odd)
    scalar = _scalar_teller(column)
    if kind is ColumnKind.WITH_UNIT:
        return lambda entry: _told_measure(measure(entry), scalar)
    if kind is ColumnKind.EXPLAINED:
        return lambda entry: _told_choices(choices(entry), scalar)
    return lambda entry: [scalar(each) for each in _there(several(value_of(entry)))]


def _there(values: Any) -> Any:
    return () if values is None or values is UNSET else values


def _scalar_teller(column: AnswerColumn) -> Callable[[Any], Told]:
    """Return what tells one value: itself as text, as a number, as a boolean, and its label."""
    labels, scalar = column.labels, column.column_type.scalar
    if scalar is ScalarType.STRING:
        # The labels are by JSON text.
        return lambda value: (value, None, None, labels.get(_text(value)) if labels else None)
    if scalar is ScalarType.BOOLEAN:
        return lambda value: (text := _text(value), None, value, labels.get(text))

    def told(value: Any) -> Told:
        text = _text(value)
        if value.__class__ is not str:
            return text, value, None, labels.get(text)
        found = number(value)
        return value, found, None, labels.get(text, labels.get(_text(found)))

    return told


def _text(value: Any) -> str:
    return encode(value).decode()


def _told_measure(entry: Any, scalar: Callable[[Any], Told]) -> Iterator[Told]:
    if entry is None or entry is UNSET:
        return
    if entry.value is None:
        raise DoesNotFitError
    yield *scalar(entry.value), entry.unit


def _told_choices(chosen: Any, scalar: Callable[[Any], Told]) -> Iterator[Told]:
    for choice in _there(chosen):
        yield *scalar(choice.value), None, choice.explanation


def _told_files(files: Any, *, is_odd: bool) -> Iterator[Told]:
    for file in _there(files):
        if is_odd:
            raise DoesNotFitError
        yield None, None, None, None, None, None, file["path"]


def _told_of_any(entry: Any, column: AnswerColumn, uploads: Uploads) -> Iterator[Told]:
    """Yield what the tolerant way tells of an entry."""
    for row in value_rows(entry, column, uploads):
        yield tuple(row[name] for name in VALUE_COLUMNS)


# Rows of `files` and `tasks`.


class NamedFiles(_Making):
    """Makes of each typed line a list of the uploaded files that its answers name.

    Args:
        columns: The properties of ``answers``, by instruction id.
        uploads: The uploaded files in the archive, by path.
    """

    def __init__(self, columns: Mapping[str, AnswerColumn], uploads: Uploads) -> None:
        self._uploads = uploads
        self._names = {path.rpartition("/")[2] for path in uploads}
        self._questions = [
            (f"a{place}", id_, self._finder(column))
            for place, (id_, column) in enumerate(columns.items())
            if column.column_type.scalar is not ScalarType.BOOLEAN
        ]

    def rows(self, lines: Sequence[Any]) -> list[Any]:
        """See `Maker.rows`."""
        return list(map(self._found_in, lines))

    def _found_in(self, line: Any) -> list[NamedFile]:
        found = []
        for place, id_, find in self._questions:
            entry = getattr(line.responses, place)
            if entry is not None and entry is not UNSET:
                for path, described in find(entry):
                    to = (line.submission_id, line.participant_id, None, id_)
                    found.append(NamedFile(path, *to, described))
        if len({each.path for each in found}) < len(found):
            raise DoesNotFitError  # the answer counts that came first, which is not known here
        return found

    def _finder(
        self, column: AnswerColumn
    ) -> Callable[[Any], Iterable[tuple[str, Mapping[str, str]]]]:
        """Return what finds files in an entry."""
        if column.column_type.kind is ColumnKind.JSON:
            return lambda entry: names_in(entry, column, self._uploads)
        if column.column_type.kind is ColumnKind.FILES:
            return self._files
        if column.column_type.kind is ColumnKind.EXPLAINED:
            return lambda entry: self._none(each.value for each in _there(choices(entry)))
        return lambda entry: self._none(_there(several(value_of(entry))))

    def _files(self, entry: Any) -> Iterator[tuple[str, Mapping[str, str]]]:
        for file in _there(files(value_of(entry), self._uploads)):
            if file["path"] in self._uploads:
                yield file["path"], file

    def _none(self, values: Iterable[Any]) -> tuple[()]:
        """Return nothing; where a text may name a file, the tolerant way finds which."""
        for value in values:
            if isinstance(value, str) and value.rpartition("/")[2] in self._names:
                raise DoesNotFitError
        return ()


class NoTasks(_Making):
    """Makes nothing: a typed line has no task."""

    def rows(self, lines: Sequence[Any]) -> list[Any]:
        """See `Maker.rows`."""
        return [None] * len(lines)

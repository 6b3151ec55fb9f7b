"""A realistic collection and batch, and what their tables must say.

Everything follows from the participant's number, so that a run can be checked value by value.
`expected` is written down beside each answer; nothing of the tap is used to make it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from tests.support.stand_in.world import Hosted, Submission, World

WORKSPACE = "64f0a1b2c3d4e5f607182930"
STUDY = "6650c0ffee0123456789abcd"
DIARY = "6650d1a2b3c4d5e6f7081920"
CAPTIONS = "0f8c1c1e-5a53-4b5b-8d50-6a7c3c1f9b10"
BEGIN = datetime(2026, 11, 16, 7, 30, tzinfo=timezone.utc)

DRINKS: list[dict[str, Any]] = [
    {"label": "Tea", "value": "tea"},
    {"label": "Coffee", "value": "coffee"},
    {"label": "Something else", "value": "other"},
]
FOODS: list[dict[str, Any]] = [
    {"label": "Bread", "value": "bread"},
    {"label": "Fruit", "value": "fruit"},
    {"label": "Eggs", "value": "eggs"},
    {"label": "Nothing", "value": "nothing", "exclusive": True},
]
WORDS = [
    "Porridge",
    "Toast & jam",
    'A "full English"',
    "",  # skipped, but not absent
    "Müsli, größtenteils",
    "朝ごはん",
    "One line\nand another",
]
CAPTION_TEXTS = ["A dog on a beach", "Two cups of tea", "Rain in Leeds", "A very red bus"]


@dataclass(frozen=True)
class Given:
    """An answer as the archive has it, and as the table must have it."""

    entry: Any
    expected: Any


def _page(items: list[dict[str, Any]], number: int) -> dict[str, Any]:
    ordered = [{**item, "order": place} for place, item in enumerate(items)]
    return {"id": f"page-{number}", "order": number, "page_items": ordered}


def _instruction(id_: str, type_: str, question: str, **more: Any) -> dict[str, Any]:
    return {
        "id": id_,
        "type": type_,
        "description": question,
        "created_at": "2026-11-10T09:00:00Z",
        "created_by": "5f00000000000000000000aa",
        **more,
    }


def breakfast_diary(
    participants: int, *, id_: str = DIARY, workspace_id: str = WORKSPACE
) -> Hosted:
    """Return a collection with a question of every type."""
    pages: list[list[dict[str, Any]]] = [
        [
            {"id": "welcome", "type": "rich_text", "content": "<p>Welcome!</p>"},
            _instruction("q-name", "free_text", "What do you call your breakfast?"),
            _instruction(
                "q-minutes",
                "free_text",
                "How many minutes did it take?",
                validation={"type": "number", "min": 0, "max": 600},
            ),
        ],
        [
            _instruction(
                "q-drink", "multiple_choice", "What did you drink?", answer_limit=1, options=DRINKS
            ),
            _instruction(
                "q-food", "multiple_choice", "What did you eat?", answer_limit=-1, options=FOODS
            ),
            _instruction(
                "q-mood",
                "multiple_choice_with_free_text",
                "How was it, and why?",
                answer_limit=1,
                options=[
                    {"label": "Good", "value": 1, "heading": "Tell us more"},
                    {"label": "Bad", "value": -1, "heading": "What went wrong?"},
                ],
            ),
            _instruction(
                "q-weight",
                "free_text_with_unit",
                "How much did you eat?",
                unit_options=[
                    {"label": "Grams", "value": "g", "validation": {"type": "number", "min": 0}},
                    {"label": "Ounces", "value": "oz", "validation": {"type": "number", "min": 0}},
                ],
                default_unit="g",
                unit_position="suffix",
            ),
        ],
        [
            _instruction(
                "q-photo",
                "file_upload",
                "Show us your table.",
                accepted_file_types=["image/png"],
                max_file_size_mb=25,
                min_file_count=0,
                max_file_count=2,
            ),
            _instruction("q-stars", "star_rating", "How many stars?", max_stars=5),
            _instruction("q-signature", "drawing", "Sign here."),  # a type that nobody knows
        ],
    ]
    layout = [_page(items, number) for number, items in enumerate(pages)]
    questions = [item for page in layout for item in page["page_items"] if "description" in item]
    hosted = Hosted(
        kind="collections",
        id=id_,
        workspace_id=workspace_id,
        metadata={
            "name": "Breakfast diary",
            "workspace_id": workspace_id,
            "status": "READY",
            "schema_version": 3,
            "created_at": "2026-11-10T09:00:00Z",
            "created_by": "5f00000000000000000000aa",
            "task_details": {"task_name": "Your breakfast", "task_introduction": "Tell us."},
        },
        layout=layout,
        instructions=questions,
    )
    for number in range(participants):
        submission = breakfast(number)
        hosted.submissions[submission.line["submission_id"]] = submission
    return hosted


def breakfast(number: int) -> Submission:
    """Return a participant's submission."""
    submission_id = f"6651{number:020x}"
    foods = ["nothing"] if number % 7 == 0 else [f["value"] for f in FOODS[: 1 + number % 3]]
    grams = 40 + 12.5 * number
    answers = {
        "q-name": Given({"value": WORDS[number % len(WORDS)]}, WORDS[number % len(WORDS)]),
        "q-minutes": Given({"value": f"{5 + number}"}, 5 + number),
        "q-drink": Given({"value": DRINKS[number % 3]["value"]}, DRINKS[number % 3]["value"]),
        "q-food": Given({"value": foods}, foods),
        "q-mood": Given(
            {"value": [{"value": 1 - 2 * (number % 2), "explanation": f"Because of {number}."}]},
            [{"value": 1 - 2 * (number % 2), "explanation": f"Because of {number}."}],
        ),
        "q-weight": Given({"value": str(grams), "unit": "g"}, {"value": grams, "unit": "g"}),
        "q-stars": Given({"value": 1 + number % 5}, 1 + number % 5),
        "q-signature": Given({"strokes": [[number, 0.5]]}, f'{{"strokes":[[{number},0.5]]}}'),
    }
    uploads = {}
    if number % 4 == 0:
        name = f"{submission_id}_table {number}.png"
        uploads[name] = png(number)
        path = f"files/{name}"
        file = {"path": path, "file_name": f"table {number}.png", "content_type": "image/png"}
        size = len(uploads[name])
        answers["q-photo"] = Given({"value": file}, [{**file, "size_bytes": size}])
    submitted_at = BEGIN + timedelta(hours=number)
    line = {
        "submission_id": submission_id,
        "participant_id": f"5f9d{number:020x}",
        "study_id": STUDY,
        "submitted_at": submitted_at.isoformat().replace("+00:00", "Z"),
        "responses": {id_: given.entry for id_, given in answers.items()},
    }
    expected = {id_: given.expected for id_, given in answers.items()}
    return Submission(line, submitted_at, STUDY, uploads, {None: expected})


def caption_check(annotators: int) -> Hosted:
    """Return a batch in which every annotator sees every datapoint."""
    questions = [
        _instruction(
            "b-fits",
            "multiple_choice",
            "Does the caption fit the picture?",
            answer_limit=1,
            options=[{"label": "Yes", "value": True}, {"label": "No", "value": False}],
            order=0,
        ),
        _instruction(
            "b-wrong",
            "multiple_choice",
            "What is wrong with it?",
            answer_limit=-1,
            options=[{"label": "Too short", "value": 1}, {"label": "Too vague", "value": 2}],
            order=1,
        ),
        _instruction("b-better", "free_text", "Write a better one.", order=2),
    ]
    fields = {"id": "field", "type": "dataset_field", "field": "caption", "order": 0}
    row = {"columns": [{"items": [fields]}, {"items": questions}]}
    hosted = Hosted(
        kind="batches",
        id=CAPTIONS,
        workspace_id=WORKSPACE,
        metadata={
            "name": "Caption check",
            "workspace_id": WORKSPACE,
            "status": "READY",
            "schema_version": 3,
            "created_at": "2026-11-11T09:00:00Z",
            "datasets": [{"id": "8d0c", "total_datapoint_count": len(CAPTION_TEXTS)}],
        },
        layout=[{"id": "page-1", "order": 0, "rows": [row]}],
        instructions=questions,
    )
    for number in range(annotators):
        submission = annotation(number)
        hosted.submissions[submission.line["submission_id"]] = submission
    return hosted


def annotation(number: int) -> Submission:
    """Return an annotator's submission: every caption is a task."""
    tasks = []
    expected: dict[str | None, dict[str, Any]] = {}
    for place, caption in enumerate(CAPTION_TEXTS):
        fits = (number + place) % 3 != 0
        answers = {"b-fits": Given({"value": fits}, fits)}
        if not fits:
            wrong = [1, 2] if number % 2 else [2]
            answers["b-wrong"] = Given({"answer": [{"value": w} for w in wrong]}, wrong)
            answers["b-better"] = Given({"value": f"{caption}!"}, f"{caption}!")
        task_id = f"task-{place}"
        expected[task_id] = {id_: given.expected for id_, given in answers.items()}
        tasks.append(
            {
                "task_id": task_id,
                "datapoint": {"caption": caption, "image": f"https://example.com/{place}.jpg"},
                "responses": {id_: given.entry for id_, given in answers.items()},
            }
        )
    submitted_at = BEGIN + timedelta(hours=number, minutes=5)
    line = {
        "submission_id": f"6652{number:020x}",
        "participant_id": f"5f9e{number:020x}",
        "study_id": STUDY,
        "completed_at": submitted_at.isoformat(),
        "tasks": tasks,
    }
    return Submission(line, submitted_at, STUDY, expected=expected)


def png(number: int) -> bytes:
    """Return a real picture of one colour, different for every number."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    pixel = bytes([number % 256, 80, 120])
    rows = b"".join(b"\x00" + pixel * 16 for _ in range(16))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def add_question(hosted: Hosted, description: str = "And today?") -> str:
    """Add a question to a collection; return its id."""
    question = {"id": "q-new", "type": "free_text", "description": description, "order": 9}
    hosted.instructions.append(question)
    hosted.layout[-1]["page_items"].append(question)
    return "q-new"


def add(world: World, hosted: Hosted, number: int, at: datetime, *, active: bool = True) -> str:
    """Add a submission that was done at a time; return its id."""
    made = breakfast(number) if hosted.kind == "collections" else annotation(number)
    field = "submitted_at" if "submitted_at" in made.line else "completed_at"
    made.submitted_at = at
    made.line[field] = at.isoformat()
    made.active_at = None if active else at + timedelta(days=365)
    world.submit(hosted, made)
    submission_id: str = made.line["submission_id"]
    return submission_id

"""Imports point one way: no module imports from a package above its own."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from tests.support.repository import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = "tap_prolific_export"
FLOORS = (
    {"signals", "model", "times", "errors"},
    {"settings", "validation", "redaction", "http"},
    {"archive", "prolific"},
    {"rows"},
    {"uploads"},
    {"snapshots"},
    {"singer"},
    {"tap"},
)
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def test_no_import_points_upwards_and_the_sdk_is_known_at_the_top_alone() -> None:
    root = ROOT / PACKAGE
    wrong = []
    for path in root.rglob("*.py"):
        room = path.relative_to(root).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top, _, rest = name.partition(".")
                other = rest.partition(".")[0]
                if top == "singer_sdk" and room not in {"singer", "tap"}:
                    wrong.append(f"{room} imports {name}")
                if top == PACKAGE and room not in {other, "__init__"}:
                    same_floor_of_packages = LEVEL[room] == LEVEL[other] == 2
                    if LEVEL[other] > LEVEL[room] or same_floor_of_packages:
                        wrong.append(f"{room} imports {name}")
    assert wrong == []


def test_the_stand_in_knows_nothing_of_the_tap_but_the_contract() -> None:
    contract = ROOT / PACKAGE / "prolific" / "contract.py"
    stand_in = (ROOT / "tests" / "support" / "stand_in").glob("*.py")
    assert _imports_of_the_tap(*stand_in) == {f"{PACKAGE}.prolific.contract"}
    # Nor does it by way of the contract.
    assert _imports_of_the_tap(contract) == {f"{PACKAGE}.model"}
    assert _imports_of_the_tap(ROOT / PACKAGE / "model.py") == set()


def _imports_of_the_tap(*paths: Path) -> set[str]:
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {each.name for each in node.names}
            elif isinstance(node, ast.ImportFrom):
                # A name may be a module: `from tap_prolific_export.prolific import contract`.
                modules = [f"{node.module}.{each.name}" for each in node.names]
                found |= {each if _is_module(each) else str(node.module) for each in modules}
    return {name for name in found if name.partition(".")[0] == PACKAGE}


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def test_every_module_is_on_a_floor_and_small() -> None:
    root = ROOT / PACKAGE
    rooms = {path.name.removesuffix(".py") for path in root.iterdir()}
    assert rooms - {"__init__", "__pycache__", "py.typed"} == {*LEVEL} & rooms
    assert len([*root.glob("*.py")]) <= 12
    sizes = {path: path.read_text().count("\n") for path in root.rglob("*.py")}
    assert {path.name: size for path, size in sizes.items() if size > 450} == {}


def test_no_test_file_imports_from_another() -> None:
    wrong = [
        (path.name, node.module)
        for path in (ROOT / "tests").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith(("tests.unit", "tests.end_to_end"))
    ]
    assert wrong == []

"""What a release is made of: it builds, and installs alone on the oldest and the newest Python."""

from __future__ import annotations

import os
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path

import pytest

from tap_prolific_export.settings import SETTINGS
from tests.support.processes import output, run
from tests.support.repository import (
    GIT,
    ROOT,
    clean_environment,
    copy_of_the_tree,
    git,
    tracked,
)
from tests.support.snippets import snippet

PACKAGE = "tap_prolific_export"
CLEAN = clean_environment()
TAG = "v9.9.9"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        GIT is None or not (ROOT / ".git").exists(),
        reason="needs git and the repository: versions come from its tags",
    ),
]


def committed(tree: Path, tag: str | None = None) -> Path:
    git(tree, "init", "--quiet")
    git(tree, "add", "--all", "--force")
    git(tree, "commit", "--quiet", "--message=A release")
    if tag:
        git(tree, "tag", tag)
    return tree


@dataclass(frozen=True)
class Built:
    """What ``python -m build`` has made."""

    sdist: Path
    wheel: Path

    @property
    def version(self) -> str:
        return self.wheel.name.split("-")[1]


def built(tree: Path) -> Built:
    output(sys.executable, "-m", "build", cwd=tree, env=CLEAN)
    sdist, wheel = sorted((tree / "dist").iterdir(), key=lambda path: path.suffix != ".gz")
    return Built(sdist, wheel)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where pip reaches no index: what builds a package comes from there."""
    place = tmp_path_factory.mktemp("index")
    options = ("--no-deps", "--no-cache-dir", "--retries=1", "--timeout=10", "--dest=.")
    done = run(sys.executable, "-m", "pip", "download", *options, "hatchling", cwd=place, env=CLEAN)
    if done.returncode:
        pytest.skip("pip reaches no package index, from which what builds a package comes")


@pytest.fixture(scope="module")
def release(index: None, tmp_path_factory: pytest.TempPathFactory) -> Built:  # noqa: ARG001
    """What a tag on this tree would release."""
    return built(committed(copy_of_the_tree(tmp_path_factory.mktemp("tagged")), TAG))


def test_a_tag_is_the_version(release: Built) -> None:
    assert release.version == TAG.removeprefix("v")
    assert release.sdist.name == f"{PACKAGE}-{release.version}.tar.gz"
    assert release.wheel.name == f"{PACKAGE}-{release.version}-py3-none-any.whl"


@pytest.mark.usefixtures("index")
def test_a_tree_without_a_tag_is_a_version_before_the_first(tmp_path: Path) -> None:
    version = built(committed(copy_of_the_tree(tmp_path))).version
    assert version.startswith("0.")
    assert ".dev" in version


@pytest.mark.usefixtures("index")
def test_a_tree_without_its_history_builds_too(tmp_path: Path) -> None:
    assert built(copy_of_the_tree(tmp_path)).version == "0.0.0"


@pytest.mark.usefixtures("index")
def test_a_release_is_built_and_checked_by_hand_as_it_is_shown(tmp_path: Path) -> None:
    tree = committed(copy_of_the_tree(tmp_path), TAG)
    (tree / ".venv").symlink_to(Path(sys.executable).parent.parent)
    script = snippet("docs/development.md", "build")
    assert output("bash", "-euc", script, cwd=tree, env=CLEAN).count("PASSED") == 2


def test_what_is_built_may_be_uploaded(release: Built, tmp_path: Path) -> None:
    check = (sys.executable, "-m", "twine", "check", "--strict", release.sdist, release.wheel)
    assert output(*check, cwd=tmp_path, env=CLEAN).count("PASSED") == 2


def test_the_wheel_holds_the_package_and_nothing_else(release: Built) -> None:
    about = f"{PACKAGE}-{release.version}.dist-info"
    written = ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    modules = [name for name in tracked() if name.startswith(f"{PACKAGE}/")]
    assert f"{PACKAGE}/py.typed" in modules
    with zipfile.ZipFile(release.wheel) as wheel:
        assert sorted(wheel.namelist()) == sorted([*modules, *(f"{about}/{n}" for n in written)])
        licence = wheel.read(f"{about}/licenses/LICENSE")
        entry_points = wheel.read(f"{about}/entry_points.txt").decode()
    assert licence == (ROOT / "LICENSE").read_bytes()
    assert entry_points.split("\n") == [
        "[console_scripts]",
        f"tap-prolific-export = {PACKAGE}.tap:TapProlificExport.cli",
        "",
    ]


def test_the_source_archive_holds_the_repository_and_nothing_else(release: Built) -> None:
    with tarfile.open(release.sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert held == {*tracked(), "PKG-INFO"}


def pythons() -> list[Path]:
    """Return the supported Pythons of this machine, one of each version, oldest first."""
    classifiers = metadata(PACKAGE).get_all("Classifier", [])
    supported = {each.rpartition(" ")[2] for each in classifiers if "Python :: 3." in each}
    names = ["python3", *(f"python{version}" for version in sorted(supported))]
    found = [Path(sys.executable)]
    found += [Path(place) / name for place in os.get_exec_path() for name in names]
    found += sorted(Path.home().glob(".pyenv/versions/*/bin/python3"))
    by_version: dict[tuple[int, ...], Path] = {}
    for python in found:
        version = version_of(python) if os.access(python, os.X_OK) else ""
        if version in supported:
            by_version.setdefault(tuple(map(int, version.split("."))), python)
    return [python for _, python in sorted(by_version.items())]


def version_of(python: Path) -> str:
    """Return an interpreter's version, or nothing if it cannot make an environment."""
    program = "import ensurepip, sys, venv; print('{}.{}'.format(*sys.version_info))"
    return run(python, "-c", program, cwd=ROOT, env=CLEAN).stdout.strip()


@pytest.mark.parametrize("which", ["oldest", "newest"])
def test_the_wheel_installs_alone_and_runs_from_anywhere(
    which: str, release: Built, tmp_path: Path
) -> None:
    found = pythons()
    if which == "newest" and len(found) == 1:
        pytest.skip(f"there is one Python only, {found[0]}, and it is the oldest, too")
    output(found[0 if which == "oldest" else -1], "-m", "venv", "venv", cwd=tmp_path, env=CLEAN)
    installed = tmp_path / "venv" / "bin"
    # Without constraints.txt, as users install it.
    output(installed / "python", "-m", "pip", "install", release.wheel, cwd=tmp_path, env=CLEAN)
    elsewhere, home = tmp_path / "elsewhere", tmp_path / "home"
    elsewhere.mkdir()
    home.mkdir()
    tap = installed / "tap-prolific-export"
    bare = {"HOME": str(home), "PATH": os.defpath}
    assert f"v{release.version}," in output(tap, "--version", cwd=elsewhere, env=bare)
    about = output(tap, "--about", cwd=elsewhere, env=bare)
    assert f"Version: {release.version}" in about
    assert all(setting.name in about for setting in SETTINGS)
    assert [*elsewhere.iterdir(), *home.iterdir()] == []

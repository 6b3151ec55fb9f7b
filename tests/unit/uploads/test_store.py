"""Keys that any file system takes, and stores that hold a file whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import stat
import unicodedata
import zlib
from collections import Counter
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tap_prolific_export.archive.export_archive import UPLOADS, Upload
from tap_prolific_export.errors import ConfigError, MemberError, StoreError, TapError, TryAgainError
from tap_prolific_export.uploads.names import collision_key, store_keys
from tap_prolific_export.uploads.store import DirectoryStore, Stored, ensure_stored, open_store
from tests.support.stores import SAID, posix, sha256, tree, unprivileged

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_prolific_export.uploads.store import Store

ID = "6650d1a2b3c4d5e6f7081920"
KEYS = (f"{ID}/{SAID}.png", f"{ID}/{SAID}-2.png")
CONTENT = b"0123456789" * 9
OTHERS = {"of the same size": CONTENT[::-1], "of another size": CONTENT + b"!", "empty": b""}


def upload(content: bytes) -> Upload:
    return Upload(len(content), zlib.crc32(content), None)


# Keys

ODD = [
    "",
    " ",
    ".",
    "..",
    "...",
    "a.",
    "a ",
    " a",
    ".hidden",
    "-rf",
    "~",
    "$HOME",
    "%2e%2e",
    "*.png",
]
ODD += [
    "C:",
    "C:\\x",
    "\\\\host\\x",
    "a\\..\\b",
    "a:b",
    "x\0y",
    "a\nb",
    "\x1b[2J",
    "\ud800",
    "\udcff.x",
]
ODD += [
    "CON",
    "con.txt",
    "Lpt1",
    "nul.",
    "IMG.JPG",
    "img.jpg",
    "Img.jpg",
    "x.tar.gz",
    ".png",
    "x.p!g",
]
ODD += ["x" * 181, "é" * 150, "x" * 1000, "é" * 300, f"{'x' * 400}.jpg", f"a.{'x' * 300}"]
# Letters that are the same to some file systems: composed or not, in capitals, as ligatures.
ODD += [
    "é",
    "e\u0301",
    "É",
    "ß",
    "SS",
    "\ufb01",
    "fi",
    "İ",
    "\u0131",
    "\u212a",
    "k",
    "\u017f",
    "朝",
]
SEGMENTS = st.sampled_from(ODD) | st.text(st.characters(), max_size=12)
NAMES = st.lists(SEGMENTS, min_size=1, max_size=3).map("/".join)
UPLOAD = Upload(90, 0x1234ABCD, None)


def takes(key: str) -> bool:
    """Whether any file system takes a key."""
    segments = key.split("/")
    return len(segments) > 1 and all(
        segment[:1] not in {"", *".-~ "}
        and segment[-1] not in ". "
        and segment.isprintable()
        and not {*segment} & {*'\\:*?"<>|[]#%'}
        and unicodedata.is_normalized("NFC", segment)
        and len(segment.encode()) <= 255
        for segment in segments
    )


def check_keys(id_: str, name: str, *, is_alike: bool) -> None:
    root = Path.cwd().resolve()
    keys = store_keys(id_, UPLOADS + name, UPLOAD, collides=is_alike)
    assert keys == store_keys(id_, UPLOADS + name, UPLOAD, collides=is_alike)
    for key in keys:
        assert takes(key)
        assert (root / key).resolve().is_relative_to(root)
        assert PureWindowsPath("C:/store", key).is_relative_to("C:/store")
    assert keys[0] != keys[1]
    assert Path(keys[0]).parent == Path(keys[1]).parent


@given(id_=NAMES, name=NAMES, is_alike=st.booleans())
def test_a_key_is_one_that_any_file_system_takes_and_stays_below_its_root(
    id_: str,
    name: str,
    is_alike: bool,  # noqa: FBT001
) -> None:
    check_keys(id_, name, is_alike=is_alike)


@pytest.mark.parametrize("is_alike", [False, True])
def test_so_it_is_of_the_oddest_names(is_alike: bool) -> None:  # noqa: FBT001
    for odd, even in zip(ODD, reversed(ODD), strict=True):
        for name in (odd, f"{odd}/{even}", f"x/{odd}", f"{odd}/x"):
            check_keys(even, name, is_alike=is_alike)
            check_keys(name, odd, is_alike=is_alike)


def first_keys(names: list[str]) -> list[str]:
    """Return the keys of all uploads of an archive, as a transfer has them."""
    paths = [UPLOADS + name for name in names]
    times = Counter(map(collision_key, paths))
    return [
        store_keys(ID, path, UPLOAD, collides=times[collision_key(path)] > 1)[0] for path in paths
    ]


def variants(name: str) -> st.SearchStrategy[str]:
    forms = [unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC")]
    return st.sampled_from([form for n in forms for form in (n, n.upper(), n.lower(), n.title())])


@given(st.lists(NAMES.flatmap(variants), unique=True, max_size=12))
@example(["IMG.JPG", "img.jpg", "Img.jpg"])
@example(["é.png", "e\u0301.png", "É.png"])
@example(["a/b", "a_b", "a?b", "a*b"])
@example(["straße", "STRASSE"])
def test_no_two_uploads_of_an_archive_have_one_key(names: list[str]) -> None:
    keys = [unicodedata.normalize("NFC", key.casefold()) for key in first_keys(names)]
    assert len({*keys}) == len(names)


@pytest.mark.parametrize("name", ["a?.png", "a?", "con", "x" * 200, "a/b.tar.gz", "\ud800"])
@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(str, id="same"),
        pytest.param(str.upper, id="upper"),
        pytest.param(str.title, id="title"),
    ],
)
def test_not_even_if_one_is_called_what_another_is_stored_as(
    name: str, alter: Callable[[str], str]
) -> None:
    for key in store_keys(ID, UPLOADS + name, UPLOAD, collides=False):
        keys = first_keys([name, alter(key.removeprefix(f"{ID}/"))])
        assert keys[0].lower() != keys[1].lower()
        assert key.lower() != keys[1].lower()


@pytest.mark.parametrize("id_", [ID, "0f8c1c1e-5a53-4b5b-8d50-6a7c3c1f9b10", "a_B-1"])
@pytest.mark.parametrize(
    "name",
    ["65f0_IMG 1234 (1).JPG", "é.png", "朝.png", "a", "_x", "x,y+z=1@2", "x" * 180],
)
def test_an_ordinary_name_stays_as_it_is(id_: str, name: str) -> None:
    assert store_keys(id_, UPLOADS + name, UPLOAD, collides=False)[0] == f"{id_}/{name}"


@given(
    st.from_regex(r"[0-9a-f]{4}_[A-Za-z0-9éß][A-Za-z0-9 ._()é-]{0,40}[A-Za-z0-9)é]", fullmatch=True)
)
def test_so_does_any_that_is_made_of_a_submission_and_what_cameras_write(name: str) -> None:
    assert store_keys(ID, UPLOADS + name, UPLOAD, collides=False)[0] == f"{ID}/{name}"


@pytest.mark.parametrize(
    ("name", "is_alike", "first", "second"),
    [
        ("x.png", False, "x.png", "x{crc}.png"),
        ("x.png", True, "x{sha}.png", "x{sha}{crc}.png"),
        ("x y.tar.gz", False, "x y.tar.gz", "x y.tar{crc}.gz"),
        ("x", False, "x", "x{crc}"),
        ("a/b.png", False, "a_b{sha}.png", "a_b{sha}{crc}.png"),
        ("a/..?.jpg", False, "a_.._{sha}.jpg", "a_.._{sha}{crc}.jpg"),
        ("../../etc/passwd", False, "_.._etc_passwd{sha}", "_.._etc_passwd{sha}{crc}"),
        ("Tür?.png", False, "Tur_{sha}.png", "Tur_{sha}{crc}.png"),
        ("朝:.png", False, "_{sha}.png", "_{sha}{crc}.png"),
        ("\ud800", False, "file{sha}", "file{sha}{crc}"),
    ],
)
def test_a_name_that_does_not_gets_a_digest_of_its_path_and_one_that_is_taken_a_checksum(
    name: str,
    is_alike: bool,  # noqa: FBT001
    first: str,
    second: str,
) -> None:
    path = UPLOADS + name
    digest = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    tags = {"sha": f"-sha256-{digest}", "crc": "-crc32-1234abcd"}
    expected = tuple(f"{ID}/{key.format(**tags)}" for key in (first, second))
    assert store_keys(ID, path, UPLOAD, collides=is_alike) == expected


@pytest.mark.parametrize(
    ("id_", "folder"), [("a?", "a_"), ("../x", "_x"), ("..", "file"), ("", "file"), ("é/", "e_")]
)
def test_an_id_that_does_not_stay_gets_a_digest_of_itself(id_: str, folder: str) -> None:
    digest = hashlib.sha256(id_.encode()).hexdigest()[:16]
    for key in store_keys(id_, f"{UPLOADS}x", UPLOAD, collides=False):
        assert key.partition("/")[0] == f"{folder}-sha256-{digest}"


@pytest.mark.parametrize(
    "name",
    [
        "CON",
        "con.txt",
        "Aux.tar.gz",
        "nul",
        "PRN.png",
        "COM1",
        "lpt9.jpg",
        "COM¹.txt",
        "con  .txt",
        "nul.a.txt",
        "con.b.",
        "com1.c.d",
    ],
)
def test_a_device_of_windows_is_no_name(name: str) -> None:
    device = re.compile(r"(CON|PRN|AUX|NUL|(COM|LPT)[0-9¹²³]) *", re.IGNORECASE)
    for keys in (
        store_keys(ID, UPLOADS + name, UPLOAD, collides=False),
        store_keys(name, f"{UPLOADS}x", UPLOAD, collides=False),
    ):
        for segment in "/".join(keys).split("/"):
            assert not device.fullmatch(segment.partition(".")[0])


# Stores


class Place:
    """Somewhere to store files.

    Args:
        uri: What it is called.
        root: Where its files are seen; None: in fsspec's memory.
    """

    def __init__(self, uri: str, root: Path | None) -> None:
        self.uri = uri
        self.root = root
        self.store = open_store(uri)

    def files(self) -> dict[str, bytes]:
        if self.root:
            return tree(self.root)
        from fsspec.implementations.memory import (  # type: ignore[import-untyped]  # noqa: PLC0415
            MemoryFileSystem,
        )

        begin = f"/{self.uri.partition('://')[2]}/"
        held = MemoryFileSystem.store.items()
        return {k.removeprefix(begin): v.getvalue() for k, v in held if k.startswith(begin)}


@pytest.fixture(params=["file", "local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A directory of ours, and of fsspec's; and what is none at all."""
    if request.param == "memory":
        return Place(f"memory://{secrets.token_hex(8)}/uploads", None)
    root = tmp_path / "uploads"
    return Place(f"{request.param}://{root}", root)


@pytest.fixture
def store(place: Place) -> Store:
    place.store.check()
    return place.store


@pytest.fixture
def directory(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "uploads")


def chunks(content: bytes, size: int = 25) -> Iterator[bytes]:
    for begin in range(0, len(content), size):
        yield content[begin : begin + size]


def write(store: Store, content: bytes, key: str = KEYS[0]) -> str:
    return store.write(key, chunks(content), upload(content))


def test_a_check_leaves_nothing_behind(place: Place) -> None:
    for _ in range(2):
        place.store.check()
        assert place.files() == {}


def test_a_file_is_stored_under_its_key_as_it_is(place: Place, store: Store) -> None:
    assert store.find(KEYS[0]) is None
    assert write(store, CONTENT) == sha256(CONTENT)
    assert place.files() == {KEYS[0]: CONTENT}
    found = store.find(KEYS[0])
    assert found
    assert (found.size, found.crc32, found.sha256) == (len(CONTENT), None, None)
    assert b"".join(store.read(KEYS[0])) == CONTENT


def test_an_empty_file_is_one_too(place: Place, store: Store) -> None:
    assert write(store, b"") == sha256(b"")
    assert place.files() == {KEYS[0]: b""}


def test_nothing_is_seen_of_a_file_before_all_of_it_is_there(place: Place, store: Store) -> None:
    seen: list[object] = []

    def watched() -> Iterator[bytes]:
        for chunk in chunks(CONTENT):
            seen.append(store.find(KEYS[0]))
            seen.extend(name for name in place.files() if not re.search(r"/\.\w+\.part$", name))
            yield chunk

    store.write(KEYS[0], watched(), upload(CONTENT))
    assert seen == [None] * 4
    assert place.files() == {KEYS[0]: CONTENT}


@pytest.mark.parametrize("came", [0, 2])
@pytest.mark.parametrize("error", [MemberError("x", "Damaged.", ""), KeyboardInterrupt()])
def test_of_one_that_breaks_off_nothing_is_left(
    came: int, error: BaseException, place: Place, store: Store
) -> None:
    def broken() -> Iterator[bytes]:
        for number, chunk in enumerate(chunks(CONTENT)):
            if number == came:
                raise error
            yield chunk

    with pytest.raises(type(error)) as raised:
        store.write(KEYS[0], broken(), upload(CONTENT))
    assert raised.value is error
    assert place.files() == {}
    assert write(store, CONTENT) == sha256(CONTENT)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        *((getattr(errno, name), StoreError) for name in ("EACCES", "EPERM", "EROFS", "ENOSPC")),
        *((getattr(errno, name), TryAgainError) for name in ("EIO", "ETIMEDOUT", "ESTALE")),
    ],
)
def test_what_goes_wrong_is_said_without_a_name_and_tried_again_if_it_may_pass(
    number: int, kind: type[TapError], place: Place, store: Store
) -> None:
    def refused() -> Iterator[bytes]:
        yield b"x"
        raise OSError(number, os.strerror(number), f"/uploads/{SAID}")

    with pytest.raises(kind, match=re.escape(f"({os.strerror(number)})")) as raised:
        store.write(KEYS[0], refused(), upload(CONTENT))
    assert SAID not in str(raised.value)
    assert place.files() == {}


def test_a_file_in_the_place_of_the_directory_is_a_mistake_in_the_settings(
    place: Place, tmp_path: Path
) -> None:
    if place.root is None:
        return  # memory has no directories
    place.root.write_bytes(b"x")
    for uri in (place.uri, f"{place.uri}/below"):
        with pytest.raises(ConfigError, match=r"^Configuration error: files_uri: cannot write to "):
            open_store(uri).check()
    assert tree(tmp_path) == {"uploads": b"x"}


class TestADirectory:
    """Of ours: file://."""

    def test_it_is_made(self, tmp_path: Path) -> None:
        DirectoryStore(tmp_path / "a" / "b").check()
        assert [*(tmp_path / "a" / "b").iterdir()] == []

    @pytest.mark.parametrize("begin", ["file://", "file://localhost"])
    def test_its_uri_is_quoted_and_so_are_those_of_its_files(
        self, begin: str, tmp_path: Path
    ) -> None:
        root = tmp_path / "a b%é#1"
        store = open_store(begin + root.as_uri().removeprefix("file://"))
        store.check()
        write(store, CONTENT, f"{ID}/é (1) 100.png")
        assert tree(root) == {f"{ID}/é (1) 100.png": CONTENT}
        uri = store.uri(f"{ID}/é (1) 100.png")
        assert uri == f"{tmp_path.as_uri()}/a%20b%25%C3%A9%231/{ID}/%C3%A9%20%281%29%20100.png"
        assert Path(url2pathname(urlsplit(uri).path)).read_bytes() == CONTENT

    def test_one_that_cannot_be_is_a_mistake_in_the_settings(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="files_uri"):
            open_store(f"{tmp_path.as_uri()}/%00x").check()

    @posix
    def test_whoever_may_read_a_file_is_for_the_umask_to_say(
        self, directory: DirectoryStore, tmp_path: Path
    ) -> None:
        before = os.umask(0o027)
        try:
            write(directory, CONTENT)
        finally:
            os.umask(before)
        path = tmp_path / "uploads" / KEYS[0]
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750

    @posix
    @pytest.mark.parametrize("name", ["", "below", "below/below"])
    def test_one_that_is_closed_to_us_is_a_mistake_in_the_settings(
        self, name: str, closed: Path
    ) -> None:
        with unprivileged(), pytest.raises(ConfigError) as raised:
            DirectoryStore(closed / name).check()
        [problem] = raised.value.problems
        assert problem == f"files_uri: cannot write to {closed / name} (Permission denied)."
        assert [*closed.iterdir()] == []

    @posix
    @pytest.mark.parametrize("mode", [0o555, 0o000], ids=["open", "closed"])
    def test_one_that_has_been_closed_refuses_for_good(self, mode: int, closed: Path) -> None:
        closed.chmod(mode)
        with unprivileged(), pytest.raises(StoreError, match="Permission denied") as raised:
            ensure_stored(DirectoryStore(closed), KEYS, upload(b"x"), lambda: chunks(b"x"))
        assert SAID not in str(raised.value)
        closed.chmod(0o700)
        assert tree(closed) == {}

    @posix
    def test_a_name_that_is_too_long_is_refused_for_good(self, directory: DirectoryStore) -> None:
        with pytest.raises(StoreError, match="name too long"):
            write(directory, CONTENT, f"{ID}/{SAID}{'x' * 300}")

    @pytest.mark.skipif(resource is None, reason="needs a limit on the size of files")
    def test_of_a_file_that_is_too_large_nothing_is_left(
        self, directory: DirectoryStore, tmp_path: Path
    ) -> None:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
        try:
            with pytest.raises((StoreError, TryAgainError), match="File too large") as raised:
                write(directory, CONTENT * 1000)
            assert write(directory, CONTENT) == sha256(CONTENT)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert SAID not in str(raised.value)
        assert tree(tmp_path) == {f"uploads/{KEYS[0]}": CONTENT}

    def test_what_is_abandoned_is_gone_and_does_not_come_back(
        self, directory: DirectoryStore, tmp_path: Path
    ) -> None:
        write(directory, CONTENT, KEYS[1])
        seen: list[int] = []

        def abandoned() -> Iterator[bytes]:
            yield b"x"
            seen.append(len(tree(tmp_path)))
            directory.abandon()
            seen.append(len(tree(tmp_path)))
            yield b"x"

        with suppress(TapError):
            directory.write(KEYS[0], abandoned(), upload(CONTENT))
        assert seen == [2, 1]
        assert tree(tmp_path) == {f"uploads/{KEYS[1]}": CONTENT}


# Keeping


class Content:
    """What a file holds; counts how often it is asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.upload = upload(content)
        self.asked = 0

    def __call__(self) -> Iterator[bytes]:
        self.asked += 1
        return chunks(self.content)

    def keep(self, store: Store) -> Stored:
        return ensure_stored(store, KEYS, self.upload, self)


@pytest.mark.parametrize("content", [CONTENT, b""])
def test_a_file_that_is_there_is_not_fetched_again(
    content: bytes, place: Place, store: Store
) -> None:
    for is_there in (False, True, True):
        wanted = Content(content)
        stored = wanted.keep(store)
        assert stored == Stored(store.uri(KEYS[0]), sha256(content), is_there)
        assert wanted.asked == (not is_there)
        assert place.files() == {KEYS[0]: content}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_name_that_another_content_has_gets_the_checksum(
    other: bytes, place: Place, store: Store
) -> None:
    write(store, other)
    for is_there in (False, True):
        wanted = Content(CONTENT)
        stored = wanted.keep(store)
        assert stored == Stored(store.uri(KEYS[1]), sha256(CONTENT), is_there)
        assert wanted.asked == (not is_there)
        assert place.files() == {KEYS[0]: other, KEYS[1]: CONTENT}


def test_of_another_size_it_is_not_even_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, other in zip(KEYS, (b"x", b"xx"), strict=True):
        write(store, other, key)
    asked: list[str] = []
    monkeypatch.setattr(store, "read", asked.append)
    with pytest.raises(StoreError):
        Content(CONTENT).keep(store)
    assert asked == []


def test_where_that_is_taken_too_nothing_is_overwritten(place: Place, store: Store) -> None:
    before = dict(zip(KEYS, OTHERS.values(), strict=False))
    for key, content in before.items():
        write(store, content, key)
    wanted = Content(CONTENT)
    with pytest.raises(StoreError) as raised:
        wanted.keep(store)
    assert SAID not in str(raised.value)
    assert wanted.asked == 0
    assert place.files() == before


@posix
def test_a_file_below_another_file_is_refused_for_good(directory: DirectoryStore) -> None:
    write(directory, CONTENT, f"{ID}/a")
    with pytest.raises(StoreError):
        ensure_stored(directory, (f"{ID}/a/b", f"{ID}/a/b-2"), upload(b"x"), lambda: chunks(b"x"))


# Backends


@pytest.mark.parametrize(
    ("uri", "package", "says"),
    [
        ("gs://bucket", "gcsfs", r"needs gcsfs: pip install 'tap-prolific-export\[gs\]'"),
        ("abfs://x@y/z", "adlfs", r"needs adlfs: pip install 'tap-prolific-export\[abfs\]'"),
        ("sftp://host/x", "paramiko", r"needs paramiko: pip .* 'tap-prolific-export\[sftp\]'"),
        ("gcs://bucket", "gcsfs", "needs a package that is not installed; see fsspec's"),
        ("ftp2://x", "ftp2", "has no backend in fsspec"),
    ],
)
def test_a_backend_that_is_missing_is_named(uri: str, package: str, says: str) -> None:
    if find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(ConfigError, match=f"files_uri: {uri.partition('/')[0]}// {says}"):
        open_store(uri)

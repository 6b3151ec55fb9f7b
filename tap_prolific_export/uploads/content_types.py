"""Content types of uploaded files by the extensions of their names; pure functions."""

from __future__ import annotations

import mimetypes

# What phones, browsers and office programs send and Python's own table lacks or, depending on its
# version, calls otherwise.
_BY_EXTENSION = {
    # Images
    "avif": "image/avif",
    "bmp": "image/bmp",
    "cr2": "image/x-canon-cr2",
    "dng": "image/x-adobe-dng",
    "jfif": "image/jpeg",
    "jxl": "image/jxl",
    "nef": "image/x-nikon-nef",
    "webp": "image/webp",
    # Video
    "3g2": "video/3gpp2",
    "3gp": "video/3gpp",
    "avi": "video/x-msvideo",
    "m4v": "video/x-m4v",
    "mkv": "video/x-matroska",
    "ogv": "video/ogg",
    "wmv": "video/x-ms-wmv",
    # Audio
    "amr": "audio/amr",
    "caf": "audio/x-caf",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "wav": "audio/x-wav",
    "weba": "audio/webm",
    "wma": "audio/x-ms-wma",
    # Documents
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "epub": "application/epub+zip",
    "key": "application/vnd.apple.keynote",
    "md": "text/markdown",
    "numbers": "application/vnd.apple.numbers",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "pages": "application/vnd.apple.pages",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "rtf": "application/rtf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    # Archives
    "7z": "application/x-7z-compressed",
    "gz": "application/gzip",
    "rar": "application/vnd.rar",
}
# For other extensions. This holds Python's own table; the module's functions would read files of
# the operating system, too, so that each machine would store other files.
_PYTHONS_OWN = mimetypes.MimeTypes().types_map[True]
# What browsers say of a file that they do not know.
UNKNOWN = frozenset({"", "application/octet-stream", "binary/octet-stream"})


def content_type_of(name: str) -> str | None:
    """Return the content type that a file's extension stands for; None if unknown."""
    stem, dot, extension = name.rpartition("/")[2].lower().rpartition(".")
    if not (stem and dot):
        return None
    return _BY_EXTENSION.get(extension) or _PYTHONS_OWN.get(f".{extension}")

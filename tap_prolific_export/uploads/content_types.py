"""Content types of uploaded files by the extensions of their names; pure functions."""

from __future__ import annotations

import mimetypes

# What phones, browsers and office programs send. Python's own table lacks many of these, depending
# on its version, and those of operating systems differ.
_BY_EXTENSION = {
    # Images
    "avif": "image/avif",
    "bmp": "image/bmp",
    "cr2": "image/x-canon-cr2",
    "dng": "image/x-adobe-dng",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "ico": "image/vnd.microsoft.icon",
    "jfif": "image/jpeg",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "jxl": "image/jxl",
    "nef": "image/x-nikon-nef",
    "png": "image/png",
    "svg": "image/svg+xml",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "webp": "image/webp",
    # Video
    "3g2": "video/3gpp2",
    "3gp": "video/3gpp",
    "avi": "video/x-msvideo",
    "m4v": "video/x-m4v",
    "mkv": "video/x-matroska",
    "mov": "video/quicktime",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "ogv": "video/ogg",
    "webm": "video/webm",
    "wmv": "video/x-ms-wmv",
    # Audio
    "aac": "audio/aac",
    "amr": "audio/amr",
    "caf": "audio/x-caf",
    "flac": "audio/flac",
    "m4a": "audio/mp4",
    "mp3": "audio/mpeg",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "opus": "audio/opus",
    "wav": "audio/x-wav",
    "weba": "audio/webm",
    "wma": "audio/x-ms-wma",
    # Documents
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "epub": "application/epub+zip",
    "html": "text/html",
    "json": "application/json",
    "key": "application/vnd.apple.keynote",
    "md": "text/markdown",
    "numbers": "application/vnd.apple.numbers",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "pages": "application/vnd.apple.pages",
    "pdf": "application/pdf",
    "ppt": "application/vnd.ms-powerpoint",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "rtf": "application/rtf",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "text/xml",
    # Archives
    "7z": "application/x-7z-compressed",
    "gz": "application/gzip",
    "rar": "application/vnd.rar",
    "zip": "application/zip",
}
# For other extensions. This holds Python's own table; the module's functions would read files of
# the operating system, too, so that each machine would store other files.
_PYTHONS_OWN = mimetypes.MimeTypes().types_map[True]
# What browsers say of a file that they do not know.
_UNKNOWN = frozenset({"", "application/octet-stream", "binary/octet-stream"})


def content_type_of(name: str) -> str | None:
    """Return the content type that a file's extension stands for; None if unknown."""
    stem, dot, extension = name.rpartition("/")[2].lower().rpartition(".")
    if not (stem and dot):
        return None
    return _BY_EXTENSION.get(extension) or _PYTHONS_OWN.get(f".{extension}")


def is_unknown(content_type: str) -> bool:
    """Whether a content type, in lower case and without parameters, says nothing of a file."""
    return content_type in _UNKNOWN

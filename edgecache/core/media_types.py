"""Media types. Rule of this module: the origin's type counts when it says something; a type that
a browser might run script from is told apart, in doubt as such."""

import re

# What S3 and uploaders write when they know nothing.
MEANINGLESS = frozenset({"application/octet-stream", "binary/octet-stream"})
DEFAULT = "application/octet-stream"

# An own table, as the standard library's reads the system's files: the same key has to get the
# same type on every machine. ".ts" is a video segment here, not TypeScript.
BY_EXTENSION = {
    "3g2": "video/3gpp2",
    "3gp": "video/3gpp",
    "aac": "audio/aac",
    "aif": "audio/aiff",
    "aiff": "audio/aiff",
    "apng": "image/apng",
    "avi": "video/x-msvideo",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "css": "text/css; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "exr": "image/x-exr",
    "flac": "audio/flac",
    "flv": "video/x-flv",
    "gif": "image/gif",
    "glb": "model/gltf-binary",
    "gltf": "model/gltf+json",
    "gz": "application/gzip",
    "heic": "image/heic",
    "heif": "image/heif",
    "htm": "text/html; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "ico": "image/vnd.microsoft.icon",
    "jfif": "image/jpeg",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "jxl": "image/jxl",
    "m2ts": "video/mp2t",
    "m3u8": "application/vnd.apple.mpegurl",
    "m4a": "audio/mp4",
    "m4s": "video/iso.segment",
    "m4v": "video/mp4",
    "md": "text/markdown; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "mkv": "video/matroska",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpd": "application/dash+xml",
    "mpeg": "video/mpeg",
    "mpg": "video/mpeg",
    "obj": "model/obj",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "srt": "application/x-subrip; charset=utf-8",
    "stl": "model/stl",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "ts": "video/mp2t",
    "ttf": "font/ttf",
    "txt": "text/plain; charset=utf-8",
    "usdz": "model/vnd.usdz+zip",
    "vtt": "text/vtt; charset=utf-8",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "webm": "video/webm",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml",
    "xml": "application/xml",
    "zip": "application/zip",
    "zst": "application/zstd",
}

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
# RFC 9110 §8.3.1; parameters are anything printable but a comma outside quotes, which would be
# two fields joined.
MEDIA_TYPE = re.compile(
    rf'(?P<essence>{_WORD}/{_WORD})[ \t]*+(?:;(?:[\t\x20\x21\x23-\x2b\x2d-\x7e]|"[^"]*+")*+)?'
)
# PDF is not among them: its scripts never reach the page's origin, and browsers refuse to open
# their viewer in a sandbox.
ACTIVE = frozenset(
    {
        "application/xml",
        "multipart/related",
        "multipart/x-mixed-replace",
        "message/rfc822",
        "text/html",
        "text/rdf",
        "text/xml",
        "text/xsl",
    }
)


def content_type(key: str, origin_type: str) -> str:
    """The origin's Content-Type, or one by the key's extension when that says nothing."""
    origin_type = origin_type.strip(" \t")
    found = essence(origin_type)
    if found and found not in MEANINGLESS:
        return origin_type
    _, dot, extension = key.rpartition("/")[2].rpartition(".")
    return BY_EXTENSION.get(extension.lower(), DEFAULT) if dot else DEFAULT


def is_active(content_type: str) -> bool:
    """Whether a browser would run script from it; what is no media type counts as active."""
    found = essence(content_type.strip(" \t"))
    return not found or found in ACTIVE or found.endswith("+xml")


def essence(content_type: str) -> str:
    """`type/subtype` in lower case, "" when `content_type` is malformed."""
    found = MEDIA_TYPE.fullmatch(content_type)
    return found["essence"].lower() if found else ""

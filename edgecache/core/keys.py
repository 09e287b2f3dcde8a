"""From a raw request target to the key of an object.

Rule of this module: the one place where a target is decoded, once and strictly, and every check
runs on what came out. We sign what this returns, so a spelling that an origin or a front end of
it might normalise into another key never gets past it.
"""

import re
from collections.abc import Collection, Sequence
from urllib.parse import unquote_to_bytes

from edgecache.core.errors import BadTarget

MAX_TARGET = 4096  # 1024 bytes of key, all of them escaped, and the longest form around them
MAX_KEY = 1024  # S3's limit
MAX_SEGMENT = 255  # a RunPod key is a file path, and this is NAME_MAX

WIRE = re.compile(r"[!-~]*")
BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
BAD_CHARACTERS = (
    (re.compile("[\x00-\x1f\x7f-\x9f]"), "the key has a control character"),
    (re.compile("[\u2028\u2029]"), "the key has a line separator"),
    (re.compile("[\ud800-\udfff]"), "the key is not UTF-8"),
    (re.compile(r"\\"), "the key has a backslash"),
)
BAD_SEGMENTS = {
    "": "the key has an empty segment",
    ".": "the key has a '.' segment",
    "..": "the key has a '..' segment",
    ".s3compat_uploads": "the key is in the folder of unfinished uploads",  # RunPod's, hidden there
}

APP_MEDIA = ("media", "images", "videos")
MOUNTS = ("/runpod-volume/", "runpod-volume/", "/workspace/", "workspace/")


def resolve(raw_path: str, buckets: Collection[str]) -> tuple[str | None, str]:
    """The (bucket, key) that a request target names; bucket is None unless it is path-style.

    `/<key>`, `/<bucket>/<key>` for one of `buckets`, and `/api/{media,images,videos}/s3/<key>`. The
    form is read off the raw segments (RFC 3986 §2.4), so `/` and the key with every "/" escaped
    names any key exactly, also one that starts like another form.

    Only the /api forms strip where the volume was mounted: they stand in for an app that stores
    such paths. The other two are exact, since `workspace/` is a folder like any other in a bucket,
    and what an S3 client asks for must be what it gets.

    :raises BadTarget: saying what is wrong, without repeating any of it.
    """
    segments = [_decode(segment) for segment in _path(raw_path)[1:].split("/")]
    match segments:
        case ["api", media, "s3", *rest] if media in APP_MEDIA:
            return None, checked(_without_mount("/".join(rest)))
        case [bucket, _, *_] if bucket in buckets:
            return bucket, checked("/".join(segments[1:]))
        case _:
            return None, checked("/".join(segments))


def _path(target: str) -> str:
    """The path of an origin-form target, as it was on the wire."""
    if not target.startswith("/"):
        raise BadTarget("the target does not start with '/'")
    if "#" in target:
        raise BadTarget("the target has a '#': write it as %23")
    path = target.partition("?")[0]
    if len(path) > MAX_TARGET:
        raise BadTarget(f"the path is longer than {MAX_TARGET} bytes")
    if WIRE.fullmatch(path) is None:
        raise BadTarget("the path holds bytes that must be percent-encoded")
    return path


def _decode(segment: str) -> str:
    if "%" not in segment:
        return segment
    if BAD_ESCAPE.search(segment):
        raise BadTarget("the path has a '%' without two hex digits")
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise BadTarget("the path is not UTF-8") from None


def _without_mount(path: str) -> str:
    for mount in MOUNTS:
        if path.startswith(mount):
            return path.removeprefix(mount)
    return path


def checked(key: str) -> str:
    """`key`, when it may be asked of an origin.

    :raises BadTarget: when it may not.
    """
    if not key:
        raise BadTarget("the key is empty")
    for character, problem in BAD_CHARACTERS:
        if character.search(key):
            raise BadTarget(problem)
    if key.endswith("/"):
        raise BadTarget("the key ends with '/': it names a directory")
    if len(key.encode()) > MAX_KEY:
        raise BadTarget(f"the key is longer than {MAX_KEY} bytes")
    for segment in key.split("/"):
        if segment in BAD_SEGMENTS:
            raise BadTarget(BAD_SEGMENTS[segment])
        if len(segment.encode()) > MAX_SEGMENT:
            raise BadTarget(f"a segment of the key is longer than {MAX_SEGMENT} bytes")
    return key


def checked_prefix(prefix: str) -> str:
    """`prefix`, when keys could begin so.

    :raises BadTarget: when none could.
    """
    if not prefix:
        raise BadTarget("the prefix is empty: that would be everything")
    if prefix.startswith("/"):
        raise BadTarget("keys do not begin with '/', so nothing is under that prefix")
    for character, problem in BAD_CHARACTERS:
        if character.search(prefix):
            raise BadTarget(problem)
    if len(prefix.encode()) > MAX_KEY:
        raise BadTarget(f"the prefix is longer than a key: {MAX_KEY} bytes")
    return prefix


def is_public(key: str, prefixes: Sequence[str]) -> bool:
    """Whether `key` is served without a signature: "" as a prefix is everything, none is nothing.

    A prefix is text, as S3's are: "outputs" also covers "outputs-old/a.png", "outputs/" does not.
    """
    return key.startswith(tuple(prefixes))

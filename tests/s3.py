"""What the origin answers, as a function of the request, the object and the quirks.

Rule of this module: no I/O and no state. Without quirks it is what S3 and RFC 9110 say.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate, mktime_tz, parsedate_tz
from urllib.parse import quote, unquote_to_bytes
from xml.sax.saxutils import escape

from tests.faults import Answer, error_answer
from tests.pattern import Bytes, ByteSource

CACHEABLE = re.compile(  # Cloudflare's default list, shortened to what media and models are
    r".*\.(avif|bin|csv|flac|gif|gz|jpe?g|js|mkv|mov|mp3|mp4|ogg|pdf|png|svg|tar|webm|webp|zip|zst)",
    re.IGNORECASE | re.DOTALL,
)
CLOUDFLARE_FIELDS = {
    "Server": "cloudflare",
    "CF-RAY": "8f1d2c3b4a59e0d1-AMS",
    "cf-cache-status": "DYNAMIC",
    "Set-Cookie": "__cf_bm=secret; path=/; HttpOnly",
    "x-amz-request-id": "4442587FB7D0A2F9",
    "x-amz-id-2": "aWQy",
    "Report-To": '{"group":"cf-nel"}',
    "NEL": '{"report_to":"cf-nel"}',
    "alt-svc": 'h3=":443"; ma=86400',
}


@dataclass(slots=True, kw_only=True)
class Quirks:
    """How the store is. All off but `refuse_signed`; `only` is the key prefix they hold for."""

    only: str = ""
    head_forbidden: bool = False  # HEAD of what Cloudflare would cache is 403
    utc_dates: bool = False
    weak_etags: bool = False
    no_etag: bool = False
    no_last_modified: bool = False
    ignore_conditionals: bool = False
    ignore_range: bool = False  # 200 with everything
    missing_as_400: bool = False
    cloudflare_fields: bool = False
    lists: bool = False  # else there is no ListObjectsV2
    undecoded: str = ""  # characters whose %XX the gateway takes literally
    refuse_signed: tuple[str, ...] = ("accept-encoding", "range", "user-agent")
    latency: float = 0.0  # seconds before the head
    bandwidth: int = 0  # body bytes a second, of each answer; 0: no limit

    def of(self, key: str) -> "Quirks":
        return self if key.startswith(self.only) else Quirks(refuse_signed=self.refuse_signed)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    data: ByteSource
    etag: str
    last_modified: float
    headers: Mapping[str, str] = field(default_factory=dict)


def decode_key(path: str, bucket: str, quirks: Quirks) -> str:
    """The key that a path-style raw path names; "" for anything else."""
    head, _, raw = path.removeprefix("/").partition("/")
    if head != bucket:
        return ""
    for character in quirks.undecoded:
        escaped = quote(character, safe="")
        raw = re.sub(escaped, escaped.replace("%", "%25"), raw, flags=re.IGNORECASE)
    return unquote_to_bytes(raw.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


Header = Callable[[str], str | None]


def answer_read(
    method: str, key: str, header: Header, stored: StoredObject | None, quirks: Quirks, now: float
) -> Answer:
    """The answer to a signed GET or HEAD of `key`."""
    answer = select_answer(method, key, header, stored, quirks)
    answer.set("Date", format_date(now, quirks))
    if quirks.cloudflare_fields:
        answer.fields |= CLOUDFLARE_FIELDS
    return answer


def select_answer(
    method: str, key: str, header: Header, stored: StoredObject | None, quirks: Quirks
) -> Answer:
    if method == "HEAD" and quirks.head_forbidden and CACHEABLE.fullmatch(key):
        return error_answer(403, "AccessDenied", "Access Denied")
    if not key:
        return error_answer(400, "InvalidArgument", "Invalid object path")
    if stored is None and quirks.missing_as_400:
        return error_answer(400, "InvalidArgument", "object not found")
    if stored is None:
        return error_answer(404, "NoSuchKey", "The specified key does not exist.")
    status = None if quirks.ignore_conditionals else precondition_status(header, stored)
    if status == 412:
        message = "At least one of the preconditions you specified did not hold."
        return error_answer(412, "PreconditionFailed", message)
    if status == 304:
        answer = Answer(status=304, fields=validators(stored, quirks) | dict(stored.headers))
        answer.set("Content-Type", None)
        return answer
    return answer_range(None if quirks.ignore_range else header("range"), stored, quirks)


def answer_listing(objects: Mapping[str, StoredObject], prefix: str) -> Answer:
    """One page, in XML without a namespace, as RunPod writes it."""
    entries = "".join(
        f"<Contents><Key>{escape(key)}</Key><Size>{one.data.length}</Size></Contents>"
        for key, one in sorted(objects.items())
        if key.startswith(prefix)
    )
    body = (
        f"<ListBucketResult>{entries}<IsTruncated>false</IsTruncated></ListBucketResult>".encode()
    )
    fields = {"Content-Type": "application/xml"}
    return Answer(status=200, fields=fields, body=Bytes(body), stop=len(body))


def answer_range(range_: str | None, stored: StoredObject, quirks: Quirks) -> Answer:
    length = stored.data.length
    fields = validators(stored, quirks) | {"Accept-Ranges": "bytes"} | dict(stored.headers)
    span = select(range_, length)
    if span is None:
        return Answer(status=200, fields=fields, body=stored.data, stop=length)
    start, stop = span
    if start >= stop:
        error = error_answer(416, "InvalidRange", "The requested range is not satisfiable")
        error.set("Content-Range", f"bytes */{length}")
        return error
    fields["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
    return Answer(status=206, fields=fields, body=stored.data, start=start, stop=stop)


def select(range_: str | None, length: int) -> tuple[int, int] | None:
    """Half-open positions, none or less of them: 416. None: ignored, as S3 does several ranges."""
    match = re.fullmatch(r"bytes=([0-9]*)-([0-9]*)", range_ or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(length - int(last), 0), length
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1 if last else length, length)


def precondition_status(header: Header, stored: StoredObject) -> int | None:
    """RFC 9110 §13.2.2. Entity-tags are compared weakly: Cloudflare weakens what it passes on."""
    if_match, if_none_match = header("if-match"), header("if-none-match")
    if if_match is not None and not matches(if_match, stored.etag):
        return 412
    if if_none_match is not None:
        return 304 if matches(if_none_match, stored.etag) else None
    since = parsedate_tz(header("if-modified-since") or "")
    return 304 if since is not None and int(stored.last_modified) <= mktime_tz(since) else None


def matches(value: str, etag: str) -> bool:
    return value.strip() == "*" or etag in re.findall(r'(?:W/)?"([^"]*)"', value)


def validators(stored: StoredObject, quirks: Quirks) -> dict[str, str]:
    fields = {}
    if not quirks.no_etag:
        fields["ETag"] = f'{"W/" if quirks.weak_etags else ""}"{stored.etag}"'
    if not quirks.no_last_modified:
        fields["Last-Modified"] = format_date(stored.last_modified, quirks)
    return fields


def format_date(when: float, quirks: Quirks) -> str:
    date = formatdate(int(when), usegmt=True)
    return date.replace("GMT", "UTC") if quirks.utc_dates else date

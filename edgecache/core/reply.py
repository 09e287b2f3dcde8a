"""What the origin's answer means. Rule of this module: an answer that is not exactly what was
asked is an error here, so that no wrong byte can come further (RFC 9110 §14.4, §15.3.7)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgecache.core.errors import (
    EdgecacheError,
    NotFound,
    RangeNotSatisfiable,
    UpstreamBusy,
    UpstreamDenied,
    UpstreamError,
    UpstreamTimeout,
    VersionChanged,
)
from edgecache.core.freshness import not_storable
from edgecache.core.headers import stored_fields
from edgecache.core.model import ByteSpan, ObjectKey, ObjectMeta
from edgecache.core.ranges import IntRange, RangeSpec, parse_content_range, select
from edgecache.core.tags import tags_of
from edgecache.core.validators import parse_http_date, strong_etag

# RFC 9110 §8.8.2.2 makes Last-Modified strong a second after the change; files on a volume that a
# job is still writing to change more than once in a second, so only a quiet minute counts.
SETTLED = 60

Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A 200 or 206: `span` is what its body carries of the object's `meta.length` bytes."""

    status: int
    meta: ObjectMeta
    span: ByteSpan
    fields: Fields


@dataclass(frozen=True, slots=True)
class NotModified:
    """A 304 to our If-None-Match. Freshens the stored response (RFC 9111 §4.3.4)."""

    fields: Fields
    request_time: float
    response_time: float
    tags: tuple[str, ...] = ()

    def freshens(self, origin_etag: str) -> bool:
        """Whether it is about the version that has this ETag: it names no other."""
        said = strong_etag(self.fields.get("etag", ""))
        return not said or said == strong_etag(origin_etag)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request to the origin was for."""

    key: ObjectKey
    range: RangeSpec | None
    conditional: bool
    request_time: float


def join_fields(fields: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Lower-case names; repeated fields joined with ", " (RFC 9110 §5.3)."""
    joined: dict[str, str] = {}
    for name, value in fields:
        lower = name.lower()
        joined[lower] = f"{joined[lower]}, {value}" if lower in joined else value
    return joined


def interpret(
    status: int, raw: Iterable[tuple[str, str]], asked: Asked, *, response_time: float
) -> Found | NotModified:
    """:raises UpstreamError: for a 2xx or 3xx that does not answer what was asked."""
    raw = tuple(raw)
    fields = join_fields(raw)
    if status == 304 and asked.conditional:
        return NotModified(fields, asked.request_time, response_time, tags_of(raw))
    if status not in (200, 206):
        where = fields.get("x-amz-bucket-region", "")
        raise UpstreamError(
            f"the origin answered with an unexpected status {status}",
            hint=f"check region: the bucket is in {where[:40]}" if where else "",
        )
    span, length = carried(status, fields, asked.range)
    meta = ObjectMeta(
        key=asked.key,
        etag=identity(fields, length),
        origin_etag=fields.get("etag", "") if strong_etag(fields.get("etag", "")) else "",
        length=length,
        last_modified=parse_http_date(fields.get("last-modified", "")),
        date=parse_http_date(fields.get("date", "")),
        request_time=asked.request_time,
        response_time=response_time,
        headers=kept_fields(raw),
        tags=tags_of(raw),
    )
    return Found(status=status, meta=meta, span=span, fields=fields)


def kept_fields(raw: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """What to keep of an answer: what is passed on, and its Age, which freshness needs."""
    raw = tuple(raw)
    age = tuple(("age", value) for name, value in raw if name.lower() == "age")
    return stored_fields(raw) + age[:1]


def carried(status: int, fields: Fields, asked: RangeSpec | None) -> tuple[ByteSpan, int]:
    """The span that the body carries, and the object's complete length."""
    announced = fields.get("content-length", "")
    body_length = int(announced) if re.fullmatch(r"[0-9]{1,18}", announced) else None
    if status == 200:
        if body_length is None:
            raise UpstreamError("the origin gave no length")
        return ByteSpan(0, body_length), body_length
    content_range = parse_content_range(fields.get("content-range", ""))
    if content_range is None or content_range.span is None or content_range.complete_length is None:
        raise UpstreamError("the origin answered a range without a usable Content-Range")
    span, length = content_range.span, content_range.complete_length
    if asked is None or span != select(asked, length):
        raise UpstreamError("the origin answered with another range than was asked for")
    if body_length is not None and body_length != len(span):
        raise UpstreamError("the origin's Content-Length and Content-Range disagree")
    return span, length


def identity(fields: Fields, length: int) -> str:
    """The strong validator that names this version, or "": none, so its slices can't be joined."""
    if etag := strong_etag(fields.get("etag", "")):
        return etag
    modified = parse_http_date(fields.get("last-modified", ""))
    date = parse_http_date(fields.get("date", ""))
    if modified is None or date is None or date - modified < SETTLED:
        return ""
    return f'"lm-{modified:x}-{length:x}"'


def s3_error(body: bytes) -> tuple[str, str]:
    """(code, message) of S3's error XML, or "". By regex: an XML parser is a risk."""
    text = body.decode("utf-8", "replace")
    code = re.search(r"<Code>([A-Za-z0-9.]{1,64})</Code>", text)
    message = re.search(r"<Message>([^<]{1,200})</Message>", text)
    return (code[1] if code else ""), (message[1] if message else "")


DENIED_HINTS = {
    "SignatureDoesNotMatch": "check secret_key and region (RunPod's region is the datacenter id)",
    "AuthorizationHeaderMalformed": "check region: the bucket is in another one",
    "ExpiredToken": "the temporary credentials have ended: renew session_token and its keys",
    "InvalidToken": "check session_token: it belongs to access_key and secret_key",
    "InvalidAccessKeyId": "check access_key (RunPod's starts with user_)",
    "RequestTimeTooSkewed": "this machine's clock is wrong: RunPod allows one hour, AWS 15 minutes",
    "AccessDenied": "the key may not read here, or the object is missing and may not be listed",
    "": "the origin sent no S3 error code: something before it refused (a firewall, Cloudflare)",
}
# Said with 400 by AWS, and by others with 403.
DENIED_CODES = {"AuthorizationHeaderMalformed", "ExpiredToken", "InvalidToken"}
TIMEOUTS = {408, 504, 522, 524}
BUSY = {429, 503}


def failure(status: int, fields: Fields, body: bytes) -> EdgecacheError:
    """The error that a status of 400 or more stands for; the origin's words go to the hint only."""
    error = classified(status, fields, body)
    error.forward_status = status
    return error


def classified(status: int, fields: Fields, body: bytes) -> EdgecacheError:
    code, message = s3_error(body)
    hint = f"origin status={status} code={code or '-'}"
    if status == 416:
        content_range = parse_content_range(fields.get("content-range", ""))
        return RangeNotSatisfiable((content_range and content_range.complete_length) or 0)
    if code == "NoSuchBucket":
        return UpstreamError("the origin has no such bucket", hint=f"{hint}: check bucket")
    # RunPod also says that an object is missing with 400 InvalidArgument "object not found".
    if status == 404 or (400 <= status < 500 and "object not found" in message.lower()):
        storable = not_storable(404, fields, has_validator=False) is None
        return NotFound("no such object", hint=hint, storable=storable)
    if status in (401, 403) or code in DENIED_CODES:
        advice = DENIED_HINTS.get(code, DENIED_HINTS["AccessDenied"])
        return UpstreamDenied("the origin refused the request", hint=f"{hint}: {advice}")
    if status == 412:
        return VersionChanged("the object was replaced while it was read", hint=hint)
    if status in TIMEOUTS:
        return UpstreamTimeout("the origin timed out", hint=hint)
    if status in BUSY:
        after = fields.get("retry-after", "")
        seconds = int(after) if re.fullmatch(r"[0-9]{1,4}", after) else 0
        retry_after = max(1, min(seconds, 120))
        busy = UpstreamBusy("the origin is busy", retry_after=retry_after, hint=hint)
        busy.wish = seconds
        return busy
    return UpstreamError("the origin failed", hint=hint)


def wanted(spec: RangeSpec | None) -> str:
    """The Range field to send for `spec`."""
    if spec is None:
        return ""
    if isinstance(spec, IntRange):
        return f"bytes={spec.first}-{'' if spec.last is None else spec.last}"
    return f"bytes=-{spec.length}"

"""AWS Signature Version 4 in the Authorization header, as the origin checks it.

Rule of this module: written from the specification and independent of botocore, so that a signer
is never judged by itself. The canonical URI is the path as it was on the wire, byte for byte.
"""

import hmac
import re
from calendar import timegm
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from time import strptime
from urllib.parse import quote, unquote

ALGORITHM = "AWS4-HMAC-SHA256"
MAX_SKEW = 3600.0  # RunPod's; Amazon's is 15 minutes
UNSIGNED = "UNSIGNED-PAYLOAD"
AUTHORIZATION = re.compile(
    rf"{ALGORITHM} +Credential=(?P<access_key>[^/,\s]+)/(?P<day>\d{{8}})/(?P<region>[^/,\s]+)"
    r"/s3/aws4_request, *SignedHeaders=(?P<signed>[^,\s]+), *Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    access_key: str
    secret_key: str
    region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """A request as it was on the wire; `headers` in order, with lower-case names."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]]
    body: bytes = b""

    def values(self, name: str) -> list[str]:
        return [value for header, value in self.headers if header == name]

    def value(self, name: str) -> str:
        return ",".join(self.values(name))


class Refused(Exception):
    """The origin's refusal: a status, S3's code and message, and what S3 gives away besides."""

    def __init__(self, status: int, code: str, message: str, string_to_sign: str = "") -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.string_to_sign = string_to_sign


def signed_headers(request: SentRequest) -> tuple[str, ...]:
    match = AUTHORIZATION.fullmatch(request.value("authorization"))
    return tuple(match["signed"].split(";")) if match else ()


def verify(
    request: SentRequest, credentials: Credentials, now: float, *, refuse: Sequence[str] = ()
) -> None:
    """Let the request pass, or raise Refused.

    :param refuse: names that must not be signed, because a proxy rewrites them on the way.
    """
    if not request.values("authorization"):
        raise Refused(401, "AccessDenied", "missing Authorization header")
    match = AUTHORIZATION.fullmatch(request.value("authorization"))
    if match is None:
        raise Refused(400, "AuthorizationHeaderMalformed", "not a SigV4 Authorization header")
    if not hmac.compare_digest(match["access_key"].encode(), credentials.access_key.encode()):
        raise Refused(403, "AccessDenied", "unknown access key")
    signed = match["signed"].split(";")
    check_time(request, match["day"], now)
    check_signed_headers(request, signed)
    check_payload(request)
    string_to_sign = make_string_to_sign(request, signed, match["day"], match["region"])
    if match["region"].casefold() != credentials.region.casefold():
        raise mismatch(f"the region {match['region']!r} is wrong", string_to_sign)
    if touched := sorted(set(signed) & set(refuse)):
        raise mismatch(f"rewritten on the way: {', '.join(touched)}", string_to_sign)
    key = signing_key(credentials.secret_key, match["day"], match["region"])
    expected = hmac.new(key, string_to_sign.encode(), sha256).hexdigest()
    if not hmac.compare_digest(expected, match["signature"]):
        raise mismatch("the signature does not match any key", string_to_sign)


def mismatch(message: str, string_to_sign: str) -> Refused:
    return Refused(403, "SignatureDoesNotMatch", message, string_to_sign)


def check_time(request: SentRequest, day: str, now: float) -> None:
    stamp = request.value("x-amz-date")
    try:
        sent = timegm(strptime(stamp, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        raise Refused(403, "AccessDenied", "x-amz-date is missing or malformed") from None
    if not stamp.startswith(day):
        raise Refused(403, "AccessDenied", "the credential's date is not the request's")
    if abs(now - sent) > MAX_SKEW:
        raise Refused(403, "RequestTimeTooSkewed", "the clocks differ by more than an hour")


def check_signed_headers(request: SentRequest, signed: Sequence[str]) -> None:
    """Host and every x-amz-* header must be signed, and what is signed must be there."""
    if list(signed) != sorted(set(signed)):
        raise Refused(403, "AccessDenied", "SignedHeaders is not a sorted list of names")
    if absent := [name for name in signed if not request.values(name)]:
        raise Refused(403, "AccessDenied", f"signed but not sent: {', '.join(absent)}")
    needed = {name for name, _ in request.headers if name.startswith("x-amz-")} | {"host"}
    if unsigned := sorted(needed - set(signed)):
        raise Refused(403, "AccessDenied", f"sent but not signed: {', '.join(unsigned)}")


def check_payload(request: SentRequest) -> None:
    declared = request.value("x-amz-content-sha256")
    if not declared:
        raise Refused(400, "InvalidRequest", "missing x-amz-content-sha256")
    if declared not in (UNSIGNED, sha256(request.body).hexdigest()):
        raise Refused(400, "XAmzContentSHA256Mismatch", "the body is not what was signed")


def make_string_to_sign(request: SentRequest, signed: Sequence[str], day: str, region: str) -> str:
    path, _, query = request.target.partition("?")
    lines = (f"{name}:{canonical_value(request, name)}\n" for name in signed)
    canonical = "\n".join(
        (
            request.method,
            path,
            canonical_query(query),
            "".join(lines),
            ";".join(signed),
            request.value("x-amz-content-sha256"),
        )
    )
    scope = f"{day}/{region}/s3/aws4_request"
    digest = sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    return "\n".join((ALGORITHM, request.value("x-amz-date"), scope, digest))


def canonical_value(request: SentRequest, name: str) -> str:
    return ",".join(" ".join(value.split()) for value in request.values(name))


def canonical_query(query: str) -> str:
    pairs = []
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        pairs.append((quote(unquote(name), safe="-_.~"), quote(unquote(value), safe="-_.~")))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))


def signing_key(secret_key: str, day: str, region: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), sha256).digest()
    return key

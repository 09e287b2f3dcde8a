"""May we read: the listing, a key, the clock, the region, the way the bucket is addressed."""

import re
from html import unescape
from urllib.parse import quote

from edgecache.core.errors import BadTarget, EdgecacheError, UpstreamError, UpstreamTimeout
from edgecache.core.keys import checked
from edgecache.core.ranges import IntRange
from edgecache.core.reply import DENIED_CODES, s3_error
from edgecache.doctor.finding import Finding, note, ok, problem
from edgecache.doctor.patient import Listed, Patient
from edgecache.doctor.probe import Heard
from edgecache.doctor.refusals import refusal, words
from edgecache.upstream import bucket_url, object_url

MOST_PREFIXES = 3
MOST_LISTING = 2**20
SKEW_NOTED, SKEW_WRONG = 60.0, 900.0  # seconds; AWS refuses beyond the latter, RunPod after an hour
KEY_HINT = "name an object that can be read: --key"
CONTENTS = re.compile(r"<Contents>(.*?)</Contents>", re.S)


async def listing(patient: Patient) -> Finding:
    """Finds the keys that the checks below are about."""
    heard = None
    for prefix in patient.public[:MOST_PREFIXES] or ("",):
        # No encoding-type: RunPod refuses it.
        query = f"list-type=2&max-keys=1000&prefix={quote(prefix, safe='')}"
        url = f"{bucket_url(patient.origin)}?{query}"
        heard = await patient.probe.send("GET", url, most=MOST_LISTING)
        if heard.status != 200:
            return refused_listing(patient, heard)
        patient.listed += parse_listing(heard.body, prefix)
    if not patient.key and patient.listed:
        patient.key = patient.listed[0].key
    if not patient.listed:
        where = " or ".join(repr(prefix) for prefix in patient.public) or "the bucket"
        hint = f"{KEY_HINT}, or put its prefix into access.public"
        if patient.key:
            return note(f"nothing below {where}", "only --key is looked at", keys=0)
        return problem(f"nothing below {where}", hint, keys=0)
    kinds = sorted({one.extension for one in patient.listed})
    count = f"{len(patient.listed)} objects" if len(patient.listed) > 1 else "one object"
    return ok(f"{count} on a page: {', '.join(kinds[:8])}", keys=len(patient.listed), kinds=kinds)


def refused_listing(patient: Patient, heard: Heard) -> Finding:
    code, _ = s3_error(heard.body)
    if patient.key and heard.status in (400, 403, 405, 501) and code not in DENIED_CODES:
        hint = "serving needs none; `edgecache warm --prefix` does"
        return note(f"refused: {words(heard)}", hint, status=heard.status)
    finding = refusal(heard, "refused")
    if code in ("", "AccessDenied") and not patient.key:
        return problem(finding.text, f"{finding.hint}; {KEY_HINT}", status=heard.status)
    return finding


def parse_listing(body: bytes, prefix: str) -> list[Listed]:
    """By regex: an XML parser is a risk, and RunPod's XML has no namespace."""
    found = []
    for entry in CONTENTS.findall(body.decode("utf-8", "replace")):
        key = re.search(r"<Key>([^<]+)</Key>", entry)
        size = re.search(r"<Size>([0-9]{1,15})</Size>", entry)
        if key and is_object(name := unescape(key[1])) and name.startswith(prefix):
            found.append(Listed(name, int(size[1]) if size else 0))
    return sorted(found, key=lambda one: (one.size == 0, one.odd))  # the plainest tell most


def is_object(key: str) -> bool:
    try:
        checked(key)
    except BadTarget:
        return False
    return True


async def read(patient: Patient) -> Finding:
    """As serving reads: signed, with a range, its answer judged."""
    if not patient.key:
        return problem("no key is known", KEY_HINT)
    try:
        found, body = await patient.get(patient.key, IntRange(0, 0))
    except EdgecacheError as error:
        if isinstance(error, UpstreamTimeout):
            raise
        heard = await patient.probe.get(patient.key, {"Range": "bytes=0-0"})
        if heard.status == 416:  # of nothing there is no first byte
            return problem("the object is empty", "name one with bytes in it: --key")
        if heard.found:
            return problem(error.message, error.hint or "serving would answer 502")
        return refusal(heard, "refused")
    body.close()
    patient.length, patient.fields = found.meta.length, found.fields
    how = "signed" if patient.origin.signs else "without keys"
    return ok(
        f"{patient.key}, {patient.length} bytes, {how}", key=patient.key, length=patient.length
    )


async def clock(patient: Patient) -> Finding:
    if patient.probe.skew is None and patient.key:
        await patient.probe.get(patient.key, {"Range": "bytes=0-0"})
    skew = patient.probe.skew
    if skew is None:
        return note("the origin sends no Date", "the clocks can't be compared", seconds=None)
    text = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the origin's"
    seconds = round(skew, 1)
    if abs(skew) >= SKEW_WRONG:
        hint = "set this machine's clock (NTP): S3 refuses signatures beyond 15 minutes"
        return problem(text, f"{hint}, RunPod beyond an hour", seconds=seconds)
    if abs(skew) >= SKEW_NOTED:
        return note(text, "set this machine's clock (NTP)", seconds=seconds)
    return ok("the clocks agree", seconds=seconds)


async def region(patient: Patient) -> Finding:
    said = patient.fields.get("x-amz-bucket-region", "")
    ours = patient.origin.region
    if said and said.lower() != ours.lower():
        return note(f"{ours}; the origin says {said[:40]}", f"set region: {said[:40]}", region=ours)
    if not patient.origin.signs:
        return ok(f"{ours}, not used: nothing is signed", region=ours)
    return ok(f"{ours}, as the signature holds", region=ours)


async def addressing(patient: Patient) -> Finding:
    """The one that is set works, or nothing could be read; the other is tried."""
    ours = patient.origin.addressing
    other = "virtual" if ours == "path" else "path"
    try:
        origin = type(patient.origin).model_validate(
            {
                "endpoint": patient.origin.endpoint,
                "bucket": patient.origin.bucket,
                "addressing": other,
                "path_safe": patient.origin.path_safe,
            }
        )
    except ValueError:
        return ok(f"{ours}; {other} cannot be with this endpoint", works=[ours])
    url = object_url(origin, patient.key)
    try:
        heard = await patient.probe.send("GET", url, {"Range": "bytes=0-0"})
    except UpstreamError:
        return ok(f"{ours}; {other} has no answer", works=[ours])
    if heard.found:
        return ok(f"{ours}; {other} works too", works=[ours, other])
    return ok(f"{ours}; {other} is refused ({words(heard)})", works=[ours], status=heard.status)

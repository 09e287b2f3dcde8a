"""How objects are read: HEAD, ranges, types, what is missing, keys that need escapes."""

import secrets

from edgecache.core.errors import NotFound
from edgecache.core.media_types import MEANINGLESS
from edgecache.core.ranges import parse_content_range
from edgecache.core.reply import failure
from edgecache.doctor.finding import Fact, Finding, note, ok, problem, skipped
from edgecache.doctor.patient import Listed, Patient
from edgecache.doctor.probe import Failing, Heard
from edgecache.doctor.refusals import advice, words
from edgecache.upstream import object_url

SAFE = "!$&'()*+,:;=@"  # what path_safe may hold
MOST_ODD = 6


async def head(patient: Patient) -> Finding:
    """Of one object of each kind: what stands before RunPod's store treats media otherwise."""
    found: dict[str, str] = {}
    for one in patient.samples:
        url = object_url(patient.origin, one.key)
        try:
            status = (await patient.probe.send("HEAD", url)).status
        except Failing as error:
            status = error.heard.status
        found[one.extension] = str(status)
    bad = [f"{heard} for {kind}" for kind, heard in found.items() if heard != "200"]
    if not bad:
        return ok(f"works for {', '.join(found)}", statuses=found)
    well = [kind for kind, heard in found.items() if heard == "200"]
    text = ", ".join(bad) + (f"; works for {', '.join(well)}" if well else "")
    return note(text, "edgecache never sends HEAD and answers it itself", statuses=found)


async def ranges(patient: Patient) -> Finding:
    one = patient.largest
    if one.size < 3:
        return skipped("needs an object of three bytes or more")
    heard = await patient.probe.get(one.key, {"Range": "bytes=1-2"})
    return judged_range(heard, f"bytes 1-2/{one.size}")


def judged_range(heard: Heard, expected: str) -> Finding:
    got = heard.fields.get("content-range", "")
    if heard.status == 206 and same_range(got, expected) and len(heard.body) == 2:
        return ok("honoured", honoured=True)
    if heard.status == 200:
        hint = "every seek buys the whole object: look at what stands before the store"
        return problem("ignored: the answer is the whole object", hint, honoured=False)
    if heard.status == 206:
        hint = "edgecache refuses such answers: nothing larger than one run can be served"
        return problem(f"another one than asked for: {got[:60] or 'none'}", hint, honoured=False)
    return problem(f"refused: {words(heard)}", advice(heard), honoured=False)


def same_range(got: str, expected: str) -> bool:
    parsed = parse_content_range(got)
    return parsed is not None and parsed == parse_content_range(expected)


async def suffix_range(patient: Patient) -> Finding:
    one = patient.largest
    if one.size < 3:
        return skipped("needs an object of three bytes or more")
    heard = await patient.probe.get(one.key, {"Range": "bytes=-2"})
    expected = f"bytes {one.size - 2}-{one.size - 1}/{one.size}"
    if heard.status == 206 and same_range(heard.fields.get("content-range", ""), expected):
        return ok("honoured", honoured=True)
    if heard.status == 200:
        hint = "edgecache copes: it knows the lengths of what it stores"
        return note("ignored: the answer is the whole object", hint, honoured=False)
    patient.learnt.suffix_range = False
    what = "another one than asked for" if heard.status == 206 else f"refused: {words(heard)}"
    hint = "serve does not send it with origins.<name>.quirks: --write-profile makes that file"
    if patient.origin.quirks is not None and not patient.origin.quirks.suffix_range:
        return note(what, "serve does not send it: origins.<name>.quirks says so", honoured=False)
    return problem(what, hint, honoured=False)


async def content_type(patient: Patient) -> Finding:
    found: dict[str, str] = {}
    for one in patient.samples:
        heard = await patient.probe.get(one.key, {"Range": "bytes=0-0"})
        if heard.found:
            found[one.extension] = heard.fields.get("content-type", "none")[:60]
    types = ", ".join(f"{kind} is {value}" for kind, value in found.items())
    if all(value in MEANINGLESS or value == "none" for value in found.values()):
        hint = "edgecache tells it by the extension; elsewhere images and video may not show"
        return note(f"never told: {types}", hint, types=found)
    return ok(types, types=found)


async def missing(patient: Patient) -> Finding:
    folder = patient.key.rpartition("/")[0]
    name = f"edgecache-doctor-{secrets.token_hex(4)}"
    try:
        heard = await patient.probe.get(f"{folder}/{name}" if folder else name)
    except Failing as error:
        heard = error.heard
    facts: dict[str, Fact] = {"status": heard.status}
    if heard.status == 404:
        return ok("404", **facts)
    if heard.status >= 400 and isinstance(failure(heard.status, {}, heard.body), NotFound):
        return note(words(heard), "edgecache makes a 404 of it", **facts)
    if heard.status in (401, 403):
        hint = "let the keys list the bucket (s3:ListBucket): else a missing object is a 502 here"
        return problem(words(heard), hint, **facts)
    hint = "a missing object is an error here, and can't be remembered as missing"
    return problem(words(heard), hint, **facts)


async def escapes(patient: Patient) -> Finding:
    """Those that the listing happens to have; --write makes some."""
    odd = [one for one in patient.listed if one.odd][:MOST_ODD]
    if not odd:
        return skipped("no key with = # + space or UTF-8 is listed: --write tests them")
    unreached: list[str] = []
    wanted: set[str] = set()
    for one in odd:
        if (unescaped := await spelling(patient, one)) is None:
            unreached.append(one.key)
        else:
            wanted |= set(unescaped)
    return judged_escapes(patient, len(odd), unreached, wanted)


async def spelling(patient: Patient, one: Listed) -> str | None:
    """What must stay unescaped, "": nothing besides path_safe. None: it can't be reached."""
    heard = await patient.probe.get(one.key, {"Range": "bytes=0-0"})
    if heard.found or heard.status == 416:
        return ""
    unescaped = "".join(sorted(set(one.key) & set(SAFE)))
    if not unescaped:
        return None
    safe = "".join(sorted({*unescaped, *patient.origin.path_safe}))
    origin = patient.origin.model_copy(update={"path_safe": safe})
    heard = await patient.probe.send("GET", object_url(origin, one.key), {"Range": "bytes=0-0"})
    return unescaped if heard.found else None


def judged_escapes(patient: Patient, count: int, unreached: list[str], wanted: set[str]) -> Finding:
    if wanted:
        safe = "".join(sorted(wanted | set(patient.origin.path_safe)))
        patient.learnt.path_safe = safe
        hint = f"set origins.<name>.path_safe: {safe!r}, or use --write-profile"
        return problem(f"keys with {' '.join(sorted(wanted))} need it unescaped", hint, safe=safe)
    if unreached:
        text = f"{len(unreached)} of {count} keys can't be read, as {unreached[0][:60]!r}"
        return problem(text, "the store does not decode such keys: rename them", keys=unreached)
    return ok(f"listed ones ({count}) are found", keys=count)

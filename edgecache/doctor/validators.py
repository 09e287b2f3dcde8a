"""What tells one version of an object from the next: conditions, ETags, dates."""

from edgecache.core.validators import parse_http_date, strong_etag
from edgecache.doctor.finding import Finding, note, ok, problem, skipped
from edgecache.doctor.patient import Patient
from edgecache.doctor.refusals import words

OTHER = '"edgecache-doctor"'
START = {"Range": "bytes=0-0"}
NOT_SENT = "serve does not send it: origins.<name>.quirks says so"
PROFILE = "serve does not send it with origins.<name>.quirks: --write-profile makes that file"


async def if_match(patient: Patient) -> Finding:
    etag = patient.fields.get("etag", "")
    if not etag.startswith('"'):
        return skipped("needs a strong ETag")
    ours = await patient.probe.get(patient.key, START | {"If-Match": etag})
    if not ours.found:
        patient.learnt.if_match = False
        text = f"{words(ours)} to the object's own ETag"
        quirks = patient.origin.quirks
        if quirks is not None and not quirks.if_match:
            return note(text, NOT_SENT, honoured=False)
        return problem(text, PROFILE, honoured=False)
    other = await patient.probe.get(patient.key, START | {"If-Match": OTHER})
    if other.status == 412:
        return ok("honoured", honoured=True)
    hint = "edgecache compares the ETag and length of every answer instead"
    return note(f"ignored: {words(other)} to another ETag", hint, honoured=False)


async def if_none_match(patient: Patient) -> Finding:
    etag = patient.fields.get("etag", "")
    if not etag:
        return skipped("needs an ETag")
    heard = await patient.probe.get(patient.key, START | {"If-None-Match": etag})
    if heard.status == 304:
        other = await patient.probe.get(patient.key, START | {"If-None-Match": OTHER})
        if other.status == 304:
            hint = "a changed object would never be seen: look at what stands before the store"
            return problem("304 also to another ETag", hint, honoured=False)
        return ok("304 for what has not changed", honoured=True)
    if heard.found:
        hint = "edgecache takes the same ETag for unchanged"
        return note(f"ignored: {words(heard)} for what has not changed", hint, honoured=False)
    patient.learnt.if_none_match = False
    quirks = patient.origin.quirks
    if quirks is not None and not quirks.if_none_match:
        return note(words(heard), NOT_SENT, honoured=False)
    return problem(words(heard), PROFILE, honoured=False)


async def etag(patient: Patient) -> Finding:
    value = patient.fields.get("etag", "")
    if not value:
        if parse_http_date(patient.fields.get("last-modified", "")) is not None:
            hint = "versions are told by Last-Modified, and only a minute after a change"
            return note("none", hint, form="none")
        hint = "nothing can be stored: versions can't be told apart"
        return problem("none, and no Last-Modified", hint, form="none")
    again = (await patient.probe.get(patient.key, START)).fields.get("etag", "")
    if strong_etag(again) != strong_etag(value):
        hint = "is the object being written? else nothing of it can be kept"
        return problem("another one for each answer", hint, form="moving")
    if value.startswith("W/"):
        hint = "weakened on the way; edgecache makes it strong, or Safari plays no video"
        return note("weak", hint, form="weak")
    bare = value.strip('"')
    if len(bare) == 32 and all(one in "0123456789abcdef" for one in bare):
        return ok("strong, an MD5", form="md5")
    if "-" in bare:
        return ok("strong, of a multipart upload", form="multipart")
    return ok("strong", form="other")


async def dates(patient: Patient) -> Finding:
    fields = {name: patient.fields.get(name, "") for name in ("last-modified", "date")}
    if not fields["last-modified"]:
        hint = "browsers can't revalidate by date; edgecache needs only the ETag"
        return note("no Last-Modified", hint, form="none")
    wrong = [name for name, value in fields.items() if value and not value.endswith("GMT")]
    if not wrong:
        return ok("end in GMT, as HTTP has it", form="GMT")
    zone = fields[wrong[0]].rpartition(" ")[2][:10]
    if parse_http_date(fields[wrong[0]]) is None:
        hint = "edgecache does without; only the ETag tells versions apart"
        return note(f"no HTTP dates: {fields[wrong[0]][:40]}", hint, form="other")
    hint = f"{' and '.join(wrong)}: some AWS SDKs refuse that; edgecache sends GMT"
    return note(f"end in {zone} instead of GMT", hint, form=zone)

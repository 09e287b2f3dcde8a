"""What a browser could do here by itself, and who stands in between."""

from edgecache.core.errors import UpstreamError
from edgecache.doctor.finding import Finding, note, ok, skipped
from edgecache.doctor.patient import Patient
from edgecache.doctor.refusals import words
from edgecache.upstream import object_url

SITE = "https://app.example.com"
START = {"Range": "bytes=0-0"}


async def anonymous(patient: Patient) -> Finding:
    url = object_url(patient.origin, patient.key)
    heard = await patient.probe.send("GET", url, START, signed=False)
    patient.learnt.public = heard.found
    if not heard.found:
        return ok(f"refused ({words(heard)}): the object is private", public=False)
    if not patient.origin.signs:
        return ok("allowed: the object is public", public=True)
    return note("allowed: anyone can read it past edgecache", "is that meant?", public=True)


async def presigned(patient: Patient) -> Finding:
    if not patient.origin.signs:
        return skipped("there are no keys to sign with")
    url = await patient.probe.presigned(patient.key)
    heard = await patient.probe.send("GET", url, START, signed=False)
    patient.learnt.presigned = heard.found and not patient.learnt.public
    if patient.learnt.public:
        return skipped("the object needs no signature")
    if heard.found:
        return ok("work", presigned=True)
    hint = "links of the store's own can't be given to browsers; edgecache's can"
    return note(f"refused: {words(heard)}", hint, presigned=False)


async def cors(patient: Patient) -> Finding:
    url = object_url(patient.origin, patient.key)
    asked = {
        "Origin": SITE,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "range",
    }
    heard = await patient.probe.get(patient.key, START | {"Origin": SITE})
    allowed = heard.fields.get("access-control-allow-origin", "") in ("*", SITE)
    try:
        preflight = await patient.probe.send("OPTIONS", url, asked, signed=False)
        status = preflight.status
    except UpstreamError as error:
        status = error.forward_status
    patient.learnt.cors = allowed
    if allowed:
        return ok(f"scripts of other sites may read; preflight {status}", allowed=True)
    hint = "scripts of other sites can't read; edgecache answers by cors.allow_origins"
    return note(f"none; preflight {status or 'unanswered'}", hint, allowed=False)


async def edge(patient: Patient) -> Finding:
    """A cache before the store may answer in its place."""
    fields = (await patient.probe.get(patient.key, START)).fields
    status = (fields.get("cf-cache-status") or fields.get("x-cache", ""))[:40]
    server = fields.get("server", "")[:40]
    who = "Cloudflare" if "cf-ray" in fields or "cf-cache-status" in fields else server
    age = fields.get("age", "")[:10]
    if status.upper().startswith("HIT") or age not in ("", "0"):
        hint = "changes show late: its cache has to be purged as well"
        text = f"{who or 'something'} answered from a cache ({status or 'Age ' + age})"
        return note(text, hint, status=status, server=server)
    if status:
        return ok(f"{who} before the store does not keep it ({status})", status=status)
    return ok(f"no sign of one{f', the server is {who}' if who else ''}", status="", server=server)

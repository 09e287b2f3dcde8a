"""How fast, and how much at one time. Rule: bounded bytes, and no more than serving would ask."""

import asyncio
import time
from statistics import median

from edgecache.core.errors import UpstreamError
from edgecache.core.model import ByteSpan
from edgecache.core.ranges import IntRange
from edgecache.core.units import format_size
from edgecache.doctor.finding import Finding, milliseconds, note, ok, problem, skipped
from edgecache.doctor.patient import Patient
from edgecache.doctor.probe import Failing
from edgecache.doctor.refusals import words
from edgecache.upstream import object_url

TIMES = 5
NOTED, SLOW = 0.5, 2.0  # seconds to the first byte
BOUGHT = 8 * 2**20  # bytes, of each of the two measurements
STREAMS = 8
LEAST = 64 * 1024  # bytes below which a rate says nothing
ENOUGH = 4.0  # seconds: what came until then tells the rate
LEVELS = (8, 16, 32, 64)
# One in so many may fail, as they do now and then however many there are at once: a limit refuses
# more, and each time that it is met.
FEW = 8
ROUNDS = 3


async def first_byte(patient: Patient) -> Finding:
    times: list[float] = []
    for _ in range(TIMES):
        heard = await patient.probe.get(patient.key, {"Range": "bytes=0-0"})
        if not heard.found:
            text = f"{words(heard)} at request {len(times) + 1} of {TIMES}"
            return problem(text, "it fails now and then: serving repeats such requests")
        times.append(heard.seconds)
    middle = patient.learnt.first_byte = median(times)
    text = f"{milliseconds(middle)}, the slowest of {TIMES} {milliseconds(max(times))}"
    facts = {"median": round(middle, 6), "slowest": round(max(times), 6)}
    if max(times) >= SLOW:
        hint = "viewers of cold objects wait so long: run edgecache near the store, warm the cache"
        return problem(text, hint, **facts)
    if middle >= NOTED:
        return note(text, "each cold object costs viewers so long: warm the cache", **facts)
    return ok(text, **facts)


async def throughput(patient: Patient) -> Finding:
    one = patient.largest
    size = min(one.size, BOUGHT)
    if size < LEAST:
        return skipped(f"no object of {LEAST // 1024} KiB or more is known")
    single = await rate(patient, one.key, [ByteSpan(0, size)])
    part = -(-size // STREAMS)
    spans = [ByteSpan(at, min(at + part, size)) for at in range(0, size, part)]
    several = await rate(patient, one.key, spans)
    patient.learnt.rate = single
    text = (
        f"{format_size(round(single))}/s with one connection, "
        f"{format_size(round(several))}/s with {len(spans)} (of {format_size(size)})"
    )
    return ok(text, single=round(single), several=round(several), bytes=size)


async def rate(patient: Patient, key: str, spans: list[ByteSpan]) -> float:
    """Bytes a second of all together, as serving reads them."""
    began = time.monotonic()
    counts = await asyncio.gather(*(count(patient, key, span, began) for span in spans))
    return sum(counts) / max(time.monotonic() - began, 1e-6)


async def count(patient: Patient, key: str, span: ByteSpan, began: float) -> int:
    _, body = await patient.get(key, IntRange(span.start, span.stop - 1))
    got = 0
    try:
        while got < len(span) and time.monotonic() - began < ENOUGH:
            if not (data := await body.read()):
                break
            got += len(data)
    finally:
        body.close()
    return got


async def concurrency(patient: Patient) -> Finding:
    """One byte each, at more and more connections, up to what serving would open."""
    most = patient.origin.connections or patient.fetch.connections
    levels = [level for level in LEVELS if level < most] + [min(most, LEVELS[-1])]
    safe = 0
    for level in levels:
        refused: list[str] = []
        for _ in range(ROUNDS):
            refused = await unanswered(patient, level)
            if len(refused) <= max(1, level // FEW):
                break
        else:
            return limited(patient, level, safe, refused)
        safe = level
    return ok(f"{safe} at once are answered", safe=safe, tried=safe)


async def unanswered(patient: Patient, level: int) -> list[str]:
    """What went wrong of so many at once."""
    heard = await asyncio.gather(*(answered(patient) for _ in range(level)))
    return [one for one in heard if one]


async def answered(patient: Patient) -> str:
    """What went wrong, or "". Not asked again: by then there may be fewer at once."""
    url = object_url(patient.origin, patient.key)
    try:
        heard = await patient.probe.once("GET", url, {"Range": "bytes=0-0"})
    except Failing as error:
        return words(error.heard)
    except UpstreamError as error:
        return error.message
    return "" if heard.found else words(heard)


def limited(patient: Patient, level: int, safe: int, refused: list[str]) -> Finding:
    text = f"at {level} at once {len(refused)} were not answered ({refused[0][:60]})"
    if not safe:
        hint = "it fails, or stands fewer: try again later, or set origins.<name>.connections"
        return problem(text, hint, safe=safe, tried=level)
    connections = patient.learnt.connections = safe
    hint = f"set origins.<name>.connections: {connections}, or use --write-profile"
    return problem(text, hint, safe=safe, tried=level)

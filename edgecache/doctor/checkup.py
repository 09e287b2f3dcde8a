"""The checks in their order. Rule of this module: each has a time limit, and so has all of it; what
depends on something that failed is not asked."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgecache.core.errors import EdgecacheError, UpstreamTimeout
from edgecache.doctor import access, browsers, network, reading, speed, validators
from edgecache.doctor.finding import Finding, State, problem, skipped
from edgecache.doctor.patient import Patient
from edgecache.doctor.probe import Failing
from edgecache.doctor.refusals import refusal
from edgecache.doctor.writing import writing

MOST_SECONDS = 180.0  # for all of it
SLOW_HINT = "the origin hangs: try again, or with a larger --timeout; RunPod does with fresh files"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    run: Callable[[Patient], Awaitable[Finding]]
    needs: str = "read"  # the check that has to be well before; "": none
    times: float = 1.0  # the time limit of one check so often


CHECKS = (
    Check("DNS", network.dns, ""),
    Check("TCP", network.tcp, "DNS"),
    Check("TLS", network.tls, "TCP"),
    Check("listing", access.listing, "TLS"),
    Check("read", access.read, "TLS"),
    Check("clock", access.clock, "TLS"),
    Check("region", access.region),
    Check("addressing", access.addressing),
    Check("Range", reading.ranges),
    Check("suffix range", reading.suffix_range),
    Check("HEAD", reading.head),
    Check("If-Match", validators.if_match),
    Check("If-None-Match", validators.if_none_match),
    Check("ETag", validators.etag),
    Check("dates", validators.dates),
    Check("content type", reading.content_type),
    Check("missing key", reading.missing),
    Check("odd keys", reading.escapes),
    Check("anonymous", browsers.anonymous),
    Check("presigned", browsers.presigned),
    Check("CORS", browsers.cors),
    Check("edge cache", browsers.edge),
    Check("first byte", speed.first_byte),
    Check("throughput", speed.throughput),
    Check("at once", speed.concurrency),
)
WRITING = Check("writing", writing, times=2.0)


@dataclass(frozen=True, slots=True)
class Result:
    check: str
    finding: Finding


def chosen(*, write: bool) -> Sequence[Check]:
    return (*CHECKS, WRITING) if write else CHECKS


async def examine(
    patient: Patient,
    checks: Sequence[Check],
    limit: float,
    tell: Callable[[str], Any] = lambda _: None,
) -> list[Result]:
    """:param limit: seconds for each check. :param tell: is given each check's name before it."""
    clock = asyncio.get_running_loop().time
    end = clock() + MOST_SECONDS
    results: list[Result] = []
    failed: set[str] = set()
    for check in checks:
        tell(check.name)
        if check.needs in failed:
            failed.add(check.name)
            finding = skipped(f"not asked: see {check.needs}")
        elif clock() >= end:
            finding = skipped(f"not asked: {MOST_SECONDS:g} s are over")
        else:
            finding = await examined(check, patient, min(limit * check.times, end - clock()))
            if finding.state is State.PROBLEM:
                failed.add(check.name)
        results.append(Result(check.name, finding))
    return results


async def examined(check: Check, patient: Patient, limit: float) -> Finding:
    try:
        async with asyncio.timeout(limit):
            finding = await check.run(patient)
            return replace(finding, hint=finding.hint.replace("<name>", patient.name))
    except (TimeoutError, UpstreamTimeout):
        return problem(f"no answer in {limit:g} s", SLOW_HINT)
    except Failing as error:
        return refusal(error.heard, "it fails each time")
    except EdgecacheError as error:
        hint = error.hint or "the network, or what stands before the store: try again"
        return problem(error.message, hint)

"""A patient for the doctor: an origin as RunPod's, and the checks that a test wants of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edgecache.config import Origin
from edgecache.config_fetch import Fetch
from edgecache.doctor.checkup import CHECKS, WRITING, Check, examine
from edgecache.doctor.finding import Finding
from edgecache.doctor.patient import Patient
from tests.pattern import Pattern
from tests.runpod import RunPodOrigin

CLIP = "outputs/clip.mp4"
FETCH = Fetch(connect_timeout=1, first_byte_timeout=5, stall_timeout=5, connections=16)
BEFORE = ("DNS", "TCP", "TLS", "listing", "read")


def fill(origin: RunPodOrigin) -> None:
    """Objects of four kinds, and a listing."""
    origin.quirks.lists = True
    origin.put(CLIP, Pattern(300_000), headers={"Content-Type": "video/mp4"})
    origin.put("outputs/poster.webp", Pattern(4_000))
    origin.put("outputs/run.json", b'{"seed": 1}')
    origin.put("private/model.bin", b"weights")


@asynccontextmanager
async def patient_of(
    origin: RunPodOrigin, *, key: str = "", fetch: Fetch = FETCH, **settings: Any
) -> AsyncIterator[Patient]:
    patient = Patient(
        name="main",
        origin=Origin.model_validate(origin.settings | settings),
        fetch=fetch,
        public=("outputs/",),
        key=key,
    )
    try:
        yield patient
    finally:
        await patient.close()


async def examined(patient: Patient, *names: str, limit: float = 5.0) -> dict[str, Finding]:
    """These checks, and before them what they need."""
    wanted: list[Check] = [one for one in (*CHECKS, WRITING) if one.name in (*BEFORE, *names)]
    return {one.check: one.finding for one in await examine(patient, wanted, limit)}


async def found(origin: RunPodOrigin, name: str, **settings: Any) -> Finding:
    async with patient_of(origin, **settings) as patient:
        return (await examined(patient, name))[name]

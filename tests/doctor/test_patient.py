"""Which objects stand for the others."""

from edgecache.core.ranges import IntRange
from edgecache.doctor.patient import Listed
from tests.doctoring import CLIP, patient_of
from tests.runpod import RunPodOrigin


async def test_one_of_each_kind_and_the_key_first(store: RunPodOrigin) -> None:
    async with patient_of(store, key="a.png") as patient:
        listed = ["b.png", "c=d.webp", "c.mp4", "d.mp4", "e"]
        patient.listed = [Listed(key, 10 + n) for n, key in enumerate(listed)]
        assert [one.key for one in patient.samples] == ["a.png", "c.mp4", "e"]
        assert patient.largest.key == "e"


async def test_what_is_set_is_not_forgotten(store: RunPodOrigin) -> None:
    async with patient_of(store, path_safe="=", connections=3) as patient:
        assert (patient.learnt.path_safe, patient.learnt.connections) == ("=", 3)


async def test_it_is_read_as_serving_reads(store: RunPodOrigin) -> None:
    async with patient_of(store) as patient:
        found, body = await patient.get(CLIP, IntRange(0, 9))
        assert (found.status, len(await body.read())) == (206, 10)
        body.close()
        assert patient.probe.requests == 1

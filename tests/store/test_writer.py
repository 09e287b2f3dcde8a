import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from edgecache.core.errors import StoreError
from edgecache.store.folder import SliceFolder
from edgecache.store.writer import BATCH, StoreWriter
from tests.slices import SIZE, slice_files, sliced
from tests.waiting import until

CLIP = sliced(length=100 * SIZE)


class Wired:
    """A writer, what it was wired to, and a switch that makes the folder fail."""

    def __init__(self, directory: Path) -> None:
        self.folder = SliceFolder(directory, limit=2**30, slice_size=SIZE)
        self.slices: set[str] = set()
        self.attached = 0
        self.writer = StoreWriter(
            self.folder, is_slice=self.slices.__contains__, attach=self.attach
        )
        self.writer.interval = 0.0

    async def attach(self) -> None:
        await self.writer.change(self.folder.attach)
        self.attached += 1

    async def write(self, count: int) -> dict[str, int]:
        for number in range(count):
            await self.writer.change(
                self.folder.write, (), CLIP.key(number), CLIP.meta, CLIP.data(number)
            )
        return {self.folder.files.name(CLIP.key(number)): 100 for number in range(count)}


@pytest.fixture
async def wired(tmp_path: Path) -> AsyncIterator[Wired]:
    wired = Wired(tmp_path)
    await wired.attach()
    yield wired
    await wired.writer.close()


def fail() -> None:
    raise StoreError("Input/output error")


async def test_changes_are_done_in_the_order_in_which_they_were_asked_for(wired: Wired) -> None:
    done: list[int] = []
    gate = threading.Event()
    wired.writer.change(gate.wait, 10)
    changes = [wired.writer.change(done.append, number) for number in range(50)]
    assert done == []
    gate.set()
    await asyncio.wait(changes)
    assert done == list(range(50))


async def test_changes_under_way_take_some_room(wired: Wired) -> None:
    before = wired.writer.reserve
    changes = [wired.writer.change(int) for _ in range(3)]
    assert wired.writer.reserve > before
    await asyncio.wait(changes)
    assert wired.writer.reserve == before


async def test_trouble_is_known_until_the_folder_works_again(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    probed = 0
    probe = wired.folder.probe

    def fail_twice() -> None:
        nonlocal probed
        probed += 1
        fail() if probed <= 2 else probe()

    monkeypatch.setattr(wired.folder, "probe", fail_twice)
    with pytest.raises(StoreError):
        await wired.writer.change(fail)
    assert wired.writer.trouble == "Input/output error"
    await until(lambda: not wired.writer.trouble)
    assert probed == 3


async def test_trouble_is_logged_when_it_begins_and_when_it_ends(
    wired: Wired, caplog: pytest.LogCaptureFixture
) -> None:
    """Not with every change that fails meanwhile."""
    wired.writer.interval = 1000.0
    for _ in range(5):
        with pytest.raises(StoreError):
            await wired.writer.change(fail)
    await wired.writer.probe()
    await wired.writer.probe()
    assert [record.getMessage() for record in caplog.records] == [
        "store trouble error=Input/output error",
        "store trouble over error=Input/output error",
    ]


async def test_a_lost_index_is_replaced_by_the_watch(wired: Wired) -> None:
    def lose() -> None:
        wired.folder.index._lost = True
        fail()

    with pytest.raises(StoreError):
        await wired.writer.change(lose)
    await until(lambda: not wired.writer.trouble)
    assert wired.attached == 2
    assert wired.folder.usable


async def test_all_that_has_to_go_goes_in_batches(wired: Wired) -> None:
    files = await wired.write(2 * BATCH + 1)
    wired.writer.sweep(files)
    assert wired.writer.unswept == 100 * len(files)
    await until(lambda: not wired.writer.unswept)
    assert slice_files(wired.folder._directory) == []


async def test_what_became_a_slice_again_stays(wired: Wired) -> None:
    files = await wired.write(2)
    kept = next(iter(files))
    wired.slices.add(kept)
    wired.writer.sweep(files)
    await until(lambda: not wired.writer.unswept)
    assert [path.name for path in slice_files(wired.folder._directory)] == [Path(kept).name]


async def test_what_could_not_be_removed_counts_and_is_tried_again(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = await wired.write(3)
    reserve = wired.writer.reserve
    seen: list[int] = []
    remove = wired.folder.remove

    def fail_twice(names: list[str], is_slice: Callable[[str], bool]) -> None:
        seen.append(wired.writer.reserve)
        fail() if len(seen) <= 2 else remove(names, is_slice)

    monkeypatch.setattr(wired.folder, "remove", fail_twice)
    wired.writer.sweep(files)
    await until(lambda: not wired.writer.unswept)
    assert len(seen) == 3
    assert min(seen) >= reserve + 300
    assert slice_files(wired.folder._directory) == []


async def test_what_goes_once_more_while_its_removal_is_under_way_is_removed(wired: Wired) -> None:
    """The thread found it a slice again, and it is none any more before the loop hears of it."""
    files = await wired.write(1)
    judged, gate = threading.Event(), threading.Event()

    def was_slice(_: str) -> bool:
        was = not judged.is_set()
        judged.set()
        assert gate.wait(10)
        return was

    wired.writer._is_slice = was_slice
    wired.writer.sweep(files)
    await until(judged.is_set)
    assert wired.writer.unswept == 100
    assert wired.writer.take() == {}
    wired.writer.sweep(files)
    assert wired.writer.unswept == 200  # the file that there was, and that of the slice again
    gate.set()
    await until(lambda: not wired.writer.unswept)
    assert slice_files(wired.folder._directory) == []


async def test_what_is_no_slice_is_found_and_swept(wired: Wired) -> None:
    names = list(await wired.write(3))
    wired.slices.add(names[1])
    wired.writer.look(wired.folder.files.prepare())
    await wired.writer.looked(10.0)
    await until(lambda: not wired.writer.unswept)
    assert [path.name for path in slice_files(wired.folder._directory)] == [Path(names[1]).name]


async def test_as_long_as_not_all_was_seen_it_is_looked_for(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def fail_twice(place: str, _is_slice: Callable[[str], bool]) -> dict[str, int]:
        seen.append(place)
        assert wired.writer.is_looking == (len(seen) != 4)  # only what failed is left
        if len(seen) == 4:  # the folder was opened anew meanwhile
            wired.writer.look(["e", "f"])
        if len(seen) in (1, 2):
            fail()
        return {}

    monkeypatch.setattr(wired.folder, "strays", fail_twice)
    wired.writer.look(["a", "b", "c"])
    await wired.writer.looked(10.0)
    assert seen == ["c", "b", "a", "c", "f", "e"]


async def test_one_folder_that_cannot_be_looked_into_holds_up_nobody(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def fail_for_long(place: str, _is_slice: Callable[[str], bool]) -> dict[str, int]:
        seen.append(place)
        if place == "c" and len(seen) < 20:
            fail()
        return {}

    monkeypatch.setattr(wired.folder, "strays", fail_for_long)
    wired.writer.interval = 0.001
    wired.writer.look(["a", "b", "c"])
    await until(lambda: not wired.writer.is_looking)
    assert wired.writer._unseen == ["c"]
    await until(lambda: not wired.writer._unseen)
    assert seen[:4] == ["c", "b", "a", "c"]
    assert len(seen) == 20


async def test_who_waits_for_it_waits_no_longer_than_that(
    wired: Wired, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    def wait(*_: object) -> dict[str, int]:
        assert gate.wait(10)
        return {}

    monkeypatch.setattr(wired.folder, "strays", wait)
    wired.writer.look(["a"])
    await wired.writer.looked(0.0)
    assert wired.writer.is_looking
    gate.set()
    await until(lambda: not wired.writer.is_looking)


async def test_a_writer_may_take_what_has_to_go(wired: Wired) -> None:
    files = await wired.write(3)
    again = next(iter(files))
    wired.slices.add(again)
    wired.writer.sweep(files)
    assert wired.writer.take() == {name: 100 for name in files if name != again}
    assert wired.writer.unswept == 0
    assert wired.writer.take() == {}


async def test_closing_waits_for_what_was_asked_for(tmp_path: Path) -> None:
    wired = Wired(tmp_path)
    await wired.attach()
    done: list[int] = []
    changes = [wired.writer.change(done.append, number) for number in range(10)]
    await wired.writer.close()
    assert done == list(range(10))
    assert all(change.done() for change in changes)


async def test_closing_ends_the_watch(tmp_path: Path) -> None:
    wired = Wired(tmp_path)
    wired.writer.interval = 1000.0
    with pytest.raises(StoreError):
        await wired.writer.change(fail)
    await wired.writer.close()
    assert len(wired.writer._tasks) == 0

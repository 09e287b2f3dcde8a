"""SIGKILL at any moment: what was acknowledged is there, what was not is no wrong byte."""

import random
import subprocess
import sys
from pathlib import Path

from edgecache.store.disk import DiskStore
from tests.slices import SIZE, disk_use, slice_files
from tests.store.support import CLIP, Make
from tests.store.test_disk import read
from tests.waiting import until

LIMIT = 6 * 2**20
ROOT = Path(__file__).parent.parent.parent

CHILD = f"""
import asyncio, itertools, sys
from pathlib import Path
from edgecache.store.disk import DiskStore
from tests.store.support import CLIP
from tests.store.test_disk import put

async def main():
    store = DiskStore(Path(sys.argv[1]), limit={LIMIT}, slice_size={SIZE})
    await store.start()
    for number in itertools.count(int(sys.argv[2])):
        assert await put(store, CLIP, number)
        print(number, flush=True)

asyncio.run(main())
"""


def put_until_killed(directory: Path, first: int, count: int) -> int:
    """Let a process put slices from `first` on, and kill it after `count` of them; the last."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(directory), str(first)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
    )
    assert child.stdout is not None
    number = first - 1
    for line, _ in zip(child.stdout, range(count), strict=False):
        number = int(line)
    child.kill()
    acknowledged = [int(line) for line in child.stdout.read().split("\n")[:-1]]
    child.stdout.close()
    child.wait()
    return max(acknowledged, default=number)


async def verify(store: DiskStore, last: int) -> None:
    """All is as it was put. What was being evicted, of the older half, may be without its file."""
    kept = [number for number in range(last + 2) if store.has(CLIP.key(number))]
    assert last in kept
    for place, number in enumerate(kept):
        evicted = None if place < len(kept) // 2 else CLIP.data(number)
        assert await read(store, CLIP, number) in (CLIP.data(number), evicted)


async def test_what_was_acknowledged_survives_a_kill(make: Make, directory: Path) -> None:
    first = 0
    for count in random.Random(0).choices(range(1, 120), k=4):
        last = put_until_killed(directory, first, count)
        assert disk_use(directory) <= LIMIT
        store = make(limit=LIMIT)
        await store.start()
        await verify(store, last)
        await until(lambda: len(slice_files(directory)) == store.slices)  # noqa: B023
        await store.close()
        first = last + 1

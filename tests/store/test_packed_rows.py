"""A start whose rows another process reads; that it takes less time is `benchmarks.start`'s."""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgecache.core.ledger import Ledger
from edgecache.core.policies import make_policy
from edgecache.core.policy import Loaded
from edgecache.store import folder as module
from edgecache.store import packed_rows
from edgecache.store.files import SliceFiles
from edgecache.store.folder import SliceFolder
from edgecache.store.index_rows import SELECT_SLICES
from edgecache.store.packed_rows import NotRead, blocks, main, packed_slices
from tests.slices import SIZE, sliced
from tests.store.indexes import sql

CLIP = sliced(length=4 * SIZE)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Of four slices, used differently; a server has it open, as the one that starts does."""
    folder = SliceFolder(tmp_path / "cache", limit=2**30, slice_size=SIZE)
    folder.attach()
    for number in (2, 0, 1, 3):
        folder.write((), CLIP.key(number), CLIP.meta, CLIP.data(number))
    names = [folder.files.name(CLIP.key(number)) for number in range(3)]
    folder.remember([(3, 17.5, names[0]), (15, -1.0, names[1]), (1 << 30, 1e12, names[2])], 2.5)
    yield tmp_path / "cache"
    folder.close()


def slices_here(directory: Path) -> list[Loaded]:
    """As this process reads them."""
    with closing(sqlite3.connect(directory / "cache.db")) as connection:
        return list(SliceFiles(directory, SIZE).slices(connection.execute(SELECT_SLICES), []))


def test_another_process_gives_the_same_slices(directory: Path) -> None:
    found = list(packed_slices(directory, SIZE))
    assert len(found) == 4
    assert found == slices_here(directory)


def test_they_come_in_blocks(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed_rows, "BLOCK", 3)
    assert [len(block) for block in blocks(directory, SIZE)] == [
        3 * packed_rows.RECORD.size,
        packed_rows.RECORD.size,
    ]
    assert list(packed_slices(directory, SIZE)) == slices_here(directory)


def test_what_runs_there_writes_all_of_it(
    directory: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    main(str(directory), str(SIZE))
    assert capfdbinary.readouterr().out == b"".join(blocks(directory, SIZE))


@pytest.mark.parametrize(
    "command",
    [
        ("/no/such/program",),
        (sys.executable, "-c", "raise SystemExit(3)"),
        (sys.executable, "-c", "print('half a record')"),
        (sys.executable, "-c", "import os; os.write(1, bytes(40)); os.kill(os.getpid(), 9)"),
    ],
    ids=["not there", "fails", "torn", "killed"],
)
def test_a_process_that_fails_is_told(directory: Path, command: tuple[str, ...]) -> None:
    with pytest.raises(NotRead):
        list(packed_slices(directory, SIZE, command))


def test_slices_of_another_tree_are_not_lost(directory: Path) -> None:
    """Their names are wanted: the files go."""
    with pytest.raises(NotRead, match="another tree"):
        list(blocks(directory, 2 * SIZE))
    with pytest.raises(NotRead, match="exit status 1"):
        list(packed_slices(directory, 2 * SIZE))


def test_an_index_that_cannot_be_read_is_told(directory: Path) -> None:
    sql(directory, "DROP TABLE Cache")
    with pytest.raises(NotRead):
        list(packed_slices(directory, SIZE))


@pytest.mark.parametrize("works", [True, False], ids=["there", "here"])
def test_a_start_reads_many_rows_there_and_all_of_them_here_if_that_fails(
    directory: Path, monkeypatch: pytest.MonkeyPatch, works: bool
) -> None:
    asked = []

    def packed(directory: Path, slice_size: int) -> Iterator[Loaded]:
        asked.append(directory)
        slices = packed_slices(directory, slice_size)
        yield next(slices)
        if not works:
            raise NotRead("after one of them")
        yield from slices

    monkeypatch.setattr(module, "MANY", 4)
    monkeypatch.setattr(module, "packed_slices", packed)
    (directory / "lock").unlink()  # the fixture's server lets go
    folder = SliceFolder(directory, limit=2**30, slice_size=SIZE)
    ledger = Ledger(make_policy("lfuda"), spare=0)
    assert folder.attach(ledger.load).slices == 4
    folder.close()
    assert asked == [directory]
    assert len(ledger) == 4
    assert ledger.popularity(CLIP.key(0)) == (3, 17.5)
    assert ledger.has_half(CLIP.meta.version, 1, 8)
    assert not ledger.has_half(CLIP.meta.version, 1, 9)

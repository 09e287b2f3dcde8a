"""A folder as bytes: one object of one slice, as edgecache left it. That a format has changed, this
tells; it may cost no more than misses.
"""

import sqlite3
import zlib
from base64 import b64decode
from dataclasses import replace
from pathlib import Path

import pytest

from edgecache.core.model import SliceKey
from edgecache.store.disk import DiskStore
from tests.slices import SIZE, Removals, meta_of, slice_files
from tests.store.support import Make, plant
from tests.waiting import until

META = replace(meta_of("outputs/Zürich 1.mp4", length=9), etag='"e1"')
DATA = b"edgecache"
KEY = SliceKey("9f52f1afc9177bc1948dc3f8490fdb3e", 0)
NAME = "v1-65536/9f/9f52f1afc9177bc1948dc3f8490fdb3e-0"
SLICE = (
    b"ECSLICE\n\x01\x00\x06\x00\x15\x00\x04\x00"
    b"\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    b"\x09\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00"
    b"\x57\x45\x6f\xa5\xf6\xed\x59\xac"
    b'runpodoutputs/Z\xc3\xbcrich 1.mp4"e1"edgecache'
)
RESPONSE = (
    '1 16035a930b165697 {"key":["runpod","outputs/Z\\u00fcrich 1.mp4"],"etag":"\\"e1\\"",'
    '"origin_etag":"\\"v1\\"","length":9,"last_modified":1700000000,"date":1750000000,'
    '"request_time":1750000000.25,"response_time":1750000000.5,'
    '"headers":[["content-type","video/mp4"]]}'
)
# key, raw, expire_time, tag, size, mode, filename, value: of the columns that diskcache gives rows,
# those that are no times or counts of use.
ROWS = [
    ("meta:runpod\noutputs/Zürich 1.mp4", 1, None, KEY.version, 0, 1, None, RESPONSE),
    (NAME, 1, None, None, len(SLICE), 2, NAME, None),
]
# The SQLite file with these rows.
DATABASE = """
eNrt3E1sG8cVAOCZHYrkyuKObUWmjUDweBGjFkxJpGlKltoglqW1o5SmYpqC8+OAXi+H1ETkLs1dSlGKFLVb9Fqghx56
KwIUaA89FUhRBO0hhwLtpYeeekrQQ3rtpU2BAunMcknRlmzZiJHEwfugXZEzwzdvdleHmV3x+rWiCDire52WHbA8Oow0
DV1kDCGUkJuOdo3JLRa9VuUYHSyBZhycop+hMf1FRO/QPxkNYzz1+1Rj7NOx7KGd0T/on8kKAAAAAIBnxd0LY4nnC+nk
vdmgIxoN3rnOg0C4Db/qi3d5tcabPODLtrPBl8vWUsVilfLqlStWme3Xji1drsiqFatoyZZrJRZ+kF1eKzNrafllVl67
wS5ZV1ZLbP3VFRWsH4Rdtypsy252OXsx+j3N1oorMyo4u/GyVbbYJt+RlaYqMb/NrNLK3eVDvdStfVPvtmv246Teaxel
HuX1xVI/y0rWjV7qjzGKC6OPOgHC9XknOHgUvXbRKFZL161y5emN4mGpn9cTz8/L1E8/mLrjdd3gcS6e4YZP9+rJ3Z91
2FE/7eQj036MQz7c8Oke84en/f1EIn06je9eFW6NvxN2UvWbwuF++FqPcl0trVivseHq3ZzO+IHX4dVAtHhG9ZBh6mRm
WMfezrCWV+NTUe+yQPaeY0ullbBcvjl3LR5Pn01jb6j7wG5UO962qIVvk/tkMGgxSOKMLJI9qrKpGyPx9Gwabw+F5O+0
RZRiWJDYJ+hQm6GxDZVOlWPx9LfSuDsUWA63KocVvolHQddLq9fW748dNdtNNzxMsmTqXoIk0uk0/mErsG83o8ta7Ub6
V8nSpaLVz6Y3Qhm6Yqkr59Xy6tWl8uvsu9br4ZFnl4prl8K4/SbyXAxODpMBixk2PM5eie3I8+nvUxJeJ4PeVqzLS+vF
CstmmDzaUV/hX/I+LcLzu095XTS5a8uOKtZrlUx0gapQUxUcT09O4vfC49C/mvu/yX1HY3CtnwlHrUKx0prc1ovF6PBH
oadmtXh6eRKj8Jz5d5pyTl+1u0HveqsO/vRy/VdqHp9E/Un8o3cAAAAAAAAAAAB4xqXkdtT4GaL/ov+gf6G/o7+iP6Xv
0ip9hebpCeNz42Pjj8ZvjV8bv5CNAAAAAAAAAACAp0o/Sk4kW8L3uZ84QiaSGyLwk4fJBFb34W/plKRxeNNeO2mQl0h0
v/ttr9tx7WbvkZ6maIkghtBkiryEowbbslLdFHc2uLPZ9oQbXDw+Rgq4JvzNals4m01ebXc82cBrjhw/RHIkrGkJt6ru
54eB0Q/QxCjJ6VFIf8d1Njqe63X9cZ1MJ6PiVstuh81PJEl+/IH81DMDMpVjCTKrRVVO74kT+YEkmojvhlfZVrdsp9tt
pUbIqaTTbTZ7QzsSI6diuyO9KA/aMULOTvAt4QTCc6ttrymcHddz+ZhGTurqWZLwYYAUlnH8wA6EHwjHHw3n/79B9N/0
U/pX+gF9n/6c/oT+mG7TW/QVeo4+Z3xu/NP4s/GhbAQAAAAAAAAAAHwpUuQkHsxktRQ5pe/OZCcfNdFPHSM5vHfOPvoc
mcYPztn1oUh71xSMNMnjfWb0yQkyi/dM5xND/Q5N5uMGOYWH1imS0dLG4VFyAvfWPY6qMrXucWScnMUPTOvJ8YcsW4yp
/vauWhxS/e0uHozo/QUUqu7/a8YMMt6XOwAAAAAAAAAAIORrKST0GIolEcYCbeWm5wqF/NzsQl3+FM7Vc3bdWcjNz992
cgvnL9ScfP3C+YVsvXY7z6ezG6VP7qntlvZkn7v3BjbQWtjr1aSOfjTe4oG92Om6ba826nWDdjfwZ9/46MOOcDZYbqbV
Pi97uau2g2LnWG4umy/YC/ns7dxcYW5hnn3P3OQ75uKbZi++mTEHPdzsZrN1Z7cX862MKTNpmIvmTZPnbpqqcUc05MR7
ULzVK25ytxFsmIsL8qXtB2rBQNQFr5mLuflsJGOqr1JRJYVBSYff6XLZXn1nwXDNzLmCqvTbnuvzvbWycoPbNd7x5Uje
NB3PDbgbTAc7bS6T2RI17s2GA3jrPXX/X6O/RPTvcgcAAAAAAAAAAICvUD4mdPxkqyba6diarh+4VNKb//8H0f/JHQAA
AAAAAAAAAL5JYgRhjRCk9+b/f0P0v3IHAAAAAAAAAACAZ8YLsau6ftATAvEYwljT1Pwf04+Q/AEAAAAAAAAAAMDX13cS
MYF1jNV3KzzZ/wjc0rT/A64C8mc=
"""


def leave(directory: Path) -> None:
    """The folder, as if it had just been closed."""
    file = directory / NAME
    file.parent.mkdir(parents=True)
    file.write_bytes(SLICE)
    (directory / "cache.db").write_bytes(zlib.decompress(b64decode(DATABASE)))


async def read(store: DiskStore) -> bytes | None:
    opened = await store.open(KEY, META)
    return None if opened is None else bytes(await opened.read(0, opened.length))


async def test_what_was_stored_is_found(make: Make, directory: Path, removals: Removals) -> None:
    leave(directory)
    store = make()
    await store.start()
    assert (store.trouble(), store.slices) == ("", 1)
    assert await store.load_meta(META.key) == META
    assert META.version == KEY.version
    assert await read(store) == DATA
    assert removals.seen == []
    await store.close()


async def test_what_is_stored_now_is_the_same(
    store: DiskStore, directory: Path, tmp_path: Path
) -> None:
    assert await store.save_meta(META)
    assert await store.put(KEY, META, DATA)
    await store.close()
    (file,) = slice_files(directory)
    assert (str(file.relative_to(directory)), file.read_bytes()) == (NAME, SLICE)
    leave(tmp_path / "golden")
    assert rows(directory) == rows(tmp_path / "golden") == ROWS


def rows(directory: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(directory / "cache.db")
    columns = "key, raw, expire_time, tag, size, mode, filename, value"
    found = connection.execute(f"SELECT {columns} FROM Cache ORDER BY rowid").fetchall()
    connection.close()
    return found


@pytest.mark.parametrize("tree", ["v0-65536", "v2-65536", "v1-32768", "v1-1048576"])
async def test_slices_of_another_format_or_size_are_misses_and_go(
    make: Make, directory: Path, removals: Removals, tree: str
) -> None:
    leave(directory)
    (directory / "v1-65536").rename(directory / tree)
    plant(directory, "UPDATE Cache SET key = replace(key, 'v1-65536', ?)", tree)
    store = make()
    await store.start()
    assert (store.trouble(), store.slices) == ("", 0)
    assert await read(store) is None
    assert await store.load_meta(META.key) == META
    await until(lambda: not slice_files(directory))
    assert await store.put(KEY, META, DATA)
    assert await read(store) == DATA
    assert removals.seen == []
    await store.close()
    assert [row[0] for row in rows(directory)] == [ROWS[0][0], NAME]


async def test_a_slice_with_a_header_of_another_format_is_a_miss(
    make: Make, directory: Path
) -> None:
    leave(directory)
    (directory / NAME).write_bytes(SLICE[:8] + b"\x02" + SLICE[9:])
    store = make()
    await store.start()
    assert await read(store) is None
    assert await store.put(KEY, META, DATA)
    assert await read(store) == DATA
    await store.close()


async def test_a_stored_response_of_another_format_is_a_miss(make: Make, directory: Path) -> None:
    leave(directory)
    plant(directory, "UPDATE Cache SET value = '2' || substr(value, 2) WHERE mode = 1")
    store = make()
    await store.start()
    assert store.trouble() == ""
    assert await store.load_meta(META.key) is None
    assert await store.save_meta(META)
    assert await store.load_meta(META.key) == META
    await store.close()


@pytest.mark.parametrize("size", [SIZE // 2, SIZE * 2])
async def test_another_slice_size_in_the_config_is_a_miss(
    make: Make, directory: Path, size: int
) -> None:
    leave(directory)
    store = make(slice_size=size)
    await store.start()
    assert await read(store) is None
    assert await store.put(KEY, META, DATA)
    assert await read(store) == DATA
    await until(lambda: len(slice_files(directory)) == 1)
    await store.close()

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
NAME = "v2-65536/9f/9f52f1afc9177bc1948dc3f8490fdb3e-0"
SLICE = (
    b"ECSLICE\n\x02\x00\x06\x00\x15\x00\x04\x00"
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
eNrt3E1sG8cVAOCZHYrkyuKObUWmjUDweBGjFkxJpGhKltoglqW1o5SmYpqC8+OAXi+H1FTkLs1dSlGKFLVb9Fqghx56KwIUaA89
FUhRBO0hhwLNJYeccmrRQ3rtpU2BAunMcknRlmzZqNHWxfugXZEzwzdvdleHmV3xxvWiCDire52WHbA8Ooo0DV1iDCGUkJuO9ozJ
LRa9VuUYHS6BZhycol+iMf1lRO/S3xsNYzz1m1Rj7Iux7JHd0d/qX8oKAAAAAIDnxb2LY4kXC+nk/dmgIxoN3rnBg0C4Db/qi/d4
tcabPOArtrPJV8rWcsVilfLa1atWmR3Uji1fqciqVatoyZbrJRZ+kF1ZLzNreeVVVl6/yS5bV9dKbOP1VRWsH4TdsCps2252OXs5
+j3N1ourMyo4u/mqVbbYFt+VlaYqMb/OrNLqvZUjvdStA1Pvtmv2k6TeaxelHuX176V+npWsm73Un2AUF0cfdwKE6/NOcPgoeu2i
UayVbljlyrMbxaNSv6AnXlyQqZ99OHXH67rBk1w8ww2f7dWTezDrsKN+2snHpv0Eh3y44bM95o9O+zuJRPpsGt+7JtwafzfspOo3
hcP98LUe5bpWWrXeYMPVezmd8wOvw6uBaPGM6iHD1MnMsI69k2Etr8anot5lgew9x5ZLq2G5fDN3PR5Pn09jb6j7wG5UO96OqIVv
kwdkMGgxSOKcLJI9qrKpmyPx9Gwa7wyF5O+2RZRiWJA4IOhQm6GxDZVOlWPx9NfSuDsUWA63KocVvolHQTdKa9c3HowdNdtLNzxM
smTqfoIk0uk0/l4rsO80o8ta7Ub6V8ny5aLVz6Y3Qhm6Yqkr5/Xy2rXl8pvsm9ab4ZFnl4vrl8O4/SbyXAxODpMBixk2PM5eie3I
8+kfUBJeJ4PeVq0ryxvFCstmmDzaUV/hX/IBLcLze0B5XTS5a8uOKtYblUx0gapQUxUcT09O4vfD49C/mvu/yQNHY3CtnwtHrUKx
0rrcNorF6PBHoadmtXh6ZRKj8Jz5d5tyTl+1u0HveqsO/vRy/VdqHp9E/Un843cAAAAAAAAAAAB4zqXkdtz4MaJ/pX+mn9Bf05/T
H9H3aJW+RvP0lPGV8Ufjd8avjF8YP5WNAAAAAAAAAACAZ0o/Tk4lW8L3uZ84RiaSmyLwk0fJBFb34W/rlKRxeNNeO22QV0h0v/tb
Xrfj2s3eIz1N0RJBDKHJFHkFRw12ZKW6Ke5scmer7Qk3uHRyjBRwTfhb1bZwtpq82u54soHXHDl5hORIWNMSblXdzw8Do++iiVGS
06OQ/q7rbHY81+v64zqZTkbFrZbdDpufSpL8+EP5qWcGZConEmRWi6qc3hMn8gNJNBHfC6+yrW7bTrfbSo2QM0mn22z2hnYsRs7E
9kZ6SR60E4Scn+DbwgmE51bbXlM4u67n8jGNnNbVsyThwwApLOP4gR0IPxCOPxrO/3+J6N/oF/RT+iH9gP6E/pD+gO7Q2/Q1Okdf
ML4y/mL8wfhINgIAAAAAAAAAAP4jUuQ0HsxktRQ5o+/NZCcfN9FPnSA5vH/OPvoCmcYPz9n1oUj71xSMNMnjA2b0yQkyi/dN5xND
/Q5N5uMGOYOH1imS0dLG0VFyCvfWPY6rMrXucWycnMcPTevJyUcsW4yp/vavWhxR/e0tHozo/QUUqu7/a8YMMj6QOwAAAAAAAAAA
IORrKST0GIolEcYCbc9NzxcK+fnZxbr8KczVc3bdWcwtLNxxcosXLtacfP3ihcVsvXYnz6ezm6U/3Vfbbe3pPnf/LWyg9bDXa0kd
fX+8xQN7qdN1215t1OsG7W7gz7718Ucd4Wyy3EyrfUH2ck9th8XOsdx8Nl+wF/PZO7n5wvziAvu2ucV3zaW3zV58M2MOerjVzWbr
zl4v5jsZU2bSMJfMWybP3TJV445oyIn3oHi7V9zkbiPYNJcW5UvbD9SCgagLXjOXcgvZSMZUX6WiSgqDkg6/2+WyvfrOguGambmC
qvTbnuvz/bWycpPbNd7x5UjeNh3PDbgbTAe7bS6T2RY17s2GA3jnfXX/X6M/Q/RzuQMAAAAAAAAAAMB/UT4mdPx0qyba2di6rh+6
VNKb//8d0X/KHQAAAAAAAAAAAP6fxAjCGiFI783/P0P0H3IHAAAAAAAAAACA58ZLsWu6ftgTAvEYwljT1Pwf04+R/AEAAAAAAAAA
AMD/rm8kYgLrGKvvVni6/xG4rWn/AmHh8ms=
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


@pytest.mark.parametrize("tree", ["v1-65536", "v3-65536", "v2-32768", "v2-1048576"])
async def test_slices_of_another_format_or_size_are_misses_and_go(
    make: Make, directory: Path, removals: Removals, tree: str
) -> None:
    leave(directory)
    (directory / "v2-65536").rename(directory / tree)
    plant(directory, "UPDATE Cache SET key = replace(key, 'v2-65536', ?)", tree)
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
    (directory / NAME).write_bytes(SLICE[:8] + b"\x01" + SLICE[9:])
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

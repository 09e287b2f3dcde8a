import sqlite3
from pathlib import Path

from edgecache.store.index import SliceIndex
from edgecache.store.index_rows import COUNT, COUNT_VERSIONS, SELECT_SLICES, SELECT_VERSIONS


def test_a_start_reads_no_stored_response(tmp_path: Path) -> None:
    """A million of them are some hundred megabytes."""
    index = SliceIndex(tmp_path, 2**30)
    index.open()
    assert index.other_versions(lambda _: False) == []
    connection = sqlite3.connect(tmp_path / "cache.db")
    for statement in (SELECT_SLICES, SELECT_VERSIONS, COUNT, COUNT_VERSIONS):
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
        assert len(plan) == 1
        assert "COVERING INDEX" in plan[0][-1]
    connection.close()
    index.close_reader()
    index.close()

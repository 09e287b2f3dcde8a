"""A start with very many slices: another process reads their rows. Most of such a start is Python's
work with each of them, and two processors share it.

Rule of this module: it is only faster. Whatever is not as usual, that process or the rows, is
`NotRead`, and all rows are read where they always are.
"""

import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice, starmap
from pathlib import Path

from edgecache.core.policy import Loaded
from edgecache.store.files import SliceFiles
from edgecache.store.index_files import DATABASE
from edgecache.store.index_rows import SELECT_SLICES

# Rows, with those of stored responses. Of fewer the time to start a process is too much.
MANY = 400_000
RECORD = struct.Struct("=20sIId")  # as `Loaded`
BLOCK = 500  # records
PIPE = 2**20  # bytes, what anybody may have: neither process waits for the other's pauses
# -P: what lies in the working directory is not imported.
COMMAND = (sys.executable, "-P", "-m", __name__)


class NotRead(Exception):
    """Not all slices came."""


def packed_slices(
    directory: Path, slice_size: int, command: tuple[str, ...] = COMMAND
) -> Iterator[Loaded]:
    """As `SliceFiles.slices` gives them.

    :raises NotRead: after some of them, or none.
    """
    whole = (*command, str(directory), str(slice_size))
    null = subprocess.DEVNULL
    try:
        with subprocess.Popen(  # noqa: S603  # this very program
            whole, stdin=null, stdout=subprocess.PIPE, stderr=null, pipesize=PIPE
        ) as process:
            while process.stdout and (block := process.stdout.read(BLOCK * RECORD.size)):
                yield from RECORD.iter_unpack(block)
    except (OSError, struct.error) as error:
        raise NotRead(f"{error}") from error
    if process.returncode:
        raise NotRead(f"exit status {process.returncode}")


def blocks(directory: Path, slice_size: int) -> Iterator[bytes]:
    """Of records.

    :raises NotRead: there is a row of a slice of another tree, whose name would be lost.
    """
    uri = f"{(directory / DATABASE[0]).absolute().as_uri()}?mode=ro"
    others: list[str] = []
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        rows = connection.execute(SELECT_SLICES)
        slices = SliceFiles(directory, slice_size).slices(rows, others)
        records = starmap(RECORD.pack, slices)
        while block := b"".join(islice(records, BLOCK)):
            yield block
    if others:
        raise NotRead("slices of another tree")


def main(directory: str, slice_size: str) -> None:
    with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as output:
        for block in blocks(Path(directory), int(slice_size)):
            left = memoryview(block)
            while left:
                left = left[output.write(left) :]


if __name__ == "__main__":
    main(*sys.argv[1:])

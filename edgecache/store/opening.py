"""Opens slices, each once however many ask for it. Rule: a slice is verified when it is opened, and
away from the event loop; what is wrong with it is the owner's to act on."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from edgecache.core.model import ObjectMeta, SliceKey
from edgecache.store.files import SliceFiles, WrongSlice
from edgecache.store.open_slice import DiskSlice, NoWait, OpenSlices

log = logging.getLogger("edgecache.store")

READERS = 4


class Openings:
    def __init__(
        self,
        files: SliceFiles,
        kept: OpenSlices,
        *,
        is_wanted: Callable[[SliceKey], bool],
        on_wrong: Callable[[SliceKey], None],
    ) -> None:
        """`is_wanted`: whether what was opened is to be kept; `on_wrong`: no such slice there, or
        one that is damaged; also when it turns out as it is read."""
        self._files = files
        self._kept = kept
        self._is_wanted = is_wanted
        self._on_wrong = on_wrong
        self._nowait = NoWait()
        self._threads = ThreadPoolExecutor(READERS, "edgecache-reader")
        self._opening: dict[SliceKey, asyncio.Future[DiskSlice]] = {}

    async def open(self, key: SliceKey, meta: ObjectMeta) -> DiskSlice | None:
        """The slice, which is then among those kept; None: it can't be opened, or is not wanted."""
        if (held := self._kept.held(key)) is not None:
            self._kept.keep(key, held)
            return held
        if (opening := self._opening.get(key)) is None:
            opening = asyncio.get_running_loop().run_in_executor(
                self._threads, self._open, key, meta
            )
            self._opening[key] = opening
            opening.add_done_callback(partial(self._end, key))
        await asyncio.wait([opening])
        # Of many that were opened at once those kept may be others by now.
        found = opening.exception() is None and self._is_wanted(key)
        return opening.result() if found else None

    def _open(self, key: SliceKey, meta: ObjectMeta) -> DiskSlice:
        opened = self._files.open(key, meta)
        return DiskSlice(opened, nowait=self._nowait, threads=self._threads)

    def _end(self, key: SliceKey, opening: asyncio.Future[DiskSlice]) -> None:
        del self._opening[key]
        match opening.exception():
            case None:
                if self._is_wanted(key):  # else nobody holds it any more
                    opened = opening.result()
                    opened.on_failure = partial(self._on_wrong, key)
                    self._kept.keep(key, opened)
            case WrongSlice():
                self._on_wrong(key)
            case error:
                log.debug("slice not opened error=%s", error)

    async def close(self) -> None:
        if self._opening:
            await asyncio.wait(self._opening.values())
        self._threads.shutdown(wait=False)

"""Opens slices, each once however many ask for it. Rule: a slice is verified when this process
opens it for the first time, away from the event loop where that would wait for the disk; what is
wrong is the owner's to act on.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from edgecache.core.model import ObjectMeta, SliceKey
from edgecache.store.files import OpenedFile, SliceFiles, WrongSlice
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
        on_wrong: Callable[[SliceKey, WrongSlice], None],
    ) -> None:
        """`is_wanted`: whether what was opened is to be kept; `on_wrong`: no such slice there, or
        one that is damaged or not read; also when it turns out as it is read."""
        self._files = files
        self._kept = kept
        self._is_wanted = is_wanted
        self._on_wrong = on_wrong
        self._nowait = NoWait()
        self._threads = ThreadPoolExecutor(READERS, "edgecache-reader")
        self._opening: dict[SliceKey, asyncio.Future[DiskSlice | None]] = {}

    async def open(self, key: SliceKey, meta: ObjectMeta) -> DiskSlice | None:
        """The slice, which is then among those kept; None: it can't be opened, or is not wanted."""
        if (held := self._kept.held(key)) is not None:
            self._kept.keep(key, held)
            return held
        if (file := self._files.reopen(key, meta)) is not None:
            return self._keep(key, file)
        opening = self._opening.get(key)
        try:
            if opening is None and (file := self._files.open_at_once(key, meta)) is not None:
                return self._keep(key, file)
        except WrongSlice as wrong:
            self._on_wrong(key, wrong)
            return None
        if opening is None:
            loop = asyncio.get_running_loop()
            verifying = loop.run_in_executor(self._threads, self._files.open, key, meta)
            opening = self._opening[key] = loop.create_future()
            verifying.add_done_callback(partial(self._end, key))
        await asyncio.wait([opening])
        return opening.result()  # of many that were opened at once those kept may be others by now

    def _end(self, key: SliceKey, verifying: asyncio.Future[OpenedFile]) -> None:
        opening = self._opening.pop(key)
        match verifying.exception():
            case None:
                opening.set_result(self._keep(key, verifying.result()))
            case WrongSlice() as wrong:
                opening.set_result(None)
                self._on_wrong(key, wrong)
            case error:
                opening.set_result(None)
                log.debug("slice not opened error=%s", error)

    def _keep(self, key: SliceKey, file: OpenedFile) -> DiskSlice | None:
        opened = DiskSlice(file, nowait=self._nowait, threads=self._threads)
        if not self._is_wanted(key):
            return None  # its last holder is this function
        opened.on_failure = partial(self._on_wrong, key)
        self._kept.keep(key, opened)
        return opened

    async def close(self) -> None:
        if self._opening:
            await asyncio.wait(self._opening.values())
        self._threads.shutdown(wait=False)

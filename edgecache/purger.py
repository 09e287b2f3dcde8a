"""Clears up behind the purges, and tells what one would take. Rule: a step at a time, with requests
between; a mark goes when nothing is left that it concerns, and what fails is tried again."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field

from edgecache.catalog import Catalog
from edgecache.core.errors import StoreError
from edgecache.core.marks import Mark, Target
from edgecache.metrics import Metrics
from edgecache.store import SliceStore, Step

log = logging.getLogger("edgecache.purge")

# Seconds between two looks for marks: of a disk that came back, or that could not be changed.
LOOK_EVERY = 5.0
# Keys that a dry run names.
MOST_NAMED = 20


@dataclass(slots=True)
class Survey:
    """Objects, the bytes of them that are stored, and the first keys."""

    objects: int = 0
    bytes: int = 0
    keys: list[str] = field(default_factory=list)


class Purger:
    def __init__(self, catalog: Catalog, store: SliceStore, metrics: Metrics) -> None:
        self.catalog = catalog
        self._store = store
        self._metrics = metrics
        self._woken = asyncio.Event()

    async def mark(self, target: Target, *, soft: bool) -> Mark:
        """As `Catalog.mark`."""
        try:
            return await self.catalog.mark(target, soft=soft)
        finally:
            self._woken.set()

    async def run(self) -> None:
        while True:
            self._woken.clear()
            for mark in self._store.marks:
                with suppress(StoreError):
                    await self._carry_out(mark)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._woken.wait()

    async def _carry_out(self, mark: Mark) -> None:
        """:raises StoreError: not to the end."""
        await self.catalog.tell(mark)
        began, objects, step = time.monotonic(), 0, Step([], "")
        while step.after is not None:
            step = await self._step(mark, step.after)
            for meta in step.metas:
                if not mark.soft:
                    self.catalog.discard(meta)
                    await asyncio.sleep(0)  # a large one takes a millisecond
            settled = await self._store.settle(mark, [meta.key for meta in step.metas])
            if settled is None:
                raise StoreError("the index cannot be written")
            objects += settled
            self._metrics.purged(settled, soft=mark.soft)
        if not await self._store.remove_mark(mark):
            raise StoreError("the index cannot be written")
        self._store.marks.remove(mark)
        log.info(
            "purge carried out number=%d kind=%s what=%.300r soft=%s objects=%d seconds=%.3f",
            *(mark.number, mark.target.kind, mark.target.text, mark.soft, objects),
            time.monotonic() - began,
        )

    async def _step(self, mark: Mark, after: str) -> Step:
        step = await self._store.step(mark, after)
        if step is None:
            raise StoreError("the index cannot be read")
        return step

    async def survey(self, target: Target) -> Survey:
        """What a purge would take now.

        :raises StoreError: the index can't be read.
        """
        mark = Mark(self._store.marks.last + 1, target)
        survey, step = Survey(), Step([], "")
        while step.after is not None:
            step = await self._step(mark, step.after)
            for meta in step.metas:
                if self._store.marks.judged(meta) is not None:
                    survey.objects += 1
                    survey.bytes += self.catalog.stored_bytes(meta)
                    if len(survey.keys) < MOST_NAMED:
                        survey.keys.append(meta.key.key)
        return survey

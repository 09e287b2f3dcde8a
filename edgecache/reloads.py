"""What became of configs that were read again. Rule: the process that reads them first keeps the
account; a child that can't go by one ends, and goes by it when it is forked anew.
"""

from edgecache.families import Families


class Reloads:
    """On the page of every process with these families; `begin` is for the one that counts."""

    def __init__(self, families: Families) -> None:
        self._ended = families.counters("config_reloads", "SIGHUPs by their outcome", ("result",))
        self._last = families.gauge(
            "config_last_reload_successful", "0 while the config in force is not the one on disk"
        )

    def begin(self) -> None:
        for result in ("ok", "failed"):
            self._ended.labels(result)
        self._last.inc()

    def ended(self, *, ok: bool) -> None:
        self._ended.labels("ok" if ok else "failed").inc()
        self._last.inc(ok - self._last.value)

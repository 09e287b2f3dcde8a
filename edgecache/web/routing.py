"""From the raw request target to the object and its route's settings, or a refusal."""

from functools import lru_cache
from urllib.parse import quote

from edgecache.config import Config
from edgecache.core.admission import Admission
from edgecache.core.errors import Forbidden
from edgecache.core.index import Route
from edgecache.core.keys import checked, is_public, resolve
from edgecache.core.model import ObjectKey

# Targets lately resolved: at most 4 kB each.
REMEMBERED = 4096


def admission(config: Config) -> Admission:
    only = next(iter(config.origins))
    return Admission(
        wear=config.cache.admit == "wear",
        max_object=config.cache.max_object,
        half=True,
        pins=tuple(
            ObjectKey(route.origin or only, prefix)
            for route in config.routes
            for prefix in route.pin
        ),
    )


class Router:
    """The longest `routes[].path` that begins the key's path decides."""

    def __init__(self, config: Config) -> None:
        only = next(iter(config.origins))
        self._public = config.access.public
        self.origins = tuple(config.origins)
        freshness = config.freshness
        self._buckets = {origin.bucket: name for name, origin in config.origins.items()}
        rules = [
            (
                route.path,
                route.origin or only,
                Route(
                    label=route.path,
                    ttl=freshness.ttl if route.ttl is None else route.ttl,
                    browser_ttl=route.browser_ttl,
                    tags=route.tags,
                    stale_while_revalidate=freshness.stale_while_revalidate,
                    stale_if_error=freshness.stale_if_error,
                ),
            )
            for route in config.routes
        ]
        self._rules = sorted(rules, key=lambda rule: len(rule[0]), reverse=True)
        self._default = (
            "/",
            only,
            Route(
                label="/",
                ttl=freshness.ttl,
                browser_ttl=365 * 86400.0,
                stale_while_revalidate=freshness.stale_while_revalidate,
                stale_if_error=freshness.stale_if_error,
            ),
        )
        self.resolve = lru_cache(REMEMBERED)(self._resolve)

    def target(self, key: ObjectKey) -> str:
        """A target that names the object, whatever its key looks like."""
        bucket = next(bucket for bucket, origin in self._buckets.items() if origin == key.origin)
        return f"/{bucket}/{quote(key.key, safe='')}"

    def _resolve(self, raw_path: str) -> tuple[ObjectKey, Route]:
        """:raises BadTarget: not an object's name; Forbidden: not public."""
        bucket, key = resolve(raw_path, self._buckets)
        if not self.is_public(key):
            raise Forbidden("this object is not public")
        return self.find(key, self._buckets[bucket] if bucket else None)

    def is_public(self, key: str) -> bool:
        return is_public(key, self._public)

    def locate(self, text: str) -> tuple[str, str | None]:
        """The key, and the origin if it is named, of a key or of a target as clients send it.

        :raises BadTarget: not an object's name.
        """
        if not text.startswith("/"):  # no key does
            return checked(text), None
        bucket, key = resolve(text, self._buckets)
        return key, self._buckets[bucket] if bucket else None

    def find(self, key: str, named: str | None = None) -> tuple[ObjectKey, Route]:
        """The object and its route, whoever may see it; `named` is an origin."""
        for path, origin, route in (*self._rules, self._default):
            if f"/{key}".startswith(path) and named in (None, origin):
                return ObjectKey(origin, key), route
        return ObjectKey(named or self._default[1], key), self._default[2]

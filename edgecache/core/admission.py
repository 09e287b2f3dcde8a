"""What may enter the cache, and what leaves it last, by the settings. Rule: of the object alone;
what depends on the other slices is the policy's to say.
"""

from dataclasses import dataclass

from edgecache.core.model import ObjectKey, ObjectMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    wear: bool = False  # the policy may pass a slice by, to spare the disk
    max_object: int | None = None  # bytes
    half: bool = False  # what has half of the cache drives nothing out of it
    pins: tuple[ObjectKey, ...] = ()  # origins with beginnings of keys

    def is_too_large(self, meta: ObjectMeta) -> bool:
        return self.max_object is not None and meta.length > self.max_object

    def is_pinned(self, key: ObjectKey) -> bool:
        return any(key.origin == pin.origin and key.key.startswith(pin.key) for pin in self.pins)


EVERYTHING = Admission()

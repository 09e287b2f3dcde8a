"""A stored response as one line of text: format, checksum, JSON.

Rule of this module: pure; what does not come back exactly as it went in is None, never a guess.
"""

import json
from dataclasses import asdict

from xxhash import xxh3_64_hexdigest

from edgecache.core.model import ObjectKey, ObjectMeta

FORMAT = "1"


def encode_meta(meta: ObjectMeta) -> str:
    """ASCII, whatever bytes the origin's fields hold."""
    body = json.dumps(asdict(meta), separators=(",", ":"))
    return f"{FORMAT} {xxh3_64_hexdigest(body.encode())} {body}"


def decode_meta(text: str, key: ObjectKey) -> ObjectMeta | None:
    """The meta of `key` that `text` holds, or None: it is not one, or another object's."""
    try:
        form, checksum, body = text.split(" ", 2)
        if form != FORMAT or checksum != xxh3_64_hexdigest(body.encode()):
            return None
        fields = json.loads(body)
        found = ObjectKey(*fields.pop("key"))
        headers = tuple((name, value) for name, value in fields.pop("headers"))
        meta = ObjectMeta(key=found, headers=headers, **fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return meta if meta.key == key else None

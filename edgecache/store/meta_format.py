"""A stored response as one line of text: format, checksum, JSON.

Rule of this module: pure; what does not come back exactly as it went in is None, never a guess.
"""

import json
from dataclasses import asdict

from xxhash import xxh3_64_hexdigest

from edgecache.core.model import ObjectKey, ObjectMeta

FORMAT = "1"
# Fields that came later: left out where they say nothing, as in the rows from before.
LATER = {"tags": (), "epoch": 0, "era": 0, "stale": False}


def encode_meta(meta: ObjectMeta) -> str:
    """ASCII, whatever bytes the origin's fields hold."""
    fields = asdict(meta)
    for name, usual in LATER.items():
        if fields[name] == usual:
            del fields[name]
    body = json.dumps(fields, separators=(",", ":"))
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
        tags = tuple(fields.pop("tags", ()))
        meta = ObjectMeta(key=found, headers=headers, tags=tags, **fields)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return meta if meta.key == key else None

"""The tags of an object, by which it is purged with others. Rule: a purge may take too much, never
too little, so case makes no difference (as with Cache-Tag at CDNs); what cannot be a tag is none.
"""

import re
from collections.abc import Iterable

# By field: what separates its tags. An upload sets the last one, as metadata of its object.
SEPARATORS = {
    "cache-tag": re.compile(","),
    "surrogate-key": re.compile(r"[\s,]+"),
    "x-amz-meta-cache-tag": re.compile(","),
}
MOST_TAGS = 128  # of one object
LONGEST_TAG = 256
# ASCII that JSON writes as it is, so that the index is searched without reading it.
TAG = re.compile(r"[!#-+\--\[\]-~](?:[ !#-+\--\[\]-~]*[!#-+\--\[\]-~])?")


def tag_of(text: str) -> str:
    """The tag as it is kept and compared, "": it is none."""
    tag = text.strip(" \t").lower()
    return tag if len(tag) <= LONGEST_TAG and TAG.fullmatch(tag) else ""


def tags_of(fields: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Those that the origin's response fields name; the first ones, if they are too many."""
    found = (
        tag_of(text)
        for name, value in fields
        if (separator := SEPARATORS.get(name.lower())) is not None
        for text in separator.split(value)
    )
    return distinct(found)


def distinct(tags: Iterable[str]) -> tuple[str, ...]:
    return tuple(tag for tag in dict.fromkeys(tags) if tag)[:MOST_TAGS]

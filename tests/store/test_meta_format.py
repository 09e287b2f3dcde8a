import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_hexdigest

from edgecache.core.model import ObjectKey, ObjectMeta
from edgecache.store.meta_format import decode_meta, encode_meta
from tests.slices import meta_of

META = replace(meta_of("outputs/Zürich 1.mp4", length=300), etag='"e1"')
TEXT = encode_meta(META)
GOLDEN = (
    '1 a6206f72ec2c4985 {"key":["runpod","outputs/Z\\u00fcrich 1.mp4"],"etag":"\\"e1\\"",'
    '"origin_etag":"\\"v1\\"","length":300,"last_modified":1700000000,"date":1750000000,'
    '"request_time":1750000000.25,"response_time":1750000000.5,'
    '"headers":[["content-type","video/mp4"]]}'
)


def test_golden_text() -> None:
    assert TEXT == GOLDEN


text = st.text(max_size=40)
metas = st.builds(
    ObjectMeta,
    key=st.builds(ObjectKey, text, text),
    etag=text,
    origin_etag=text,
    length=st.integers(0, 2**63),
    last_modified=st.none() | st.integers(),
    date=st.none() | st.integers(),
    request_time=st.floats(allow_nan=False),
    response_time=st.floats(allow_nan=False),
    headers=st.lists(st.tuples(text, text), max_size=5).map(tuple),
)


@settings(max_examples=100, deadline=None)
@given(metas)
def test_what_goes_in_comes_back(meta: ObjectMeta) -> None:
    assert decode_meta(encode_meta(meta), meta.key) == meta


def test_bytes_of_a_field_that_are_not_utf_8_come_back() -> None:
    """aiohttp gives them as lone surrogates, which SQLite would not take."""
    meta = replace(META, headers=(("x-name", "caf\udce9"),))
    assert encode_meta(meta).isascii()
    assert decode_meta(encode_meta(meta), meta.key) == meta


@pytest.mark.parametrize("position", range(len(TEXT)))
def test_no_character_may_differ(position: int) -> None:
    other = chr(ord(TEXT[position]) ^ 1)
    assert decode_meta(TEXT[:position] + other + TEXT[position + 1 :], META.key) is None


def sealed(body: object) -> str:
    text = json.dumps(body)
    return f"1 {xxh3_64_hexdigest(text.encode())} {text}"


@pytest.mark.parametrize(
    "stranger",
    [
        "",
        "1",
        TEXT[:-1],
        TEXT.replace("1 ", "2 ", 1),
        sealed([]),
        sealed(None),
        sealed({}),
        sealed({"key": ["runpod"], "headers": []}),
        sealed({"key": ["runpod", "k"], "headers": [["a"]]}),
        sealed({"key": ["runpod", "k"], "headers": [], "more": 1}),
    ],
)
def test_anything_else_is_none(stranger: str) -> None:
    assert decode_meta(stranger, META.key) is None


def test_the_meta_of_another_key_is_none() -> None:
    assert decode_meta(TEXT, ObjectKey("runpod", "outputs/other.mp4")) is None

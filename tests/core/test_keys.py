from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecache.core.errors import BadTarget
from edgecache.core.keys import (
    APP_MEDIA,
    MAX_KEY,
    MAX_SEGMENT,
    MAX_TARGET,
    MOUNTS,
    checked,
    checked_prefix,
    is_public,
    resolve,
)

BUCKETS = ("vol", "second-volume")
LONGEST = "/".join(["a" * MAX_SEGMENT] * 4)
bounded = settings(max_examples=200, deadline=None)


@pytest.mark.parametrize(
    ("target", "key"),
    [
        ("/a.png", "a.png"),
        ("/outputs/user/a.png", "outputs/user/a.png"),
        ("/outputs%2Fuser%2Fa.png", "outputs/user/a.png"),
        ("/outputs%2fuser/a.png", "outputs/user/a.png"),
        ("/outputs/a.png?w=640&q=75", "outputs/a.png"),
        ("/outputs/a.png?", "outputs/a.png"),
        ("/outputs/a.png?../../x", "outputs/a.png"),
        ("/outputs/a.png?next=http://x/%zz", "outputs/a.png"),
        ("/a%20b.png", "a b.png"),
        ("/a+b.png", "a+b.png"),
        ("/a%2Bb.png", "a+b.png"),
        ("/a%23b.png", "a#b.png"),
        ("/a=b(1)&c.png", "a=b(1)&c.png"),
        ("/a%3Db%281%29.png", "a=b(1).png"),
        ("/100%25.png", "100%.png"),
        ("/a%3Fb", "a?b"),
        ("/a%3Fb?c", "a?b"),
        ("/%C3%A9t%C3%A9.png", "été.png"),
        ("/e%CC%81.png", "e\u0301.png"),  # NFD stays NFD: keys are bytes
        ("/%F0%9F%8E%AC.mp4", "🎬.mp4"),
        ("/a%252Fb", "a%2Fb"),
        ("/a%252E%252E/b", "a%2E%2E/b"),
        ("/%2525", "%25"),
        ("/...", "..."),
        ("/.hidden/..a/b..", ".hidden/..a/b.."),
        ("/x.s3compat_uploads", "x.s3compat_uploads"),
        ("/a;v=1/@b:c", "a;v=1/@b:c"),
        ("/a|b^c", "a|b^c"),
        ("/" + LONGEST, LONGEST),
        ("/" + "%61" * MAX_SEGMENT, "a" * MAX_SEGMENT),
        ("/api/media/a.png", "api/media/a.png"),
        ("/api/other/s3/a.png", "api/other/s3/a.png"),
        ("/media/s3/a.png", "media/s3/a.png"),
    ],
)
def test_a_target_names_a_key(target: str, key: str) -> None:
    assert resolve(target, BUCKETS) == (None, key)


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("/vol/outputs/a.png", ("vol", "outputs/a.png")),
        ("/vol/outputs%2Fa.png", ("vol", "outputs/a.png")),
        ("/%76ol/a.png", ("vol", "a.png")),
        ("/second-volume/a.png?x-id=GetObject", ("second-volume", "a.png")),
        ("/vol/vol", ("vol", "vol")),
        ("/vol/api/media/s3/a", ("vol", "api/media/s3/a")),
        ("/vol", (None, "vol")),
        ("/VOL/a.png", (None, "VOL/a.png")),
        ("/volume/a.png", (None, "volume/a.png")),
        ("/vol%2Fa.png", (None, "vol/a.png")),
    ],
)
def test_path_style_names_one_of_the_buckets(target: str, named: tuple[str | None, str]) -> None:
    assert resolve(target, BUCKETS) == named


@pytest.mark.parametrize("media", APP_MEDIA)
@pytest.mark.parametrize(
    "path",
    [
        "outputs%2Fuser%2Fa%20b.png",
        "outputs/user/a%20b.png",
        "%2Frunpod-volume%2Foutputs%2Fuser%2Fa%20b.png",
        "/runpod-volume/outputs/user/a%20b.png",
        "runpod-volume/outputs/user/a%20b.png",
        "%2Fworkspace%2Foutputs%2Fuser%2Fa%20b.png",
        "workspace%2Foutputs/user/a%20b.png",
        "outputs%2Fuser%2Fa%20b.png?w=640",
    ],
)
def test_an_app_swaps_its_base_url(media: str, path: str) -> None:
    assert resolve(f"/api/{media}/s3/{path}", BUCKETS) == (None, "outputs/user/a b.png")


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("/workspace/a.png", (None, "workspace/a.png")),
        ("/runpod-volume/a.png", (None, "runpod-volume/a.png")),
        ("/vol/workspace/a.png", ("vol", "workspace/a.png")),
        ("/api/media/s3/workspace/workspace/a.png", (None, "workspace/a.png")),
        ("/api/media/s3/workspaces/a.png", (None, "workspaces/a.png")),
        ("/api/media/s3/outputs/workspace/a.png", (None, "outputs/workspace/a.png")),
        ("/api/media/s3/workspace", (None, "workspace")),
        ("/api/media/s3/vol/a.png", (None, "vol/a.png")),
    ],
)
def test_only_the_app_forms_strip_a_mount_and_only_once(
    target: str, named: tuple[str | None, str]
) -> None:
    assert resolve(target, BUCKETS) == named


EMPTY_SEGMENT = "the key has an empty segment"
DOT = "the key has a '.' segment"
DOTS = "the key has a '..' segment"
CONTROL = "the key has a control character"
SEPARATOR = "the key has a line separator"
BACKSLASH = "the key has a backslash"
DIRECTORY = "the key ends with '/': it names a directory"
UPLOADS = "the key is in the folder of unfinished uploads"
NOT_UTF8 = "the path is not UTF-8"
BAD_ESCAPE = "the path has a '%' without two hex digits"
EMPTY = "the key is empty"
RAW = "the path holds bytes that must be percent-encoded"
NO_SLASH = "the target does not start with '/'"
HASH = "the target has a '#': write it as %23"
LONG_KEY = f"the key is longer than {MAX_KEY} bytes"
LONG_SEGMENT = f"a segment of the key is longer than {MAX_SEGMENT} bytes"
LONG_PATH = f"the path is longer than {MAX_TARGET} bytes"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("", NO_SLASH),
        ("*", NO_SLASH),
        ("a.png", NO_SLASH),
        ("http://example.com/a.png", NO_SLASH),
        ("example.com:443", NO_SLASH),
        ("?/a", NO_SLASH),
        ("/a#b", HASH),
        ("/a?b#c", HASH),
        ("/", EMPTY),
        ("/?a", EMPTY),
        ("/vol/", EMPTY),
        ("/api/media/s3", EMPTY),
        ("/api/media/s3/", EMPTY),
        ("/api/media/s3/workspace/", EMPTY),
        ("/api/media/s3/%2Frunpod-volume%2F", EMPTY),
        ("/..", DOTS),
        ("/../a", DOTS),
        ("/a/../b", DOTS),
        ("/a/..", DOTS),
        ("/%2e%2e/a", DOTS),
        ("/%2E./a", DOTS),
        ("/a%2F..%2Fb", DOTS),
        ("/a/%2e%2e%2fb", DOTS),
        ("/vol/../other/x", DOTS),
        ("/vol/..", DOTS),
        ("/../vol/x", DOTS),
        ("/api/media/s3/../x", DOTS),
        ("/api/media/s3/%2E%2E%2Fx", DOTS),
        ("/api/media/../s3/x", DOTS),
        ("/api/media/s3/workspace/../x", DOTS),
        ("/.", DOT),
        ("/./a", DOT),
        ("/a/%2e/b", DOT),
        ("/api/media/s3/./workspace/x", DOT),
        ("//", DIRECTORY),
        ("//a", EMPTY_SEGMENT),
        ("//evil.example/a", EMPTY_SEGMENT),
        ("/%2Fa", EMPTY_SEGMENT),
        ("/a//b", EMPTY_SEGMENT),
        ("/a/%2Fb", EMPTY_SEGMENT),
        ("/vol//a", EMPTY_SEGMENT),
        ("/api/media/s3//a", EMPTY_SEGMENT),
        ("/api/media/s3/workspace//a", EMPTY_SEGMENT),
        ("//workspace/a", EMPTY_SEGMENT),
        ("/a/", DIRECTORY),
        ("/a%2F", DIRECTORY),
        ("/a/b/?x", DIRECTORY),
        ("/a%00b", CONTROL),
        ("/a.png%00.txt", CONTROL),
        ("/a%0ab", CONTROL),
        ("/a%0D%0Ab", CONTROL),
        ("/a%1Bb", CONTROL),
        ("/a%7Fb", CONTROL),
        ("/a%C2%85b", CONTROL),
        ("/a%E2%80%A8b", SEPARATOR),
        ("/a%E2%80%A9b", SEPARATOR),
        ("/a%5Cb", BACKSLASH),
        ("/..%5C..%5Cx", BACKSLASH),
        ("/a\\b", BACKSLASH),
        ("/.s3compat_uploads/x", UPLOADS),
        ("/a/.s3compat_uploads/x", UPLOADS),
        ("/a/%2Es3compat%5Fuploads", UPLOADS),
        ("/vol/.s3compat_uploads/x", UPLOADS),
        ("/api/media/s3/%2Fworkspace%2F.s3compat_uploads%2Fx", UPLOADS),
        ("/%", BAD_ESCAPE),
        ("/a%2", BAD_ESCAPE),
        ("/a%2/b", BAD_ESCAPE),
        ("/a%zz", BAD_ESCAPE),
        ("/a%+1", BAD_ESCAPE),
        ("/a% 1", RAW),
        ("/%u0061", BAD_ESCAPE),
        ("/a%%41", BAD_ESCAPE),
        ("/%ff", NOT_UTF8),
        ("/%c0%af", NOT_UTF8),  # overlong "/"
        ("/%c0%ae%c0%ae/a", NOT_UTF8),
        ("/%ed%a0%80", NOT_UTF8),  # a surrogate
        ("/%f4%90%80%80", NOT_UTF8),
        ("/%c3/%a9", NOT_UTF8),
        ("/a b", RAW),
        ("/a\tb", RAW),
        ("/a\x00b", RAW),
        ("/a\r\nb", RAW),
        ("/a\n", RAW),
        ("/é", RAW),
        ("/\udcff", RAW),
        ("/\uff0e\uff0e/a", RAW),
        ("/%\uff12\uff12", RAW),
        ("/" + LONGEST + "/a", LONG_KEY),
        ("/" + "a" * (MAX_SEGMENT + 1), LONG_SEGMENT),
        ("/" + "%C3%A9" * 128, LONG_SEGMENT),
        ("/" + "a" * MAX_TARGET, LONG_PATH),
        ("/" + "/" * 100_000, LONG_PATH),
    ],
)
def test_refused_saying_what_is_wrong(target: str, problem: str) -> None:
    with pytest.raises(BadTarget) as refused:
        resolve(target, BUCKETS)
    assert refused.value.message == problem
    assert refused.value.status == 400


def test_a_lone_surrogate_is_no_key() -> None:
    with pytest.raises(BadTarget, match="not UTF-8"):
        checked("a\udc80")


def test_the_query_changes_nothing() -> None:
    assert resolve("/a?" + "q" * 10_000, ()) == resolve("/a", ())


def rules_hold(key: str) -> bool:
    """The rules once more, written another way: character by character, segment by segment."""
    segments = key.split("/")
    return (
        0 < len(key.encode()) <= MAX_KEY
        and all(0 < len(segment.encode()) <= MAX_SEGMENT for segment in segments)
        and not {".", "..", ".s3compat_uploads"} & set(segments)
        and all(
            ord(c) >= 0x20 and not 0x7F <= ord(c) <= 0x9F and c not in "\\\u2028\u2029" for c in key
        )
    )


ordinary = st.text("abcXYZ019-_.~!$&'()*+,;=:@|", min_size=1, max_size=4)
letters = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3)
escaped = letters.map(lambda text: quote(text, safe=""))
dangerous = st.sampled_from(
    [".", "..", "%2e", "%2E%2e", "%2F", "%2f..", "%5c", "%00", "%252e", "%25", "%C3", "%zz", "%"]
) | st.sampled_from(
    [".s3compat_uploads", "%2Fworkspace%2F", "%0a", "%E2%80%A8", "%7F", "%ff", "a" * 200]
)
formed = st.sampled_from(["/", "/", "/", "/vol/", "/api/videos/s3/", "/api/media/s3/workspace/"])
targets = st.builds(
    lambda form, between, pieces: form + between.join(pieces),
    formed,
    st.sampled_from(["/", ""]),
    st.lists(ordinary | ordinary | escaped | dangerous, max_size=5),
)
names = st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\\u2028\u2029")
spellings = st.sampled_from(["%2F", "%", "a b", "+", "#", "?", "..a", "vol", "api", "workspace"])
keys = (
    st.lists(spellings | st.text(names, min_size=1, max_size=9), min_size=1, max_size=5)
    .map("/".join)
    .filter(rules_hold)
)


@bounded
@given(targets | targets | st.text())
def test_any_target_is_refused_or_gives_a_key_that_keeps_the_rules(target: str) -> None:
    try:
        bucket, key = resolve(target, BUCKETS)
    except BadTarget:
        return
    assert rules_hold(key)
    assert bucket in (None, *BUCKETS)
    # W01: what the key was made of is there, decoded once, so one key has one decoded spelling.
    assert unquote_to_bytes(target.partition("?")[0]).endswith(key.encode())


@bounded
@given(keys)
def test_any_key_has_an_exact_target(key: str) -> None:
    assert resolve("/" + quote(key, safe=""), BUCKETS) == (None, key)
    assert resolve("/vol/" + quote(key, safe="/"), BUCKETS) == ("vol", key)
    assert resolve("/vol/" + quote(key, safe=""), BUCKETS) == ("vol", key)


@bounded
@given(keys.filter(lambda key: not key.startswith(("vol/", "second-volume/", "api/"))))
def test_a_key_quoted_by_segments_is_itself(key: str) -> None:
    assert resolve("/" + quote(key, safe="/"), BUCKETS) == (None, key)


@bounded
@given(keys.filter(lambda key: not key.startswith(MOUNTS)), st.sampled_from(["", *MOUNTS]))
def test_any_key_comes_through_an_app(key: str, mount: str) -> None:
    assert resolve("/api/images/s3/" + quote(mount + key, safe=""), BUCKETS) == (None, key)
    assert resolve("/api/videos/s3/" + quote(mount + key, safe="/"), BUCKETS) == (None, key)


@pytest.mark.parametrize(
    ("key", "prefixes", "public"),
    [
        ("outputs/a.png", ("outputs/",), True),
        ("outputs/a.png", ("inputs/", "outputs/"), True),
        ("outputs/a.png", ["outputs/a"], True),
        ("outputs", ("outputs/",), False),
        ("outputs-old/a.png", ("outputs/",), False),
        ("Outputs/a.png", ("outputs/",), False),
        ("models/outputs/a.png", ("outputs/",), False),
        ("models/secret.safetensors", ("outputs/",), False),
        ("models/secret.safetensors", ("",), True),
        ("outputs/a.png", (), False),
    ],
)
def test_public_is_what_starts_with_a_prefix(
    key: str, prefixes: tuple[str, ...], public: bool
) -> None:
    assert is_public(key, prefixes) is public


@pytest.mark.parametrize("prefix", ["o", "outputs/", "outputs/cat", "a" * MAX_KEY])
def test_a_prefix_is_what_keys_could_begin_with(prefix: str) -> None:
    assert checked_prefix(prefix) == prefix


@pytest.mark.parametrize("prefix", ["", "/outputs/", "a\n", "a" * (MAX_KEY + 1)])
def test_what_no_key_begins_with_is_no_prefix(prefix: str) -> None:
    with pytest.raises(BadTarget):
        checked_prefix(prefix)

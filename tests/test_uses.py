"""What workers tell of slices they gave: it comes back as it was, and nonsense is nothing."""

from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.accounts import Given
from edgecache.core.model import ObjectKey, SliceKey
from edgecache.uses import read_given, read_uses, write_given, write_uses

versions = st.text("0123456789abcdef", min_size=32, max_size=32)
keys = st.builds(SliceKey, versions, st.integers(0, 10**9))


@given(st.dictionaries(keys, st.integers(1, 10**12)))
def test_what_is_written_is_read(uses: dict[SliceKey, int]) -> None:
    assert dict(read_uses(write_uses(uses))) == uses


@given(st.binary())
def test_anything_else_is_passed_over(data: bytes) -> None:
    good = SliceKey("0" * 32, 7)
    lines = b"\n" + data + b"\n" + write_uses({good: 3})
    assert (good, 3) in list(read_uses(lines))


names = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=10)
objects = st.builds(ObjectKey, st.sampled_from(["volume", "eu_ro-1", "0"]), names)
counts = st.builds(Given, st.integers(0, 10**17), st.integers(0, 10**9), st.integers(0, 10**9))


@given(st.dictionaries(objects, counts))
def test_what_was_given_is_read_as_it_was_written(given: dict[ObjectKey, Given]) -> None:
    assert read_given(write_given(given)) == given


@given(st.binary())
def test_what_else_comes_is_passed_over(data: bytes) -> None:
    good = {ObjectKey("volume", "outputs/a b"): Given(3, 2, 1)}
    assert read_given(b"\n" + data + b"\n" + write_given(good)).items() >= good.items()

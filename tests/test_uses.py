"""What workers tell of slices they gave: it comes back as it was, and nonsense is nothing."""

from hypothesis import given
from hypothesis import strategies as st

from edgecache.core.model import SliceKey
from edgecache.uses import read_uses, write_uses

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

"""A misplaced slice of a Pattern is another slice, whatever its place."""

from hashlib import sha256

from tests.pattern import PERIOD, Pattern


def test_no_two_slices_of_a_pattern_are_alike() -> None:
    pattern = Pattern(300 * 2**20, seed=1)
    for size in (64 * 2**10, 2**20):
        heads = {pattern.read(start, start + 32) for start in range(0, 300 * 2**20, size)}
        assert len(heads) == 300 * 2**20 // size


def test_a_read_of_a_pattern_depends_on_its_position_only() -> None:
    pattern = Pattern(5 * PERIOD)
    whole = pattern.read()
    for start in (0, 1, PERIOD - 1, PERIOD, 2 * PERIOD + 5):
        for size in (0, 1, PERIOD, 2 * PERIOD, 2 * PERIOD + 1, 9 * PERIOD):
            assert pattern.read(start, start + size) == whole[start : start + size]


def test_the_digest_is_of_what_it_reads() -> None:
    pattern = Pattern(20 * PERIOD + 1)
    assert pattern.digest() == sha256(pattern.read()).hexdigest()


def test_seeds_make_other_bytes() -> None:
    assert Pattern(1000, 1).read() != Pattern(1000, 2).read()

"""Level schedules: exact, even at every prefix, the same in pieces, and able to make up for another plan's past."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.order.turns import Turn, Turns

_COUNTS = st.one_of(
    st.lists(st.integers(0, 120), min_size=1, max_size=9).filter(any),
    # Extreme ratios: a large source among tiny ones.
    st.tuples(st.integers(500, 3000), st.lists(st.integers(0, 3), min_size=1, max_size=60)).map(
        lambda c: [c[0], *c[1]]
    ),
)


def _all_turns(counts: list[int]) -> Turn:
    return Turns(counts).take(sum(counts))


@settings(max_examples=80, deadline=None)
@given(_COUNTS)
def test_every_prefix_holds_each_source_share_within_one_sample(counts: list[int]) -> None:
    """After any number of samples, no source is a whole sample ahead of or behind its share; at the end all is exact."""
    turns = _all_turns(counts)
    total = sum(counts)
    assert np.bincount(turns, minlength=len(counts)).tolist() == counts
    placed = np.cumsum(turns[:, None] == np.arange(len(counts)), axis=0)
    # In integers: |placed - place * count / total| < 1.
    off = placed * total - np.arange(1, total + 1)[:, None] * np.array(counts)
    assert np.abs(off).max() < total


def test_many_small_sources_do_not_come_all_at_once() -> None:
    """One large source with a hundred tiny ones: sorting by midpoints would bunch the tiny ones; here they are spread."""
    placed = np.cumsum(_all_turns([900] + [1] * 100) == 0)
    assert np.abs(placed - np.arange(1, 1001) * 0.9).max() < 1


@settings(max_examples=80, deadline=None)
@given(_COUNTS, st.lists(st.integers(1, 50), max_size=30))
def test_pieces_and_resumes_make_the_same_schedule(counts: list[int], sizes: list[int]) -> None:
    """Neither the size of what is taken at once nor a new start from the draws so far changes what comes."""
    whole = _all_turns(counts)
    turns, parts = Turns(counts), [np.empty(0, np.int16)]
    for size in sizes:
        parts.append(turns.take(size))
        turns = Turns(counts, turns.placed)
    done = np.concatenate(parts)
    skipped = Turns(counts)
    skipped.skip(len(done))
    assert skipped.placed == turns.placed == np.bincount(done, minlength=len(counts)).tolist()
    assert np.array_equal(np.concatenate([done, turns.take(sum(counts))]), whole)
    assert np.array_equal(skipped.take(sum(counts)), whole[len(done) :])


def test_long_patterns_are_made_as_they_go() -> None:
    """A phase of 10^12 samples without a common divisor begins and goes on anywhere, at once."""
    counts = [710_000_000_007, 220_000_000_003, 70_000_000_001]
    start = [355_000_000_004, 110_000_000_001, 35_000_000_001]
    turns = Turns(counts, start)
    taken = np.bincount(turns.take(10_000))
    assert np.abs(taken - 10_000 * np.array(counts) / sum(counts)).max() < 2
    assert turns.left == sum(counts) - sum(start) - 10_000


def test_repeating_patterns_are_skipped_without_being_made() -> None:
    """Counts with a common divisor: half of 10^15 places are passed in one step."""
    turns = Turns([7 * 10**14, 3 * 10**14])
    turns.skip(5 * 10**14 + 3)
    assert turns.placed == [35 * 10**13 + 2, 15 * 10**13 + 1]


@pytest.mark.parametrize("placed", [[30, 30, 0], [29, 32, -1], [0, 0, 0], [41, 19, 0], [-1, 1, 0]])
def test_another_plans_past_is_made_up_for(placed: list[int]) -> None:
    """From any draws so far the phase ends with its exact totals, where there is room for that; a debt is paid first."""
    counts = [40, 40, 0]
    turns = Turns(counts, placed)
    rest = turns.take(1000)
    after = np.array(placed) + np.bincount(rest, minlength=3)
    assert len(rest) == 80 - sum(placed)
    # What was drawn beyond the phase's count stays beyond it: one sample here, which another source owes.
    assert after.tolist() == ([41, 39, 0] if placed[0] > 40 else counts)
    if placed[2] < 0:
        assert rest[0] == 2

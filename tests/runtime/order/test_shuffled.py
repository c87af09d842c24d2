"""Shuffled sources: each pass a permutation, any draw at once, shards kept together, frozen for all versions of numpy."""

from __future__ import annotations

import time

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.order.shuffled import ShuffledOrder


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=20).filter(any),
    st.integers(1, 200),
    st.lists(st.integers(0, 40), max_size=20),
)
def test_no_sample_is_drawn_again_before_all_were_drawn(shards: list[int], block: int, sizes: list[int]) -> None:
    """Any three passes are permutations, and any pieces of them are the same draws."""
    order = ShuffledOrder("web", 3, np.array(shards), block)
    samples = order.samples
    assert samples == sum(shards)
    whole = order.draws(0, 3 * samples)
    for number in range(3):
        assert sorted(whole[number * samples : (number + 1) * samples]) == list(range(samples))
    start = 0
    for size in sizes:
        stop = min(start + size, 3 * samples)
        assert np.array_equal(ShuffledOrder("web", 3, np.array(shards), block).draws(start, stop), whole[start:stop])
        start = stop


def test_each_pass_is_another_permutation() -> None:
    """Of 40 samples the same place has the same sample in two passes about once."""
    passes = ShuffledOrder("web", 3, np.full(8, 5), 10).draws(0, 400).reshape(10, 40)
    equal = [(passes[i] == passes[j]).sum() for i in range(10) for j in range(i)]
    assert np.mean(equal) < 3
    assert max(equal) < 12


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=20), st.integers(1, 100))
def test_blocks_are_whole_shards(shards: list[int], block: int) -> None:
    """A shard's samples lie within one block, which bounds how many shards are in use: Streaming's locality."""
    order = ShuffledOrder("web", 3, np.array(shards), block)
    shard_of = np.repeat(np.arange(len(shards)), shards)[order.draws(0, order.samples)]
    places = [np.flatnonzero(shard_of == number) for number in range(len(shards))]
    spans = [(int(found[0]), int(found[-1])) for found in places]
    longest = max(last - first + 1 for first, last in spans)
    assert longest < 2 * block + 2 * max(shards)
    open_shards = max(sum(first <= place <= last for first, last in spans) for place in range(len(shard_of)))
    assert open_shards <= (2 * block + 2 * max(shards)) / min(shards)


def test_all_places_are_equally_likely() -> None:
    """Over 3,000 seeds each sample comes first about as often; shards and samples within them are both shuffled."""
    first = [int(ShuffledOrder("web", seed, np.full(3, 4), 4).draws(0, 1)[0]) for seed in range(3000)]
    counts = np.bincount(first, minlength=12)
    # Chi-square with 11 degrees of freedom: 31.3 is passed by chance once in a thousand times.
    assert float(((counts - 250) ** 2 / 250).sum()) < 31.3


def test_the_order_of_a_source_is_frozen() -> None:
    """The same in every version of numpy: a changed order would replay samples of a run that is resumed after an update."""
    order = ShuffledOrder("web", 3, np.array([3, 5, 2]), 4)
    assert order.draws(0, 20).tolist() == [4, 3, 7, 5, 6, 9, 0, 1, 2, 8, 3, 6, 7, 4, 5, 1, 2, 0, 8, 9]


def test_a_source_of_a_hundred_million_samples_starts_anywhere_at_once() -> None:
    """12,000 shards: the first draws of any pass take milliseconds, since only their block is made."""
    order = ShuffledOrder("web", 3, np.full(12_208, 8192), 1 << 16)
    began = time.perf_counter()
    ids = order.draws(7 * order.samples + 50_000_000, 7 * order.samples + 50_001_000)
    assert time.perf_counter() - began < 1
    assert len(np.unique(ids)) == 1000
    assert len(np.unique(ids // 8192)) <= 16


def test_another_seed_or_source_has_another_order() -> None:
    """Two sources of the same size don't run in step."""
    whole = [
        ShuffledOrder(name, seed, np.full(5, 10), 20).draws(0, 50) for name, seed in (("a", 1), ("b", 1), ("a", 2))
    ]
    assert not np.array_equal(whole[0], whole[1])
    assert not np.array_equal(whole[0], whole[2])

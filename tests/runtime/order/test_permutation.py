"""Permutations with random access: each place exactly once, any place at once, no place likelier, frozen for all time."""

from __future__ import annotations

import math
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.order.permutation import Permutation


@settings(max_examples=80, deadline=None)
@given(st.one_of(st.integers(1, 40), st.integers(1000, 1100), st.integers(1, 20_000)), st.integers(0, 5))
def test_every_place_is_reached_once(size: int, seed: int) -> None:
    """Small ones are sorted, large ones are a network: both are permutations, piece by piece as well."""
    permutation, places = Permutation(size, seed, "web"), np.arange(size)
    found = permutation(places)

    assert sorted(found.tolist()) == list(range(size))
    assert np.array_equal(
        np.concatenate([Permutation(size, seed, "web")(part) for part in np.array_split(places, 3)]), found
    )


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_all_orders_of_few_are_equally_likely(size: int) -> None:
    """Over 100 n! keys each of the n! orders comes about 100 times: chi-square, at its quantile of 0.9999."""
    orders = math.factorial(size)
    counts = Counter(tuple(Permutation(size, key)(np.arange(size)).tolist()) for key in range(100 * orders))
    chi = sum((count - 100) ** 2 / 100 for count in counts.values()) + 100 * (orders - len(counts))

    assert chi < max(16.0, 2 * (orders - 1))


@pytest.mark.parametrize("size", [1025, 3000, 99_991])
def test_a_large_one_sends_any_place_anywhere(size: int) -> None:
    """Over 3,000 keys one place goes into each of 16 parts as often, and neighbours go independently of each other."""
    found = np.stack([Permutation(size, key)(np.array([7, 8], np.int64)) for key in range(3000)])
    parts = found * 16 // size
    for counts in (np.bincount(parts[:, 0], minlength=16), np.bincount(parts.sum(axis=1) % 16, minlength=16)):
        # 15 degrees of freedom: 44.3 is passed by chance once in ten thousand times.
        assert ((counts - 187.5) ** 2 / 187.5).sum() < 44.3
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.08


def test_any_place_of_a_trillion_is_known_at_once() -> None:
    """No table is made."""
    begin = time.perf_counter()
    found = Permutation(10**12 + 39, 1)(np.arange(10**12 - 1000, 10**12))
    assert time.perf_counter() - begin < 1
    assert len(set(found.tolist())) == 1000
    assert 0 <= found.min() <= found.max() < 10**12 + 39


def test_it_is_the_same_for_ever() -> None:
    """These numbers are part of every run with a curriculum: an order that changed would repeat samples on resume."""
    assert Permutation(8, 17, "code", 0)(np.arange(8)).tolist() == [1, 3, 0, 5, 2, 7, 6, 4]
    assert Permutation(5000, 17, "code", 0)(np.arange(5)).tolist() == [1938, 346, 3491, 2908, 1005]

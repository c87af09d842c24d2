"""Exact integers from shares."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.apportion import apportion

WEIGHTS = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(0, 1), min_size=1, max_size=8).filter(
    lambda w: any(w.values())
)


@given(st.integers(0, 10**15), WEIGHTS)
def test_parts_sum_to_the_total_and_stay_within_one(total: int, weights: dict[str, float]) -> None:
    """Nothing is lost, and no part is more than one away from its exact share."""
    parts = apportion(total, weights)
    whole = sum(Fraction(str(w)) for w in weights.values())

    assert sum(parts.values()) == total
    for name, weight in weights.items():
        assert abs(parts[name] - total * Fraction(str(weight)) / whole) < 1


@given(st.integers(0, 10**9), WEIGHTS)
def test_the_order_of_the_weights_does_not_matter(total: int, weights: dict[str, float]) -> None:
    """A recipe's key order never changes a plan."""
    assert apportion(total, weights) == apportion(total, dict(reversed(weights.items())))


@pytest.mark.parametrize("weights", [{"a": 0.0}, {"a": -1.0, "b": 2.0}])
def test_impossible_weights_are_refused(weights: dict[str, float]) -> None:
    """No positive weight, or a negative one."""
    with pytest.raises(ValueError, match="weights"):
        apportion(10, weights)

"""Exact integers from shares."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

__all__ = ["apportion"]


def apportion(total: int, weights: Mapping[str, float] | Mapping[str, Fraction]) -> dict[str, int]:
    """Split `total` things by weight: the parts sum to `total`, and each is within 1 of its exact share.

    Largest remainder (Hamilton); equal remainders go to the first name in alphabetical order, so that the order of the
    mapping never matters. Exact rational arithmetic: 10^13 tokens times a weight is beyond a float's 53 bits.

    Raises:
        ValueError: a weight is negative, or all are zero.
    """
    if any(weight < 0 for weight in weights.values()) or not any(weights.values()):
        raise ValueError("weights must not be negative, and one must be positive")
    exact = {name: Fraction(str(weights[name])) for name in sorted(weights)}
    scale = Fraction(total) / sum(exact.values())
    shares = {name: weight * scale for name, weight in exact.items()}
    parts = {name: int(share) for name, share in shares.items()}
    left = total - sum(parts.values())
    for name in sorted(shares, key=lambda n: (parts[n] - shares[n], n))[:left]:
        parts[name] += 1
    return parts

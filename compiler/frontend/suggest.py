"""Did you mean: the closest of some words."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["closest", "nearest_number"]


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `word`, or None if none is like it; case and `-` or `_` don't count."""
    import difflib  # 4 ms: only a recipe with errors pays for it

    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(candidate.lower().replace("-", "_"), candidate)
    found = difflib.get_close_matches(word[:64].lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def nearest_number(value: object, candidates: Iterable[str]) -> str | None:
    """The candidate that is nearest to a number; None for what is none, or where the words are none."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    numbers = [word for word in candidates if word.lstrip("-").isdigit()]
    return min(numbers, key=lambda word: abs(int(word) - value), default=None)

"""Lexical diversity of a sequence of words: unigram entropy, TTR, MTLD, HD-D and vocd-D."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "HDD_DRAWS",
    "MTLD_THRESHOLD",
    "VOCD_SIZES",
    "hdd",
    "mtld",
    "mtld_one_way",
    "ttr",
    "unigram_entropy",
    "vocd",
]

MTLD_THRESHOLD: Final = 0.72
"""TTR at which a factor is full (McCarthy and Jarvis 2010 recommend 0.66 to 0.75)."""

HDD_DRAWS: Final = 42
"""Words of a draw (McCarthy and Jarvis 2007)."""

VOCD_SIZES: Final = (35, 50)
"""Smallest and largest draw whose TTR the curve is fitted to (McKee et al. 2000)."""

# Where no word of a text stands twice no D fits, however large; a text of 50 words with one pair in it has D = 1,200.
_LARGEST_D: Final = 1e4
_NEWTON_STEPS: Final = 50


def unigram_entropy(words: Sequence[str]) -> float:
    """-sum p log2 p of the words' frequencies p, in bits a word; NaN without a word."""
    if not words:
        return math.nan
    total = len(words)
    counts = Counter(Counter(words).values())
    return math.log2(total) - sum(n * f * math.log2(f) for f, n in counts.items()) / total


def ttr(words: Sequence[str]) -> float:
    """Different words by words, 0 to 1; falls with length, so compare texts of one length. NaN without a word."""
    return len(set(words)) / len(words) if words else math.nan


def mtld(words: Sequence[str]) -> float:
    """Words that a stretch of text goes on for before its TTR falls to 0.72; mean of both directions.

    McCarthy and Jarvis 2010, with the rule of lexicalrichness: a factor is full where TTR <= 0.72, however short; the rest
    counts in part. (lexical_diversity's is full where TTR < 0.72 after at least 10 words, and gives other numbers.)
    NaN without a word.
    """
    return (mtld_one_way(words) + mtld_one_way(words[::-1])) / 2 if words else math.nan


def mtld_one_way(words: Iterable[str]) -> float:
    """`mtld` in one direction."""
    factors, total, length = 0.0, 0, 0
    seen: set[str] = set()
    for word in words:
        length += 1
        seen.add(word)
        if len(seen) / length <= MTLD_THRESHOLD:
            factors += 1
            total += length
            length = 0
            seen.clear()
    if length:
        factors += (1 - len(seen) / length) / (1 - MTLD_THRESHOLD)
    # No word stands twice: the whole text is one factor that has not begun to fill.
    return (total + length) / (factors or 1.0)


def hdd(words: Sequence[str]) -> float:
    """Expected TTR of 42 words drawn without replacement, 1/42 to 1 (McCarthy and Jarvis 2007); NaN under 42 words."""
    if len(words) < HDD_DRAWS:
        return math.nan
    return float(_expected_ttr(words, HDD_DRAWS)[-1])


def vocd(words: Sequence[str]) -> float:
    """D of the curve TTR(n) = D/n (sqrt(1 + 2n/D) - 1) that is nearest to the text's own, n from 35 to 50.

    McKee et al. 2000 draw samples for TTR(n); this takes its expectation, which has no chance in it (and is what HD-D
    sums). Least squares over log D; at most 10,000, for texts in which no word stands twice. NaN under 51 words.
    """
    low, high = VOCD_SIZES
    if len(words) <= high:
        return math.nan
    return _fitted_d(np.arange(low, high + 1, dtype=np.float64), _expected_ttr(words, high)[low - 1 :])


def _expected_ttr(words: Sequence[str], draws: int) -> NDArray[np.float64]:
    """Mean TTR of n words drawn without replacement, for n = 1 .. draws; (draws,).

    A word that stands f times among N is missing from n draws with probability prod_{i<n} (N - f - i) / (N - i).
    """
    total = len(words)
    counts = Counter(Counter(words).values())
    frequency = np.fromiter(counts, np.float64, len(counts))[:, None]
    number = np.fromiter(counts.values(), np.float64, len(counts))
    drawn = np.arange(draws, dtype=np.float64)
    missing = np.cumprod(np.maximum(total - frequency - drawn, 0.0) / (total - drawn), axis=1)
    # Summed one after another: a product of matrices may add in another order on another machine.
    types: NDArray[np.float64] = (number[:, None] * (1.0 - missing)).sum(axis=0)
    return types / (drawn + 1)


def _fitted_d(sizes: NDArray[np.float64], measured: NDArray[np.float64]) -> float:
    """Gauss-Newton on x = log D, from the D that fits the middle size exactly."""
    middle = len(sizes) // 2
    share = float(measured[middle])
    if share >= 1:
        return _LARGEST_D
    x = math.log(float(sizes[middle]) * share**2 / (2 * (1 - share)))
    for _ in range(_NEWTON_STEPS):
        d = math.exp(x)
        root = np.sqrt(1 + 2 * sizes / d)
        residual = d / sizes * (root - 1) - measured
        # d TTR / d log D = D/n (root - 1) - 1 / root
        slope = d / sizes * (root - 1) - 1 / root
        step = float((slope * residual).sum() / (slope * slope).sum())
        x = min(x - step, math.log(_LARGEST_D))
        if abs(step) < 1e-12:
            break
    return math.exp(x)

"""Transitions in pieces of constant mix: exact draws that follow the integral of the moving shares to less than a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from compiler.mixing.knots import Span
from compiler.mixing.weights import Shares

__all__ = ["MOST_PIECES", "Piece", "moved", "pieces"]

MOST_PIECES: Final = 100
"""A share can't move by more than 1, and none moves by more than a hundredth in a piece."""


class Piece(NamedTuple):
    """Steps [start, end) and the samples drawn of each source in them."""

    start: int
    end: int
    counts: Mapping[str, int]


def pieces(span: Span, batch: int) -> tuple[Piece, ...]:
    """A moving span as pieces on batch boundaries.

    No share moves by more than one percentage point within a piece, to the length of a batch; a transition of fewer batches
    than that takes has a piece a batch. The samples drawn of a source up to the end of any piece are the integral of its
    share, rounded up or down, so the whole transition draws the integral to less than one sample.

    Args:
        span: shares move from `before` to `after` over its steps.
        batch: samples of a step.
    """
    edges = _edges(span)
    names = sorted({*span.before, *span.after})
    # In whole units, since a hundred sources in a hundred pieces are 10 times slower in fractions.
    done = [moved(span, edge) for edge in edges]
    part = math.lcm(*(share.denominator for shares in (span.before, span.after) for share in shares.values()))
    unit = part * (step := math.lcm(*(steps.denominator for steps in done)))
    ends = [(name, int(_of(span.before, name) * part), int(_of(span.after, name) * part)) for name in names]
    ideals = []
    for edge, steps in zip(edges, done, strict=True):
        new = int(steps * step)
        old = (edge - span.start) * step - new
        ideals.append({name: batch * (before * old + after * new) for name, before, after in ends})
    totals = _rounded(ideals, unit, [(edge - span.start) * batch for edge in edges])
    return tuple(
        Piece(start, end, {name: upto[name] - before[name] for name in names})
        for start, end, before, upto in zip(edges, edges[1:], totals, totals[1:], strict=False)
    )


def moved(span: Span, step: int) -> Fraction:
    """Integral of how far shares have moved (0 to 1) from the span's start to a step, in steps.

    With u the part of the span that has passed and T its steps: T u^2 / 2 along a line, and T (u/2 - sin(pi u) / (2 pi)) along
    half a cosine, (1 - cos(pi u)) / 2. The cosine's is a float of a relative 1e-16: 10^-4 of a sample in 10^12 of them.
    """
    length = span.end - span.start
    u = Fraction(step - span.start, length)
    if span.transition == "linear" or u == 1:
        return length * u * u / 2
    return length * Fraction(float(u) / 2 - math.sin(math.pi * float(u)) / (2 * math.pi))


def _of(shares: Shares, name: str) -> Fraction:
    return shares.get(name, Fraction(0))


def _edges(span: Span) -> list[int]:
    """Steps at which pieces meet: shares move by the same amount in each, so a cosine has its shortest ones in the middle."""
    names = {*span.before, *span.after}
    furthest = max(abs(_of(span.after, name) - _of(span.before, name)) for name in names)
    count, length = max(1, math.ceil(furthest * MOST_PIECES)), span.end - span.start
    edges = {span.start, span.end}
    for k in range(1, count):
        u = k / count if span.transition == "linear" else math.acos(1 - 2 * k / count) / math.pi
        edges.add(span.start + round(u * length))
    return sorted(edges)


def _rounded(ideals: Sequence[Mapping[str, int]], unit: int, totals: Sequence[int]) -> list[dict[str, int]]:
    """Cumulative counts that never fall, sum to the totals, and are their ideals rounded up or down.

    Sample j (from 0) of a source may come once its ideal is above j, and must have come when it reaches j + 1. Earliest deadline
    first meets all of them (the argument of Steiner and Yeomans 1993 holds for rates that change, since ideals sum to
    the totals at every edge); equal ones go to the larger remainder, then by name.

    Args:
        ideals: of each source at each edge, in samples / unit.
        unit: what a sample is in the ideals.
        totals: samples at each edge.
    """
    counts = dict.fromkeys(ideals[0], 0)
    found = [dict(counts)]
    for at in range(1, len(ideals)):
        ideal = ideals[at]
        counts = {name: max(count, ideal[name] // unit) for name, count in counts.items()}
        ready = [
            (_due(ideals, name, (count + 1) * unit, at), count * unit - ideal[name], name)
            for name, count in counts.items()
            if ideal[name] > count * unit
        ]
        for _, _, name in sorted(ready)[: totals[at] - sum(counts.values())]:
            counts[name] += 1
        found.append(dict(counts))
    return found


def _due(ideals: Sequence[Mapping[str, int]], name: str, reached: int, start: int) -> int:
    """Edge at which a source's ideal has reached so much; one past the last if never."""
    return next((at for at in range(start, len(ideals)) if ideals[at][name] >= reached), len(ideals))

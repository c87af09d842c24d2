"""compiler.mixing.transitions: pieces follow the integral of moving shares, whatever the weights, times and batches are."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.mixing.knots import Span
from compiler.mixing.transitions import MOST_PIECES, Piece, moved, pieces
from compiler.mixing.weights import Shares
from schemas.data import Transition


@st.composite
def share_maps(draw: st.DrawFn) -> Shares:
    """Exact shares of some of six sources; tiny ones too."""
    weights = draw(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 10_000), min_size=1))
    return {name: Fraction(weight, sum(weights.values())) for name, weight in weights.items()}


@st.composite
def moving(draw: st.DrawFn) -> Span:
    """A transition of 1 to 3000 steps, somewhere in a run."""
    start = draw(st.integers(0, 10_000))
    end = start + draw(st.integers(1, 3000))
    kind: Transition = draw(st.sampled_from(["linear", "cosine"]))
    return Span(start, end, draw(share_maps()), draw(share_maps()), kind, "")


def ideal(span: Span, name: str, step: int, batch: int) -> Fraction:
    """Samples of a source up to a step, by the integral of its share."""
    before, after = span.before.get(name, Fraction(0)), span.after.get(name, Fraction(0))
    return batch * (before * (step - span.start) + (after - before) * moved(span, step))


def totals(cut: tuple[Piece, ...], name: str) -> list[int]:
    """Samples of a source at the end of each piece."""
    return [sum(piece.counts[name] for piece in cut[: i + 1]) for i in range(len(cut))]


@given(moving(), st.integers(1, 64))
def test_every_piece_ends_within_a_sample_of_the_integral(span: Span, batch: int) -> None:
    """Pieces cover the transition, each draws exactly its batches, and no source is a sample off at any edge."""
    cut = pieces(span, batch)
    assert [cut[0].start, *(piece.end for piece in cut)] == [*(piece.start for piece in cut), span.end]
    for piece in cut:
        assert sum(piece.counts.values()) == (piece.end - piece.start) * batch
        assert min(piece.counts.values()) >= 0
    for name in cut[0].counts:
        for piece, total in zip(cut, totals(cut, name), strict=True):
            assert abs(total - ideal(span, name, piece.end, batch)) < 1


@given(moving())
def test_no_share_moves_by_more_than_a_point_in_a_piece(span: Span) -> None:
    """But for the length of a batch, and at most a hundred pieces; each share is between those of the two knots."""
    cut = pieces(span, 1)
    assert len(cut) <= MOST_PIECES
    furthest = max(abs(span.after.get(n, Fraction(0)) - span.before.get(n, Fraction(0))) for n in cut[0].counts)

    def place(step: int) -> float:
        u = (step - span.start) / (span.end - span.start)
        return u if span.transition == "linear" else (1 - math.cos(math.pi * u)) / 2

    steepest = math.pi / 2 / (span.end - span.start)
    for piece in cut:
        moves = float(furthest) * (place(piece.end) - place(piece.start))
        assert moves <= 0.01 + float(furthest) * steepest + 1e-9


@pytest.mark.parametrize(("kind", "count"), [("linear", 30), ("cosine", 30)])
def test_a_transition_of_thirty_points(kind: Transition, count: int) -> None:
    """As many pieces as points; half of the way is done at half of the time, by both curves."""
    span = Span(0, 3000, {"a": Fraction(1)}, {"a": Fraction(7, 10), "b": Fraction(3, 10)}, kind, "")
    cut = pieces(span, 8)
    assert len(cut) == count
    assert sum(piece.counts["b"] for piece in cut) == 3000 * 8 * 3 // 20
    assert moved(span, 1500) == pytest.approx(375 if kind == "linear" else 3000 * (0.25 - 1 / (2 * math.pi)))
    assert moved(span, 3000) == 1500


def test_a_cosine_is_steep_in_the_middle() -> None:
    """Its pieces are short there, and long at the ends."""
    span = Span(0, 10_000, {"a": Fraction(1)}, {"b": Fraction(1)}, "cosine", "")
    lengths = [piece.end - piece.start for piece in pieces(span, 1)]
    assert len(lengths) == 100
    assert lengths[50] < lengths[10] < lengths[0]
    assert lengths == pytest.approx(lengths[::-1], abs=1)


def test_ahead_and_behind_are_shared_out_by_what_is_due() -> None:
    """Ten sources stay at 0.6 of a sample while ten others go from 0.4 to 1: largest remainders would need samples back."""
    still = {f"a{i}": Fraction(6, 160) for i in range(10)}
    grow = {f"b{i}": Fraction(4, 160) for i in range(10)}
    span = Span(0, 4, {**still, **grow, "c": Fraction(60, 160)}, {"c": Fraction(1)}, "linear", "")
    cut = pieces(span, 4)
    for name in cut[0].counts:
        for piece, total in zip(cut, totals(cut, name), strict=True):
            assert abs(total - ideal(span, name, piece.end, 4)) < 1


def test_a_short_transition_has_a_piece_a_batch() -> None:
    """There is nothing between two batches."""
    span = Span(10, 13, {"a": Fraction(1)}, {"b": Fraction(1)}, "linear", "")
    assert [(piece.start, piece.end) for piece in pieces(span, 6)] == [(10, 11), (11, 12), (12, 13)]
    assert [piece.counts["b"] for piece in pieces(span, 6)] == [1, 3, 5]

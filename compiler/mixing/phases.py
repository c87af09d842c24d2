"""Spans of the mixture as the plan's phases, with exact draws: constant ones by largest remainder, moving ones in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from compiler.apportion import apportion
from compiler.mixing.knots import Span
from compiler.mixing.transitions import Piece, pieces
from schemas.plan import PhasePlan, SourceShare

__all__ = ["phases"]


def phases(spans: Sequence[Span], batch: int, length: int) -> tuple[tuple[PhasePlan, ...], tuple[Span, ...]]:
    """Phases in order, and the span that each one comes from.

    Ids are `phase<span>`, and `phase<span>.<piece>` for the pieces of a transition. Sources without a draw are left out.

    Args:
        spans: of the whole run.
        batch: samples of a step.
        length: tokens of a sample.
    """
    found, origins = [], []
    for number, span in enumerate(spans):
        for suffix, piece in _pieces(span, batch):
            found.append(
                PhasePlan(
                    id=f"phase{number}{suffix}",
                    start_token=piece.start * batch * length,
                    end_token=piece.end * batch * length,
                    sources={
                        n: SourceShare(samples=c, tokens=c * length) for n, c in sorted(piece.counts.items()) if c
                    },
                    transition=span.transition,
                )
            )
            origins.append(span)
    return tuple(found), tuple(origins)


def _pieces(span: Span, batch: int) -> Iterator[tuple[str, Piece]]:
    if span.transition == "step":
        yield "", Piece(span.start, span.end, apportion((span.end - span.start) * batch, span.before))
        return
    cut = pieces(span, batch)
    digits = max(2, len(str(len(cut))))
    for number, piece in enumerate(cut, start=1):
        yield f".{number:0{digits}d}", piece

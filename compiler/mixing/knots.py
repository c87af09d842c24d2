"""The knots of the mixture on batch boundaries, and the spans of constant or moving weights between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from compiler.draft import Draft
from compiler.mixing.weights import Shares, even, exact, mixed_by_default
from schemas.data import Knot, Transition
from schemas.units import parse_time

__all__ = ["PlacedKnot", "Span", "knots", "spans"]


class PlacedKnot(NamedTuple):
    """From step `step` on, these are the shares; `place` is the recipe's path that says so, empty for a default."""

    step: int
    shares: Shares
    transition: Transition
    place: str


class Span(NamedTuple):
    """Steps [start, end), in which shares move from `before` to `after`; they are equal where `transition` is step."""

    start: int
    end: int
    before: Shares
    after: Shares
    transition: Transition
    place: str


def knots(draft: Draft) -> tuple[Draft, tuple[PlacedKnot, ...]]:
    """The recipe's knots in order, with findings about times that can't be (RC404); one knot of even shares if it has none."""
    said, names = draft.recipe.data.mixture, tuple(draft.recipe.data.sources)
    if not said:
        return draft, (PlacedKnot(0, even(mixed_by_default(draft)), "step", ""),)
    placed: list[PlacedKnot] = []
    for i, knot in enumerate(said):
        known = len(draft.findings)
        draft, start = draft.steps_of(knot.from_, "data", "mixture", i, "from")
        if len(draft.findings) > known:
            start = placed[-1].step + 1 if placed else 0  # a time that can't be known is in no order
        else:
            draft, start = _in_order(draft, i, knot, start, placed)
        place = draft.path("data", "mixture", i, "weights")
        placed.append(PlacedKnot(start, exact(knot.weights, names), knot.transition if i else "step", place))
    return draft, tuple(placed)


def _in_order(draft: Draft, i: int, knot: Knot, start: int, placed: Sequence[PlacedKnot]) -> tuple[Draft, int]:
    """A knot's step, with a finding where it is out of order; then the closest one that isn't, to go on with."""
    steps, before = draft.batch.steps, placed[-1].step if placed else 0
    if i == 0 and knot.transition != "step":
        what = f"the first knot has no knot before it for a {knot.transition} transition to come from"
        reason = "a knot's transition leads to it: write it at the knot where the weights arrive"
        draft = draft.find(
            draft.diagnostic("RC404", what, "data", "mixture", i, "transition", help="transition: step", reason=reason)
        )
    # Weights that arrive with the last token are a transition over the rest of the run.
    last = steps if knot.transition != "step" else steps - 1
    if i == 0:
        what = "the first knot starts at 0dur" if start else ""
    elif start <= before:
        what = f"this knot starts at step {start}, not after the one before it (step {before})"
    else:
        what = f"this knot starts at step {start}, the run ends at step {steps}" if start > last else ""
    if not what:
        return draft, start
    line = _line(draft, before, last) if placed else "from: 0dur"
    draft = draft.find(draft.diagnostic("RC404", what, "data", "mixture", i, "from", help=line))
    return draft, 0 if i == 0 else min(max(start, before + 1), steps)


def _line(draft: Draft, before: int, last: int) -> str:
    """A time between a step and the last one that may be: a share of the run if a short one will do, else a step."""
    if last <= before:
        return f"delete this knot: no step is left after step {before} of {draft.batch.steps}"
    share, middle = (before + draft.batch.steps) / 2 / draft.batch.steps, (before + last + 1) // 2
    line = f"{share:.3g}dur"
    return f"from: {line}" if before < draft.batch.steps_of(parse_time(line)) <= last else f"from: {middle}ba"


def spans(placed: Sequence[PlacedKnot], steps: int) -> tuple[Span, ...]:
    """The run cut at the knots. A knot with a transition is reached over the whole time since the knot before it."""
    found = []
    ends = [*placed[1:], PlacedKnot(steps, placed[-1].shares, "step", placed[-1].place)]
    for knot, following in zip(placed, ends, strict=True):
        moves = following.transition != "step"
        after, place = (following.shares, following.place) if moves else (knot.shares, knot.place)
        if following.step > knot.step:
            found.append(Span(knot.step, following.step, knot.shares, after, following.transition, place))
    return tuple(found)

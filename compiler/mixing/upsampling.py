"""Domain upsampling as the mixture's last knot, with the advice of the paper that tried it (Blakeney et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from compiler.draft import Draft
from compiler.mixing.knots import PlacedKnot
from compiler.mixing.weights import Shares, exact
from schemas.data import DomainUpsampling
from schemas.diagnostics import Related, Severity
from schemas.units import Time

__all__ = ["upsampled"]

# Fractions of a run that the paper tried (table 6), and the least general mix that softens the change (it kept 0.3).
_SHORTEST: Final = 0.05
_LONGEST: Final = 0.3
_LEAST_KEPT: Final = 0.2


def upsampled(draft: Draft, placed: Sequence[PlacedKnot]) -> tuple[Draft, tuple[PlacedKnot, ...]]:
    """The knots with the one of `data.domain_upsampling`, if there is one, and findings about it (RC412, RC413).

    Its mix is keep x (the mix before it, over what is kept) + (1 - keep) x (the upsampled sources).
    """
    said = draft.recipe.data.domain_upsampling
    if said is None:
        return draft, tuple(placed)
    draft = _advice(draft, said)
    # As a knot `from: 0.8dur` would be rounded, so that the short form and the long one are one plan.
    start = draft.batch.steps_of(Time(float(1 - Fraction(str(said.fraction))), "dur"))
    steps = draft.batch.steps
    if not 0 < start < steps:
        draft = draft.find(
            draft.diagnostic(
                "RC412",
                f"{said.fraction:g} of {steps} step{'s' * (steps > 1)} is {'all' if start < 1 else 'none'} of them",
                "data", "domain_upsampling", "fraction",
                # Half a step rounds to an even number, so a fifth of two steps or more needs no more than a half of them.
                help=f"fraction: {0.2 if steps > 2 else 0.5}" if steps > 1 else "delete `domain_upsampling`, or train longer",
            )
        )  # fmt: skip
        return draft, tuple(placed)
    draft = _conflicts(draft, placed, start)
    kept_knots = tuple(knot for knot in placed if knot.step < start)
    draft, shares = _shares(draft, said, kept_knots[-1].shares)
    return draft, (*kept_knots, PlacedKnot(start, shares, "step", "data.domain_upsampling"))


def _conflicts(draft: Draft, placed: Sequence[PlacedKnot], start: int) -> Draft:
    """A finding for each knot that stands where domain upsampling holds; both lines are named."""
    span = draft.spans.nearest("data", "domain_upsampling")
    related = (Related(span=span, message="domain upsampling"),) if span is not None else ()
    late = sum(knot.step >= start for knot in placed)
    first = len(placed) - late
    free = placed[first - 1].step if first else 0
    for i, knot in enumerate(placed):
        if knot.step >= start:
            place = free + (start - free) * (i - first + 1) // (late + 1)
            line = f"from: {place}ba, or " if place > free + i - first else ""
            finding = draft.diagnostic(
                "RC412",
                f"this knot is reached at step {knot.step}, and domain upsampling holds from step {start} on",
                "data", "mixture", i, "from",
                help=f"{line}delete this knot, or `domain_upsampling`",
                reason="domain upsampling is the mixture's last knot, reached at once",
            )  # fmt: skip
            draft = draft.find(finding.model_copy(update={"related": related}))
    return draft


def _shares(draft: Draft, said: DomainUpsampling, base: Shares) -> tuple[Draft, Shares]:
    """The final mix, exact, over the sources that it draws from."""
    names = tuple(draft.recipe.data.sources)
    domains, keep = exact(said.weights, names), Fraction(str(said.keep))
    stay = said.keep_sources or tuple(name for name in names if said.weights.get(name, 0.0) <= 0)
    general = {name: base[name] for name in stay if name in base}
    if any(name not in names for name in stay):
        general = general or dict(base)  # what isn't a source has its own finding (RC402)
    if keep and not general:
        kept = f"`{', '.join(said.keep_sources)}` has no share" if said.keep_sources else "nothing but them has a share"
        draft = draft.find(
            draft.diagnostic(
                "RC412",
                f"{said.keep:g} of the general mix is kept, and {kept} before the upsampling",
                "data", "domain_upsampling", "keep_sources" if said.keep_sources else "keep",
                help=f"keep_sources: [{', '.join(base)}]",
                reason="the general mix that stays is the mix before it, without the upsampled sources",
            )
        )  # fmt: skip
        general, keep = {}, Fraction(0)
    total = sum(general.values())
    mix = {
        name: keep * general.get(name, Fraction(0)) / (total or 1) + (1 - keep) * domains.get(name, Fraction(0))
        for name in names
    }
    return draft, {name: share for name, share in mix.items() if share}


def _advice(draft: Draft, said: DomainUpsampling) -> Draft:
    """Warnings where the recipe leaves what the paper tried (RC413)."""
    if not _SHORTEST <= said.fraction <= _LONGEST:
        few = said.fraction < _SHORTEST
        draft = _warning(
            draft,
            f"the last {said.fraction:g} of the run is {'less' if few else 'more'} than what was tried, "
            f"{_SHORTEST:g} to {_LONGEST:g}",
            "fraction",
            f"fraction: {_SHORTEST if few else 0.2:g}   # 0.2 favours code and math, 0.1 broad knowledge",
        )
    if said.keep < _LEAST_KEPT:
        message = f"only {said.keep:g} of the mix stays general" if said.keep else "nothing of the mix stays general"
        draft = _warning(
            draft, message, "keep", "keep: 0.3   # what the paper kept, so that the distribution doesn't jump"
        )
    return draft


def _warning(draft: Draft, message: str, key: str, help: str) -> Draft:
    path = ("data", "domain_upsampling", key)
    return draft.find(draft.diagnostic("RC413", message, *path, help=help, severity=Severity.WARNING))

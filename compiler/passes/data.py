"""The mixture over time as exact draws: phases on batch boundaries, samples per source by largest remainder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from compiler.apportion import apportion
from compiler.curricula import curricula
from compiler.draft import Draft
from compiler.frontend.suggest import closest
from compiler.provenance import Because, From, Reason
from schemas.diagnostics import Severity
from schemas.plan import DataPlan, PhasePlan, SourceShare

__all__ = ["data"]

# Past about four epochs repeated tokens teach less (Muennighoff et al. 2023, arXiv 2305.16264).
_USUAL_EPOCHS = 4.0
_SUM_TOLERANCE = 1e-6


class _Span(NamedTuple):
    """Steps [start, end) under one knot; `knot` is its index in the recipe, or None for the default mixture."""

    start: int
    end: int
    weights: Mapping[str, float]
    knot: int | None


def _check_weights(draft: Draft) -> Draft:
    """Findings about names and sums of weights."""
    names = draft.recipe.data.sources
    used: set[str] = set()
    for i, knot in enumerate(draft.recipe.data.mixture):
        used |= set(knot.weights)
        for name in knot.weights:
            if name not in names:
                guess = closest(name, names)
                draft = draft.find(
                    draft.diagnostic(
                        "RC402",
                        f"the mixture names `{name}`, which is not a source",
                        "data", "mixture", i, "weights", name,
                        help=f"sources are: {', '.join(names)}",
                        label=f"did you mean `{guess}`?" if guess else "",
                    )
                )  # fmt: skip
        total = sum(knot.weights.values())
        if abs(total - 1) > _SUM_TOLERANCE:
            fixed = ", ".join(f"{name}: {weight:g}" for name, weight in _rescaled(knot.weights).items())
            draft = draft.find(
                draft.diagnostic(
                    "RC403",
                    f"the weights sum to {total:.6g}",
                    "data", "mixture", i, "weights",
                    help=f"weights: {{{fixed}}}",
                )
            )  # fmt: skip
    for name in names if draft.recipe.data.mixture else ():
        if name not in used:
            draft = draft.find(
                draft.diagnostic(
                    "RC402",
                    f"no knot of the mixture draws from `{name}`",
                    "data", "sources", name,
                    help=f"give `{name}` a weight, or delete the source",
                )
            )  # fmt: skip
    return draft


def _rescaled(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights in the same proportions, in 1/10000ths, which sum to 1 as they are written."""
    shares = apportion(10_000, weights if any(weights.values()) else dict.fromkeys(weights, 1.0))
    return {name: shares[name] / 10_000 for name in weights}


def _later(starts: list[int], steps: int) -> str:
    """A time for the next knot, half-way between the one before it and the end."""
    return f"from: {(starts[-1] + steps) / 2 / steps:.3g}dur" if starts else "from: 0dur"


def _spans(draft: Draft) -> tuple[Draft, list[_Span]]:
    """The run cut at the knots, on batch boundaries."""
    knots, steps = draft.recipe.data.mixture, draft.batch.steps
    if not knots:
        names = draft.recipe.data.sources
        return draft, [_Span(0, steps, {name: 1.0 / len(names) for name in names}, None)]
    starts: list[int] = []
    for i, knot in enumerate(knots):
        draft, start = draft.steps_of(knot.from_, "data", "mixture", i, "from")
        late = i > 0 and start <= starts[-1]
        if (i == 0 and start != 0) or late or start >= steps:
            what = (
                "the first knot starts at 0dur"
                if i == 0
                else f"this knot starts at step {start}, not after the one before it (step {starts[-1]})"
                if late
                else f"this knot starts at step {start}, the run ends at step {steps}"
            )
            draft = draft.find(
                draft.diagnostic("RC404", what, "data", "mixture", i, "from", help=_later(starts, steps))
            )
            start = 0 if i == 0 else min(max(start, starts[-1] + 1), steps)
        starts.append(start)
    ends = [*starts[1:], steps]
    return draft, [
        _Span(start, end, knot.weights, i)
        for i, (start, end, knot) in enumerate(zip(starts, ends, knots, strict=True))
        if end > start
    ]


def _phases(draft: Draft, spans: list[_Span]) -> tuple[PhasePlan, ...]:
    batch, length = draft.batch, draft.recipe.data.sequence_length
    phases = []
    for i, span in enumerate(spans):
        known = {name: w for name, w in span.weights.items() if name in draft.recipe.data.sources}
        if not any(known.values()):
            known = dict.fromkeys(draft.recipe.data.sources, 1.0)
        counts = apportion((span.end - span.start) * batch.samples, known)
        phases.append(
            PhasePlan(
                id=f"phase{i}",
                start_token=span.start * batch.tokens,
                end_token=span.end * batch.tokens,
                sources={n: SourceShare(samples=c, tokens=c * length) for n, c in counts.items() if c},
            )
        )
    return tuple(phases)


def _check_epochs(draft: Draft, phases: tuple[PhasePlan, ...]) -> Draft:
    """Findings where a source that says its size would run dry, or be read too often."""
    kept = 1 - draft.recipe.evaluation.holdout
    for name, source in draft.recipe.data.sources.items():
        drawn = sum(phase.sources[name].tokens for phase in phases if name in phase.sources)
        if source.tokens is None or not drawn:
            continue
        epochs = drawn / (source.tokens * kept)
        limit = source.max_epochs or _USUAL_EPOCHS
        if epochs > limit:
            fatal = source.max_epochs is not None
            draft = draft.find(
                draft.diagnostic(
                    "RC405",
                    f"`{name}` is read {epochs:.3g} times over: {drawn} tokens of {source.tokens * kept:.0f} that are trained on",
                    "data", "sources", name, "max_epochs" if fatal else "tokens",
                    help=f"max_epochs: {epochs:.2g}" if fatal else f"lower the weight of `{name}`, or say `max_epochs`",
                    severity=Severity.ERROR if fatal else Severity.WARNING,
                )
            )  # fmt: skip
    return draft


def data(draft: Draft) -> Draft:
    """Fill `data`. Sources are in alphabetical order, so that their order in the recipe changes nothing."""
    said = draft.recipe.data
    draft = _check_weights(draft)
    draft, spans = _spans(draft)
    phases = _phases(draft, spans)
    draft = _check_epochs(draft, phases)
    section = DataPlan(
        sequence_length=said.sequence_length,
        sources={name: said.sources[name] for name in sorted(said.sources)},
        phases=phases,
        shuffle_block=said.shuffle_block,
        curricula=curricula(draft),
        selection=said.selection,
    )
    rule = "share of the phase's samples by largest remainder; phases end on batch boundaries"
    why: dict[str, Because] = {}
    for i, span in enumerate(spans):
        whole = Reason("every source the same share, as the recipe gives no mixture")
        why[f"phases[{i}]"] = whole if span.knot is None else From(f"data.mixture[{span.knot}].weights", rule)
    why["curricula"] = Reason("the recipe gives no curriculum")
    for name in section.curricula:
        own = draft.recipe.data.sources[name].curriculum
        home = draft.path("data", "sources", name, "curriculum") if own else "data.curriculum"
        why[draft.path("curricula", name)] = From(home)
    for name in section.sources:
        why[draft.path("sources", name)] = From(draft.path("data", "sources", name))
    return draft.fill("data", section, why)

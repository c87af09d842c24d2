"""The mixture over time as exact draws: knots and transitions as phases on batch boundaries, limits of sources checked."""

from __future__ import annotations

from compiler.curricula import curricula, home
from compiler.draft import Draft
from compiler.mixing.exposure import check_limits
from compiler.mixing.knots import Span, knots, spans
from compiler.mixing.phases import phases
from compiler.mixing.upsampling import upsampled
from compiler.mixing.weights import check_weights
from compiler.provenance import Because, From, Reason
from schemas.plan import DataPlan

__all__ = ["data"]


def data(draft: Draft) -> Draft:
    """Fill `data`. Sources are in alphabetical order, so that their order in the recipe changes nothing."""
    said = draft.recipe.data
    draft, placed = knots(check_weights(draft))
    draft, placed = upsampled(draft, placed)
    found, origins = phases(spans(placed, draft.batch.steps), draft.batch.samples, said.sequence_length)
    draft = check_limits(draft, found)
    draft, paced = curricula(draft, found)
    section = DataPlan(
        sequence_length=said.sequence_length,
        # What a source says of its order stands decided under `curricula`.
        sources={name: said.sources[name].model_copy(update={"curriculum": None}) for name in sorted(said.sources)},
        phases=found,
        shuffle_block=said.shuffle_block,
        curricula=paced,
        selection=said.selection,
    )
    why = {f"phases[{i}]": _because(span) for i, span in enumerate(origins)}
    why["curricula"] = Reason("the recipe gives no curriculum")
    for name in section.curricula:
        why[draft.path("curricula", name)] = From(draft.path(*home(draft, name)))
    for name in section.sources:
        why[draft.path("sources", name)] = From(draft.path("data", "sources", name))
    return draft.fill("data", section, why)


def _because(span: Span) -> Because:
    """Where a phase of a span comes from."""
    if not span.place:
        return Reason("every source the same share, as the recipe gives no mixture")
    if span.transition == "step":
        return From(span.place, "share of the phase's samples by largest remainder; phases end on batch boundaries")
    return From(span.place, f"a piece of the {span.transition} transition: its integral, rounded to whole samples")

"""What a run takes over from the run that it starts from: zeros that stay zero, factors that stay factors."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.lowering import low_rank, pruning
from schemas.fragment import Claim, Fragment
from schemas.plan import ModelPlan, ResNetPlan, RunPlan
from schemas.techniques import Window
from schemas.techniques.low_rank import LowRankAlgorithm
from schemas.techniques.pruning import PruningAlgorithm

__all__ = ["carried"]

_ALL_ALONG = Window(start_token=0, end_token=0)
"""Nothing is scheduled: it holds from the first step to the last, however long the run is."""


def carried(draft: Draft, said: frozenset[str]) -> dict[str, Fragment]:
    """Kind of technique -> what the run keeps of the one before it.

    Args:
        draft: the start is noted, and the model is known.
        said: kinds that the recipe itself lists for this run, which then say what is left of the model.
    """
    before = draft.beginning.run if draft.beginning is not None else None
    if before is None:
        return {}
    found = {"low_rank": _factors(before, draft.model), "pruning": _zeros(before, draft.model, owned="pruning" in said)}
    return {kind: fragment for kind, fragment in found.items() if fragment is not None}


def _factors(before: RunPlan, model: ModelPlan | ResNetPlan) -> Fragment | None:
    spec = next((spec for spec in before.algorithms if isinstance(spec, LowRankAlgorithm)), None)
    if spec is None:
        return None
    cut = list(low_rank.saved(spec, model))
    remaining = low_rank.left(spec, model)
    return Fragment(
        claims=(Claim(slot="model.weights", shared=True),),
        algorithms=(spec.model_copy(update={"hold": True, "window": _ALL_ALONG}),),
        flops_per_token=-6.0 * sum(layer.positions * weights for layer, weights in cut),
        trainable_parameters=remaining,
        shipped_parameters=remaining,
        reason=f"the factors of the run `{before.run}` are kept",
    )


def _zeros(before: RunPlan, model: ModelPlan | ResNetPlan, *, owned: bool) -> Fragment | None:
    """Zeros of the last pruning before; of channels and heads where any run took these."""
    specs = [spec for spec in before.algorithms if isinstance(spec, PruningAlgorithm)]
    if not specs:
        return None
    last = next((spec for spec in specs if spec.method == "structured"), specs[-1])
    spec = last.model_copy(update={"schedule": "hold", "window": _ALL_ALONG, "interval_steps": 1})
    parameters, nonzero = pruning.left(spec, model)
    return Fragment(
        claims=(Claim(slot="model.weights", shared=True),),
        algorithms=(spec,),
        memory_parameters=pruning.mask_parameters(spec, model),
        shipped_parameters=parameters if spec.method == "structured" and not owned else None,
        shipped_nonzero=nonzero if not owned else None,
        reason=f"what the run `{before.run}` pruned stays zero",
    )

"""What a run takes over from the run that it starts from: zeros that stay zero, factors that stay factors."""

from __future__ import annotations

from collections.abc import Sequence

from compiler.draft import Draft
from compiler.layers import body_layers
from compiler.lowering import low_rank, pruning
from compiler.removal import prunable, prunings
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
    found = {"low_rank": _factors(before, draft.model)}
    if "low_rank" not in said:  # which takes out what is empty, and leaves no zeros
        found["pruning"] = _zeros(before, draft, owned="pruning" in said)
    return {kind: fragment for kind, fragment in found.items() if fragment is not None}


def _factors(before: RunPlan, model: ModelPlan | ResNetPlan) -> Fragment | None:
    spec = next((spec for spec in before.algorithms if isinstance(spec, LowRankAlgorithm)), None)
    if spec is None:
        return None
    remaining = low_rank.left(spec, model)
    return Fragment(
        claims=(Claim(slot="model.weights", shared=True),),
        algorithms=(spec.model_copy(update={"hold": True, "window": _ALL_ALONG}),),
        flops_per_token=low_rank.less_flops(spec, model),
        trainable_parameters=remaining,
        shipped_parameters=remaining,
        reason=f"the factors of the run `{before.run}` are kept",
    )


def _zeros(before: RunPlan, draft: Draft, *, owned: bool) -> Fragment | None:
    """Zeros of all prunings before; of channels and heads where any run took these."""
    specs, model = prunings(draft), draft.model
    if not specs:
        return None
    spec = _as_one(specs, model)
    parameters, nonzero = pruning.what_is_left(specs, draft)
    return Fragment(
        claims=(Claim(slot="model.weights", shared=True),),
        algorithms=(spec,),
        memory_parameters=pruning.mask_parameters(spec, model),
        shipped_parameters=parameters if spec.method == "structured" and not owned else None,
        shipped_nonzero=nonzero if not owned else None,
        reason=f"what the run `{before.run}` pruned stays zero",
    )


def _as_one(specs: Sequence[PruningAlgorithm], model: ModelPlan | ResNetPlan) -> PruningAlgorithm:
    """What holds the zeros of several prunings: those of every layer that one of them worked on."""
    last = next((spec for spec in reversed(specs) if spec.method == "structured"), specs[-1])
    held = last.model_copy(update={"schedule": "hold", "window": _ALL_ALONG, "interval_steps": 1})
    if len({(spec.targets, spec.exclude) for spec in specs}) == 1:
        return held
    # Each layer by its name: no pattern says `the MLPs of one, and the attention of the other`.
    worked_on = {layer.name for spec in specs for layer in prunable(spec, model)}
    spared = tuple(layer.name for layer in body_layers(model) if layer.name not in worked_on)
    return held.model_copy(update={"targets": "all", "exclude": spared})

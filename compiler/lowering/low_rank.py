"""Low-rank factors: which layers become two, of which rank, and what that saves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from compiler.draft import Draft
from compiler.layers import Layer, body_layers
from compiler.lowering.base import whole_run
from schemas.fragment import Claim, Fragment, Requirement
from schemas.plan import ModelPlan, ResNetPlan
from schemas.techniques import Technique
from schemas.techniques.low_rank import LowRank, LowRankAlgorithm

__all__ = ["left", "lower", "rank_of", "saved"]

_CLAIMS: Final = (
    Claim(slot="model.weights", shared=True),
    Claim(slot="model.rank"),
    Claim(slot="model.structure"),
)


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Claims the rank and the structure of layers: what removes channels needs whole ones."""
    assert isinstance(technique, LowRank)
    model = draft.model
    spec = LowRankAlgorithm(
        window=whole_run(draft),
        rank=technique.rank,
        energy=technique.energy,
        parameters=technique.parameters,
        targets=_targets(technique, model),
        hold=False,
    )
    cut = list(saved(spec, model))
    removed = sum(weights for _, weights in cut)
    products = sum(layer.positions * weights for layer, weights in cut)
    return Fragment(
        claims=_CLAIMS,
        algorithms=(spec,),
        requires=_requirements(technique, draft, spec),
        flops_per_token=-6.0 * products,  # forward and backward pass of two smaller products
        trainable_parameters=model.num_parameters - removed,
        shipped_parameters=model.num_parameters - removed,
        reason=_reason(spec, cut, removed),
    )


def rank_of(spec: LowRankAlgorithm, layer: Layer) -> int | None:
    """The rank of a layer's factors; None where it stays whole, or where its weights decide.

    r (m + n) weights instead of m n are fewer iff r < m n / (m + n) (Composer's `factorize_core` has the same bound).
    """
    m, n = layer.outputs, layer.inputs
    if spec.rank is not None:
        rank = spec.rank
    elif spec.parameters is not None:
        rank = max(1, int(spec.parameters * m * n / (m + n)))
    else:
        return None
    return rank if rank * (m + n) < m * n else None


def saved(spec: LowRankAlgorithm, model: ModelPlan | ResNetPlan) -> Iterator[tuple[Layer, int]]:
    """Layers that become factors, and the weights that each loses; with `energy`, which only the weights know, none."""
    for layer in body_layers(model):
        rank = rank_of(spec, layer) if layer.name.rpartition(".")[2] in spec.targets else None
        if rank is not None:
            yield layer, layer.weights - rank * (layer.outputs + layer.inputs)


def left(spec: LowRankAlgorithm, model: ModelPlan | ResNetPlan) -> int:
    """Parameters with factors in place of layers; an upper bound with `energy`."""
    return model.num_parameters - sum(weights for _, weights in saved(spec, model))


def _targets(technique: LowRank, model: ModelPlan | ResNetPlan) -> tuple[str, ...]:
    """Last parts of the layers' names, in the order of a block."""
    wanted = (layer for layer in body_layers(model) if technique.targets in ("all", layer.group))
    # 1 x 1 projections of a residual block (`downsample.0`) have few weights, and a name that is a number.
    return tuple(dict.fromkeys(name for name in (w.name.rpartition(".")[2] for w in wanted) if not name.isdigit()))


def _reason(spec: LowRankAlgorithm, cut: list[tuple[Layer, int]], removed: int) -> str:
    if spec.energy is not None:
        return f"{spec.energy:g} of each layer's squared singular values; how many that are, the weights say"
    said = f"rank {spec.rank}" if spec.rank is not None else f"{spec.parameters:g} of each layer's weights"
    return f"{said}: {len(cut)} layers become two, {removed:,} weights fewer"


def _starts(draft: Draft) -> bool:
    """Whether there are trained weights to begin with; `previous` means none in the first run of a sequence."""
    start = draft.recipe.model.start
    return start is not None and (start.run != "previous" or draft.run_named("previous") is not None)


def _requirements(technique: LowRank, draft: Draft, spec: LowRankAlgorithm) -> tuple[Requirement, ...]:
    before = draft.beginning.run if draft.beginning is not None else None
    key = next((name for name in ("rank", "parameters") if getattr(technique, name) is not None), "kind")
    layers = [layer for layer in body_layers(draft.model) if layer.name.rpartition(".")[2] in spec.targets]
    most = max(((layer.weights - 1) // (layer.outputs + layer.inputs) for layer in layers), default=0)
    return (
        Requirement(
            holds=_starts(draft),
            key="kind",
            message="factors of random weights have nothing to keep: their singular values are all alike",
            help="model: {start: models/base}   # or {start: {run: previous}}",
        ),
        Requirement(
            holds=not layers or spec.energy is not None or any(rank_of(spec, layer) is not None for layer in layers),
            key=key,
            message=f"no layer would have fewer weights: the largest rank that saves any is {most}",
            help=f"rank: {max(1, most // 2)}",
        ),
        Requirement(
            holds=draft.model.family != "resnet" or technique.targets == "all",
            key="targets",
            message="a resnet has neither MLPs nor attention",
            help="targets: all",
        ),
        Requirement(
            holds=before is None or all(algorithm.kind != "low_rank" for algorithm in before.algorithms),
            key="kind",
            message=f"the run `{before.run if before else ''}` left factors already, which this run keeps",
            help="delete this item",
        ),
        Requirement(
            holds=before is None or all(algorithm.kind != "pruning" for algorithm in before.algorithms),
            key="kind",
            message=f"the run `{before.run if before else ''}` left zeros, and factors have none: their product would fill them",
            help="low_rank in the run before, and `kind: pruning` here: factors are pruned like any weights",
        ),
    )

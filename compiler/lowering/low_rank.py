"""Low-rank factors: which layers become two, of which rank, and what that saves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from compiler.draft import Draft
from compiler.layers import Layer, body_layers, narrowed
from compiler.lowering.base import starts, whole_run
from compiler.removal import emptied, lost, prunings, removed
from schemas.fragment import Claim, Fragment, Requirement
from schemas.plan import ModelPlan, ResNetPlan
from schemas.techniques import Technique
from schemas.techniques.low_rank import LowRank, LowRankAlgorithm

__all__ = ["factor_layers", "factors_in", "layers_of", "left", "less_flops", "lower", "rank_of", "saved"]

_CLAIMS: Final = (
    Claim(slot="model.weights", shared=True),
    Claim(slot="model.rank"),
    Claim(slot="model.structure"),
)


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Claims the rank and the structure of layers: what removes channels needs whole ones."""
    assert isinstance(technique, LowRank)
    spec, model = _spec(technique, draft), draft.model
    cut, remaining = list(saved(spec, model)), left(spec, model)
    return Fragment(
        claims=_CLAIMS,
        algorithms=(spec,),
        requires=_requirements(technique, draft, spec),
        flops_per_token=less_flops(spec, model),
        trainable_parameters=remaining,
        shipped_parameters=remaining,
        reason=_reason(spec, cut, sum(weights for _, weights in cut)),
    )


def _spec(technique: LowRank, draft: Draft) -> LowRankAlgorithm:
    return LowRankAlgorithm(
        window=whole_run(draft),
        rank=technique.rank,
        energy=technique.energy,
        parameters=technique.parameters,
        targets=_targets(technique, draft.model),
        hold=False,
        removes=prunings(draft),
    )


def factors_in(draft: Draft) -> LowRankAlgorithm | None:
    """The factors that a run trains: its own, or those of the run that it starts from; None where layers are whole."""
    own = next((one for one in draft.recipe.compression if isinstance(one, LowRank)), None)
    if own is not None:
        return _spec(own, draft)
    before = draft.beginning.run if draft.beginning is not None else None
    kept = before.algorithms if before is not None else ()
    return next((spec for spec in kept if isinstance(spec, LowRankAlgorithm)), None)


def factor_layers(spec: LowRankAlgorithm, model: ModelPlan | ResNetPlan) -> Iterator[Layer]:
    """The layers of the model that is trained: two for each that becomes factors, under its name."""
    for layer in layers_of(spec, model):
        rank = rank_of(spec, layer) if layer.name.rpartition(".")[2] in spec.targets else None
        if rank is None:
            yield layer
            continue
        yield layer._replace(outputs=rank)
        yield layer._replace(inputs=rank, fours=rank % 4 == 0)


def layers_of(spec: LowRankAlgorithm, model: ModelPlan | ResNetPlan) -> tuple[Layer, ...]:
    """The layers that factors are made of: without the channels and heads that earlier runs emptied."""
    return narrowed(body_layers(model), removed(spec.removes, model))


def less_flops(spec: LowRankAlgorithm, model: ModelPlan | ResNetPlan) -> float:
    """What two smaller products in place of a layer, and layers that lost channels, change of forward and backward pass."""
    whole = sum(layer.positions * layer.weights for layer in body_layers(model))
    narrow = sum(layer.positions * layer.weights for layer in layers_of(spec, model))
    return -6.0 * (whole - narrow + sum(layer.positions * weights for layer, weights in saved(spec, model)))


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
    for layer in layers_of(spec, model):
        rank = rank_of(spec, layer) if layer.name.rpartition(".")[2] in spec.targets else None
        if rank is not None:
            yield layer, layer.weights - rank * (layer.outputs + layer.inputs)


def left(spec: LowRankAlgorithm, model: ModelPlan | ResNetPlan) -> int:
    """Parameters with factors in place of layers; an upper bound with `energy`."""
    gone = lost(removed(spec.removes, model))
    return model.num_parameters - gone - sum(weights for _, weights in saved(spec, model))


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


def _requirements(technique: LowRank, draft: Draft, spec: LowRankAlgorithm) -> tuple[Requirement, ...]:
    before = draft.beginning.run if draft.beginning is not None else None
    key = next((name for name in ("rank", "parameters") if getattr(technique, name) is not None), "kind")
    layers = [layer for layer in layers_of(spec, draft.model) if layer.name.rpartition(".")[2] in spec.targets]
    most = max(((layer.weights - 1) // (layer.outputs + layer.inputs) for layer in layers), default=0)
    return (
        Requirement(
            holds=starts(draft),
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
            holds=all(one.method == "structured" for one in spec.removes),
            key="kind",
            message=f"the run `{before.run if before else ''}` left zeros, and factors have none: their product would fill them",
            help="low_rank in the run before, and `kind: pruning` here: factors are pruned like any weights",
        ),
        Requirement(
            holds=removed(spec.removes, draft.model) == emptied(spec.removes, draft.model)
            or any(one.method != "structured" for one in spec.removes),
            key="kind",
            message=f"the run `{before.run if before else ''}` emptied channels or heads of some layers alone, which must "
            "stay in a model with one size for all layers, and factors would fill them",
            help="delete this item, or `exclude` of the pruning",
        ),
    )

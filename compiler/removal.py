"""What pruning leaves of a model: channels and heads that go, and zeros that stay; counted without torch.

Removed are round(sparsity x n) weights of each layer, or round(sparsity x n) units of each structure, as
runtime/compression/sparsity does it. Later runs keep what earlier ones removed, and rank it lowest: shares don't add up, the
largest one holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from compiler.draft import Draft
from compiler.layers import Layer, Structure, body_layers, is_excluded, narrowed, structures
from schemas.plan import ModelPlan, ResNetPlan
from schemas.techniques.low_rank import LowRankAlgorithm
from schemas.techniques.pruning import PruningAlgorithm

__all__ = ["emptied", "left", "lost", "nonzero_of", "prunable", "prunings", "removed"]

Units = tuple[tuple[Structure, int], ...]
"""Structures, and how many of their units go."""


def prunings(draft: Draft) -> tuple[PruningAlgorithm, ...]:
    """What the runs that a run goes back to have pruned, the first one first; not what was taken out to make factors."""
    found: list[PruningAlgorithm] = []
    taken_out: list[PruningAlgorithm] = []
    run = draft.beginning.run if draft.beginning is not None else None
    while run is not None:
        own = [spec for spec in run.algorithms if isinstance(spec, PruningAlgorithm) and spec.schedule != "hold"]
        found = [*own, *found]
        taken_out += [one for spec in run.algorithms if isinstance(spec, LowRankAlgorithm) for one in spec.removes]
        run = draft.run_named(run.start.run) if run.start is not None and run.start.run is not None else None
    return tuple(spec for spec in found if spec not in taken_out)


def prunable(spec: PruningAlgorithm, model: ModelPlan | ResNetPlan) -> list[Layer]:
    """Layers whose weights a pruning may remove; of channels and heads, those that have some."""
    if spec.method == "structured":
        names = {name for structure in _chosen(spec, structures(model)) for name in structure.layers}
        return [layer for layer in body_layers(model) if layer.name in names]
    return _of(spec, body_layers(model))


def _of(spec: PruningAlgorithm, layers: Iterable[Layer]) -> list[Layer]:
    """Layers in which a pruning may remove single weights."""
    return [
        layer
        for layer in layers
        if spec.targets in ("all", layer.group)
        and not is_excluded(layer.name, spec.exclude)
        and (spec.method != "2:4" or layer.fours)
    ]


def _chosen(spec: PruningAlgorithm, found: Iterable[Structure]) -> list[Structure]:
    """Structures of the targets without those that have a layer which stays whole."""
    return [
        structure
        for structure in found
        if spec.targets in ("all", structure.group)
        and not any(is_excluded(layer, spec.exclude) for layer in structure.layers)
    ]


def emptied(specs: Iterable[PruningAlgorithm], model: ModelPlan | ResNetPlan) -> Units:
    """All structures, and the units of each that are without weights in the end; one unit always stays."""
    found = structures(model)
    units = dict.fromkeys(found, 0)
    for spec in specs:
        for structure in _chosen(spec, found) if spec.method == "structured" else ():
            units[structure] = max(units[structure], min(structure.size - 1, round(spec.sparsity * structure.size)))
    return tuple(units.items())


def removed(specs: Iterable[PruningAlgorithm], model: ModelPlan | ResNetPlan) -> Units:
    """Of those, the units that leave the model: equally many in all blocks, where its configuration has one size for them."""
    units = emptied(specs, model)
    least = {one.group: min(n for other, n in units if other.group == one.group) for one, _ in units}
    return tuple((one, least[one.group] if one.one_size else n) for one, n in units)


def lost(units: Units) -> int:
    """Parameters that go with units: where two structures of a block meet in a matrix, its entries go once."""
    total, before = 0, 0
    for structure, count in units:
        total += count * (structure.weights - structure.shared * before)
        before = count
    return total


def left(specs: Sequence[PruningAlgorithm], model: ModelPlan | ResNetPlan) -> tuple[int, float]:
    """Parameters of the shipped model, and the share of them that isn't zero.

    Args:
        specs: of the run and those before it.
        model: as it was planned.
    """
    gone = removed(specs, model)
    parameters = model.num_parameters - lost(gone)
    return parameters, 1 - _zeros(specs, model, gone) / parameters


def _zeros(specs: Sequence[PruningAlgorithm], model: ModelPlan | ResNetPlan, gone: Units) -> int:
    """Zeros in what is shipped: single ones, and units that are empty and had to stay."""
    layers, dead = body_layers(model), emptied(specs, model)
    alive = {layer.name: layer.weights for layer in narrowed(layers, dead)}
    zeros = {layer.name: layer.weights - alive[layer.name] for layer in layers}
    beside = lost(dead) - sum(zeros.values())  # biases and norms of units
    for spec in specs:
        if spec.method != "structured" and spec.scope == "layer":
            zeros |= {
                one.name: max(zeros[one.name], round(spec.sparsity * one.weights)) for one in prunable(spec, model)
            }
    total = sum(zeros.values())
    for spec in specs:
        if spec.scope == "global":
            total = max(total, _ranked_together(spec, prunable(spec, model), zeros))
    return total + beside - lost(gone)


def nonzero_of(specs: Iterable[PruningAlgorithm], layers: Iterable[Layer], parameters: int) -> float:
    """The share of weights that isn't zero in a model whose layers have been reshaped, which no pruning takes apart.

    Args:
        specs: prunings of single weights.
        layers: in the model's shape, such as factors.
        parameters: of that model.
    """
    shape = tuple(layers)
    zeros = max(
        (
            round(spec.sparsity * sum(layer.weights for layer in _of(spec, shape)))
            if spec.scope == "global"
            else sum(round(spec.sparsity * layer.weights) for layer in _of(spec, shape))
            for spec in specs
        ),
        default=0,
    )
    return 1 - zeros / parameters


def _ranked_together(spec: PruningAlgorithm, layers: Sequence[Layer], zeros: Mapping[str, int]) -> int:
    """Zeros of all layers where a share of some is ranked as one, which have at least those that they had."""
    had = sum(zeros[layer.name] for layer in layers)
    share = round(spec.sparsity * sum(layer.weights for layer in layers))
    return sum(zeros.values()) - had + max(had, share)

"""Pruning: a schedule of sparsity over a window, and what is left of the model."""

from __future__ import annotations

from collections.abc import Iterator

from compiler.draft import Draft
from compiler.frontend.suggest import closest
from compiler.layers import Layer, Structure, body_layers, is_excluded, structures
from compiler.lowering.base import known, steps, window
from schemas.fragment import Claim, Fragment, Requirement
from schemas.plan import ModelPlan, ResNetPlan
from schemas.techniques import Technique
from schemas.techniques.pruning import Pruning, PruningAlgorithm

__all__ = ["left", "lower", "mask_parameters"]


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Claims the sparsity of weights; whole channels and heads are also the model's structure. A mask is a byte a weight."""
    assert isinstance(technique, Pruning)
    at_once = technique.schedule == "oneshot"
    start, end = steps(draft, technique.start), steps(draft, technique.end)
    spec = PruningAlgorithm(
        window=window(draft, technique.start, technique.start if at_once else technique.end),
        method=technique.method,
        sparsity=technique.sparsity,
        initial=technique.initial,
        schedule=technique.schedule,
        scope=technique.scope,
        norm=technique.norm,
        targets=technique.targets,
        exclude=technique.exclude,
        interval_steps=1 if at_once else max(1, steps(draft, technique.interval)),
    )
    slope = (
        f"at step {start}"
        if at_once
        else f"{technique.schedule} from {technique.initial:g} between steps {start} and {end}"
    )
    parameters, nonzero = left(spec, draft.model)
    structure = (Claim(slot="model.structure"),) if technique.method == "structured" else ()
    return Fragment(
        claims=(Claim(slot="model.weights", shared=True), Claim(slot="model.sparsity"), *structure),
        algorithms=(spec,),
        requires=(*_times(technique, draft), *_choices(technique), *_model(technique, draft)),
        whole_weights=technique.scope == "global",  # one ranking of all weights
        memory_parameters=mask_parameters(spec, draft.model),
        shipped_parameters=parameters if technique.method == "structured" else None,
        shipped_nonzero=nonzero,
        reason=f"{technique.sparsity:g} of {_what(technique)} removed, {slope}",
    )


def _what(technique: Pruning) -> str:
    words = {"magnitude": "the weights", "structured": "channels and heads", "2:4": "the weights, two of every four,"}
    return (
        words[technique.method] if technique.targets == "all" else f"{words[technique.method]} of {technique.targets}"
    )


def mask_parameters(spec: PruningAlgorithm, model: ModelPlan | ResNetPlan) -> int:
    """Masks in units of fp32 weights: a byte for each weight that can go."""
    return -(-sum(layer.weights for layer in _layers(spec, model)) // 4)


def _layers(spec: PruningAlgorithm, model: ModelPlan | ResNetPlan) -> list[Layer]:
    return [
        layer
        for layer in body_layers(model)
        if spec.targets in ("all", layer.group)
        and not is_excluded(layer.name, spec.exclude)
        and (spec.method != "2:4" or layer.fours)
    ]


def left(spec: PruningAlgorithm, model: ModelPlan | ResNetPlan) -> tuple[int, float]:
    """Parameters of the finished model, and the share of them that isn't zero.

    Removed are round(sparsity x n) of each layer, or of each structure's units, as runtime/compression/sparsity does it.
    """
    total = model.num_parameters
    if spec.method != "structured":
        return total, 1 - _zeros(spec, model) / total
    removed = sum(_removed(spec, model))
    if _uniform(spec, model):
        return total - removed, 1.0
    return total, 1 - removed / total


def _zeros(spec: PruningAlgorithm, model: ModelPlan | ResNetPlan) -> int:
    layers = _layers(spec, model)
    if spec.scope == "global":
        return round(spec.sparsity * sum(layer.weights for layer in layers))
    return sum(round(spec.sparsity * layer.weights) for layer in layers)


def _pruned(spec: PruningAlgorithm, model: ModelPlan | ResNetPlan) -> Iterator[tuple[Structure, bool]]:
    """Structures of the targets, and whether they are pruned."""
    for structure in structures(model):
        if spec.targets in ("all", structure.group):
            yield structure, not any(is_excluded(layer, spec.exclude) for layer in structure.layers)


def _removed(spec: PruningAlgorithm, model: ModelPlan | ResNetPlan) -> Iterator[int]:
    """Parameters that go with each structure's units."""
    before = 0
    for structure, pruned in _pruned(spec, model):
        units = min(structure.size - 1, round(spec.sparsity * structure.size)) if pruned else 0
        yield units * (structure.weights - structure.shared * before)
        before = units


def _uniform(spec: PruningAlgorithm, model: ModelPlan | ResNetPlan) -> bool:
    """Whether zeros can be taken out: a language model's configuration has one size for all of its layers."""
    return isinstance(model, ResNetPlan) or all(pruned for _, pruned in _pruned(spec, model))


def _times(technique: Pruning, draft: Draft) -> tuple[Requirement, ...]:
    start, end = steps(draft, technique.start), steps(draft, technique.end)
    if technique.schedule == "oneshot":
        no_slope = (
            Requirement(
                holds=unused not in technique.model_fields_set,
                key=unused,
                message=f"`schedule: oneshot` removes all at `start`, so nothing reads `{unused}`",
                help=f"delete `{unused}`, or write `schedule: cubic`",
            )
            for unused in ("initial", "end", "interval")
        )
        return (
            *known(draft, start=technique.start),
            *no_slope,
            Requirement(
                holds=start != draft.batch.steps,  # what lies beyond the run is reported above
                key="start",
                message=f"pruning would begin at step {start}, when the run is over",
                help="start: 0.2dur",
            ),
        )
    in_run = start < draft.batch.steps
    return (
        *known(draft, start=technique.start, end=technique.end, interval=technique.interval),
        Requirement(
            holds=start < end or start > draft.batch.steps,
            key="end" if in_run else "start",
            message=f"pruning ends at step {end}, not after its start at step {start}",
            help="end: 1dur" if in_run else "start: 0.2dur",
        ),
        Requirement(
            holds=start >= end or steps(draft, technique.interval) <= end - start,
            key="interval",
            message=f"the schedule has {end - start} steps, fewer than the {steps(draft, technique.interval)} of one interval",
            help=f"interval: {max(1, (end - start) // 10)}ba",
        ),
    )


def _choices(technique: Pruning) -> tuple[Requirement, ...]:
    """Knobs that the method has no use for."""
    structured = technique.method == "structured"
    return (
        Requirement(
            holds=technique.scope == "layer" or technique.method == "magnitude",
            key="scope",
            message=f"`method: {technique.method}` removes the same share of each layer"
            + (", so that all layers keep one size" if structured else ""),
            help="scope: layer",
        ),
        Requirement(
            holds=structured or "norm" not in technique.model_fields_set,
            key="norm",
            message="a single weight has a magnitude, no norm",
            help="delete `norm`, or write `method: structured`",
        ),
        Requirement(
            holds=technique.method != "2:4" or technique.sparsity == 0.5,
            key="sparsity",
            message=f"two of every four weights are half of them, not {technique.sparsity:g}",
            help="sparsity: 0.5",
        ),
    )


def _model(technique: Pruning, draft: Draft) -> tuple[Requirement, ...]:
    """What the model has to be pruned."""
    model, structured = draft.model, technique.method == "structured"
    family = model.family
    gpt2_heads = structured and family == "gpt2" and technique.targets != "mlp"
    names = [layer.name for layer in body_layers(model) if technique.targets in ("all", layer.group)]
    missing = next(
        (pattern for pattern in technique.exclude if not any(is_excluded(n, [pattern]) for n in names)), None
    )
    before = draft.beginning.run if draft.beginning is not None else None
    return (
        Requirement(
            holds=family != "resnet" or technique.targets == "all",
            key="targets",
            message="a resnet has neither MLPs nor attention",
            help="targets: all",
        ),
        Requirement(
            holds=not gpt2_heads,
            key="targets",
            message="a gpt2 without some of its heads can't be written down: its configuration divides the width by their number",
            help="targets: mlp",
        ),
        Requirement(
            holds=not structured or not isinstance(model, ResNetPlan) or model.norm == "batch",
            key="method",
            message="a channel that is zero still counts in its group's mean, so groups of channels can't lose one",
            help="method: magnitude   # or `model: {norm: batch}`",
        ),
        Requirement(
            holds=missing is None,
            key="exclude",
            message=f"`{missing}` names no layer that is pruned",
            help=_closest_layer(missing or "", names),
        ),
        Requirement(
            holds=not structured or before is None or all(spec.kind != "low_rank" for spec in before.algorithms),
            key="method",
            message=f"the run `{before.run if before else ''}` left factors, whose layers have no channels of their own",
            help="method: magnitude",
        ),
    )


def _closest_layer(pattern: str, names: list[str]) -> str:
    """The line to write: a layer whose name is like the pattern."""
    parts = dict.fromkeys(part for name in names for part in (name, name.rpartition(".")[2]))
    return f"exclude: [{closest(pattern, parts) or (names[0] if names else '')}]"

"""Pruning: a schedule of sparsity over a window, and what is left of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from compiler.draft import Draft
from compiler.frontend.suggest import closest
from compiler.layers import is_excluded
from compiler.lowering import low_rank
from compiler.lowering.base import known, steps, window
from compiler.removal import emptied, left, nonzero_of, prunable, prunings
from schemas.fragment import Claim, Fragment, Requirement
from schemas.plan import ModelPlan, ResNetPlan
from schemas.techniques import Technique
from schemas.techniques.pruning import Pruning, PruningAlgorithm

__all__ = ["lower", "mask_parameters", "what_is_left"]

_OFF: Final = 0.1
"""Share of units by which rounding may miss what was asked before it is told."""


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
    specs = (*prunings(draft), spec)
    parameters, nonzero = what_is_left(specs, draft)
    structure = (Claim(slot="model.structure"),) if technique.method == "structured" else ()
    return Fragment(
        claims=(Claim(slot="model.weights", shared=True), Claim(slot="model.sparsity"), *structure),
        algorithms=(spec,),
        requires=(*_times(technique, draft), *_choices(technique), *_model(technique, spec, draft)),
        lints=tuple(_rounded_off(spec, draft)),
        whole_weights=technique.scope == "global",  # one ranking of all weights
        memory_parameters=mask_parameters(spec, draft.model),
        shipped_parameters=parameters if any(one.method == "structured" for one in specs) else None,
        shipped_nonzero=nonzero,
        reason=f"{technique.sparsity:g} of {_what(technique)} removed, {slope}",
    )


def _what(technique: Pruning) -> str:
    words = {"magnitude": "the weights", "structured": "channels and heads", "2:4": "the weights, two of every four,"}
    return (
        words[technique.method] if technique.targets == "all" else f"{words[technique.method]} of {technique.targets}"
    )


def what_is_left(specs: Sequence[PruningAlgorithm], draft: Draft) -> tuple[int, float]:
    """Parameters of the shipped model before factors take the place of layers, and the share that isn't zero in the end."""
    parameters, nonzero = left(specs, draft.model)
    factors = low_rank.factors_in(draft)
    if factors is None or any(spec.method == "structured" for spec in specs):  # which doesn't go with factors
        return parameters, nonzero
    reshaped = low_rank.factor_layers(factors, draft.model)
    return parameters, nonzero_of(specs, reshaped, low_rank.left(factors, draft.model))


def mask_parameters(spec: PruningAlgorithm, model: ModelPlan | ResNetPlan) -> int:
    """Masks in units of fp32 weights: a byte for each weight that can go."""
    return -(-sum(layer.weights for layer in prunable(spec, model)) // 4)


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


def _model(technique: Pruning, spec: PruningAlgorithm, draft: Draft) -> tuple[Requirement, ...]:
    """What the model has to be pruned."""
    model, structured = draft.model, technique.method == "structured"
    whole = spec.model_copy(update={"exclude": ()})
    names = [layer.name for layer in prunable(whole, model)]
    missing = next((one for one in technique.exclude if not any(is_excluded(n, [one]) for n in names)), None)
    before = draft.beginning.run if draft.beginning is not None else None
    factors = structured and before is not None and any(one.kind == "low_rank" for one in before.algorithms)
    nothing = bool(names) and missing is None and not _goes(spec, model)
    return (
        Requirement(
            holds=model.family != "resnet" or technique.targets == "all",
            key="targets",
            message="a resnet has neither MLPs nor attention",
            help="targets: all",
        ),
        Requirement(
            holds=missing is None,
            key="exclude",
            message=f"`{missing}` names no layer that is pruned",
            help=_closest_layer(missing or "", names),
        ),
        Requirement(
            holds=not nothing or bool(prunable(spec, model)),
            key="exclude",
            message="all layers that could be pruned are excluded",
            help=_closest_layer("", names[:1]),
        ),
        Requirement(
            holds=not nothing or not prunable(spec, model),
            key="sparsity",
            message=f"{technique.sparsity:g} of each layer rounds to nothing: {_sizes(spec, model)}",
            help="sparsity: 0.5",
        ),
        Requirement(
            holds=bool(names) or (model.family == "resnet" and technique.targets != "all"),
            key="method",
            message="no layer has inputs in fours",
            help="method: magnitude",
        ),
        Requirement(
            holds=not factors,
            key="method",
            message=f"the run `{before.run if before else ''}` left factors, whose layers have no channels of their own",
            help="method: magnitude",
        ),
    )


def _goes(spec: PruningAlgorithm, model: ModelPlan | ResNetPlan) -> bool:
    """Whether anything is removed at all."""
    if spec.method == "structured":
        return any(units for _, units in emptied([spec], model))
    return any(round(spec.sparsity * layer.weights) for layer in prunable(spec, model))


def _sizes(spec: PruningAlgorithm, model: ModelPlan | ResNetPlan) -> str:
    """How many units structures have, or weights the layers."""
    if spec.method != "structured":
        return f"a layer has {max((layer.weights for layer in prunable(spec, model)), default=0):,} weights"
    names = {layer.name for layer in prunable(spec, model)}
    sizes = {one.group: one.size for one, _ in emptied([spec], model) if names.issuperset(one.layers[:1])}
    return ", ".join(f"{size} {_units(group, model)}" for group, size in sizes.items())


def _units(group: str, model: ModelPlan | ResNetPlan) -> str:
    """What units of a structure are called."""
    heads = "key-value groups" if model.family == "llama" else "heads"
    blocks = "groups of channels" if isinstance(model, ResNetPlan) and model.norm == "group" else "channels"
    return {"attention": heads, "block": blocks}.get(group, "channels")


def _rounded_off(spec: PruningAlgorithm, draft: Draft) -> Iterator[Requirement]:
    """Advice where a layer has so few heads or channels that another share of them goes than was asked for."""
    model = draft.model
    names = {layer.name for layer in prunable(spec, model)}
    units = emptied([spec], model) if spec.method == "structured" else ()
    if not any(count for _, count in units):
        return  # an error, or nothing that is cut into units
    told: set[str] = set()
    for structure, count in units:
        if structure.layers[0] not in names or structure.group in told:
            continue
        if abs(count / structure.size - spec.sparsity) > _OFF:
            told.add(structure.group)
            yield Requirement(
                holds=False,
                key="sparsity",
                message=f"{count} of {structure.size} {_units(structure.group, model)} go, which is "
                f"{count / structure.size:.2g} of them and not {spec.sparsity:g}: whole ones go, and one always stays",
                help=f"sparsity: {max(1, count) / structure.size:.2g}",
            )


def _closest_layer(pattern: str, names: list[str]) -> str:
    """The line to write: a layer whose name is like the pattern."""
    parts = dict.fromkeys(part for name in names for part in (name, name.rpartition(".")[2]))
    return f"exclude: [{closest(pattern, parts) or (names[0] if names else '')}]"

"""Quantisation: which layers of the family are rounded, in which groups, and how many bits the finished model takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from compiler.draft import Draft
from compiler.frontend.suggest import closest
from compiler.layers import Layer, body_layers, is_excluded
from compiler.lowering.base import known, steps, window
from schemas.fragment import Claim, Fragment, Requirement
from schemas.techniques import Technique
from schemas.techniques.low_rank import LowRank, LowRankAlgorithm
from schemas.techniques.pruning import Pruning, PruningAlgorithm
from schemas.techniques.quantization import Quantization, QuantizationAlgorithm
from schemas.units import Time

__all__ = ["lower"]

_EXPORT_BITS: Final = {"fp32": 32, "bf16": 16, "fp16": 16}
_BITS: Final = {"int8": 8, "int4": 4}
_FLOPS: Final = 8.0
"""Of rounding one weight: magnitude, maximum, quotient, rounding, two bounds, product; and the gradient's mask."""


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Claims the number format; training with rounded weights shares them with what removes some of them.

    Rounding takes few FLOPs and many bytes, once a microbatch: small steps become slower than the FLOPs say (docs/techniques).
    """
    assert isinstance(technique, Quantization)
    qat = technique.mode == "qat"
    spec = _spec(technique, draft)
    layers = [layer for layer in body_layers(draft.model) if not is_excluded(layer.name, spec.exclude)]
    rounded = sum(layer.weights for layer in layers)
    bits = _bits(spec, layers, draft)
    weights = (Claim(slot="model.weights", shared=True),) if qat else ()
    share = 1 - spec.window.start_token / draft.batch.total_tokens
    return Fragment(
        claims=(*weights, Claim(slot="model.number_format")),
        algorithms=(spec,),
        requires=(*_requirements(technique, draft), *_groups(spec, layers, draft)),
        flops_per_token=_FLOPS * rounded / draft.batch.tokens * share if qat else 0.0,
        # Rounded weights, and a byte for each that says whether gradients pass.
        memory_parameters=math.ceil(1.25 * rounded) if qat else 0,
        shipped_bits=bits,
        reason=f"{len(layers)} layers in {spec.weights} by {_what(spec)}, {bits:.3g} bits a weight over the whole model",
    )


def _spec(technique: Quantization, draft: Draft) -> QuantizationAlgorithm:
    granularity = technique.granularity or ("channel" if technique.weights == "int8" else "group")
    end = Time(1.0, "dur")
    return QuantizationAlgorithm(
        window=window(draft, technique.start if technique.mode == "qat" else end, end),
        mode=technique.mode,
        weights=technique.weights,
        granularity=granularity,
        group_size=technique.group_size if granularity == "group" else None,
        activations=technique.activations,
        exclude=technique.exclude,
    )


def _what(spec: QuantizationAlgorithm) -> str:
    return f"groups of {spec.group_size}" if spec.group_size is not None else spec.granularity


def _bits(spec: QuantizationAlgorithm, layers: list[Layer], draft: Draft) -> float:
    """Of one weight of the exported model: scales are in the format of what isn't rounded."""
    kept = _EXPORT_BITS[draft.recipe.checkpoints.export_dtype]
    total, rounded = draft.model.num_parameters, sum(layer.weights for layer in layers)
    blocks = {
        "tensor": len(layers),
        "channel": sum(layer.outputs for layer in layers),
        "group": sum(layer.weights / (spec.group_size or 1) for layer in layers),
    }
    taken = rounded * _BITS[spec.weights] + blocks[spec.granularity] * kept
    return (taken + (total - rounded) * kept) / total


def _requirements(technique: Quantization, draft: Draft) -> Iterator[Requirement]:
    """Knobs that make no sense, or that nothing would read."""
    yield from _timing(technique, draft)
    yield from _scales(technique)
    yield from _excluded(technique, draft)


def _timing(technique: Quantization, draft: Draft) -> Iterator[Requirement]:
    qat, start = technique.mode == "qat", steps(draft, technique.start)
    if qat:
        yield from known(draft, start=technique.start)
    yield Requirement(
        holds=qat or "start" not in technique.model_fields_set,
        key="start",
        message="`mode: ptq` rounds the finished model, so nothing reads `start`",
        help="delete `start`, or write `mode: qat`",
    )
    yield Requirement(
        holds=not qat or start != draft.batch.steps,  # what lies beyond the run is reported above
        key="start",
        message=f"rounding would begin at step {start}, when the run is over",
        help="start: 0.9dur",
    )


def _scales(technique: Quantization) -> Iterator[Requirement]:
    """What shares a scale."""
    granularity, weights = technique.granularity, technique.weights
    grouped = granularity == "group" or (granularity is None and weights == "int4")
    yield Requirement(
        holds=weights != "int4" or granularity in (None, "group"),
        key="granularity",
        message=f"with 16 values for all weights of one {granularity} most of them become zero",
        help="granularity: group   # or `weights: int8`",
    )
    yield Requirement(
        holds="group_size" not in technique.model_fields_set or grouped,
        key="group_size",
        message=f"one scale a {granularity or 'channel'}, so nothing reads `group_size`",
        help="granularity: group",
    )


def _excluded(technique: Quantization, draft: Draft) -> Iterator[Requirement]:
    names = [layer.name for layer in body_layers(draft.model)]
    missing = next((name for name in technique.exclude if not any(is_excluded(n, [name]) for n in names)), None)
    parts = dict.fromkeys(part for name in names for part in (name, name.rpartition(".")[2]))
    yield Requirement(
        holds=missing is None,
        key="exclude",
        message=f"`{missing}` names no layer that is rounded",
        help=f"exclude: [{closest(missing or '', parts) or (names[0] if names else '')}]",
    )
    yield Requirement(
        holds=any(not is_excluded(name, technique.exclude) for name in names),
        key="exclude",
        message="no layer is left to be rounded",
        help="delete `exclude`",
    )


def _groups(spec: QuantizationAlgorithm, layers: list[Layer], draft: Draft) -> Iterator[Requirement]:
    """Groups are whole in every layer, also in those that other techniques make of them."""
    size = spec.group_size
    if size is None:
        return
    odd = next((layer for layer in layers if layer.inputs % size), None)
    fitting = math.gcd(*(layer.inputs for layer in layers)) if layers else 0
    sizes = [n for n in range(8, min(fitting, 1024) + 1) if fitting % n == 0]
    best = min(sizes, key=lambda n: abs(n - size), default=None)
    yield Requirement(
        holds=odd is None,
        key="group_size",
        message=f"{odd.name if odd else ''} has {odd.inputs if odd else 0} inputs, which are no whole number of groups of {size}",
        help=f"group_size: {best}" if best is not None else f"exclude: [{odd.name.rpartition('.')[2] if odd else ''}]",
    )
    rank = _rank(draft)
    yield Requirement(
        holds=rank is None or (rank > 0 and rank % size == 0),
        key="group_size",
        message=f"the factors of `low_rank` have {rank or 'a rank that the weights decide'}"
        f"{' inputs' if rank else ''}, so groups of {size} may not be whole",
        help=f"{{kind: low_rank, rank: {max(1, (rank or size) // size) * size}}}   # or `weights: int8, granularity: channel`",
        other="low_rank",
    )
    yield Requirement(
        holds=not _removes_structures(draft),
        key="granularity",
        message="structured pruning takes inputs out of the finished model, whose groups would be others than those trained",
        help="weights: int8, granularity: channel",
        other="pruning",
    )


def _rank(draft: Draft) -> int | None:
    """Rank of the factors that this run or the one before makes; 0 where it isn't one number, None where there are none."""
    before = draft.beginning.run if draft.beginning is not None else None
    specs = (*draft.recipe.compression, *(before.algorithms if before is not None else ()))
    found = [spec.rank or 0 for spec in specs if isinstance(spec, LowRank | LowRankAlgorithm)]
    return found[0] if found else None


def _removes_structures(draft: Draft) -> bool:
    before = draft.beginning.run if draft.beginning is not None else None
    specs = (*draft.recipe.compression, *(before.algorithms if before is not None else ()))
    return any(
        (isinstance(spec, Pruning | PruningAlgorithm) and spec.method == "structured")
        or (isinstance(spec, LowRankAlgorithm) and bool(spec.removes))
        for spec in specs
    )

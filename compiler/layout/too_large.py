"""What to write where a model doesn't fit: changes of one line, each of them tried before it is offered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from compiler.catalogue import devices
from compiler.draft import Draft
from compiler.estimate.architecture import Dimensions, count_parameters, solve
from compiler.estimate.memory.peak import budget_bytes, fits, peak
from compiler.estimate.workload import Workload
from compiler.layout.choice import choose, layouts
from schemas.diagnostics import Diagnostic
from schemas.units import format_bytes, format_count

__all__ = ["too_large"]

_MOST_DEVICES: Final = 1 << 17
_SHORTEST: Final = 64
_SMALLEST: Final = 1e6


@dataclass(frozen=True, slots=True)
class _Remedy:
    """A line to write, and its place in the recipe."""

    path: tuple[str, ...]
    value: str

    @property
    def line(self) -> str:
        return f"{self.path[-1]}: {self.value}"


def too_large(draft: Draft, candidates: tuple[Workload, ...], microbatch: int | None) -> Diagnostic:
    """The finding that no layout fits, at the line whose change is the cheapest that would.

    Args:
        draft: the recipe.
        candidates: layouts that were tried.
        microbatch: that the recipe fixes; None where it leaves it open.
    """
    least = min((replace(w, microbatch=microbatch or 1) for w in candidates), key=lambda w: peak(w).peak_bytes)
    need = peak(least)
    part, size = max(need.parts.items(), key=lambda item: item[1])
    remedies = tuple(_remedies(draft, least, microbatch))
    what = "one sequence" if least.microbatch == 1 else f"a micro-batch of {least.microbatch}"
    others = " or ".join(f"`{'.'.join(remedy.path)}: {remedy.value}`" for remedy in remedies[1:])
    return draft.diagnostic(
        "RC502",
        f"{what} needs {format_bytes(need.peak_bytes)} on each device, {format_bytes(round(size))} of it {part}; a plan may "
        f"fill {format_bytes(budget_bytes(least.device))} of {draft.hardware.gpu}",
        *(remedies[0].path if remedies else ("model", "size")),
        help=remedies[0].line if remedies else "",
        reason=f"this would fit, too: {others}" if others else "",
    )


def _remedies(draft: Draft, least: Workload, microbatch: int | None) -> Iterator[_Remedy]:
    """Changes that make it fit, the cheapest first."""
    said = draft.recipe.training
    samples = draft.batch.samples // draft.hardware.count
    shares = not any(fragment.whole_weights for fragment in draft.fragments) and not draft.device.is_cpu
    if said.activation_checkpointing is False and choose([replace(least, recompute="full")], samples, microbatch):
        yield _Remedy(("training", "activation_checkpointing"), "true")
    if (microbatch or 1) > 1 and (found := choose([least], samples, None)):
        yield _Remedy(("training", "microbatch"), f"{found[0].workload.microbatch}")
    more = layouts(least, "full", None, said.activation_checkpointing)
    if shares and said.sharding.kind in ("none", "gradients", "hybrid") and choose(more, samples, microbatch):
        yield _Remedy(("training", "sharding"), "full")
    if shares and said.sharding.kind in ("auto", "full") and (count := _fewest_devices(draft, least)) is not None:
        yield _Remedy(("hardware", "count"), f"{count}")
    if (length := _longest_sequence(least)) is not None:
        yield _Remedy(("data", "sequence_length"), f"{length}")
    if (name := _other_device(draft, least)) is not None:
        yield _Remedy(("hardware", "gpu"), name)
    if (parameters := _largest_model(draft, least)) is not None:
        yield _Remedy(("model", "size"), format_count(parameters))


def _on(w: Workload, devices: int) -> Workload:
    """The same step on more devices, which share all that can be shared."""
    return replace(w, layout=replace(w.layout, devices=devices, data=devices, sharding="full", shard_degree=devices))


def _fewest_devices(draft: Draft, w: Workload) -> int | None:
    """The smallest number of devices, doubled from whole machines, on which it fits and which the batch reaches."""
    said, per_node, count = draft.recipe.training.batch, draft.hardware.per_node, w.layout.devices
    most = _MOST_DEVICES if said is None else min(_MOST_DEVICES, said // w.sequence_length)
    while (count := count * 2 if count * 2 <= per_node or count % per_node == 0 else per_node) <= most:
        if fits(_on(w, count)):
            return count
    return None


def _longest_sequence(w: Workload) -> int | None:
    """Half of the length, a quarter, ..., until one sample fits."""
    length = w.sequence_length // 2
    while length >= _SHORTEST:
        if fits(replace(w, sequence_length=length)):
            return length
        length //= 2
    return None


def _other_device(draft: Draft, w: Workload) -> str | None:
    """The cheapest device that is sold of which as many would do."""
    priced = [
        (device.price.usd_per_hour, device.name)
        for device in devices().values()
        if device.price is not None
        and device.name != draft.device.name
        and w.numerics.compute in device.peak_flops
        and fits(replace(w, device=device))
    ]
    return min(priced)[1] if priced else None


def _largest_model(draft: Draft, w: Workload) -> float | None:
    """The largest size of the same family that fits, to two digits; None where the recipe gives dimensions."""
    said = draft.recipe.model
    if not isinstance(said.size, int | float):
        return None
    low, high = _SMALLEST, float(w.shape.parameters)
    while high / low > 1.05:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if fits(_sized(draft, w, middle)) else (low, middle)
    return float(f"{low:.1e}") if low > _SMALLEST else None


def _sized(draft: Draft, w: Workload, parameters: float) -> Workload:
    model = draft.decoder
    start = Dimensions(
        family=model.family,
        vocabulary=model.vocab_size,
        hidden=model.hidden_size,
        layers=model.num_layers,
        heads=model.num_heads,
        kv_heads=model.num_kv_heads,
        intermediate=model.intermediate_size,
        positions=model.max_sequence_length,
        tied=model.tie_embeddings,
    )
    found = solve(parameters, start)
    shape = replace(
        w.shape,
        layers=found.layers,
        hidden=found.hidden,
        heads=found.heads,
        kv_heads=found.kv_heads,
        head_size=found.hidden // found.heads,
        intermediate=found.intermediate,
        parameters=count_parameters(found),
        active_parameters=count_parameters(found),
    )
    return replace(w, shape=shape)

"""Ways to lay a model on devices, as workloads: which there are, which fit, and which is fastest.

Pure functions of a `Workload`; passes/parallelism.py asks them for a recipe. Layouts are those that Composer runs: one copy a
device (DDP), FSDP over all devices or over groups of them, each with or without activation checkpointing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from compiler.estimate.memory.peak import fits, largest_microbatch
from compiler.estimate.speed.predict import speed
from compiler.estimate.speed.site import Site
from compiler.estimate.workload import Recompute, Sharding, Workload

__all__ = ["Choice", "choose", "describe", "layouts", "why"]

# A layout must be faster by this much to be taken over a simpler one: estimates are off by 2 to 4 % on the median run.
_WORTH: Final = 1.03
# Share of the memory that a free choice plans with: allocators fragment differently from run to run, and a run that ends
# out of memory is worse than a micro-batch that is a size smaller.
_ROOM: Final = 0.94


@dataclass(frozen=True, slots=True)
class Choice:
    """A layout that fits, with its micro-batch, and its speed by the estimate.

    Args:
        workload: the optimizer step.
        tokens_per_s: of all devices.
    """

    workload: Workload
    tokens_per_s: float


def layouts(w: Workload, sharding: str, degree: int | None, recompute: bool | None) -> tuple[Workload, ...]:
    """Layouts of a workload's devices, the simplest first.

    Args:
        w: the step; its sharding and recomputation are replaced.
        sharding: auto, none, gradients, full or hybrid.
        degree: devices of a hybrid group; None is a machine.
        recompute: activation checkpointing; None tries both.
    """
    again: tuple[Recompute, ...] = ("none", "full") if recompute is None else ("full",) if recompute else ("none",)
    return tuple(
        replace(w, layout=replace(w.layout, sharding=kind, shard_degree=shared), recompute=kept)
        for kind, shared in _shardings(w, sharding, degree)
        for kept in again
    )


def _shardings(w: Workload, wanted: str, degree: int | None) -> Iterator[tuple[Sharding, int]]:
    devices, group = w.layout.devices, degree or w.layout.per_node
    if wanted in ("auto", "none"):
        yield "none", 1
    if devices == 1 or w.device.is_cpu:
        return
    if wanted in ("auto", "gradients"):
        yield "gradients", devices
    if wanted == "hybrid" or (wanted == "auto" and 1 < group < devices and devices % group == 0):
        yield "full", group
    if wanted in ("auto", "full"):
        yield "full", devices


def choose(
    candidates: Sequence[Workload], samples: int, microbatch: int | None, site: Site | None = None
) -> tuple[Choice, ...]:
    """The layouts that fit, fastest first; one that is faster by less than 3 % does not pass a simpler one.

    Args:
        candidates: layouts, the simplest first.
        samples: of one optimizer step on one device.
        microbatch: fixed; None takes the largest that fits, with room to spare where any layout leaves some.
        site: calibration of the user's own cluster.
    """
    found: list[Choice] = []
    for w in _filled(candidates, samples, microbatch):
        choice = Choice(w, speed(w, site=site).tokens_per_s_per_gpu * w.layout.devices)
        place = next((i for i, c in enumerate(found) if choice.tokens_per_s > c.tokens_per_s * _WORTH), len(found))
        found.insert(place, choice)
    return tuple(found)


def _filled(candidates: Sequence[Workload], samples: int, microbatch: int | None) -> list[Workload]:
    """The candidates that fit, each with its micro-batch."""
    if microbatch is not None:
        given = [replace(w, microbatch=microbatch, accumulation=samples // microbatch) for w in candidates]
        return [w for w in given if fits(w)]
    for share in (_ROOM, 1.0):
        sizes = [largest_microbatch(_with_memory(w, share), samples) for w in candidates]
        if any(sizes):
            return [
                replace(w, microbatch=size, accumulation=samples // size)
                for w, size in zip(candidates, sizes, strict=True)
                if size
            ]
    return []


def _with_memory(w: Workload, share: float) -> Workload:
    return replace(w, device=replace(w.device, memory_bytes=int(w.device.memory_bytes * share)))


def describe(w: Workload) -> str:
    """A layout in a few words."""
    layout = w.layout
    if layout.sharding == "none":
        text = "one copy a device" if layout.devices > 1 else "one device"
    elif layout.shard_degree < layout.devices:
        text = f"sharded over {layout.shard_degree}, {layout.devices // layout.shard_degree} copies"
    else:
        text = "sharded" if layout.sharding == "full" else "gradients and optimizer sharded"
    return text + (", activations recomputed" if w.recompute == "full" else "")


def why(found: Sequence[Choice], tried: int) -> str:
    """What the choice was between.

    Args:
        found: as `choose` gave them; the first is taken.
        tried: layouts in all.
    """
    if not found:
        return "nothing fits"
    first, fastest = found[0], max(choice.tokens_per_s for choice in found)
    what = "fastest" if first.tokens_per_s == fastest else f"the simplest within {_WORTH - 1:.0%} of the fastest"
    text = f"{tried} layouts tried, {len(found)} fit; {what}: {describe(first.workload)}"
    if len(found) > 1:
        lead = first.tokens_per_s / found[1].tokens_per_s - 1
        text += f"; then {describe(found[1].workload)}, {abs(lead):.1%} {'slower' if lead >= 0 else 'faster'}"
    return text

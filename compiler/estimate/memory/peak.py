"""Bytes that one device needs at its fullest moment, part by part: what fits, and the largest micro-batch.

The peak is the largest of several instants (loading, end of the forward pass with the loss, start and end of the backward
pass, optimizer step) and, with pipeline stages, of the first and the last stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from compiler.catalogue import Device
from compiler.estimate.memory.habits import Habits, habits_of
from compiler.estimate.memory.kept import kept
from compiler.estimate.memory.states import states
from compiler.estimate.workload import Workload

__all__ = ["MemoryEstimate", "budget_bytes", "fits", "largest_microbatch", "peak"]

# The driver keeps 1 to 2 % of a GPU: a card of 80 GiB offers 79.1, one of 24 GiB 23.6. On a CPU others need memory too.
_USABLE: Final = 0.98
_USABLE_CPU: Final = 0.80
# Past this a larger micro-batch no longer makes matrix products faster.
_USEFUL_TOKENS: Final = 32_768
# An engine that offloads to the host fills the memory it is given; it stayed 2 % below on the median of 103 runs.
_ENGINES: Final = frozenset({"ml-dataflow"})
_FILLED: Final = 0.975
_PARTS: Final = ("parameters", "gradients", "optimizer", "gathered", "activations", "loss", "techniques", "workspace")


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The fullest moment of one device.

    Args:
        parts: bytes by part; their sum is the peak.
        peak_bytes: the sum.
        low_bytes, high_bytes: nine in ten of the stack's printed peaks fell between such bounds.
        instant: when it is.
    """

    parts: Mapping[str, float]
    peak_bytes: int
    low_bytes: int
    high_bytes: int
    instant: str


def peak(w: Workload, habits: Habits | None = None) -> MemoryEstimate:
    """The fullest moment of the fullest device.

    Args:
        w: one optimizer step.
        habits: of the stack; the calibrated ones if None.
    """
    habits = habits or habits_of(w.stack)
    if w.stack in _ENGINES:
        return _estimate("the engine fills what it is given", {"workspace": w.device.memory_bytes * _FILLED}, 0.05)
    ends = ((True, True),) if w.layout.pipeline == 1 else ((True, False), (False, True))
    moments = [moment for first, last in ends for moment in _moments(w, habits, first=first, last=last)]
    instant, parts = max(moments, key=lambda moment: sum(moment[1].values()))
    return _estimate(instant, parts, habits.spread)


def _estimate(instant: str, parts: Mapping[str, float], spread: float) -> MemoryEstimate:
    total = sum(parts.values())
    ordered = {name: parts.get(name, 0.0) for name in _PARTS}
    return MemoryEstimate(
        parts=MappingProxyType(ordered),
        peak_bytes=round(total),
        low_bytes=round(total * math.exp(-spread)),
        high_bytes=round(total * math.exp(spread)),
        instant=instant,
    )


def _moments(w: Workload, habits: Habits, *, first: bool, last: bool) -> Iterator[tuple[str, dict[str, float]]]:
    """The instants of a stage that can be the fullest, each with its parts."""
    held = states(w, habits, first=first, last=last)
    step = kept(w, habits, layers=held.layers, in_flight=_in_flight(w, first=first), last=last)
    cpu = w.device.is_cpu
    waste = 1.0 if cpu else habits.fragmentation
    stage = "" if first and last else f", {'first' if first else 'last'} pipeline stage"
    always = {
        "parameters": held.parameters,
        "optimizer": held.optimizer,
        "techniques": 4.0 * w.extra_parameters,
        "workspace": 0.0 if cpu else habits.fixed_bytes,
    }
    # Gradients of the micro-batches before this one, or a buffer that is always there.
    earlier = held.gradients if habits.gradients_stay or w.accumulation > 1 else 0.0

    def moment(name: str, gradients: float, gathered: float, saved: float, loss: float) -> tuple[str, dict[str, float]]:
        dynamic = {"gathered": held.buckets + gathered * waste, "activations": saved * waste, "loss": loss * waste}
        return name + stage, {**always, "gradients": gradients, **dynamic}

    whole = held.gathered + step.casts
    yield moment("end of the forward pass", earlier, held.gathered + step.forward_casts, step.saved, step.forward_loss)
    yield moment("loss", earlier, whole, step.saved, step.loss)
    yield moment("start of the backward pass", earlier, whole, step.saved + step.working, step.backward_loss)
    yield moment("end of the backward pass", held.gradients, held.gathered, step.ending, step.ending_loss)
    name, parts = moment("optimizer step", held.gradients, 0.0, 0.0, step.forward_loss / 2)
    yield name, parts | {"optimizer": held.optimizer + held.step}
    if held.whole:
        yield "loading" + stage, {**always, "parameters": held.whole * waste, "optimizer": 0.0}


def _in_flight(w: Workload, *, first: bool) -> float:
    """Micro-batches whose activations a stage holds (1F1B: as many as stages follow; interleaved: Narayanan et al. 2021)."""
    stages, chunks = w.layout.pipeline, w.layout.virtual_stages
    if stages == 1:
        return 1.0
    after = stages - 1 if first else 0
    waiting = after + 1.0 if chunks == 1 else (2 * after + (chunks - 1) * stages + 1) / chunks
    return min(waiting, float(w.accumulation))


def budget_bytes(device: Device) -> int:
    """Bytes of a device that a plan may fill."""
    return int(device.memory_bytes * (_USABLE_CPU if device.is_cpu else _USABLE))


def fits(w: Workload) -> bool:
    """Whether the fullest moment is within the device's budget."""
    return peak(w).peak_bytes <= budget_bytes(w.device)


def largest_microbatch(w: Workload, per_replica_samples: int) -> int:
    """The largest divisor of a replica's samples per step that fits; 0 if not even one sample does.

    Args:
        w: the step; its micro-batch and accumulation are not looked at.
        per_replica_samples: of one optimizer step.
    """
    useful = max(1, _USEFUL_TOKENS * w.layout.context // w.sequence_length)
    divisors = [m for m in range(1, min(per_replica_samples, useful) + 1) if per_replica_samples % m == 0]
    low, high = 0, len(divisors)
    while low < high:  # memory grows with the micro-batch, so the fitting ones come first
        middle = (low + high) // 2
        size = divisors[middle]
        if fits(replace(w, microbatch=size, accumulation=per_replica_samples // size)):
            low = middle + 1
        else:
            high = middle
    return divisors[low - 1] if low else 0

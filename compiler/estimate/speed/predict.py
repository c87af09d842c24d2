"""Tokens per second of one device: a calibrated roofline, with the interval that runs of the same class have earned."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from compiler.estimate.speed.calibration import factors, generation, rates_of
from compiler.estimate.speed.site import Site, stretch
from compiler.estimate.speed.timing import Parts, step_parts
from compiler.estimate.speed.work import model_flops_per_token, peak_rate, work_of
from compiler.estimate.workload import Workload

__all__ = ["Earned", "Speed", "class_names", "earned", "speed"]

_FILE: Final = Path(__file__).parent.parent.parent / "catalog" / "calibration.json"
# The quickstart on 2 cores with AVX2 takes about 145 ms for 2048 tokens of a 1M model: half of the catalogue's 0.2 TFLOP/s.
_MFU_CPU: Final = 0.50
_SPREAD_CPU: Final = 3.0
_SPREAD_MEASURED: Final = 1.10
# Nothing measured resembles the run.
_SPREAD_UNKNOWN: Final = 1.5


@dataclass(frozen=True, slots=True)
class Speed:
    """Speed of one device and where its time goes.

    Args:
        tokens_per_s_per_gpu, low, high: trained tokens per second, and the interval that holds nine runs of ten.
        mfu: 6 N + 12 L h s FLOPs per token, with what techniques add or save, over the dense peak of the compute format.
        seconds: parts of one optimizer step (matmul, attention, pointwise, loss, recompute, communication, bubble, optimizer,
            overhead), which sum to its length.
        method: what the figure rests on.
    """

    tokens_per_s_per_gpu: float
    low: float
    high: float
    mfu: float
    seconds: Mapping[str, float]
    method: str


@dataclass(frozen=True, slots=True)
class Earned:
    """How far estimates of a class of runs were off on runs that the calibration had not seen.

    Args:
        name: of the class.
        runs: how many; median, within: |log(predicted/measured)| that half, and nine tenths, of them stay below.
    """

    name: str
    runs: int
    median: float
    within: float


@functools.cache
def _intervals() -> Mapping[str, Earned]:
    held = json.loads(_FILE.read_text(encoding="utf-8"))["intervals"]
    return MappingProxyType({name: Earned(name, v["runs"], v["median"], v["within"]) for name, v in held.items()})


def class_names(w: Workload) -> tuple[str, ...]:
    """Classes of a workload, the narrowest first."""
    lay = w.layout
    kind = "model-parallel" if lay.tensor * lay.pipeline * lay.context * lay.expert > 1 else "data-parallel"
    if w.shape.experts > 1:
        kind = "experts"
    chip = generation(w.device)
    return (
        f"{w.stack}, {kind}, {chip}",
        f"{w.stack}, {kind}",
        f"any software, {kind}, {chip}",
        f"any software, {kind}",
    )


def earned(w: Workload) -> Earned | None:
    """The interval of the narrowest class that has enough runs; None where nothing was measured."""
    known = _intervals()
    return next((known[name] for name in class_names(w) if name in known), None)


def speed(w: Workload, *, measured_mfu: float | None = None, site: Site | None = None) -> Speed:
    """Speed of a workload.

    Args:
        w: the optimizer step.
        measured_mfu: the user's own figure, believed to within 10 %; parts keep their proportions.
        site: a calibration of the user's own cluster (`recipec calibrate`).
    """
    parts = _with_extra(w, step_parts(work_of(w), rates_of(w, factors()))).as_dict()
    tokens = w.tokens_per_step / w.layout.devices
    flops = model_flops_per_token(w) / peak_rate(w)
    flops *= 1 + _extra_share(w) - _frozen_share(w)  # what the run really needs, as the runtime counts it
    ideal = tokens * flops
    if w.device.is_cpu:
        parts = _scaled(parts, ideal / _MFU_CPU)
    if measured_mfu is not None:
        parts = _scaled(parts, ideal / measured_mfu)
        spread, method = _SPREAD_MEASURED, "the recipe's own hardware.mfu"
    elif site is not None:
        parts = stretch(parts, site.stretch)
        spread = math.exp(site.within)
        within = f"median error {site.median:.0%}, 90 % within {site.within:.0%} ({site.runs} runs)"
        method = f"roofline with your calibration: {within}"
    elif w.device.is_cpu:
        spread = _SPREAD_CPU
        method = "order of magnitude for 2 to 4 cores; set hardware.mfu to what a run reports"
    else:
        spread, method = _interval(w)
    per_second = tokens / sum(parts.values())
    return Speed(per_second, per_second / spread, per_second * spread, per_second * flops, parts, method)


def _scaled(parts: dict[str, float], length: float) -> dict[str, float]:
    """Parts in the same proportions that sum to `length`."""
    ratio = length / sum(parts.values())
    return {name: seconds * ratio for name, seconds in parts.items()}


def _extra_share(w: Workload) -> float:
    """FLOPs that techniques add (or take), as a share of the model's own."""
    return max(-0.9, w.extra_flops_per_token / model_flops_per_token(w))


def _frozen_share(w: Workload) -> float:
    """FLOPs of weight gradients that frozen weights don't have (2 of 6 N), as a share of the model's own; parts know it."""
    return 2.0 * w.shape.active_parameters * (1.0 - w.numerics.trainable) / model_flops_per_token(w)


def _with_extra(w: Workload, parts: Parts) -> Parts:
    """What techniques add to (or take from) a token's FLOPs, at the speed of the model's own products."""
    if not w.extra_flops_per_token:
        return parts
    share = _extra_share(w)
    return replace(parts, matmul=parts.matmul * (1 + share), attention=parts.attention * (1 + share))


def _interval(w: Workload) -> tuple[float, str]:
    found = earned(w)
    if found is None:
        return _SPREAD_UNKNOWN, "roofline; no published run resembles this one"
    text = (
        f"roofline, {found.name}: median error {found.median:.0%}, 90 % within {found.within:.0%}"
        f" ({found.runs} runs held out)"
    )
    return math.exp(found.within), text

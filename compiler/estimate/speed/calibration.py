"""The calibrated efficiencies of a workload: products of factors by device generation, software and format.

A rate such as the efficiency of matrix products is `matmul` x `matmul@hopper` x `matmul@composer` x ...; a factor that the
calibration does not hold is 1, so an unknown device or stack gets the average of the known ones. The factors are fitted by
benchmarks/calibrate/fit.py on published runs and live in compiler/catalog/calibration.json.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from compiler.catalogue import Device
from compiler.estimate.workload import Workload

__all__ = ["LIMITS", "RATES", "Rates", "factor_keys", "factors", "generation", "power_ratio", "rates_of"]

_FILE: Final = Path(__file__).parent.parent.parent / "catalog" / "calibration.json"
_GENERATIONS: Final = (
    ("volta", r"v100"),
    ("ampere-card", r"a10g|a5000|a6000|30[6-9]0"),
    ("ampere", r"a100|a800"),
    ("hopper", r"h100|h200|h800"),
    ("ada", r"l4|40[6-9]0|6000-ada"),
    ("blackwell-card", r"50[6-9]0|pro-6000"),
    ("blackwell", r"b200|b300|gb200|gb300"),
)
# Words of a release that change one rate, whatever the stack.
_TRAITS: Final = frozenset({"rowwise", "async"})
# Watts per dense bf16 TFLOP/s of the variant that a generation's factors were fitted on (A100-SXM, H100-SXM, B200).
_POWER: Final = {"ampere": 1.28, "hopper": 0.707, "blackwell": 0.444}


# Median of measured over printed peaks in compiler/catalog/devices.csv.
_MEASURED_SHARE: Final = 0.80


@dataclass(frozen=True, slots=True)
class Rates:
    """Efficiencies and costs; each is fitted, none may be zero.

    Args:
        matmul: share of the dense peak that large matrix products reach; head: the same for the output layer.
        waves, operands: weight of last waves and of operand bytes that no arithmetic hides.
        attention: share of the 16-bit peak that the kernel reaches.
        scores, pointwise, unfused, logits, optimizer: passes over the bytes counted in `Work`.
        selective: share of the forward products that selective checkpointing repeats.
        link, network: share of the printed bandwidth that collectives reach; tensor: on the tensor axis.
        message_seconds: of one hop of one layer's collective.
        overlap: exponent of the p-norm that joins computing and gathering (1: one after the other; large: hidden).
        sync: the once-per-step traffic, times its ideal at those bandwidths.
        sync_exposed: share of the once-per-step traffic that no backward pass hides.
        launch_seconds: of the host for one block's forward pass.
        microbatch_seconds, step_seconds: of the host around each.
        bubble: idle time at the pipeline's ends, times the ideal.
    """

    matmul: float
    head: float
    waves: float
    operands: float
    attention: float
    scores: float
    pointwise: float
    unfused: float
    logits: float
    optimizer: float
    selective: float
    link: float
    network: float
    tensor: float
    message_seconds: float
    overlap: float
    sync: float
    sync_exposed: float
    launch_seconds: float
    microbatch_seconds: float
    step_seconds: float
    bubble: float


RATES: Final[Mapping[str, float]] = MappingProxyType(
    {
        "matmul": 0.95,
        "head": 0.70,
        "waves": 0.5,
        "operands": 0.5,
        "attention": 0.50,
        "scores": 3.0,
        "pointwise": 1.5,
        "unfused": 4.0,
        "logits": 3.0,
        "optimizer": 1.5,
        "selective": 0.3,
        "link": 0.7,
        "network": 0.6,
        "tensor": 0.7,
        "message_seconds": 1.5e-6,
        "overlap": 3.0,
        "sync": 1.0,
        "sync_exposed": 0.3,
        "launch_seconds": 3e-4,
        "microbatch_seconds": 1e-3,
        "step_seconds": 1e-2,
        "bubble": 1.0,
    }
)
"""Where each rate starts before any factor: what a careful guess would be."""

LIMITS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "overlap": (1.0, 20.0),
        "sync_exposed": (0.01, 1.0),
        "link": (0.01, 1.0),
        "network": (0.01, 1.0),
        "tensor": (0.01, 1.0),
    }
)
"""What no factor may pass: nothing is faster than its printed bandwidth, or hidden by more than all of it."""


def generation(device: Device) -> str:
    """The chip's family, which shares one set of factors; `other` if none matches."""
    return next((name for name, pattern in _GENERATIONS if re.search(pattern, device.name)), "other")


def power_ratio(device: Device) -> float:
    """Watts per peak FLOP/s against the generation's usual variant, at most 1: a capped board clocks lower."""
    usual = _POWER.get(generation(device))
    peak = device.peak_flops.get("bf16", 0.0) / 1e12
    return min(1.0, device.tdp_watts / peak / usual) if usual and peak and device.tdp_watts > 0 else 1.0


def measured_share(w: Workload) -> float:
    """Best rate of a large product over the dense peak, where somebody measured it; else that of the other devices."""
    peaks, best = w.device.peak_flops, w.device.matmul_flops
    kind = "fp8" if w.numerics.compute == "fp4" else w.numerics.compute
    for name in (kind, "bf16"):
        if name in peaks and name in best:
            return best[name] / peaks[name]
    return _MEASURED_SHARE


def factor_keys(w: Workload) -> dict[str, tuple[str, ...]]:
    """The names of the factors that multiply to each rate of a workload."""
    chip, stack, kind = generation(w.device), w.stack, w.numerics.compute
    words = w.release.split()
    release = " ".join([stack, *(word for word in words if word not in _TRAITS)])
    common = {rate: [rate, f"{rate}@{stack}"] for rate in RATES}
    common["matmul"] += [f"matmul@{chip}"]
    common["head"] += [f"head@{chip}"]
    common["pointwise"] += [f"pointwise@{chip}"]
    common["attention"] += [f"attention@{chip}", f"attention@{w.attention}", f"attention@{w.attention} {chip}"]
    if kind in ("fp8", "fp4"):
        common["matmul"] += [f"matmul@{kind}", f"matmul@{kind} {chip}", f"matmul@{kind} {stack}"]
        common["pointwise"] += [f"pointwise@{kind}"]
        common["attention"] += [f"attention@{kind} {stack}"]
        if "rowwise" in words:
            common["matmul"] += ["matmul@rowwise"]
    if "async" in words:
        common["tensor"] += ["tensor@async"]
    if w.shape.experts > 1:
        common["matmul"] += ["matmul@experts", f"matmul@experts {stack}"]
        common["launch_seconds"] += ["launch_seconds@experts"]
    common["matmul"] += [f"matmul@{stack} {chip}"]
    common["pointwise"] += [f"pointwise@{stack} {chip}"]
    common["attention"] += [f"attention@{stack} {chip}"]
    if w.shape.head_size <= 64:
        common["attention"] += ["attention@narrow heads"]
    if w.compiled:
        common["pointwise"] += ["pointwise@compiled"]
        common["launch_seconds"] += ["launch_seconds@compiled"]
    if w.numerics.weight_bytes < 2:
        common["matmul"] += ["matmul@quantised"]
        common["pointwise"] += ["pointwise@quantised"]
    if release != stack:
        for rate in ("matmul", "pointwise", "attention"):
            common[rate] += [f"{rate}@{release}"]
    return {rate: tuple(keys) for rate, keys in common.items()}


@functools.cache
def factors(path: Path = _FILE) -> Mapping[str, float]:
    """The fitted factors."""
    return MappingProxyType(json.loads(path.read_text(encoding="utf-8"))["factors"]) if path.exists() else {}


def rates_of(w: Workload, known: Mapping[str, float]) -> Rates:
    """Rates of a workload from a set of factors."""
    keys = factor_keys(w)
    values = {rate: RATES[rate] * math.prod(known.get(key, 1.0) for key in keys[rate]) for rate in RATES}
    values["matmul"] *= measured_share(w) * power_ratio(w.device) ** known.get("power", 0.5)
    for rate, (least, most) in LIMITS.items():
        values[rate] = min(most, max(least, values[rate]))
    return Rates(**values)

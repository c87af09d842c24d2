"""Words for what plans are made of: parts of memory and time, layouts, limits. The screen and the page say the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from schemas.counted import TOKENS, Counted, several
from schemas.plan import RunPlan
from schemas.techniques import Window
from schemas.units import format_seconds, format_usd

__all__ = ["PART_HELP", "layout", "limits", "part_word", "price", "silence", "unit_word", "usd_of", "warmup", "when"]

_WORDS: Final = MappingProxyType(
    {
        "optimizer": "optimizer",
        "gathered": "gathered weights",
        "loss": "loss and logits",
        "workspace": "workspace",
        "matmul": "matrix products",
        "pointwise": "norms, pointwise",
        "recompute": "recomputation",
        "communication": "communication",
        "bubble": "pipeline bubble",
        "overhead": "launch overhead",
        "startup": "start-up",
        "prepare": "data preparation",
    }
)
PART_HELP: Final = MappingProxyType(
    {
        "parameters": "the weights that a device stores",
        "gradients": "their gradients",
        "optimizer": "optimizer states and master weights",
        "gathered": "weights of neighbours, gathered while a layer uses them",
        "activations": "what the forward pass keeps for the backward pass",
        "loss": "logits and their copies",
        "techniques": "weights that techniques add: a moving average, masks, a teacher",
        "workspace": "CUDA context, libraries, communication buffers, fragmentation",
        "matmul": "matrix products of the layers",
        "attention": "scores and values, which grow with the sequence",
        "pointwise": "norms, activations, residuals: bound by memory bandwidth",
        "recompute": "the second forward pass of activation checkpointing",
        "communication": "what is not hidden behind the computation",
        "bubble": "stages that wait for others",
        "overhead": "kernel launches, data loading, logging",
        "startup": "containers, imports, the first batch",
        "prepare": "tokenizer and packing, before any device is needed",
        "checkpoints": "training waits while state is saved",
        "restarts": "expected failures: work lost since the last checkpoint, and coming back",
    }
)


def part_word(name: str) -> str:
    """A part of a sum as people call it."""
    return _WORDS.get(name, name.replace("_", " "))


# Dollars an hour from which on two digits after the point say enough.
_CENT: Final = 0.1


def unit_word(plan: RunPlan) -> str:
    """What the plan trains on: `GPU`, or `CPU`."""
    return "CPU" if plan.hardware.gpu == "cpu" else "GPU"


def layout(plan: RunPlan) -> str:
    """How the model lies on the devices: `a copy on each`, `sharded over 8, 4 copies`."""
    parallel = plan.parallelism
    if parallel.devices == 1:
        return "one copy"
    if parallel.sharding == "none":
        return "a copy on each"
    what = "sharded" if parallel.sharding == "full" else "gradients and optimizer sharded"
    copies = f", {parallel.replicas:,} copies" if parallel.replicas > 1 else ""
    return f"{what} over {parallel.shard_degree:,}{copies}"


def price(plan: RunPlan) -> str:
    """`$3.00 per GPU-hour (quotes $1.49 to $12.29)`, or that there is none."""
    hardware = plan.hardware
    rate, low, high = hardware.usd_per_gpu_hour, hardware.usd_per_gpu_hour_low, hardware.usd_per_gpu_hour_high
    quotes = f" (quotes ${low:.2f} to ${high:.2f})" if low < high else ""
    said = plan.provenance.get("hardware.usd_per_gpu_hour")
    if rate == 0 and (said is None or said.origin != "recipe"):
        return "no price set"
    amount = f"${rate:.2g}" if 0 < rate < _CENT else f"${rate:.2f}"
    return f"{amount} per {unit_word(plan)}-hour{quotes}"


def usd_of(part: str, shown: Sequence[tuple[str, float]], usd_parts: Mapping[str, float]) -> float:
    """Dollars of a part of the wall-clock; `other` is all that is not shown by a name of its own."""
    if part in usd_parts or part != "other":
        return usd_parts.get(part, 0.0)
    named = {name for name, _ in shown}
    return sum(dollars for name, dollars in usd_parts.items() if name not in named)


def limits(plan: RunPlan) -> list[str]:
    """The recipe's limits, each with the share of it that the plan takes."""
    budget, estimate = plan.budget, plan.estimate
    said = []
    if budget.max_cost_usd:
        said.append(f"{estimate.usd / budget.max_cost_usd:.0%} of max_cost {format_usd(budget.max_cost_usd)}")
    if budget.max_seconds:
        said.append(
            f"{estimate.hours * 3600 / budget.max_seconds:.0%} of max_hours {format_seconds(budget.max_seconds)}"
        )
    if budget.max_gpus:
        said.append(f"{plan.hardware.count / budget.max_gpus:.0%} of max_gpus {budget.max_gpus:,}")
    return [text.replace("%", " %") for text in said]


def when(window: Window, tokens: int, figure: Callable[[int], str], counted: Counted = TOKENS) -> str:
    """The part of a run of `tokens` in which a technique works; `figure` writes a number of what is counted."""
    start, end = window.start_token, window.end_token
    if end == 0:
        return "kept as the start left it"
    if start >= tokens:
        return "of the finished model"
    if start == 0 and end >= tokens:
        return "throughout"
    return f"at {counted.one} {figure(start)}" if start == end else f"{counted.many} {figure(start)} to {figure(end)}"


def warmup(steps: int) -> str:
    """`after 38 warmup steps`, `without warmup`."""
    return f"after {several(steps, 'warmup step')}" if steps else "without warmup"


def silence(plan: RunPlan) -> str:
    """Of what the scaling law says nothing, where it is silent: `runs that start from trained weights`."""
    return "runs that start from trained weights" if plan.start is not None else "this size"

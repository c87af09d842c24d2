"""What the budget aims at, in the terms of the optimum's solver: a loss, FLOPs of training or of a lifetime, or tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from compiler.draft import Draft
from compiler.estimate.law.optimum import Goal
from compiler.estimate.law.scaling_law import ScalingLaw
from compiler.notes import Efforts

__all__ = ["ESTIMATED", "Aim", "aim_of", "target_key"]

ESTIMATED: Final = frozenset({"cost", "gpu_time", "time", "lifetime_cost", "max_cost", "max_hours"})
"""Targets that only the estimate can hold a plan to: the passes run again until both agree (compiler/settle.py)."""

_CLEAR: Final = 0.995
"""Money and time are spent up to here: whole steps must not cross the line."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A target: its key in the recipe, what it fixes, and the value in that unit (nats per token, FLOPs, tokens)."""

    key: str
    goal: Goal
    value: float


def target_key(draft: Draft) -> str:
    """The target's key; limits of money and time stand in where there is none and nothing else says the length."""
    budget = draft.recipe.budget
    if budget.target is not None:
        return budget.target
    if draft.recipe.training.duration is not None:
        return "duration"
    return "max_cost" if budget.max_cost is not None else "max_hours" if budget.max_hours is not None else ""


def aim_of(draft: Draft, law: ScalingLaw, efforts: Efforts, usd_per_training_flop: float) -> Aim | None:
    """The recipe's aim; None where its budget names no scale.

    Args:
        draft: with its hardware.
        law: turns the quality of another model into a loss.
        efforts: what a device gets done in a second.
        usd_per_training_flop: utilization included.
    """
    budget, duration = draft.recipe.budget, draft.recipe.training.duration
    key = target_key(draft)
    if key in ESTIMATED:
        return _estimated(draft, key, efforts, usd_per_training_flop)
    other = budget.match_model
    ways: dict[str, tuple[Goal, float | None]] = {
        "duration": ("tokens", duration.value if duration is not None and duration.unit == "tok" else None),
        "tokens": ("tokens", budget.tokens),
        "flops": ("training", budget.flops),
        "target_loss": ("loss", budget.target_loss),
        "match_chinchilla": (
            "loss",
            law.chinchilla_from_parameters(budget.match_chinchilla).loss if budget.match_chinchilla else None,
        ),
        "match_model": ("loss", law.loss(other.parameters, other.tokens) if other is not None else None),
    }
    goal, value = ways.get(key, ("tokens", None))
    return Aim(key, goal, float(value)) if value is not None else None


def _estimated(draft: Draft, key: str, efforts: Efforts, usd_per_training_flop: float) -> Aim | None:
    """Money and time as FLOPs; None where devices that cost nothing are to be paid."""
    budget, devices, price = draft.recipe.budget, draft.hardware.count, draft.hardware.usd_per_gpu_hour
    if budget.lifetime_cost is not None:
        usable = usd_per_training_flop > 0
        return Aim(key, "lifetime", budget.lifetime_cost * _CLEAR / usd_per_training_flop) if usable else None
    # Each way to spend, in device-seconds times what is done in one.
    money = budget.cost if key == "cost" else budget.max_cost if key in ("max_cost", "max_hours") else None
    wall = budget.time if key == "time" else budget.max_hours if key in ("max_cost", "max_hours") else None
    ways = []
    if key == "gpu_time" and budget.gpu_time is not None:
        ways.append((budget.gpu_time * efforts.paid, key))
    if wall is not None:
        ways.append((wall * devices * efforts.held, "time" if key == "time" else "max_hours"))
    if money is not None and price > 0:
        ways.append((money / price * 3600 * efforts.paid, "cost" if key == "cost" else "max_cost"))
    return Aim(min(ways)[1], "training", min(ways)[0] * _CLEAR) if ways else None

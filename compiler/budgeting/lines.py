"""The line to write for a budget's target: the same key with another value, and its place in the recipe."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from compiler.budgeting.aim import Aim
from compiler.draft import Draft
from compiler.estimate.law.optimum import Market
from compiler.estimate.law.scaling_law import train_flops
from schemas.units import format_count, format_seconds, format_tokens, format_usd

__all__ = ["line_for", "line_for_tokens", "place_of"]

_SHOWN: Final[dict[str, Callable[[float], str]]] = {
    "tokens": format_tokens,
    "flops": lambda flops: f"{flops:.4g}",
    "cost": format_usd,
    "lifetime_cost": format_usd,
    "max_cost": format_usd,
    "gpu_time": format_seconds,
    "time": format_seconds,
    "max_hours": format_seconds,
}
# What is printed has three or four digits, and has to stay on the safe side.
_CLEAR: Final = 1.01
_CLEAR_LOSS: Final = 0.001


def place_of(key: str) -> tuple[str, str]:
    """Where a target stands in the recipe."""
    return ("training" if key == "duration" else "budget", key)


def line_for(draft: Draft, aim: Aim, market: Market, value: float) -> str:
    """The target's own line for another value.

    Args:
        draft: whose recipe has the target.
        aim: that target.
        market: its law turns a loss into models.
        value: in the unit of the aim's goal: nats per token, FLOPs or tokens.
    """
    if aim.key == "target_loss":
        return f"target_loss: {math.ceil(value * 1000) / 1000:g}"
    if aim.goal == "loss":
        point = market.law.chinchilla_from_loss(value)
        size, tokens = format_count(point.parameters), format_tokens(point.tokens)
        return (
            f"match_chinchilla: {size}"
            if aim.key == "match_chinchilla"
            else f"match_model: {{parameters: {size}, tokens: {tokens}}}"
        )
    if aim.key == "duration":
        return f"duration: {value:.0f}tok"
    said = float(getattr(draft.recipe.budget, aim.key))
    return f"{aim.key}: {_SHOWN[aim.key](said * value / aim.value).replace(' ', '')}"


def line_for_tokens(draft: Draft, aim: Aim, market: Market, tokens: float) -> str:
    """The target's line that is just enough for so many tokens; where the target also chooses the model, for its optimum.

    Args:
        draft: with its model.
        aim: a target of a loss, FLOPs or tokens.
        market: what the optimum depends on.
        tokens: to be trained on at least.
    """
    n = float(draft.model.num_parameters)
    if aim.goal != "tokens" and draft.targets.found is not None and not isinstance(draft.recipe.model.size, int):
        tokens *= 1 + _CLEAR_LOSS * 50  # whole dimensions are met within a few per cent
        n = max(n, market.best_within("tokens", tokens).point.parameters)
    value = {
        "loss": market.loss(n, tokens) - _CLEAR_LOSS,
        "training": train_flops(n, tokens) * _CLEAR,
        "lifetime": market.lifetime(n, tokens) * _CLEAR,
        "tokens": tokens,
    }[aim.goal]
    return line_for(draft, aim, market, value)

"""What a budget can ask for: models and texts that exist, and how much of a target leads to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from compiler.budgeting.aim import Aim
from compiler.budgeting.lines import line_for, place_of
from compiler.draft import Draft
from compiler.estimate.law.optimum import Goal, Market, Unreachable, Within
from compiler.estimate.law.scaling_law import Point
from schemas.diagnostics import Diagnostic
from schemas.units import format_count, format_tokens

__all__ = ["Choice", "choose", "out_of_reach"]

_LARGEST: Final = 1e14
_MOST: Final = 1e16
"""Parameters and tokens that nobody has: text that exists is some 10^15 tokens."""
_ENDLESS_LOG: Final = 100.0
# A bisection of a value or of a loss above the irreducible one, in logarithms, to about a thousandth.
_NEAR: Final = 1e-3
_CLEAR_LOSS: Final = 0.001
# Money and time don't grow evenly with FLOPs.
_CLEAR: Final = 0.9
_FAR: Final = 4.0
"""At the very edge of a limit on one side the other goes to infinity: up to here it is a run that somebody would make."""


class Choice(NamedTuple):
    """The continuous optimum of a target, or what stops it."""

    found: Within | None
    stops: str = ""
    """Limits that leave no way to the target; empty where no limit of the recipe does."""
    wanted: Point | None = None
    """The optimum that nobody can train."""


def choose(market: Market, goal: Goal, value: float) -> Choice:
    """The optimum within the recipe's limits and within what exists.

    A lifetime that is too short for anything has a choice, too: passes/lifetime.py says what the smallest run costs.
    """
    try:
        found = market.best_within(goal, value)
    except Unreachable as error:
        if goal != "loss":
            return Choice(Within(error.best, error.binding))
        return Choice(None, error.binding)
    except ValueError:
        return Choice(None, "the law, which has no digits left,")
    if found.point.parameters <= _LARGEST and found.point.tokens <= _MOST:
        return Choice(found)
    return Choice(None, found.binding, found.point)


def out_of_reach(draft: Draft, market: Market, aim: Aim, choice: Choice) -> Diagnostic:
    """The finding for a target that asks for more than the limits allow or than there is, with the line that is the most."""
    best = _best(market, aim)
    if aim.goal == "loss":
        stops = choice.stops or "all the text there is"
        leaves = "leave" if " and " in stops else "leaves"
        message = f"a loss of {aim.value:.4g} is out of reach: {stops} {leaves} at least {best or math.inf:.4g}"
        line = line_for(draft, aim, market, best + _CLEAR_LOSS) if best is not None else ""
    else:
        wanted = choice.wanted or Point(_LARGEST, _MOST, math.nan)
        message = (
            f"`{aim.key}` asks for {format_count(wanted.parameters)} parameters on {format_tokens(wanted.tokens)}:"
            " more than anybody has"
        )
        line = line_for(draft, aim, market, best * _CLEAR) if best is not None else ""
    reason = f"law `{market.law.name}`, constraints: {choice.stops or 'none'}"
    return draft.diagnostic("RC301", message, *place_of(aim.key), help=line, reason=reason)


def _best(market: Market, aim: Aim) -> float | None:
    """The value of the goal that comes closest to the aim and can be reached, if possible by a run that somebody would make."""

    def exists(value: float) -> bool:
        return choose(market, aim.goal, value).found is not None

    def is_usual(value: float) -> bool:
        found = choose(market, aim.goal, value).found
        if found is None:
            return False
        free = Market(market.law, market.served).best(aim.goal, value)
        return max(found.point.parameters / free.parameters, found.point.tokens / free.tokens) <= _FAR

    return (_nearest(market, aim, is_usual) if aim.goal == "loss" else None) or _nearest(market, aim, exists)


def _nearest(market: Market, aim: Aim, will_do: Callable[[float], bool]) -> float | None:
    """The value closest to the aim that will do; None where none does."""
    # A loss is measured from the irreducible one, and is to be higher; all else is to be less.
    base, step = (market.law.e, 0.5) if aim.goal == "loss" else (0.0, -0.5)
    far = math.log(max(aim.value - base, 1e-6))
    near = far + step
    while not will_do(base + math.exp(near)):
        far, step = near, step * 1.5
        near = far + step
        if abs(near) > _ENDLESS_LOG:
            return None
    while abs(far - near) > _NEAR:
        middle = (far + near) / 2
        far, near = (far, middle) if will_do(base + math.exp(middle)) else (middle, near)
    return base + math.exp(near)

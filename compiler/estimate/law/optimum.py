"""The best model and number of tokens for a budget: cheapest over its life, within limits, with repeated data priced.

All optima for one demand lie on one curve. With K served tokens (FLOPs: all that are read and written; dollars: the effective
ones of compiler/estimate/law/serving.py) the lifetime costs 6 N D + 2 N K, and the Lagrange condition of Sardana et al. (arXiv
2401.00448, eq. 3) is

    alpha A N^-alpha = beta B D'^(-beta-1) (dD'/dD) (D + K/3)

where D' is what D tokens are worth when some are read again. The right side falls in D, so along the curve N, training FLOPs
and lifetime cost rise with D and the loss falls: whatever the budget names is one bracketed root.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from compiler.estimate.law.repetition import REPETITION, drawn_tokens, effective_tokens
from compiler.estimate.law.scaling_law import Point, ScalingLaw

__all__ = ["Goal", "Limits", "Market", "Unreachable", "Within"]

_RESIDUAL: Final = 1e-9
_ENDLESS: Final = 1e30  # tokens or parameters where nothing bounds them
_LARGEST_LOG: Final = 690.0  # exp() of it is still a float


class Unreachable(ValueError):
    """No choice within the limits reaches the loss; `best` is the least loss that one reaches, `binding` what stops it."""

    def __init__(self, best: Point, binding: str) -> None:
        super().__init__(f"within the limits the loss is at least {best.loss:.6g} ({binding})")
        self.best = best
        self.binding = binding


@dataclass(frozen=True, slots=True)
class Limits:
    """What the choice must keep to. `unique_tokens` also prices repetition; `max_epochs` caps it."""

    min_parameters: float = 0.0
    max_parameters: float = math.inf
    unique_tokens: float = math.inf
    max_epochs: float = math.inf
    max_tokens_per_parameter: float = math.inf

    @property
    def most_tokens(self) -> float:
        """D at most, whatever the model."""
        return self.unique_tokens * self.max_epochs


@dataclass(frozen=True, slots=True)
class Within:
    """A choice within the limits; `binding` names the limit that moved it away from the optimum, or is empty."""

    point: Point
    binding: str = ""


Goal = Literal["loss", "training", "lifetime", "tokens"]


@dataclass(frozen=True, slots=True)
class Market:
    """A law, what is served, and the limits: all that a best choice depends on.

    Args:
        law: the constants of L(N, D).
        served: K, tokens served over the model's life, in units in which a token costs 2 N training FLOPs.
        limits: bounds of N and D.
    """

    law: ScalingLaw
    served: float = 0.0
    limits: Limits = Limits()

    def loss(self, parameters: float, tokens: float) -> float:
        """Loss with the price of repeated data."""
        return self.law.loss(parameters, effective_tokens(tokens, self.limits.unique_tokens))

    def point(self, parameters: float, tokens: float) -> Point:
        """N and D with their loss."""
        return Point(parameters, tokens, self.loss(parameters, tokens))

    def lifetime(self, parameters: float, tokens: float) -> float:
        """6 N D + 2 N K, in training FLOPs."""
        return 6 * parameters * tokens + 2 * parameters * self.served

    def tokens_for(self, goal: Goal, value: float, parameters: float) -> float:
        """D with which a model of N parameters meets a goal; not positive, or infinite, where it can't.

        Args:
            goal: loss (nats per token), training or lifetime (FLOPs), or tokens.
            value: in the goal's unit.
            parameters: N.
        """
        match goal:
            case "loss":
                try:
                    return drawn_tokens(self.law.tokens_for(value, parameters), self.limits.unique_tokens)
                except ValueError:
                    return math.inf
            case "training":
                return value / (6 * parameters)
            case "lifetime":
                return (value - 2 * parameters * self.served) / (6 * parameters)
            case "tokens":
                return value

    def best(self, goal: Goal, value: float) -> Point:
        """The continuous optimum without limits on N, D and their ratio; repetition keeps its price.

        A loss is reached at least lifetime cost, lifetime FLOPs are spent for the least loss, and for training FLOPs or tokens
        it is the model whose life is cheapest for the loss that they reach. With nothing served these are Chinchilla's.

        Raises:
            Unreachable: no number of passes over the unique tokens reaches the loss.
            ValueError: the loss is not above the irreducible one.
        """
        if goal == "loss":
            worth = self.limits.unique_tokens * (1 + REPETITION)
            if value > self.law.e >= value - self.law.b * math.pow(worth, -self.law.beta):
                raise self._worn_out()
            self.law.chinchilla_from_loss(value)
        target = value if goal == "loss" else math.log(value)

        def rises(log_tokens: float) -> float:
            return self._measure(goal, log_tokens) - target

        def falls(log_tokens: float) -> float:
            return target - self._measure(goal, log_tokens)

        log_tokens = _root(falls if goal == "loss" else rises)
        found = self.point(_exp(self._log_parameters(log_tokens)), _exp(log_tokens))
        residual = (found.loss - value) if goal == "loss" else self._measure(goal, log_tokens) - target
        if abs(residual) > _RESIDUAL * max(1.0, abs(target)):
            if goal == "loss":
                raise self._worn_out()
            raise RuntimeError(f"the optimum for {goal} {value:g} is off by {residual:g}")
        return found

    def _worn_out(self) -> Unreachable:
        """What is said of a loss that no number of passes over the unique tokens reaches: they are worth 1 + R* at most."""
        tokens = min(self.limits.most_tokens, 100 * REPETITION * self.limits.unique_tokens, _ENDLESS)
        return Unreachable(self.point(min(self.limits.max_parameters, _ENDLESS), tokens), "unique_tokens")

    def best_within(self, goal: Goal, value: float) -> Within:
        """The optimum within the limits. Cost is unimodal along a goal's curve, so limits on N clip it.

        Raises:
            Unreachable: the limits leave no way to the loss.
            ValueError: the loss is not above the irreducible one.
        """
        free, limits = self.best(goal, value), self.limits
        low, low_name, high, high_name = self._range(goal, value)
        if low > high * (1 + 1e-12):
            return self._exhausted(goal, low_name, high_name)
        if low <= free.parameters <= high:
            return Within(free)
        parameters, name = (low, low_name) if free.parameters < low else (high, high_name)
        tokens = self.tokens_for(goal, value, parameters)
        if tokens <= 0:  # serving so large a model costs more than there is
            raise Unreachable(self.point(parameters, 1.0), name)
        if math.isinf(tokens):  # so small a model never gets there
            raise Unreachable(self.point(parameters, min(limits.most_tokens, _ENDLESS)), name)
        return Within(self.point(parameters, tokens), name)

    def _exhausted(self, goal: Goal, low_name: str, high_name: str) -> Within:
        """The largest model on the most data: what a budget buys that the limits don't let be spent."""
        limits = self.limits
        parameters = limits.max_parameters
        tokens = min(limits.most_tokens, limits.max_tokens_per_parameter * parameters)
        names = " and ".join(dict.fromkeys(name for name in (high_name, low_name) if name))
        if math.isinf(parameters) or math.isinf(tokens):  # a loss that no data or no model below a limit reaches
            parameters, tokens = min(parameters, _ENDLESS), min(tokens, _ENDLESS)
        best = self.point(parameters, tokens)
        if goal == "loss":
            raise Unreachable(best, names)
        return Within(best, names)

    def _range(self, goal: Goal, value: float) -> tuple[float, str, float, str]:
        """Least and most N for the goal, each with the limit it comes from."""
        limits = self.limits
        lows = [(limits.min_parameters, "min_parameters")]
        highs = [(limits.max_parameters, "max_parameters")]
        if math.isfinite(limits.most_tokens):
            lows.append((self._least_for_tokens(goal, value, limits.most_tokens), "unique_tokens"))
        if math.isfinite(ratio := limits.max_tokens_per_parameter):
            lows.append((self._least_for_ratio(goal, value, ratio), "max_tokens_per_parameter"))
        return *max(lows), *min(highs)

    def _least_for_tokens(self, goal: Goal, value: float, most: float) -> float:
        """N from which on the goal needs no more than `most` tokens."""
        match goal:
            case "loss":
                try:
                    return self.law.parameters_for(value, effective_tokens(most, self.limits.unique_tokens))
                except ValueError:
                    return math.inf
            case "training":
                return value / (6 * most)
            case "lifetime":
                return value / (6 * most + 2 * self.served)
            case "tokens":
                return 0.0 if value <= most else math.inf

    def _least_for_ratio(self, goal: Goal, value: float, ratio: float) -> float:
        """N from which on the goal needs no more than `ratio` tokens per parameter: D(N)/N falls in N."""
        if goal == "tokens":
            return value / ratio

        def rises(log_parameters: float) -> float:
            parameters = _exp(log_parameters)
            return ratio * parameters - self.tokens_for(goal, value, parameters)

        return _exp(_root(rises))

    def _log_parameters(self, log_tokens: float) -> float:
        """Logarithm of N of the optimum that has D tokens."""
        law, unique, tokens = self.law, self.limits.unique_tokens, _exp(log_tokens)
        passes = max(0.0, tokens / unique - 1)
        log_worth = math.log(effective_tokens(tokens, unique))
        # ln(D + K/3) as ln D + ln(1 + K/(3 D)), which keeps its digits when K is far from D
        log_reach = log_tokens + math.log1p(self.served / (3 * tokens))
        right = math.log(law.beta * law.b) - (law.beta + 1) * log_worth - passes / REPETITION + log_reach
        return (math.log(law.alpha * law.a) - right) / law.alpha

    def _measure(self, goal: Goal, log_tokens: float) -> float:
        """The goal's quantity at a point of the curve: the loss itself, the logarithm of all else."""
        if goal == "tokens":
            return log_tokens
        log_parameters, law = self._log_parameters(log_tokens), self.law
        if goal == "loss":
            worth = effective_tokens(_exp(log_tokens), self.limits.unique_tokens)
            return law.e + law.a * _exp(-law.alpha * log_parameters) + law.b * math.pow(worth, -law.beta)
        spent = math.log(6) + log_parameters + log_tokens
        return spent if goal == "training" else spent + math.log1p(self.served / (3 * _exp(log_tokens)))


def _exp(value: float) -> float:
    return math.exp(max(-_LARGEST_LOG, min(_LARGEST_LOG, value)))


def _root(rises: Callable[[float], float], start: float = 24.0) -> float:
    """Root of a strictly rising function of a logarithm, bracketed by doubling steps, then halved to the last bit."""
    step = 1.0
    low = high = start
    while rises(low) > 0 and low > -_LARGEST_LOG:
        low, step = low - step, step * 2
    step = 1.0
    while rises(high) < 0 and high < _LARGEST_LOG:
        high, step = high + step, step * 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if rises(middle) < 0 else (low, middle)
    return high

"""Loss as a function of parameters and tokens, and the cheapest way to a loss when the model is also served.

L(N, D) = E + A N^-alpha + B D^-beta in nats per token (Hoffmann et al. 2022, arXiv 2203.15556, approach 3). Training costs
6 N D, serving T tokens costs 2 N T (Sardana et al. 2024, arXiv 2401.00448). Constants of different fits can't be mixed: the
same N and D have another loss under each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from schemas.budget import ScalingLawName

__all__ = ["LAWS", "Optimum", "ScalingLaw", "inference_flops", "train_flops"]


def train_flops(parameters: float, tokens: float) -> float:
    """6 N D."""
    return 6.0 * parameters * tokens


def inference_flops(parameters: float, tokens: float) -> float:
    """2 N T."""
    return 2.0 * parameters * tokens


@dataclass(frozen=True)
class Optimum:
    """A choice of model and data: N, D and the loss they reach."""

    parameters: float
    tokens: float
    loss: float


@dataclass(frozen=True)
class ScalingLaw:
    """Constants of one fit, with the closed forms that follow from it.

    Args:
        e, a, b, alpha, beta: constants of L(N, D).
        least_parameters, most_parameters, most_tokens_per_parameter: range of the data it was fitted on.
        source: where the constants are printed.
    """

    e: float
    a: float
    b: float
    alpha: float
    beta: float
    least_parameters: float
    most_parameters: float
    most_tokens_per_parameter: float
    source: str

    @property
    def g(self) -> float:
        """G = (alpha A / (beta B))^(1 / (alpha + beta))."""
        return math.pow(self.alpha * self.a / (self.beta * self.b), 1 / (self.alpha + self.beta))

    def loss(self, parameters: float, tokens: float) -> float:
        """L(N, D)."""
        return self.e + self.a * math.pow(parameters, -self.alpha) + self.b * math.pow(tokens, -self.beta)

    def covers(self, parameters: float, tokens: float) -> bool:
        """Whether a size and a ratio lie within the data of the fit."""
        within = self.least_parameters <= parameters <= self.most_parameters
        return within and tokens / parameters <= self.most_tokens_per_parameter

    def chinchilla_from_flops(self, flops: float) -> Optimum:
        """Least loss for a training budget C: N = G (C/6)^(beta/(alpha+beta)), D = (C/6)^(alpha/(alpha+beta)) / G."""
        total = self.alpha + self.beta
        parameters = self.g * (flops / 6) ** (self.beta / total)
        tokens = (flops / 6) ** (self.alpha / total) / self.g
        return Optimum(parameters, tokens, self.loss(parameters, tokens))

    def chinchilla_from_parameters(self, parameters: float) -> Optimum:
        """The tokens for which a model of this size is optimal: C = 6 (N/G)^((alpha+beta)/beta)."""
        return self.chinchilla_from_flops(6 * (parameters / self.g) ** ((self.alpha + self.beta) / self.beta))

    def chinchilla_from_tokens(self, tokens: float) -> Optimum:
        """The size for which this many tokens are optimal: C = 6 (D G)^((alpha+beta)/alpha)."""
        return self.chinchilla_from_flops(6 * (tokens * self.g) ** ((self.alpha + self.beta) / self.alpha))

    def tokens_for(self, loss: float, parameters: float) -> float:
        """D at which a model of N parameters reaches a loss.

        Raises:
            ValueError: the model is too small to reach it with any data.
        """
        rest = loss - self.e - self.a * parameters**-self.alpha
        if rest <= 0:
            raise ValueError("no number of tokens brings a model of this size to the loss")
        return float((self.b / rest) ** (1 / self.beta))

    def least_parameters_for(self, loss: float) -> float:
        """The size below which no number of tokens reaches a loss (above the irreducible one): (A / (L - E))^(1/alpha)."""
        return float((self.a / (loss - self.e)) ** (1 / self.alpha))

    def parameters_for(self, loss: float, tokens: float) -> float:
        """N at which D tokens reach a loss.

        Raises:
            ValueError: the data is too small to reach it with any model.
        """
        rest = loss - self.e - self.b * tokens**-self.beta
        if rest <= 0:
            raise ValueError("no model reaches the loss with this many tokens")
        return float((self.a / rest) ** (1 / self.alpha))

    def optimum(self, loss: float, inference_tokens: float = 0.0) -> Optimum:
        """Least 6 N D + 2 N T that reaches `loss` (Sardana et al., eq. 3, solved by its Lagrange condition).

        f(D) = (beta B/alpha + B) D^-beta + (T beta B/(3 alpha)) D^(-beta-1) + E - L falls strictly in D, is not negative at
        the Chinchilla tokens of the loss and negative at infinity, so the root is unique.

        Raises:
            ValueError: the loss is not above the irreducible E.
        """
        if loss <= self.e:
            raise ValueError("the loss is not above the irreducible loss of the scaling law")
        ratio = self.beta / self.alpha
        start = (self.b * (ratio + 1) / (loss - self.e)) ** (1 / self.beta)

        def condition(log_tokens: float) -> float:
            tokens = math.exp(log_tokens)
            served = inference_tokens * ratio * self.b / 3 * math.pow(tokens, -self.beta - 1)
            return (ratio + 1) * self.b * math.pow(tokens, -self.beta) + served + self.e - loss

        tokens = math.exp(_falling_root(condition, math.log(start))) if inference_tokens > 0 else start
        return Optimum(self.parameters_for(loss, tokens), tokens, loss)


def _falling_root(f: Callable[[float], float], low: float) -> float:
    """Root of a strictly falling function that is not negative at `low`, by bisection to the last bit."""
    step = 1.0
    while f(low + step) > 0:
        step *= 2
    high = low + step
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if f(middle) > 0 else (low, middle)
    return low


# Hoffmann et al.'s runs: 44M to 16B parameters, up to about 250 tokens for each. Sardana et al. kept these constants.
_HOFFMANN_DATA: Final = (44e6, 16e9, 250.0)

LAWS: Final = MappingProxyType[ScalingLawName, ScalingLaw](
    {
        "sardana": ScalingLaw(
            1.69, 406.4, 410.7, 0.336, 0.283, *_HOFFMANN_DATA, "Sardana et al. 2024, the authors' code"
        ),
        "hoffmann": ScalingLaw(
            math.exp(0.5267228),
            math.exp(6.0073404),
            math.exp(6.0179186),
            0.33917084,
            0.2849083,
            *_HOFFMANN_DATA,
            "Hoffmann et al. 2022, unrounded constants of the paper's TeX source",
        ),
        "besiroglu": ScalingLaw(
            1.8172, 482.01, 2085.43, 0.3478, 0.3658, *_HOFFMANN_DATA, "Besiroglu et al. 2024, arXiv 2404.10102"
        ),
    }
)
"""Shipped fits. Past about 250 tokens per parameter all of them promise too much (Sardana et al., section 4)."""

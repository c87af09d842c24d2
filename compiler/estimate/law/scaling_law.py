"""Loss as a function of parameters and tokens, its closed forms, and the published fits.

L(N, D) = E + A N^-alpha + B D^-beta in nats per token (Hoffmann et al. 2022, arXiv 2203.15556, approach 3). N counts all
parameters. Training costs 6 N D, serving T tokens costs 2 N T (Sardana et al. 2024, arXiv 2401.00448); both leave out
attention. Constants of different fits can't be mixed: the same N and D have another loss under each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from schemas.budget import ScalingLawName

__all__ = ["LAWS", "Point", "ScalingLaw", "inference_flops", "train_flops"]


def train_flops(parameters: float, tokens: float) -> float:
    """6 N D."""
    return 6.0 * parameters * tokens


def inference_flops(parameters: float, tokens: float) -> float:
    """2 N T; T counts the tokens that are read and those that are written."""
    return 2.0 * parameters * tokens


@dataclass(frozen=True, slots=True)
class Point:
    """A model and its data: N, D and the loss they reach."""

    parameters: float
    tokens: float
    loss: float


@dataclass(frozen=True, slots=True)
class ScalingLaw:
    """Constants of one fit, with the closed forms that follow from it.

    Args:
        name: as a recipe writes it; `fit` or `constants` where the recipe brings its own.
        e, a, b, alpha, beta: constants of L(N, D), all positive.
        least_parameters, most_parameters, most_tokens_per_parameter: range of the data it was fitted on.
        source: where the constants come from.
    """

    name: str
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

    def covers_size(self, parameters: float) -> bool:
        """Whether the fit has seen models of this size."""
        return self.least_parameters <= parameters <= self.most_parameters

    def covers(self, parameters: float, tokens: float) -> bool:
        """Whether a size and a ratio lie within the data of the fit."""
        return self.covers_size(parameters) and tokens / parameters <= self.most_tokens_per_parameter

    def chinchilla_from_flops(self, flops: float) -> Point:
        """Least loss for a training budget C: N = G (C/6)^(beta/(alpha+beta)), D = (C/6)^(alpha/(alpha+beta)) / G."""
        total = self.alpha + self.beta
        parameters = self.g * (flops / 6) ** (self.beta / total)
        tokens = (flops / 6) ** (self.alpha / total) / self.g
        return Point(parameters, tokens, self.loss(parameters, tokens))

    def chinchilla_from_parameters(self, parameters: float) -> Point:
        """The tokens for which a model of this size is optimal: C = 6 (N/G)^((alpha+beta)/beta)."""
        return self.chinchilla_from_flops(6 * (parameters / self.g) ** ((self.alpha + self.beta) / self.beta))

    def chinchilla_from_tokens(self, tokens: float) -> Point:
        """The size for which this many tokens are optimal: C = 6 (D G)^((alpha+beta)/alpha)."""
        return self.chinchilla_from_flops(6 * (tokens * self.g) ** ((self.alpha + self.beta) / self.alpha))

    def chinchilla_from_loss(self, loss: float) -> Point:
        """The cheapest training to a loss: N = (A (alpha/beta + 1)/(L - E))^(1/alpha), D likewise.

        Raises:
            ValueError: the loss is not above the irreducible E.
        """
        rest = self._reducible(loss)
        ratio = self.alpha / self.beta
        parameters = (self.a * (ratio + 1) / rest) ** (1 / self.alpha)
        return Point(parameters, (self.b * (1 / ratio + 1) / rest) ** (1 / self.beta), loss)

    def tokens_for(self, loss: float, parameters: float) -> float:
        """D at which a model of N parameters reaches a loss.

        Raises:
            ValueError: the model is too small to reach it with any data.
        """
        rest = loss - self.e - self.a * math.pow(parameters, -self.alpha)
        if rest <= 0:
            raise ValueError("no number of tokens brings a model of this size to the loss")
        return _power(self.b / rest, 1 / self.beta)

    def parameters_for(self, loss: float, tokens: float) -> float:
        """N at which D tokens reach a loss.

        Raises:
            ValueError: the data is too small to reach it with any model.
        """
        rest = loss - self.e - self.b * math.pow(tokens, -self.beta)
        if rest <= 0:
            raise ValueError("no model reaches the loss with this many tokens")
        return _power(self.a / rest, 1 / self.alpha)

    def least_parameters_for(self, loss: float) -> float:
        """The size below which no number of tokens reaches a loss: (A / (L - E))^(1/alpha)."""
        return _power(self.a / self._reducible(loss), 1 / self.alpha)

    def least_tokens_for(self, loss: float) -> float:
        """The tokens below which no model reaches a loss: (B / (L - E))^(1/beta)."""
        return _power(self.b / self._reducible(loss), 1 / self.beta)

    def _reducible(self, loss: float) -> float:
        if loss <= self.e:
            raise ValueError("the loss is not above the irreducible loss of the scaling law")
        return loss - self.e


def _power(base: float, exponent: float) -> float:
    """A power, infinite where a float can't hold it: a loss one part in 10^12 above E wants that many tokens."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf


# Hoffmann et al.'s runs: 44M to 16B parameters, up to about 250 tokens for each. Sardana et al.'s code and Besiroglu et al.
# rest on the same runs. Sardana et al. made 47 of their own: 151M to 6.05B parameters, 10 to 10,000 tokens for each.
_HOFFMANN_DATA: Final = (44e6, 16e9, 250.0)
_SARDANA_SIZES: Final = (151e6, 6.05e9)
_SARDANA: Final = "Sardana et al. 2024, arXiv 2401.00448"

LAWS: Final = MappingProxyType[ScalingLawName, ScalingLaw](
    {
        law.name: law  # type: ignore[misc]  # the names are those of the type, which a test compares
        for law in (
            ScalingLaw(
                "besiroglu", 1.8172, 482.01, 2085.43, 0.3478, 0.3658, *_HOFFMANN_DATA, "Besiroglu et al. 2024, arXiv 2404.10102"
            ),
            ScalingLaw("sardana", 1.69, 406.4, 410.7, 0.336, 0.283, *_HOFFMANN_DATA, f"{_SARDANA}, the authors' code"),
            ScalingLaw(
                "hoffmann_tex",
                math.exp(0.5267228),
                math.exp(6.0073404),
                math.exp(6.0179186),
                0.33917084,
                0.2849083,
                *_HOFFMANN_DATA,
                "Hoffmann et al. 2022, unrounded constants of the paper's TeX source",
            ),
            ScalingLaw(
                "hoffmann_printed", 1.69, 406.4, 410.7, 0.34, 0.28, *_HOFFMANN_DATA, "Hoffmann et al. 2022, constants as printed"
            ),
            ScalingLaw(
                "sardana_own_100",
                0.2322, 7.434, 25.48, 0.08176, 0.12460, *_SARDANA_SIZES, 100.0,
                f"refit of 34 runs of {_SARDANA}, up to 100 tokens per parameter",
            ),
            ScalingLaw(
                "sardana_own",
                1.4558, 33.613, 142.35, 0.17565, 0.23489, *_SARDANA_SIZES, 10_000.0,
                f"refit of 47 runs of {_SARDANA}, up to 10,000 tokens per parameter",
            ),
        )
    }
)  # fmt: skip
"""Shipped fits. Those up to ordinary ratios promise too much past them (Sardana et al., section 4)."""

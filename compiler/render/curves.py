"""Points of the page's curves: models and data of one loss, and what each of them costs over its life."""

from __future__ import annotations

import math
from dataclasses import dataclass

from compiler.estimate.law.optimum import Limits, Market
from compiler.estimate.law.scaling_law import ScalingLaw
from compiler.render.choices import Life, choices, life_of
from schemas.plan import RunPlan

__all__ = ["Domain", "Sample", "chinchilla_ray", "domain", "iso_loss", "life_curve", "neighbours"]

_SAMPLES = 160
# Around the choices that are shown, in both directions.
_MARGIN = 4.0


@dataclass(frozen=True, slots=True)
class Domain:
    """The part of the plane of models and data that a chart shows."""

    least_parameters: float
    most_parameters: float
    least_tokens: float
    most_tokens: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One model on the plan's loss, the tokens that it needs, and its life."""

    parameters: float
    tokens: float
    life: Life


def _market(plan: RunPlan) -> Market:
    """The law and the price of repeated data that the plan was made with."""
    law, budget = plan.law_budget.law, plan.law_budget
    constants = ScalingLaw(
        budget.scaling_law, law.e, law.a, law.b, law.alpha, law.beta, 0.0, math.inf, math.inf, law.source
    )
    unique = math.inf if budget.unique_tokens is None else float(budget.unique_tokens)
    return Market(constants, budget.effective_inference_tokens, Limits(unique_tokens=unique))


def _loss(plan: RunPlan) -> float:
    """Loss of the plan's own choice, so that its curve runs through it to the last digit."""
    return _market(plan).loss(plan.model.num_parameters, plan.budget.tokens)


def domain(plan: RunPlan) -> Domain:
    """All choices, with a margin around them."""
    found = choices(plan)
    sizes, tokens = [choice.parameters for choice in found], [choice.tokens for choice in found]
    return Domain(min(sizes) / _MARGIN, max(sizes) * _MARGIN, min(tokens) / _MARGIN, max(tokens) * _MARGIN)


def _sizes(plan: RunPlan) -> list[float]:
    shown = domain(plan)
    step = math.log(shown.most_parameters / shown.least_parameters) / (_SAMPLES - 1)
    return [shown.least_parameters * math.exp(index * step) for index in range(_SAMPLES)]


def iso_loss(plan: RunPlan, loss: float | None = None) -> list[tuple[float, float]]:
    """(N, D) of one loss, by default the plan's, within the domain."""
    market, shown = _market(plan), domain(plan)
    wanted = _loss(plan) if loss is None else loss
    points = [(parameters, market.tokens_for("loss", wanted, parameters)) for parameters in _sizes(plan)]
    return [(n, d) for n, d in points if shown.least_tokens <= d <= shown.most_tokens]


def chinchilla_ray(plan: RunPlan) -> list[tuple[float, float]]:
    """(N, D) of least training FLOPs for each loss, within the domain."""
    law, shown = _market(plan).law, domain(plan)
    points = [(parameters, law.chinchilla_from_parameters(parameters).tokens) for parameters in _sizes(plan)]
    return [(n, d) for n, d in points if shown.least_tokens <= d <= shown.most_tokens]


def neighbours(plan: RunPlan) -> list[float]:
    """Losses a little above and below the plan's, above the irreducible one."""
    irreducible, loss = plan.law_budget.law.e, _loss(plan)
    step = max(0.01, round((loss - irreducible) * 0.1, 2))
    around = (loss - 2 * step, loss - step, loss + step, loss + 2 * step)
    return [value for value in around if value > irreducible]


def life_curve(plan: RunPlan) -> list[Sample]:
    """Models of the plan's loss, smallest first; those that no data brings there are left out."""
    market, loss = _market(plan), _loss(plan)
    points = [(parameters, market.tokens_for("loss", loss, parameters)) for parameters in _sizes(plan)]
    return [Sample(n, d, life_of(plan, n, d)) for n, d in points if 0 < d < math.inf]

"""What was chosen beside the optimum and the naive Chinchilla choice, each with its cost over the model's life."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from compiler.estimate.law.scaling_law import inference_flops, train_flops
from compiler.render import figures
from schemas.plan import RunPlan

__all__ = ["Choice", "Life", "choices", "life_of"]

# What a choice must differ by in size to be shown apart: snapping to whole dimensions moves it by a percent or so.
_WORTH_SAYING: Final = 0.02


@dataclass(frozen=True, slots=True)
class Life:
    """What a model takes over its life; dollars are 0 where nothing has a price."""

    training_flops: float
    serving_flops: float
    training_usd: float
    serving_usd: float

    @property
    def flops(self) -> float:
        """Training and serving."""
        return self.training_flops + self.serving_flops

    @property
    def usd(self) -> float:
        """Training and serving."""
        return self.training_usd + self.serving_usd


@dataclass(frozen=True, slots=True)
class Choice:
    """One pair of model and data.

    Args:
        name: `this plan`, `optimum`, `no limits` or `Chinchilla`.
        parameters, tokens: N and D.
        life: what it takes over its life.
        note: what it costs more or less than the plan, in dollars where there are prices.
    """

    name: str
    parameters: int
    tokens: int
    life: Life
    note: str


def life_of(plan: RunPlan, parameters: float, tokens: float) -> Life:
    """Life of a model of N parameters on D tokens under the plan's demand.

    Training costs the plan's dollars per FLOP, serving the plan's dollars per parameter (compiler/passes/lifetime.py).
    """
    budget, own = plan.budget, plan.model.num_parameters
    training = train_flops(parameters, tokens)
    return Life(
        training_flops=training,
        serving_flops=inference_flops(parameters, budget.inference_tokens),
        training_usd=plan.estimate.usd / budget.train_flops * training,
        serving_usd=budget.inference_usd / own * parameters,
    )


def choices(plan: RunPlan) -> list[Choice]:
    """The plan's own choice first; the others only where they differ from it."""
    budget, promise, size = plan.law_budget, plan.promise, plan.model.num_parameters
    own = life_of(plan, size, budget.tokens)

    def choice(name: str, parameters: int, tokens: int, why: str = "") -> Choice:
        life = life_of(plan, parameters, tokens)
        delta = figures.change(own.usd, life.usd) if own.usd > 0 else figures.change(own.flops, life.flops)
        return Choice(name, parameters, tokens, life, ", ".join(word for word in (delta, why) if word))

    found = [choice("this plan", size, budget.tokens)]
    if abs(promise.optimal_parameters / size - 1) > _WORTH_SAYING:
        found.append(choice("optimum", promise.optimal_parameters, promise.optimal_tokens))
    free, naive = budget.unconstrained, promise.chinchilla
    if free is not None and abs(free.parameters / size - 1) > _WORTH_SAYING:
        found.append(choice("no limits", free.parameters, free.tokens))
    if abs(naive.parameters / size - 1) > _WORTH_SAYING:
        why = "blind to inference" if budget.inference_tokens else ""
        found.append(choice("Chinchilla", naive.parameters, naive.tokens, why))
    return found

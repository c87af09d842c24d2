"""The plan's section on the budget: how much training, what the scaling law says of it, and the choices that were not made."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from schemas.base import Float, Fraction, Frozen, Integer, Name, Text
from schemas.budget import BudgetObjective, ServingFormat

__all__ = ["BudgetPlan", "ChoicePlan", "LawPlan", "PlainBudget", "Promise", "ServingPlan"]


class LawPlan(Frozen):
    """L(N, D) = E + A/N^alpha + B/D^beta, nats per token."""

    e: Float
    a: Float
    b: Float
    alpha: Float
    beta: Float
    source: Text
    num_runs: Integer | None = Field(description="Runs that it was fitted to; null for published and given constants.")
    sha256: Text | None = Field(description="Of the file with those runs.")


class ServingPlan(Frozen):
    """What serves the model over its life."""

    gpu: Name
    precision: ServingFormat
    peak_flops: Float
    usd_per_gpu_hour: Float
    mfu_prefill: Fraction
    mfu_decode: Fraction
    input_tokens: Float
    output_tokens: Float


class ChoicePlan(Frozen):
    """A model and its tokens that were not chosen, and what its life would take: training and the same inference."""

    parameters: Integer
    tokens: Integer
    loss: Float
    train_flops: Float
    lifetime_flops: Float
    lifetime_usd: Float


class PlainBudget(Frozen):
    """How much training: all that can be said where no scaling law holds, such as of classifiers."""

    tokens: Integer
    train_flops: Float = Field(description="6 for each multiply-add of the forward pass.")
    inference_tokens: Integer
    inference_flops: Float
    inference_usd: Float
    lifetime_flops: Float
    lifetime_usd: Float = Field(description="Training by the estimate, and inference.")
    unique_tokens: Integer | None
    epochs: Float = Field(description="Passes over unique_tokens; 0 where these are not known.")
    max_cost_usd: Float | None
    max_seconds: Float | None
    max_gpus: Integer | None


class Promise(NamedTuple):
    """What the scaling law says of a run, where it says something; each field as in BudgetPlan."""

    loss: float
    optimal_parameters: int
    optimal_tokens: int
    optimal_loss: float
    snapped_loss_delta: float
    repetition_loss: float
    chinchilla: ChoicePlan


class BudgetPlan(PlainBudget):
    """How much training, and what the scaling law says of it. Losses are nats per token, FLOPs 6 N D and 2 N T.

    The law knows runs from random weights alone, and of them no promise is worth more than a uniform guess over the vocabulary:
    elsewhere all that it says is null (compiler/budgeting/silence.py).
    """

    objective: BudgetObjective = Field(description="What a lifetime costs.")
    serving: ServingPlan | None
    effective_inference_tokens: Float = Field(
        description="K: served tokens in units in which one costs 2 N training FLOPs; with `flops` the tokens themselves."
    )
    loss: Float | None = Field(description="null where the law says nothing, as all that follows from it.")
    loss_low: Float | None = Field(
        description="Of the middle 90 % of the fit's resamples; null where they are not known."
    )
    loss_high: Float | None
    scaling_law: Text = Field(description="Name of a published fit, `constants`, or `fit`.")
    law: LawPlan
    extrapolated: bool = Field(description="The law is asked about sizes or ratios outside of its data.")
    optimal_parameters: Integer | None = Field(description="The continuous optimum within the constraints.")
    optimal_tokens: Integer | None
    optimal_loss: Float | None
    snapped_loss_delta: Float | None = Field(
        description="Loss given up against the continuous optimum of the same lifetime cost, by whole dimensions and batches"
        " or by a model that the recipe fixes."
    )
    binding: str = Field(description="Constraint that moved the optimum, or empty.")
    unconstrained: ChoicePlan | None = Field(
        description="The optimum without constraints and repetition, where they matter."
    )
    tokens_per_parameter: Float
    repetition_loss: Float | None = Field(description="Loss that repeated data costs against as many fresh tokens.")
    chinchilla: ChoicePlan | None = Field(
        description="The compute-optimal choice of the same loss, which ignores inference."
    )

    @property
    def promise(self) -> Promise | None:
        """What the law says; None where it is silent."""
        found = {name: getattr(self, name) for name in Promise._fields}
        return None if None in found.values() else Promise(**found)

"""Magnitude pruning: single weights, 2 of 4, or whole channels and heads, on a schedule (Zhu & Gupta 2017, arXiv 1710.01878)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Fraction, Integer, Text
from schemas.techniques.base import Algorithm, Technique
from schemas.units import Time, TrainingTime

__all__ = ["Pruning", "PruningAlgorithm", "PruningMethod"]

PruningMethod = Literal["magnitude", "structured", "2:4"]


class Pruning(Technique):
    """Knobs of pruning."""

    kind: Literal["pruning"] = Field(description="pruning")
    method: PruningMethod = Field(
        "magnitude",
        description="magnitude: single weights; structured: channels of MLPs and attention heads, which the exported model no "
        "longer has; 2:4: two of every four inputs, which GPUs of Ampere and later skip.",
    )
    sparsity: Fraction = Field(0.5, gt=0, lt=1, description="Share of the pruned layers' weights that ends at zero.")
    initial: Fraction = Field(0.0, lt=1, description="Share that is removed at `start`, where the slope begins.")
    schedule: Literal["cubic", "linear", "oneshot"] = Field(
        "cubic",
        description="From `initial` to `sparsity`: steep first (cubic), evenly (linear), or all at `start` (oneshot).",
    )
    scope: Literal["layer", "global"] = Field(
        "layer", description="magnitude: rank weights within each layer, or over all of them."
    )
    norm: Literal["l1", "l2"] = Field(
        "l1", description="structured: how the weights of a channel or head are summed up."
    )
    targets: Literal["all", "mlp", "attention"] = Field("all", description="Layers that are pruned.")
    exclude: tuple[Text, ...] = Field(
        (),
        max_length=1000,
        description="Names of layers that keep all of their weights; * stands for any text.",
        examples=[["model.layers.0.*"]],
    )
    start: TrainingTime = Field(Time(0.2, "dur"), description="When the first weights are removed.")
    end: TrainingTime = Field(Time(0.8, "dur"), description="When the final sparsity is reached.")
    interval: TrainingTime = Field(Time(0.02, "dur"), description="Time between two steps of the schedule.")

    @model_validator(mode="after")
    def _rises(self) -> Pruning:
        if self.initial > self.sparsity:
            raise PydanticCustomError(
                "conflict",
                "pruning would begin with a larger share than it ends with",
                {"first": "sparsity", "key": "initial", "fix": "initial: 0.0"},
            )
        return self


class PruningAlgorithm(Algorithm):
    """Lowered pruning: s(t) from `initial` at the window's start to `sparsity` at its end, in steps of `interval_steps`.

    `hold` has no slope: weights that are zero when the run begins stay zero all along.
    """

    kind: Literal["pruning"] = "pruning"
    method: PruningMethod
    sparsity: Fraction
    initial: Fraction
    schedule: Literal["cubic", "linear", "oneshot", "hold"]
    scope: Literal["layer", "global"]
    norm: Literal["l1", "l2"]
    targets: Literal["all", "mlp", "attention"]
    exclude: tuple[Text, ...]
    interval_steps: Integer = Field(ge=1)

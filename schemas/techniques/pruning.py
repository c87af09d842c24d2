"""Magnitude pruning on a cubic schedule (Zhu & Gupta 2017, arXiv 1710.01878)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Fraction, Integer
from schemas.techniques.base import Algorithm, Technique
from schemas.units import Time, TrainingTime

__all__ = ["Pruning", "PruningAlgorithm"]


class Pruning(Technique):
    """Knobs of pruning."""

    kind: Literal["pruning"] = Field(description="pruning")
    sparsity: Fraction = Field(0.5, gt=0, lt=1, description="Share of the linear layers' weights that ends at zero.")
    scope: Literal["layer", "global"] = Field(
        "layer", description="Rank weights within each layer, or over all of them."
    )
    start: TrainingTime = Field(Time(0.2, "dur"), description="When the first weights are removed.")
    end: TrainingTime = Field(Time(0.8, "dur"), description="When the final sparsity is reached.")
    interval: TrainingTime = Field(Time(0.02, "dur"), description="Time between two steps of the schedule.")


class PruningAlgorithm(Algorithm):
    """Lowered pruning: sparsity s(t) = S (1 - (1 - progress)^3) inside the window, S after it."""

    kind: Literal["pruning"] = "pruning"
    sparsity: Fraction
    scope: Literal["layer", "global"]
    interval_steps: Integer = Field(ge=1)

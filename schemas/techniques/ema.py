"""Exponential moving average of the weights; the average is what is evaluated and exported."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Float, Integer
from schemas.techniques.base import Algorithm, Technique
from schemas.units import Time, TrainingTime

__all__ = ["Ema", "EmaAlgorithm"]


class Ema(Technique):
    """Knobs of the moving average."""

    kind: Literal["ema"] = Field("ema", description="ema")
    half_life: TrainingTime = Field(Time(0.02, "dur"), description="Time after which a weight's share has halved.")
    update_interval: TrainingTime = Field(Time(1, "ba"), description="How often the average is updated.")
    start: TrainingTime = Field(Time(0.0, "dur"), description="When averaging begins.")


class EmaAlgorithm(Algorithm):
    """Lowered moving average: average <- smoothing * average + (1 - smoothing) * weights."""

    kind: Literal["ema"] = "ema"
    smoothing: Float = Field(gt=0, lt=1)
    update_interval_steps: Integer = Field(ge=1)

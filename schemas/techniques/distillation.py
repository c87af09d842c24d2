"""Distillation from a frozen teacher's logits (Hinton et al. 2015, arXiv 1503.02531)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Float, Fraction, Text
from schemas.techniques.base import Algorithm, Technique
from schemas.units import Time, TrainingTime

__all__ = ["Distillation", "DistillationAlgorithm"]


class Distillation(Technique):
    """Knobs of distillation."""

    kind: Literal["distillation"] = Field("distillation", description="distillation")
    teacher: Text = Field(
        description="Hugging Face folder of a model with the same tokenizer.", examples=["runs/big/export"]
    )
    temperature: Float = Field(1.0, gt=0, le=100, description="Both distributions are softened by it.")
    weight: Fraction = Field(0.5, gt=0, description="Share of the teacher's term in the loss.")
    start: TrainingTime = Field(Time(0.0, "dur"), description="When the teacher begins.")
    end: TrainingTime = Field(Time(1.0, "dur"), description="When it ends.")


class DistillationAlgorithm(Algorithm):
    """Lowered distillation: loss <- (1 - w) loss + w T^2 KL(teacher || student)."""

    kind: Literal["distillation"] = "distillation"
    teacher: Text
    temperature: Float
    weight: Fraction

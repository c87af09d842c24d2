"""Quantisation of the finished model (PTQ), or trained for with fake quantisation (QAT; Jacob et al. 2018, arXiv 1712.05877)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Integer, Text
from schemas.techniques.base import Algorithm, Technique
from schemas.units import Time, TrainingTime

__all__ = ["Quantization", "QuantizationAlgorithm", "WeightFormat"]

WeightFormat = Literal["int8", "int4"]
Granularity = Literal["tensor", "channel", "group"]


class Quantization(Technique):
    """Knobs of quantisation."""

    kind: Literal["quantization"] = Field(description="quantization")
    mode: Literal["ptq", "qat"] = Field(
        "ptq", description="ptq: round the finished weights; qat: train with rounded ones from `start` on."
    )
    weights: WeightFormat = Field("int8", description="Format of the linear layers' weights.")
    granularity: Granularity | None = Field(
        None, description="What shares one scale; default: channel for int8, group for int4.", examples=["channel"]
    )
    group_size: Integer = Field(32, ge=8, le=1024, description="granularity: group: inputs that share one scale.")
    activations: Literal["none", "int8"] = Field(
        "none", description="int8: inputs of the layers are rounded too, one scale a token, as they come."
    )
    start: TrainingTime = Field(Time(0.0, "dur"), description="qat: when rounding begins.")
    exclude: tuple[Text, ...] = Field(
        (), max_length=1000, description="Names of layers that stay as they are, besides embeddings and output layer."
    )


class QuantizationAlgorithm(Algorithm):
    """Lowered quantisation: inside the window training sees rounded weights (qat); the finished model is rounded (both)."""

    kind: Literal["quantization"] = "quantization"
    mode: Literal["ptq", "qat"]
    weights: WeightFormat
    granularity: Granularity
    group_size: Integer | None = Field(description="Inputs that share a scale; null unless granularity is group.")
    activations: Literal["none", "int8"]
    exclude: tuple[Text, ...]

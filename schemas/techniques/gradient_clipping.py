"""Gradient clipping by global norm, by value, or adaptively per unit (Brock et al. 2021, arXiv 2102.06171)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Float
from schemas.techniques.base import Algorithm, Technique

__all__ = ["GradientClipping", "GradientClippingAlgorithm"]


class GradientClipping(Technique):
    """Knobs of gradient clipping."""

    kind: Literal["norm", "value", "adaptive"] = Field("norm", description="What is compared with the threshold.")
    threshold: Float = Field(1.0, gt=0, le=1e6, description="Largest norm, value, or ratio to the weights' norm.")


class GradientClippingAlgorithm(Algorithm):
    """Lowered gradient clipping."""

    kind: Literal["gradient_clipping"] = "gradient_clipping"
    clipping: Literal["norm", "value", "adaptive"]
    threshold: Float

"""Gradient clipping: active all along."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.lowering.base import whole_run
from schemas.fragment import Claim, Fragment, Requirement
from schemas.techniques import Technique
from schemas.techniques.gradient_clipping import GradientClipping, GradientClippingAlgorithm

__all__ = ["lower"]


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Claims the gradients before the step."""
    assert isinstance(technique, GradientClipping)
    return Fragment(
        claims=(Claim(slot="gradients"),),
        algorithms=(
            GradientClippingAlgorithm(window=whole_run(draft), clipping=technique.kind, threshold=technique.threshold),
        ),
        requires=(
            Requirement(
                holds=technique.kind != "adaptive" or draft.hardware.count == 1,
                key="kind",
                message="adaptive clipping compares whole weights with whole gradients, which sharding splits",
                help="kind: norm",
            ),
        ),
        whole_weights=technique.kind != "norm",  # only the norm can be had from parts
        reason=f"{technique.kind} at most {technique.threshold:g}, all along",
    )

"""Gradient clipping by global norm, by value, or per unit (Brock et al. 2021, arXiv 2102.06171), by Composer."""

from __future__ import annotations

from composer.algorithms.gradient_clipping import apply_gradient_clipping
from composer.core import Algorithm, Event, State
from composer.loggers import Logger

from runtime.errors import RunFailed
from runtime.layout import Layout
from runtime.window import TokenWindow
from schemas.plan import RunPlan
from schemas.techniques.gradient_clipping import GradientClippingAlgorithm

__all__ = ["ClippedGradients", "build"]


class ClippedGradients(Algorithm):  # type: ignore[misc]  # composer has no types
    """Clips gradients after the last microbatch and before the optimizer's step; Composer has unscaled them by then."""

    def __init__(self, spec: GradientClippingAlgorithm) -> None:
        self._spec, self._window = spec, TokenWindow.of(spec.window)

    def match(self, event: Event, state: State) -> bool:
        """Between backward pass and optimizer, inside the window."""
        return event is Event.AFTER_TRAIN_BATCH and self._window.active(state)

    def apply(self, event: Event, state: State, logger: Logger) -> None:
        """Scale or clamp the gradients in place."""
        apply_gradient_clipping(state.model, self._spec.clipping, self._spec.threshold, state.fsdp_config_version == 1)


def build(spec: GradientClippingAlgorithm, plan: RunPlan, layout: Layout) -> ClippedGradients:
    """The algorithm of a plan.

    Raises:
        RunFailed: FSDP's shards only have a global norm (RC203).
    """
    if plan.parallelism.strategy == "fsdp" and spec.clipping != "norm":
        raise RunFailed(
            "RC203",
            f"gradients are clipped by {spec.clipping}, and FSDP shards of them only have a global norm",
            "set `training.gradient_clipping.kind: norm`, or train without FSDP",
        )
    return ClippedGradients(spec)

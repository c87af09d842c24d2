"""Quantisation of the finished model (PTQ), or training that sees rounded weights (QAT; Jacob et al. 2018, arXiv 1712.05877)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from composer.core import Algorithm, Event, State
from composer.loggers import Logger

from runtime.compression.factors import matrix_of
from runtime.compression.rounded_layers import FakeRounding, RoundedLayer, replace_layer, roundable, rounded_layers
from runtime.compression.rounding import INT4, INT8, Rounding
from runtime.errors import RunFailed
from runtime.layout import Layout
from runtime.window import TokenWindow
from schemas.plan import RunPlan
from schemas.techniques.quantization import QuantizationAlgorithm

__all__ = ["SwitchRounding", "build", "facts", "finish", "prepare", "rounding_of", "ship"]


def rounding_of(spec: QuantizationAlgorithm) -> Rounding:
    """How the plan rounds a layer."""
    grid = INT8 if spec.weights == "int8" else INT4
    return Rounding(grid, spec.granularity, spec.group_size, activations=spec.activations == "int8")


def _layers(spec: QuantizationAlgorithm, model: torch.nn.Module) -> Mapping[str, torch.nn.Module]:
    """Layers that are rounded.

    Raises:
        RunFailed: a layer's inputs are no whole number of groups, as other techniques may leave them (RC203).
    """
    found = roundable(model, spec.exclude)
    for name, layer in found.items():
        inputs = matrix_of(layer).shape[1]
        if spec.group_size is not None and inputs % spec.group_size:
            raise RunFailed(
                "RC203",
                f"{name} has {inputs} inputs, which are no whole number of groups of {spec.group_size}",
                f"compile with `exclude: [{name}]`, or with `granularity: channel`",
            )
    return found


class SwitchRounding(Algorithm):  # type: ignore[misc]  # composer has no types
    """Switches fake quantisation on where the window begins. It has no state: the tokens seen say whether it is on."""

    def __init__(self, spec: QuantizationAlgorithm) -> None:
        self._window = TokenWindow.of(spec.window)
        self._on = False

    def match(self, event: Event, state: State) -> bool:
        """Before the window's first batch, and before the first batch after a resumption inside it."""
        return event is Event.BATCH_START and not self._on and self._window.active(state)

    def apply(self, event: Event, state: State, logger: Logger) -> None:  # composer's signature
        """From here on every forward pass rounds, those of held-out samples too."""
        for layer in FakeRounding.all_of(state.model):
            layer.active = True
        self._on = True


def build(spec: QuantizationAlgorithm, plan: RunPlan, layout: Layout) -> SwitchRounding | None:  # contract
    """The algorithm of a plan; rounding a finished model leaves its training alone."""
    return SwitchRounding(spec) if spec.mode == "qat" else None


def prepare(spec: QuantizationAlgorithm, model: torch.nn.Module, plan: RunPlan, weights: Any) -> None:
    """Stand fake quantisation, switched off, in every layer that will be rounded."""
    if spec.mode == "qat":
        for layer in _layers(spec, model).values():
            FakeRounding(layer, rounding_of(spec)).install()


def finish(spec: QuantizationAlgorithm, model: torch.nn.Module, plan: RunPlan) -> torch.nn.Module:
    """Plain layers with the weights that the optimizer trained, not yet rounded."""
    FakeRounding.remove_all(model)
    return model


@torch.no_grad()
def ship(spec: QuantizationAlgorithm, model: torch.nn.Module, plan: RunPlan) -> torch.nn.Module:
    """Integers and scales in place of the weights; the same numbers that fake quantisation computed with."""
    for name, layer in _layers(spec, model).items():
        replace_layer(model, name, RoundedLayer(layer, rounding_of(spec)))
    return model


def facts(spec: QuantizationAlgorithm, model: torch.nn.Module) -> dict[str, Any]:
    """What was rounded of a model that is shipped, and how many bits a rounded weight takes with its scale."""
    layers = rounded_layers(model).values()
    weights, scales = sum(layer.quantized.numel() for layer in layers), sum(layer.scale.numel() for layer in layers)
    scale_bits = 8 * next(iter(layers)).scale.element_size() if layers else 0
    bits = rounding_of(spec).grid.bits + scales * scale_bits / max(weights, 1)
    return {"layers": len(layers), "weights": weights, "bits_per_weight": bits}

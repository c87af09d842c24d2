"""What changes a run: one module a kind, each with pure tensor functions, one Composer Algorithm and `build`.

build(spec, plan, layout) -> Algorithm | None       what acts during training; None: nothing does

Where a technique changes what the model is made of, its module also has some of:

prepare(spec, model, plan, weights) -> None         before weights are loaded and the optimizer is built; changes `model` in place
finish(spec, model, plan) -> model                  after the last step: plain layers again, such as merged adapters
ship(spec, model, plan) -> model                    in the step `compress`: what makes it smaller, such as removed channels
facts(spec, model) -> JSON mapping                  what `ship` did, told of the model that is shipped
export(spec, plan, layout, folder) -> None          in the step `export`: files beside the model's, such as adapters alone
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import torch

from runtime.layout import Layout
from schemas.plan import RunPlan
from schemas.techniques import AnyAlgorithm

if TYPE_CHECKING:
    from composer.core import Algorithm

__all__ = ["build_algorithms", "export", "facts", "finish", "prepare", "ship"]

Weights = Mapping[str, torch.Tensor]


def _module(spec: AnyAlgorithm) -> ModuleType:
    """The module of a kind, which the plan was validated with."""
    return importlib.import_module(f"runtime.algorithms.{spec.kind}")


def build_algorithms(plan: RunPlan, layout: Layout) -> list[Algorithm]:
    """The plan's algorithms, in the plan's order, which is the order in which they act on an event."""
    built = [_module(spec).build(spec, plan, layout) for spec in plan.algorithms]
    return [cast("Algorithm", algorithm) for algorithm in built if algorithm is not None]


def prepare(plan: RunPlan, model: torch.nn.Module, weights: Weights | None = None) -> None:
    """Reshape a model for its training, technique by technique in the plan's order.

    Args:
        plan: whose algorithms act.
        model: with the weights to begin with, or any weights if `weights` are given.
        weights: those that will be loaded next, by name: only their shapes are read, where a rank depends on the weights.
    """
    for spec in plan.algorithms:
        act: Any = getattr(_module(spec), "prepare", None)
        if act is not None:
            act(spec, model, plan, weights)


def finish(plan: RunPlan, model: torch.nn.Module) -> torch.nn.Module:
    """The trained model in plain layers, in reverse of the order in which it was prepared."""
    for spec in reversed(plan.algorithms):
        act: Any = getattr(_module(spec), "finish", None)
        if act is not None:
            model = act(spec, model, plan)
    return model


def ship(plan: RunPlan, model: torch.nn.Module) -> torch.nn.Module:
    """The finished model made as small as the plan's techniques allow, in the plan's order; rounding comes last."""
    for spec in plan.algorithms:
        act: Any = getattr(_module(spec), "ship", None)
        if act is not None:
            model = act(spec, model, plan)
    return model


def facts(plan: RunPlan, model: torch.nn.Module) -> dict[str, Any]:
    """By kind, what the plan's techniques did to a model that is shipped."""
    found: dict[str, Any] = {}
    for spec in plan.algorithms:
        tell: Any = getattr(_module(spec), "facts", None)
        if tell is not None:
            found[spec.kind] = tell(spec, model)
    return found


def export(plan: RunPlan, layout: Layout, folder: Path) -> None:
    """What techniques add to the folder of an exported model."""
    for spec in plan.algorithms:
        act: Any = getattr(_module(spec), "export", None)
        if act is not None:
            act(spec, plan, layout, folder)

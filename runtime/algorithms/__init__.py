"""What changes a run: one module a kind, each with pure tensor functions, one Composer Algorithm and `build`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from runtime.layout import Layout
from schemas.plan import RunPlan
from schemas.techniques import AnyAlgorithm

if TYPE_CHECKING:
    from composer.core import Algorithm

__all__ = ["AlgorithmModule", "build_algorithms"]


class AlgorithmModule(Protocol):
    """A module of runtime/algorithms/, found by the kind that the plan was validated with."""

    def build(self, spec: AnyAlgorithm, plan: RunPlan, layout: Layout) -> Algorithm: ...


def build_algorithms(plan: RunPlan, layout: Layout) -> list[Algorithm]:
    """The plan's algorithms, in the plan's order, which is the order in which they act on an event."""
    built = []
    for spec in plan.algorithms:
        module = cast("AlgorithmModule", importlib.import_module(f"runtime.algorithms.{spec.kind}"))
        built.append(module.build(spec, plan, layout))
    return built

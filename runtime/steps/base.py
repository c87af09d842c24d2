"""The contract between the executor and a step kind.

A module `runtime/steps/<kind>.py` offers two functions:

    identity(step, context, inputs) -> JSON value   what the step's output depends on; its hash is the step's key
    run(step, context, inputs, folder) -> JSON value   does the work in `folder`, returns `Result.values`

The executor skips a step whose key has a finished result, and hands `run` a temporary folder that is renamed when it is
done (tokenizer, prepare, score), or the run's own folder (train, evaluate, export).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from runtime.layout import Layout
from schemas.plan import RunPlan, Step, StepKind

__all__ = ["Context", "Inputs", "Result", "StepModule", "result_of", "results_of"]


@dataclass(frozen=True)
class Context:
    """What every step may read."""

    plan: RunPlan
    layout: Layout


@dataclass(frozen=True)
class Result:
    """A finished step: where its files are and what it measured."""

    step: str
    key: str
    folder: Path
    values: Mapping[str, Any]


Inputs = Mapping[str, Result]
"""Results of the steps named in `Step.inputs`, by id."""


class StepModule(Protocol):
    """A module of runtime/steps/."""

    def identity(self, step: Step, context: Context, inputs: Inputs) -> Any: ...

    def run(self, step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]: ...


def results_of(kind: StepKind, plan: RunPlan, inputs: Inputs) -> list[Result]:
    """Inputs that steps of a kind made, in the plan's order."""
    return [inputs[step.id] for step in plan.steps if step.kind == kind and step.id in inputs]


def result_of(kind: StepKind, plan: RunPlan, inputs: Inputs) -> Result:
    """The only input of a kind."""
    (found,) = results_of(kind, plan, inputs)
    return found

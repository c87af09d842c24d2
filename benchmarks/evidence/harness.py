"""Compiles and runs recipes of experiments in this process, and reads what their steps measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from benchmarks.evidence.experiment import Experiment, Measures, Recipe
from compiler.job.emit import emit
from compiler.pipeline import compile_recipe
from runtime.__main__ import main as run_plan
from runtime.layout import Layout
from schemas.plan import RunPlan

__all__ = ["Finished", "measured", "run", "written"]


@dataclass(frozen=True)
class Finished:
    """A finished plan: what its steps wrote."""

    plan: RunPlan
    layout: Layout

    def values(self, kind: str, run: str | None = None) -> dict[str, Any]:
        """`Result.values` of the first step of a kind, of the last run or of an earlier one."""
        plan = self.plan if run is None else next(p for p in self.plan.runs if p.run == run)
        layout = Layout.of(plan, roots=self.layout.roots, runs=self.layout.runs)
        step = next(step for step in plan.steps if step.kind == kind)
        found: dict[str, Any] = json.loads(layout.step_result(step.id).read_text(encoding="utf-8"))["values"]
        return found

    def loss(self, source: str, when: str = "trained", run: str | None = None) -> float:
        """Held-out nats per token of a source; `when` is a key of the evaluation's values."""
        return float(self.values("evaluate", run)["sources"][source][when]["loss"])


def written(recipe: Recipe, name: str, work: Path) -> Path:
    """The recipe as a file in the work folder."""
    path = work / "recipes" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        YAML().dump(recipe, file)
    return path


def run(recipe: Recipe, name: str, work: Path) -> Finished:
    """Compile and run a recipe; what is done already in the work folder is not done again.

    Raises:
        RuntimeError: the run did not finish.
    """
    path = written(recipe, name, work)
    plan = compile_recipe(path).expect()
    job = emit(plan, work / "jobs")
    code = run_plan([str(job / "plan.yaml"), "--runs", str(work / "runs"), "--root", str(path.parent)])
    if code != 0:
        raise RuntimeError(f"{name} ended with exit code {code}")
    return Finished(plan, Layout.of(plan, roots=(path.parent,), runs=work / "runs"))


def measured(experiment: Experiment, seeds: list[int], work: Path) -> dict[str, list[Measures]]:
    """Every arm of an experiment for every seed."""
    found: dict[str, list[Measures]] = {}
    for seed in seeds:
        for arm, recipe in experiment.arms(seed).items():
            finished = run(recipe, f"{experiment.name}-{arm.replace(' ', '-')}-{seed}", work)
            found.setdefault(arm, []).append(experiment.measure(finished))
    return found

"""One random teacher of an ensemble at each step against the mean of all (Blakeney et al. 2022)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from benchmarks.evidence.base import named, sequence
from benchmarks.evidence.experiment import Contrast, Experiment, Recipe
from benchmarks.evidence.harness import Finished

__all__ = ["EXPERIMENT"]

_TEACHERS: Final = {"teacher": (101, 400), "teacher-2": (102, 250), "teacher-3": (103, 250)}
_STEPS: Final = 200


def _arms(seed: int) -> Mapping[str, Recipe]:
    teachers = [named(name, number, steps) for name, (number, steps) in _TEACHERS.items()]

    def student(sampling: str) -> Recipe:
        taught = {
            "teachers": [{"run": name} for name in _TEACHERS],
            "sampling": sampling,
            "temperature": 2.0,
            "weight": 0.5,
            "end": "0.5dur",
        }
        return sequence([*teachers, named("student", seed, _STEPS, distillation=taught)])

    return {"one at random": student("one"), "all": student("all")}


def _measure(finished: Finished) -> dict[str, float]:
    losses = (finished.loss("code") + finished.loss("prose")) / 2
    return {"held-out loss": losses, "seconds of training": float(finished.values("train")["seconds"])}


EXPERIMENT: Final = Experiment(
    name="ensemble",
    title="One random teacher against all of an ensemble",
    source="Blakeney et al. 2022 (arXiv 2211.00683): one teacher a step has the ensemble's benefit at one teacher's cost",
    setting=(
        f"Three teachers of the student's size, of {', '.join(str(s) for _, s in _TEACHERS.values())} steps and different seeds; "
        f"students of {_STEPS} steps, taught in the first half by one teacher drawn for each step, or by the mean of all three."
    ),
    arms=_arms,
    measure=_measure,
    contrasts=(
        Contrast("held-out loss", "one at random", "all", "above", "one costs at most a little quality"),
        Contrast("seconds of training", "one at random", "all", "below", "one is cheaper"),
    ),
)

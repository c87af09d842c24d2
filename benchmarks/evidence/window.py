"""Distilling early against all along, at equal compute (Blakeney et al. 2022; Liu et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.evidence.base import named, sequence
from benchmarks.evidence.experiment import Contrast, Experiment, Recipe
from benchmarks.evidence.harness import Finished

__all__ = ["EXPERIMENT", "steps_of"]

_STEPS: Final = 360
"""Of the student without a teacher."""
_EARLY: Final = 0.3
_TEACHER: Final = {"seed": 101, "steps": 400}


def steps_of(duty: float) -> int:
    """Steps that cost as much as `_STEPS` plain ones where a teacher of the student's size reads a share of them.

    A step of the student takes 6 N FLOPs a token and the teacher's forward pass 2 N, so duty / 3 is added (card of sequences).
    """
    return round(_STEPS / (1 + duty / 3))


def _arms(seed: int) -> Mapping[str, Recipe]:
    teacher = named("teacher", _TEACHER["seed"], _TEACHER["steps"])

    def student(duty: float) -> Recipe:
        taught = {"teacher": {"run": "teacher"}, "temperature": 2.0, "weight": 0.5, "end": f"{duty:g}dur"}
        keys: dict[str, Any] = {"distillation": taught} if duty else {}
        return sequence([teacher, named("student", seed, steps_of(duty), **keys)])

    return {"no teacher": student(0.0), "early": student(_EARLY), "throughout": student(1.0)}


def _measure(finished: Finished) -> dict[str, float]:
    return {"held-out loss": (finished.loss("code") + finished.loss("prose")) / 2}


EXPERIMENT: Final = Experiment(
    name="window",
    title="Distilling early against throughout, at equal compute",
    source="Blakeney et al. 2022 (arXiv 2211.00683): the first 20 to 50 % suffice; Liu et al. 2023 (arXiv 2303.06480)",
    setting=(
        f"The teacher is a run of {_TEACHER['steps']} steps with another seed and the student's size (two layers, width 96). "
        f"Students get equal FLOPs: {steps_of(0)} steps alone, {steps_of(_EARLY)} with the teacher in the first "
        f"{_EARLY:.0%}, {steps_of(1)} with it throughout. KL at temperature 2, weight 0.5."
    ),
    arms=_arms,
    measure=_measure,
    contrasts=(
        Contrast("held-out loss", "early", "throughout", "below", "early beats throughout"),
        Contrast("held-out loss", "early", "no teacher", "below", "early beats no teacher"),
    ),
)

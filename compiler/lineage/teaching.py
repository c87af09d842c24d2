"""What it takes that finished runs teach later ones, and what that must save (Liu et al. 2023, arXiv 2303.06480)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.forecast import Taught
from schemas.plan import RunPlan
from schemas.techniques.distillation import DistillationAlgorithm

__all__ = ["break_even", "overhead", "taught"]


def overhead(duty: float, teacher: float, student: float) -> float:
    """Teachers' forward passes beside a student's step, 2 N_T to 6 N: duty N_T / (3 N).

    Args:
        duty: share of the steps in which they run.
        teacher: its parameters, or multiply-adds of its forward pass.
        student: the same of the run.
    """
    return duty * teacher / (3 * student)


def break_even(overhead: float) -> float:
    """Share of its steps that a run must save for teachers to pay: s with (1 - s)(1 + overhead) = 1."""
    return overhead / (1 + overhead)


def taught(plans: Sequence[RunPlan]) -> tuple[Taught, ...]:
    """Runs that learn from earlier runs while they train. Logits that are kept are steps of their own, with their own time.

    Args:
        plans: all runs of a sequence, in order.
    """
    by_name = {str(plan.run): plan for plan in plans}
    found = (_taught(plan, spec, by_name) for plan in plans for spec in plan.algorithms)
    return tuple(one for one in found if one is not None)


def _taught(plan: RunPlan, spec: object, by_name: Mapping[str, RunPlan]) -> Taught | None:
    if not isinstance(spec, DistillationAlgorithm) or spec.top_k is not None:
        return None
    teachers = [by_name[name] for one in spec.teachers if (name := one.run) is not None and name in by_name]
    if len(teachers) < len(spec.teachers):
        return None
    duty = spec.duty(plan.training.steps, plan.training.global_batch_tokens)
    at_once = len(teachers) if spec.sampling == "all" else 1
    size = sum(teacher.model.num_parameters for teacher in teachers) * at_once / len(teachers)
    work = sum(teacher.model.macs_per_token for teacher in teachers) * at_once / len(teachers)
    more = overhead(duty, work, plan.model.macs_per_token)
    return Taught(
        run=str(plan.run),
        teachers=tuple(str(teacher.run) for teacher in teachers),
        teacher_parameters=round(size),
        duty=duty,
        overhead=more,
        break_even=break_even(more),
    )

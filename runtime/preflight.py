"""What the runs of a plan need from outside, looked for before the first of them begins: hours later is too late to be told."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.bias.folder import folder_of_reference
from runtime.layout import Layout
from runtime.lineage import trained_key
from runtime.models.start import folder_of_start
from runtime.scoring.models import check_models
from runtime.teaching import teacher
from schemas.plan import RunPlan

__all__ = ["Ahead", "preflight"]

Ahead = tuple[RunPlan, Layout, tuple[str, ...] | None]
"""A run, its folders, and the ids of its steps that are to be done; None for all."""


def preflight(ahead: Sequence[Ahead]) -> None:
    """Look for starts, teachers, references and models that score.

    Args:
        ahead: the runs that are to be done, in order, each with the runs before it.

    Raises:
        DataError: a folder is missing (RC401).
        RunFailed: the hub can't be reached (RC607), or an earlier run is neither done nor among these (RC606).
    """
    done_here = {plan.run for plan, _, _ in ahead}
    for plan, layout, chosen in ahead:
        teacher.check_present(plan, layout)
        folder_of_start(plan, layout.roots)
        check_models(plan, layout.roots)
        if plan.evaluation.bias is not None and plan.evaluation.bias.against == "folder":
            folder_of_reference(plan.evaluation.bias, layout.roots)
        trains = any(step.kind == "train" and (chosen is None or step.id in chosen) for step in plan.steps)
        for name in _needed(plan) if trains else ():
            if name not in done_here:
                trained_key(name, plan, layout)


def _needed(plan: RunPlan) -> set[str]:
    """Earlier runs whose weights a training begins with or learns from."""
    names = [one.run for spec in teacher.specs_of(plan) for one in spec.teachers]
    if plan.start is not None:
        names.append(plan.start.run)
    return {name for name in names if name is not None}

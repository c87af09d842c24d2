"""The runs of a sequence as each other's starts and teachers: plan and folder of an earlier run by its name."""

from __future__ import annotations

from runtime.errors import RunFailed
from runtime.layout import Layout
from schemas.plan import RunPlan

__all__ = ["earlier", "plans"]


def plans(plan: RunPlan) -> tuple[RunPlan, ...]:
    """All runs of a plan, in order, each with the runs before it, so that it can find its start and its teachers."""
    return tuple(run.model_copy(update={"earlier": plan.runs[:number]}) for number, run in enumerate(plan.runs))


def earlier(name: str, plan: RunPlan, layout: Layout) -> tuple[RunPlan, Layout]:
    """The run of that name before this one, and its folders.

    Raises:
        RunFailed: the plan has no such run (RC901).
    """
    found = next((run for run in plans(plan)[:-1] if run.run == name), None)
    if found is None:
        message = f"the plan of {plan.name} names a run `{name}`, and holds no such plan"
        raise RunFailed("RC901", message, "compile the recipe again with this version; if it stays, please report it")
    return found, Layout.of(found, roots=layout.roots, runs=layout.runs)

"""The runs of a sequence as each other's starts and teachers: plan, folder and key of an earlier run by its name."""

from __future__ import annotations

from runtime.errors import RunFailed
from runtime.layout import Layout
from runtime.record import read_record
from schemas.plan import RunPlan

__all__ = ["alone", "earlier", "plans", "reads_like", "trained_key", "untrained"]


def plans(plan: RunPlan) -> tuple[RunPlan, ...]:
    """All runs of a plan, in order, each with the runs before it, for its start and teachers, and the caps of all together."""
    return tuple(
        run.model_copy(update={"earlier": plan.runs[:number], "totals": plan.totals})
        for number, run in enumerate(plan.runs)
    )


def alone(plan: RunPlan) -> RunPlan:
    """A run of `plans` as it stands in its plan."""
    return plan.model_copy(update={"earlier": (), "totals": None})


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


def trained_key(name: str, plan: RunPlan, layout: Layout) -> str:
    """The key of an earlier run's finished training, which names its weights: plan, data, start and teachers are in it.

    Raises:
        RunFailed: that run has not been trained to its end (RC606); the plan has no such run (RC901).
    """
    before, place = earlier(name, plan, layout)
    train = next(step.id for step in before.steps if step.kind == "train")
    record = read_record(place.step_result(train))
    if record is None or not record.is_finished:
        raise RunFailed(
            "RC606",
            f"the run `{plan.run or plan.name}` needs the run `{name}`, which has not been trained to its end in {place.run}",
            f"run it first: --run {name} (or no --run, for all runs in order)",
        )
    return record.key


def untrained(plan: RunPlan, layout: Layout) -> RunFailed:
    """The error of a run whose weights are asked for, and that has no checkpoint (any more): what trains it."""
    again = "--steps all" if plan.run is None else f"--run {plan.run} --steps all (or no --run, for all runs in order)"
    return RunFailed("RC606", f"there is no checkpoint in {layout.checkpoints}", f"train it first: {again}")


def reads_like(plan: RunPlan) -> RunPlan:
    """The run whose tokenizer a plan's weights have learnt: the first of the runs that it starts from, or itself.

    A tokenizer that is trained on other sources would give the same words other ids.
    """
    while plan.start is not None and plan.start.kind == "run":
        name = plan.start.run
        found = next((run for run in plans(plan)[:-1] if run.run == name), None)
        if found is None:
            break
        plan = found
    return plan

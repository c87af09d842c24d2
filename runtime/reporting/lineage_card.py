"""Where a model comes from, for its card: the runs and weights before it, its teachers, and what was removed or rounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from schemas.counted import TOKENS, Counted
from schemas.plan import RunPlan
from schemas.techniques import AnyAlgorithm
from schemas.units import format_bytes, format_count

__all__ = ["compressed", "origin", "runs"]

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Heads, and rows of cells."""

_MADE_SMALLER: Final[tuple[tuple[str, str, Callable[[float], str]], ...]] = (
    ("parameters", "parameters", "{:,.0f}".format),
    ("not zero", "nonzero", "{:,.0f}".format),
    ("size of the weights", "bytes", format_bytes),
    ("{}/s where it was made", "tokens_per_s", format_count),
)


def origin(plan: RunPlan) -> str:
    """What it was trained from, in the words that follow `trained from`."""
    start = plan.start
    if start is None:
        return "random weights"
    if start.run is not None:
        return f"the weights of the run `{start.run}` (plan `{start.fingerprint}`)"
    if start.hub is not None:
        return f"the weights of `{start.hub}`" + (f" at revision `{start.revision}`" if start.revision else "")
    return f"the weights in `{start.folder}`"


def runs(plan: RunPlan) -> Table | None:
    """The runs that led to the model, those that it needed alone, in order; None where it began at random and untaught."""
    needed = _needed(plan)
    if not needed and plan.start is None and not _taught(plan):
        return None
    kept = [run for run in plan.earlier if run.run in needed]
    heads = ("run", "plan", "starts from", "taught by", "techniques", f"training {plan.counted.many}")
    return heads, [_row(run) for run in (*kept, plan)]


def _needed(plan: RunPlan) -> set[str]:
    """Earlier runs whose weights or answers are in this model, those behind them included."""
    found: set[str] = set()
    for run in reversed(plan.runs):
        if run is plan or run.run in found:
            start = () if run.start is None or run.start.run is None else (run.start.run,)
            found.update((*start, *(name for spec in run.algorithms for name in _teaching_runs(spec))))
    return found


def _teaching_runs(spec: AnyAlgorithm) -> Iterator[str]:
    if spec.kind == "distillation":
        yield from (teacher.run for teacher in spec.teachers if teacher.run is not None)


def _taught(plan: RunPlan) -> Sequence[str]:
    return [teacher.name for spec in plan.algorithms if spec.kind == "distillation" for teacher in spec.teachers]


def _row(run: RunPlan) -> tuple[str, ...]:
    start = run.start
    begun = "random weights" if start is None else f"`{start.run or start.folder or start.hub}`"
    if start is not None and start.revision:
        begun += f" at `{start.revision}`"
    return (
        run.run or run.name,
        f"`{run.short_fingerprint}`",
        begun,
        ", ".join(f"`{name}`" for name in _taught(run)) or "nobody",
        ", ".join(spec.kind.replace("_", " ") for spec in run.algorithms) or "none",
        format_count(run.budget.tokens),
    )


def compressed(small: Mapping[str, Any], counted: Counted = TOKENS) -> Table:
    """The trained model beside what is in the folder.

    Args:
        small: values of the step `compress`.
        counted: what its speed is measured in.
    """
    rows: list[tuple[str, ...]] = [
        (label.format(counted.many), show(small[name]["before"]), show(small[name]["after"]))
        for label, name, show in _MADE_SMALLER
        if name in small
    ]
    return ("", "trained", "in this folder"), rows

"""The runs of a sequence as people see them: a row each, what all take together, and what teachers must save."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from compiler.render import figures
from compiler.render.canvas import Canvas, Cell, Column, Line, Piece
from compiler.render.visible import clean
from schemas.plan import RunPlan
from schemas.techniques.distillation import DistillationAlgorithm
from schemas.units import format_seconds, format_usd

__all__ = ["Row", "limits", "rows", "sequence_block", "teaching"]


class Row(NamedTuple):
    """A run in words and numbers."""

    name: str
    start: str
    teacher: str
    techniques: str
    parameters: int
    tokens: int
    hours: float
    usd: float
    folder: str


def rows(plan: RunPlan) -> list[Row]:
    """A row a run, in order; none where the recipe has no sequence. Techniques that all of several runs have are left out."""
    if plan.run is None:
        return []
    kinds = [{str(spec.kind) for spec in run.algorithms} for run in plan.runs]
    return [_row(run, set.intersection(*kinds) if len(kinds) > 1 else set()) for run in plan.runs]


def _row(plan: RunPlan, shared: Collection[str]) -> Row:
    start = plan.start
    kinds = [spec.kind for spec in plan.algorithms if spec.kind != "distillation" and spec.kind not in shared]
    return Row(
        name=str(plan.run),
        start=clean(start.run or start.folder or start.hub or "") if start is not None else "random weights",
        teacher=", ".join(_teachers(plan)),
        techniques=", ".join(kind.replace("_", " ") for kind in dict.fromkeys(kinds)),
        parameters=plan.model.num_parameters,
        tokens=plan.budget.tokens,
        hours=plan.estimate.hours,
        usd=plan.estimate.usd,
        folder=f"{plan.name}-{plan.short_fingerprint}",
    )


def _teachers(plan: RunPlan) -> list[str]:
    specs = [spec for spec in plan.algorithms if isinstance(spec, DistillationAlgorithm)]
    return [clean(teacher.name) for spec in specs for teacher in spec.teachers]


def limits(plan: RunPlan) -> list[str]:
    """Limits that hold for all runs together, each with the share of it that they take."""
    totals, said = plan.totals, []
    if totals is not None and totals.max_cost_usd:
        said.append(f"{totals.usd / totals.max_cost_usd:.0%} of max_cost {format_usd(totals.max_cost_usd)}")
    if totals is not None and totals.max_seconds:
        said.append(f"{totals.hours * 3600 / totals.max_seconds:.0%} of max_hours {format_seconds(totals.max_seconds)}")
    return [text.replace("%", " %") for text in said]


def teaching(plan: RunPlan) -> list[str]:
    """A sentence for each run that earlier ones teach: what it takes, and what must come of it."""
    found = plan.totals.taught if plan.totals is not None else ()
    return [
        f"{one.run}: taught by {', '.join(one.teachers)} in {figures.percent(one.duty)} of its steps, "
        f"{figures.percent(one.overhead)} more work; pays if it needs {figures.percent(one.break_even)} fewer steps"
        for one in found
    ]


def sequence_block(canvas: Canvas, plan: RunPlan) -> list[Line]:
    """The table, with the sums below it; the sections of the screen are the last run's."""
    found, totals = rows(plan), plan.totals
    if not found:
        return []
    priced = any(row.usd for row in found)
    columns = (
        Column("run"),
        Column("starts from", rank=3),
        Column("taught by" if any(row.teacher for row in found) else "", rank=4),
        Column("techniques" if any(row.techniques for row in found) else "", rank=5),
        Column("model", right=True, rank=2),
        Column(plan.counted.many, right=True, rank=1),
        Column("time", right=True),
        Column("cost" if priced else "", right=True),
    )
    cells: list[list[Cell]] = [
        [
            row.name,
            row.start,
            row.teacher,
            row.techniques,
            figures.figure(row.parameters),
            figures.figure(row.tokens),
            figures.hours(row.hours),
            figures.usd(row.usd) if priced else "",
        ]
        for row in found
    ]
    if totals is not None:
        last = [figures.figure(totals.tokens), figures.hours(totals.hours), figures.usd(totals.usd) if priced else ""]
        cells.append([(Piece(text, "strong"),) for text in ("together", "", "", "", "", *last)])
    lines = canvas.table(columns, cells)
    for said in [*teaching(plan), *limits(plan)]:
        lines += canvas.wrap(said, canvas.room, "dim")
    return lines

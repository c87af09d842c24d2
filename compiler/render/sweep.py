"""How a sweep looks: a table for people, JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, Final

from compiler.frontend.spans import parse_path
from compiler.render import figures
from compiler.render.canvas import Canvas, Cell, Column, Line, Look, Piece, line_cells
from compiler.render.visible import clean
from compiler.render.words import unit_word
from compiler.sweep import Axis, Point
from schemas.plan import Estimate, RunPlan, SequenceTotals

__all__ = ["render_sweep", "sweep_csv", "sweep_json"]

_NUMBERS: Final = (
    "fingerprint",
    "parameters",
    "tokens",
    "loss",
    "optimal_parameters",
    "optimal_tokens",
    "inference_tokens",
    "devices",
    "strategy",
    "microbatch",
    "tokens_per_s_per_gpu",
    "mfu",
    "peak_memory_bytes",
    "hours",
    "usd",
    "lifetime_usd",
)
_SAME_LOSS: Final = 0.005
# Shares that differ by less are the rounding of batches; of more sources than these the JSON tells.
_SAME_SHARE: Final = 0.001
_MOST_SOURCES: Final = 4
# What a program compares; sources, provenance and steps are in the plan of each row, which `--set` gives.
_SECTIONS: Final = {"fingerprint", "model", "budget", "training", "parallelism", "hardware", "estimate", "totals"}


def render_sweep(axes: Sequence[Axis], points: Sequence[Point], look: Look) -> str:
    """One row a plan, in the order of the values; a row without a plan says why. `*` marks the cheapest over its life."""
    canvas = Canvas(look)
    heads = [Column(name, right=True) for name in _short_names(axes)]
    left = canvas.table(heads, [[clean(value) for value in point.values] for point in points], look.width // 2)
    indent = line_cells(left[0]) + 2
    made = [point for point in points if point.plan is not None]
    least = _cheapest(made)
    plans = [point.plan for point in made if point.plan is not None]
    moved = _moved(plans)
    rows = [_cells(plan, moved, marked=least is not None and plan is least.plan) for plan in plans]
    right = iter(canvas.table(_columns(plans, moved), rows, look.width - indent))
    first = (*left[0], Piece("  "), *(next(right) if rows else ()))
    canvas.lines([first])
    for line, point in zip(left[1:], points, strict=True):
        body = [next(right)] if point.plan is not None else _reason(point, look.width - indent)
        canvas.lines([(*line, Piece("  "), *body[0]), *((Piece(" " * indent), *more) for more in body[1:])])
    if any(plan.totals is not None for plan in plans):
        canvas.gap()
        canvas.lines([(Piece("time and dollars of all runs of the sequence, the rest of the last one", "dim"),)])
    if least is not None:
        canvas.gap()
        canvas.lines([(Piece("* least over its life among plans of this loss", "dim"),)])
    return canvas.text()


def _columns(plans: Sequence[RunPlan], moved: Sequence[str]) -> tuple[Column, ...]:
    """Heads in the words of the plans; of mixed ones, which hardly anybody compares, in those of text and GPUs."""
    many = _common([plan.counted.many for plan in plans], "tokens")
    speed = _common([f"{plan.counted.short}/s/{unit_word(plan)}" for plan in plans], "tok/s/GPU")
    return (
        Column("model", right=True),
        Column(many, right=True, rank=1),
        *(Column(name, right=True, rank=2) for name in moved),
        Column("loss", right=True, rank=3),
        Column("layout", rank=6),
        Column(speed, right=True, rank=7),
        Column("memory", right=True, rank=5),
        Column("time", right=True, rank=2),
        Column("training", right=True),
        Column("lifetime", right=True, rank=4),
    )


def _common(words: Sequence[str], otherwise: str) -> str:
    return words[0] if len(set(words)) == 1 else otherwise


def _short_names(axes: Sequence[Axis]) -> list[str]:
    """The last key of each axis, or the whole path where two end alike."""
    last = [str(parse_path(axis.path)[-1]) for axis in axes]
    return [name if last.count(name) == 1 else axis.path for name, axis in zip(last, axes, strict=True)]


def _reason(point: Point, room: int) -> list[Line]:
    error = point.error
    assert error is not None  # no plan without an error
    return Canvas.wrap(f"{error.code} {clean(error.message)}", room, "bad")


def _moved(plans: Sequence[RunPlan]) -> list[str]:
    """Sources whose share of the run differs between plans, some of those that differ most, in alphabetical order."""
    names = {name for plan in plans for name in plan.data.sources}
    shares = {name: [_share(plan, name) for plan in plans] for name in names}
    spread = {name: max(found) - min(found) for name, found in shares.items() if max(found) - min(found) > _SAME_SHARE}
    return sorted(sorted(spread, key=lambda name: (-spread[name], name))[:_MOST_SOURCES])


def _share(plan: RunPlan, name: str) -> float:
    found = plan.estimate.exposure.get(name)
    return found.share if found is not None else 0.0


def _cells(plan: RunPlan, moved: Sequence[str], *, marked: bool) -> list[Cell]:
    """The cells of one plan, in the order of the columns."""
    budget, estimate, layout, whole = plan.budget, plan.estimate, plan.parallelism, _whole(plan)
    life = figures.usd(whole.lifetime_usd) + ("*" if marked else " ")
    return [
        figures.figure(plan.model.num_parameters),
        figures.figure(budget.tokens),
        *(figures.percent(_share(plan, name)) for name in moved),
        "-" if plan.is_law_silent else f"{plan.promise.loss:.3f}",
        f"{layout.devices} x {plan.hardware.gpu}, {layout.strategy}",
        figures.figure(estimate.tokens_per_s_per_gpu),
        figures.gigabytes(estimate.peak_memory_bytes),
        figures.hours(whole.hours),
        figures.usd(whole.usd),
        (Piece(life, "good" if marked else "plain"),),
    ]


def _whole(plan: RunPlan) -> Estimate | SequenceTotals:
    """What has the hours and dollars of all runs."""
    return plan.estimate if plan.totals is None else plan.totals


def _cheapest(made: Sequence[Point]) -> Point | None:
    """The least dollars over the life among plans of one quality and demand; None where that compares unlike things."""
    plans = [point.plan for point in made if point.plan is not None]
    losses = [0.0 if plan.is_law_silent else plan.promise.loss for plan in plans]
    served, costs = {plan.budget.inference_tokens for plan in plans}, {_whole(plan).lifetime_usd for plan in plans}
    if len(plans) < 2 or max(losses) - min(losses) > _SAME_LOSS or len(served) > 1 or len(costs) < 2:
        return None
    return min(made, key=lambda point: _whole(point.plan).lifetime_usd if point.plan else 0.0)


def _numbers(plan: RunPlan) -> dict[str, object]:
    budget, whole = plan.budget, _whole(plan)
    values = {**plan.estimate.model_dump(), **budget.model_dump()}
    values |= {"fingerprint": plan.fingerprint, "parameters": plan.model.num_parameters}
    values |= {"devices": plan.parallelism.devices, "strategy": plan.parallelism.strategy}
    values |= {"microbatch": plan.training.microbatch, "usd": whole.usd, "lifetime_usd": whole.lifetime_usd}
    values["hours"] = whole.hours
    return {name: values.get(name, "") for name in _NUMBERS}


def sweep_json(axes: Sequence[Axis], points: Sequence[Point], findings: Sequence[list[object]]) -> dict[str, Any]:
    """Values, the sections that differ, and the findings of each combination."""
    rows = [
        {
            "values": dict(zip((axis.path for axis in axes), point.values, strict=True)),
            "plan": None
            if point.plan is None
            else point.plan.model_dump(mode="json", by_alias=True, include=_SECTIONS),
            "diagnostics": found,
        }
        for point, found in zip(points, findings, strict=True)
    ]
    return {"sweep": [{"path": axis.path, "values": list(axis.values)} for axis in axes], "rows": rows}


def sweep_csv(axes: Sequence[Axis], points: Sequence[Point]) -> str:
    """A line a combination: its values under the keys' whole paths, numbers in base units, the error where there is one."""
    out = io.StringIO()
    names = sorted({name for point in points if point.plan is not None for name in point.plan.data.sources})
    drawn = {name: f"data.sources.{name} tokens" for name in names}
    heads = [*(axis.path for axis in axes), *_NUMBERS, *drawn.values(), "code", "error"]
    writer = csv.DictWriter(out, heads, restval="", lineterminator="\n")
    writer.writeheader()
    for point in points:
        row: dict[str, object] = dict(zip((axis.path for axis in axes), point.values, strict=True))
        if point.plan is not None:
            row |= _numbers(point.plan)
            row |= {drawn[name]: found.tokens for name, found in point.plan.estimate.exposure.items()}
        elif point.error is not None:
            row |= {"code": point.error.code, "error": clean(point.error.message)}
        writer.writerow(row)
    return out.getvalue().rstrip("\n")

"""Measured runs of a user, from rows of a table or from run_report.json files, as steps to calibrate on."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compiler.estimate.rows.table import Row, Unjudged, workload_of
from compiler.estimate.speed.predict import earned, speed
from compiler.estimate.speed.site import MeasuredStep
from compiler.job.load_plan import load_plan
from schemas.diagnostics import DiagnosticsError

__all__ = ["Skipped", "measured_steps"]

# A run this much faster or slower than its estimate is another run than the one described.
_ABSURD: Final = 30.0
_WIDE: Final = 0.4


@dataclass(frozen=True, slots=True)
class Skipped:
    """A run that is left out, and why."""

    name: str
    why: str


def measured_steps(sources: Sequence[tuple[Path, Sequence[Row]]]) -> tuple[list[MeasuredStep], list[Skipped]]:
    """Steps of all sources: a table gives its rows, a report (no rows) its training."""
    steps: list[MeasuredStep] = []
    skipped: list[Skipped] = []
    for path, rows in sources:
        found = [_of_row(row, path) for row in rows] if rows else [_of_report(path)]
        for one in found:
            if isinstance(one, Skipped):
                skipped.append(one)
            elif not 1 / _ABSURD < one.seconds / sum(one.parts.values()) < _ABSURD:
                skipped.append(
                    Skipped(one.name, "it is 30 times off its estimate: another run than the one described?")
                )
            else:
                steps.append(one)
    return steps, skipped


def _of_row(row: Row, path: Path) -> MeasuredStep | Skipped:
    name = f"{path}:{row.line}"
    measured = _positive(row.cells.get("tokens_per_s_per_gpu"))
    if measured is None:
        return Skipped(name, "it has no tokens_per_s_per_gpu")
    workload = workload_of(row)
    if isinstance(workload, Unjudged):
        return Skipped(name, workload.reason)
    try:
        fast = speed(workload)
    except ArithmeticError:
        return Skipped(name, "the numbers are out of every range together")
    seconds = sum(fast.seconds.values()) * fast.tokens_per_s_per_gpu / measured
    known = earned(workload)
    return MeasuredStep(name, fast.seconds, seconds, known.within if known else _WIDE)


def _of_report(path: Path) -> MeasuredStep | Skipped:
    """The training of a run, beside the plan that it carried out."""
    name = str(path)
    try:
        measured = _measured_speed(json.loads(path.read_text(encoding="utf-8")))
        plan = load_plan(path.parent)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        return Skipped(name, f"it can't be read: {getattr(error, 'strerror', None) or error}")
    except DiagnosticsError as error:
        return Skipped(name, error.diagnostics[0].message)
    if measured is None:
        return Skipped(name, "its training has not reported a speed")
    estimate, hardware = plan.estimate, plan.hardware
    if "your calibration" in estimate.method or "own hardware.mfu" in estimate.method:
        return Skipped(name, "its plan was already made with your own figures; use a run planned without them")
    if not estimate.step_parts:
        return Skipped(name, "its plan does not say where a step's time goes; compile the recipe again")
    planned = estimate.tokens_per_s_per_gpu * hardware.count
    within = math.log(estimate.tokens_per_s_per_gpu_high / estimate.tokens_per_s_per_gpu)
    return MeasuredStep(name, estimate.step_parts, sum(estimate.step_parts.values()) * planned / measured, within)


def _measured_speed(report: object) -> float | None:
    """`training.tokens_per_s.actual` of a report; None where it is missing."""
    for key in ("training", "tokens_per_s", "actual"):
        report = report.get(key) if isinstance(report, dict) else None
    return _positive(report)


def _positive(value: object) -> float | None:
    """A number above zero; None for anything else."""
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) and number > 0 else None

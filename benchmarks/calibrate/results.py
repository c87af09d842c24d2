"""The table of errors, in the speed section of RESULTS.md."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from benchmarks.calibrate.problem import RUNS, Array, Problem, Run, quantile
from compiler.estimate.rows.table import Unjudged, read_rows, workload_of
from compiler.estimate.speed.work import model_flops_per_token, peak_rate

__all__ = ["summary", "write_results"]

RESULTS: Final = Path(__file__).parent / "RESULTS.md"
_BEGIN, _END = "<!-- speed: written by fit.py -->", "<!-- end of speed -->"
_HEAD: Final = "| runs | weight | median | 80 % within | 90 % within | share within 10 % | bias |"


def summary(errors: Array, weights: Array) -> str:
    """Cells of one row: runs, weight, median, p80, p90, share within 10 %, median signed error."""
    size = np.abs(errors)
    close = float(weights[size <= 0.10].sum() / weights.sum())
    parts = [quantile(size, weights, level) for level in (0.5, 0.8, 0.9)]
    return (
        f"{len(errors)} | {weights.sum():.1f} | {parts[0]:.1%} | {parts[1]:.1%} | {parts[2]:.1%} | {close:.0%}"
        f" | {quantile(errors, weights, 0.5):+.1%} |"
    )


def _table(title: str, rows: list[tuple[str, npt.NDArray[np.bool_], Array]], weights: Array) -> list[str]:
    lines = [f"| {title} {_HEAD}", "|" + " --- |" * 8]
    return lines + [f"| {name} | {summary(e[mask], weights[mask])}" for name, mask, e in rows if mask.any()]


def _constant(problem: Problem) -> Array:
    """The estimator to beat: one MFU for each GPU model and format, the weighted median of the other groups."""
    mfu = np.array([r.tokens * model_flops_per_token(r.workload) / peak_rate(r.workload) for r in problem.runs])
    kinds = [(r.cells["hardware"], r.workload.numerics.compute) for r in problem.runs]
    groups = np.array([r.cells["group"] for r in problem.runs])
    errors = np.full(len(mfu), math.nan)
    for i, kind in enumerate(kinds):
        others = np.array([k == kind for k in kinds]) & (groups != groups[i])
        if others.any():
            errors[i] = math.log(quantile(mfu[others], problem.weights[others], 0.5) / mfu[i])
    return errors


def _by(
    problem: Problem, errors: Array, mask: npt.NDArray[np.bool_], name: Callable[[Run], str]
) -> list[tuple[str, npt.NDArray[np.bool_], Array]]:
    names = np.array([name(run) for run in problem.runs])
    return [(label, mask & (names == label), errors) for label in sorted(set(names[mask]))]


def _unjudged() -> list[str]:
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    judged = total = 0
    for row in read_rows(RUNS):
        workload = workload_of(row)
        total += 1
        if isinstance(workload, Unjudged):
            reasons[row.cells["family"]][re.sub(r"'.*?'", "…", workload.reason)] += 1
        else:
            judged += 1
    lines = [
        f"{judged} of {total} rows are judged. The others say why:",
        "",
        "| family | rows | why |",
        "| --- | --- | --- |",
    ]
    return lines + [
        f"| {family} | {count} | {reason} |"
        for family, found in sorted(reasons.items())
        for reason, count in found.most_common()
    ]


def write_results(problem: Problem, errors: dict[str, Array]) -> None:
    """Replace the speed section of RESULTS.md."""
    top = np.array([run.top for run in problem.runs])
    runnable = np.array([run.runnable for run in problem.runs])
    everything = np.ones(len(top), bool)
    constant = _constant(problem)
    known = np.isfinite(constant)
    sections: list[str] = ["### Pre-training, tier A, all layouts", ""]
    for title, mask in (
        ("all layouts", top),
        ("layouts Composer runs", top & runnable),
        ("tensor, pipeline, context", top & ~runnable),
    ):
        if title != "all layouts":
            sections += ["", f"### Pre-training, tier A: {title}", ""]
        rows = [("one MFU per GPU and format", mask & known, constant)]
        rows += [(f"left out: {way}", mask, e) for way, e in errors.items()]
        sections += _table("estimate", rows, problem.weights)
    for title, way, mask, name in (
        (
            "Family and hardware, tier A, a tenth of the groups left out",
            "a tenth of the groups",
            top,
            lambda r: f"{r.cells['family']}, {r.cells['hardware']}",
        ),
        (
            "Family, every tier and task, a tenth of the groups left out",
            "a tenth of the groups",
            everything,
            lambda r: f"{r.cells['family']}, {r.cells['task']}",
        ),
        ("Whole GPU models left out, tier A", "GPU models", top, lambda r: f"{r.cells['hardware']}"),
        ("Whole model sizes left out, tier A", "model sizes", top, lambda r: f"{r.cells['size_bucket']}"),
    ):
        sections += ["", f"### {title}", "", *_table("class", _by(problem, errors[way], mask, name), problem.weights)]
    sections += ["", "### Coverage", "", *_unjudged()]
    body = f"{_BEGIN}\n\n" + "\n".join(sections) + f"\n\n{_END}"
    old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else f"{_BEGIN}\n{_END}\n"
    start, end = old.index(_BEGIN), old.index(_END) + len(_END)
    RESULTS.write_text(old[:start] + body + old[end:], encoding="utf-8")

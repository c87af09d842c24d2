"""Memory held against published runs: which fit, how large their peaks are, and how the fitted constants generalise.

    python -m benchmarks.calibrate.memory          the tables of RESULTS.md
    python -m benchmarks.calibrate.memory --write  writes them there
    python -m benchmarks.calibrate.memory --fit    fits Aleph Alpha's constants again (compiler/estimate/memory/habits.py)

The only constants that many runs determine are those of the `scaling` stack: 304 of its 503 runs ended out of memory, next to
others that differ by one step of the micro-batch. They are fitted by logistic regression on log(budget / peak), in units of
2 %. Each is held near what autograd is known to keep, so that a constant that no run speaks about stays there.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from compiler.estimate.memory.habits import Habits, habits_of
from compiler.estimate.memory.peak import budget_bytes, peak
from compiler.estimate.rows.table import Unjudged, read_rows, workload_of
from compiler.estimate.workload import Workload

RUNS = Path(__file__).parent / "runs.csv"
# Constants that are fitted: where autograd's arithmetic puts them, and how far a run may pull them.
PRIOR = {
    "norm_bytes": (12.0, 3.0),
    "fused_norm_bytes": (4.0, 1.5),
    "logit_bytes": (18.0, 4.0),
    "score_bytes": (8.0, 3.0),
    "fused_score_bytes": (5.0, 2.0),
    "score_working": (12.0, 4.0),
    "flash1_bytes": (2.0, 1.0),
    "working": (0.5, 0.3),
    "logits_stay": (0.5, 0.3),
    "fragmentation": (1.05, 0.05),
    "fixed_bytes": (1.5e9, 1.0e9),
}
UNIT = 0.02
ENGINES = {"ml-dataflow"}
RESULTS = Path(__file__).parent / "RESULTS.md"
BEGIN, END = "<!-- memory: written by memory.py -->", "<!-- end of memory -->"
ABOUT = """## Memory

By weight; `fits` is a peak of at most 98 % of the device. Rows of NeMo, Megatron, XLA and others that do not state their
activation checkpointing are read with the lightest that fits, so that their recall says little."""
CORNERS = """### Corners left out: constants of the `scaling` stack fitted without them

The last row judges every run of the table, the `scaling` ones by a fit without their model."""
PEAKS = "### Models left out: peaks of stacks that print them"
STRANGERS = "### Software never seen: judged with the constants of plain PyTorch or plain Megatron"


@dataclass(frozen=True)
class Run:
    """One published run: what was known before it, and what happened."""

    cells: dict[str, str]
    workload: Workload

    @property
    def weight(self) -> float:
        return float(self.cells["weight"])

    @property
    def fitted(self) -> bool:
        return self.cells["status"] == "ok"

    @property
    def measured(self) -> float | None:
        """Peak in bytes, where printed."""
        return float(self.cells["peak_mem_gb"]) * 1e9 if self.cells["peak_mem_gb"] else None


def load() -> list[Run]:
    """Every run that the table reader judges, errors of other kinds apart."""
    runs = []
    for row in read_rows(RUNS):
        found = workload_of(row)
        if not isinstance(found, Unjudged) and row.cells["status"] in ("ok", "oom"):
            runs.append(Run(dict(row.cells), found))
    return runs


def margin(run: Run, habits: Habits | None) -> float:
    """log(budget / peak): positive fits."""
    return math.log(budget_bytes(run.workload.device) / peak(run.workload, habits).peak_bytes)


def fit(runs: Sequence[Run], start: Habits) -> Habits:
    """Constants under which these runs most likely ended as they did."""
    names = list(PRIOR)
    centre = np.array([PRIOR[name][0] for name in names])
    scale = np.array([PRIOR[name][1] for name in names])
    sign = np.array([1.0 if run.fitted else -1.0 for run in runs])
    weights = np.array([run.weight for run in runs])

    def habits(steps: npt.NDArray[np.float64]) -> Habits:
        values: dict[str, Any] = dict(zip(names, np.maximum(centre + scale * steps, 0.0).tolist(), strict=True))
        return replace(start, **values)

    def cost(steps: npt.NDArray[np.float64]) -> float:
        tried = habits(steps)
        margins = np.array([margin(run, tried) for run in runs])
        return float((np.logaddexp(0.0, -sign * margins / UNIT) * weights).sum() / weights.sum() + 0.01 * steps @ steps)

    found = minimize(cost, np.zeros(len(names)), method="Powell", options={"maxfev": 3000, "xtol": 1e-3, "ftol": 1e-5})
    return habits(found.x)


def confusion(pairs: Sequence[tuple[Run, float]]) -> str:
    """Precision and recall of "fits", by weight."""
    right = sum(run.weight for run, m in pairs if run.fitted and m >= 0)
    wrong = sum(run.weight for run, m in pairs if not run.fitted and m >= 0)
    missed = sum(run.weight for run, m in pairs if run.fitted and m < 0)
    precision = right / (right + wrong) if right + wrong else math.nan
    recall = right / (right + missed) if right + missed else math.nan
    oom = sum(not run.fitted for run, _ in pairs)
    return f"{len(pairs)} | {oom} | {precision:.3f} | {recall:.3f}"


def quantile(errors: Sequence[tuple[float, float]], share: float) -> float:
    """Weighted quantile of (error, weight) pairs."""
    ordered = sorted(errors)
    total, seen = sum(weight for _, weight in ordered), 0.0
    for error, weight in ordered:
        seen += weight
        if seen >= share * total:
            return error
    return math.nan


def fits_table(runs: Sequence[Run]) -> list[str]:
    """Precision, recall and error of the peak, by stack."""
    lines = [
        "| stack | runs | out of memory | precision of fits | recall | peaks printed | median | 90 % within | in bounds |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for stack in ["all", *sorted({run.workload.stack for run in runs})]:
        chosen = [run for run in runs if stack in ("all", run.workload.stack)]
        tail = peak_cells([(run, None) for run in chosen])
        lines.append(f"| {stack} | {confusion([(run, margin(run, None)) for run in chosen])} | {tail} |")
    return lines


def peak_cells(pairs: Sequence[tuple[Run, Habits | None]]) -> str:
    """Printed peaks, median and 90th percentile of |log(estimated / measured)|, share within the estimate's bounds."""
    errors, inside = [], 0.0
    for run, habits in pairs:
        if run.measured is not None:
            found = peak(run.workload, habits)
            errors.append((abs(math.log(found.peak_bytes / run.measured)), run.weight))
            inside += run.weight * (found.low_bytes <= run.measured <= found.high_bytes)
    if not errors:
        return "0 | | |"
    share = inside / sum(weight for _, weight in errors)
    return f"{len(errors)} | {quantile(errors, 0.5):.1%} | {quantile(errors, 0.9):.1%} | {share:.0%}"


def corners_table(runs: Sequence[Run]) -> list[str]:
    """The `scaling` constants, fitted without a corner and judged on it."""
    chosen = [run for run in runs if run.workload.stack == "scaling"]
    start = habits_of("scaling")
    splits: dict[str, Callable[[Run], str]] = {
        "model": lambda run: run.cells["model"],
        "attention": lambda run: run.workload.attention + (" + norm kernel" if run.workload.fused_norm else ""),
        "sequence": lambda run: str(run.workload.sequence_length),
        "checkpointing": lambda run: run.workload.recompute,
        "tensor degree": lambda run: str(run.workload.layout.tensor),
    }
    lines = ["| left out | value | runs | out of memory | precision of fits | recall |", "|---|---|--:|--:|--:|--:|"]
    everything: dict[str, list[tuple[Run, float]]] = {}
    for name, key in splits.items():
        pooled = everything.setdefault(name, [])
        for value in sorted({key(run) for run in chosen}):
            found = fit([run for run in chosen if key(run) != value], start)
            held = [(run, margin(run, found)) for run in chosen if key(run) == value]
            pooled += held
            lines.append(f"| {name} | {value} | {confusion(held)} |")
        lines.append(f"| **{name}** | **each in turn** | {confusion(pooled)} |")
    others = [(run, margin(run, None)) for run in runs if run.workload.stack != "scaling"]
    lines.append(f"| **model, all stacks** | **each in turn** | {confusion(everything['model'] + others)} |")
    return lines


def peaks_table(runs: Sequence[Run]) -> list[str]:
    """The one constant that printed peaks set, `fixed_bytes`, from the other models of a stack."""
    lines = [
        "| stack, each model left out | models | peaks | median | 90 % within | in bounds |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for stack in sorted({run.workload.stack for run in runs if run.measured} - ENGINES):
        chosen = [run for run in runs if run.workload.stack == stack and run.measured]
        models = sorted({run.cells["model"] for run in chosen})
        if len(models) < 2:
            continue
        habits, pairs = habits_of(stack), []
        for model in models:
            bare = replace(habits, fixed_bytes=0.0)
            rest = [
                (run.measured - peak(run.workload, bare).peak_bytes, run.weight)
                for run in chosen
                if run.cells["model"] != model and run.measured is not None
            ]
            moved = replace(habits, fixed_bytes=max(quantile(rest, 0.5), 0.3e9))
            pairs += [(run, moved) for run in chosen if run.cells["model"] == model]
        lines.append(f"| {stack} | {len(models)} | {peak_cells(pairs)} |")
    return lines


def strangers_table(runs: Sequence[Run]) -> list[str]:
    """Each stack judged with the habits of plain PyTorch or plain Megatron instead of its own: software never seen."""
    lines = [
        "| stack | runs | out of memory | precision of fits | recall | peaks | median | 90 % within | in bounds |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for stack in sorted({run.workload.stack for run in runs} - ENGINES):
        chosen = [run for run in runs if run.workload.stack == stack]
        split = any(run.workload.layout.tensor * run.workload.layout.pipeline > 1 for run in chosen)
        plain = habits_of("megatron" if split else "other")
        judged = confusion([(run, margin(run, plain)) for run in chosen])
        lines.append(f"| {stack} | {judged} | {peak_cells([(run, plain) for run in chosen])} |")
    return lines


def main() -> None:
    """Prints the tables, writes them, or fits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="fit the constants of the `scaling` stack")
    parser.add_argument("--write", action="store_true", help="write the memory section of RESULTS.md")
    said, runs = parser.parse_args(), load()
    if said.fit:
        found = fit([run for run in runs if run.workload.stack == "scaling"], habits_of("scaling"))
        for name in PRIOR:
            print(f"{name}={getattr(found, name):.4g}")
        return
    tables = {
        ABOUT: fits_table(runs),
        CORNERS: corners_table(runs),
        PEAKS: peaks_table(runs),
        STRANGERS: strangers_table(runs),
    }
    body = "\n\n".join("\n".join([title, "", *lines]) for title, lines in tables.items())
    print(body)
    if said.write:
        old = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
        head, _, rest = old.partition(BEGIN)
        RESULTS.write_text(f"{head}{BEGIN}\n\n{body}\n\n{END}{rest.partition(END)[2] or chr(10)}", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Fits the factors of compiler/catalog/calibration.json and the intervals that each class of runs earns; writes RESULTS.md.

python -m benchmarks.calibrate.fit            (about nine minutes on one core)
"""

from __future__ import annotations

import json
import random
import re
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.calibrate.problem import Array, Problem, Run, load, quantile
from benchmarks.calibrate.results import write_results
from compiler.estimate.speed.calibration import generation
from compiler.estimate.speed.predict import class_names

__all__ = ["main"]

ROOT: Final = Path(__file__).parent.parent.parent
CALIBRATION: Final = ROOT / "compiler" / "catalog" / "calibration.json"
FITTED: Final = "2026-11-21"
_DATA_CENTRE: Final = ("ampere", "hopper", "blackwell")
# A class needs so many runs, and so much weight, for an interval of its own.
_LEAST_RUNS: Final = 4
_LEAST_WEIGHT: Final = 1.5


def family_size(run: Run) -> str:
    """Model sizes that are left out together, whatever the software: `7b` of mpt, llama and internlm are one."""
    parameters = run.workload.shape.parameters / 1e9
    edges = (0.2, 0.5, 1.0, 1.5, 4, 6.5, 9, 16, 26, 40, 80, 150, 250)
    return f"{sum(parameters > edge for edge in edges):02d}"


def folds(problem: Problem) -> dict[str, list[str]]:
    """The ways of leaving out: random groups of near-duplicates, model sizes, GPUs, generations, software."""
    runs = problem.runs
    groups = sorted({run.cells["group"] for run in runs})
    random.Random(1).shuffle(groups)
    tenth = {group: str(i % 10) for i, group in enumerate(groups)}
    return {
        "a tenth of the groups": [tenth[run.cells["group"]] for run in runs],
        "model sizes": [family_size(run) for run in runs],
        "GPU models": [run.cells["hardware"] for run in runs],
        "GPU generations": [generation(run.workload.device) for run in runs],
        "software": [run.workload.stack for run in runs],
    }


def _interval(errors: Array, weights: Array) -> dict[str, float]:
    """Median, and the quantile that covers nine tenths of further runs of a class of this size (split conformal)."""
    size = weights.sum() ** 2 / (weights**2).sum()
    level = min(1.0, 0.9 * (1 + 1 / size))
    magnitude = np.abs(errors)
    return {
        "runs": len(errors),
        "median": round(max(0.01, quantile(magnitude, weights, 0.5)), 3),
        "within": round(max(0.03, quantile(magnitude, weights, level)), 3),
    }


def intervals(problem: Problem, held: dict[str, Array]) -> dict[str, dict[str, float]]:
    """Interval by class; a class is judged by the errors made without what it does not know."""
    sources = (("model sizes",), ("GPU generations",), ("software",), ("software", "GPU generations"))
    members: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for i, run in enumerate(problem.runs):
        for name, ways in zip(class_names(run.workload), sources, strict=True):
            members[name] += [(held[way][i], problem.weights[i]) for way in ways]
    found = {}
    for name, pairs in sorted(members.items()):
        errors, weights = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
        if len(pairs) >= _LEAST_RUNS and weights.sum() >= _LEAST_WEIGHT:
            found[name] = _interval(errors, weights)
    return found


def with_unseen(known: dict[str, float]) -> dict[str, float]:
    """The factors, and for a generation that was never measured the geometric mean of those of data centres.

    Without it such a chip would take factors of 1, halfway to the consumer cards, whose printed peaks are understated: left-out
    generations of data centres were overestimated by 23 %.
    """
    found = dict(known)
    for rate in ("matmul", "head", "attention", "pointwise"):
        products = [known.get(f"{rate}@{chip}", 1.0) * known.get(f"{rate}@flash2 {chip}", 1.0) for chip in _DATA_CENTRE]
        found[f"{rate}@other"] = round(statistics.geometric_mean(products), 3)
    return dict(sorted(found.items()))


def main() -> None:
    """Fit, leave out, write."""
    problem = Problem(load())
    theta = problem.fit()
    errors = {"nothing (in sample)": problem.errors(theta)}
    for way, labels in folds(problem).items():
        errors[way] = problem.held_out(labels)
        print(way, flush=True)
    held = {
        "fitted": FITTED,
        "source": f"benchmarks/calibrate/fit.py on {len(problem.runs)} published runs",
        "factors": with_unseen(problem.named(theta)),
        "intervals": intervals(problem, errors),
    }
    text = re.sub(
        r'\{\s+"runs": (\S+),\s+"median": (\S+),\s+"within": (\S+)\s+\}',
        r'{"runs": \1, "median": \2, "within": \3}',
        json.dumps(held, indent=1, ensure_ascii=False),
    )
    CALIBRATION.write_text(text + "\n", encoding="utf-8")
    write_results(problem, errors)


if __name__ == "__main__":
    main()

"""The experiments by name, and each one's section of docs/evidence.md: tables of means, spreads and verdicts."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Final

from benchmarks.evidence import adapters, classes, ensemble, rounding, window
from benchmarks.evidence.experiment import Experiment, Results, judged
from benchmarks.evidence.harness import measured

__all__ = ["EXPERIMENTS", "GROUPS", "done", "section"]

GROUPS: Final = (("classes", "adapters"), ("window", "rounding", "ensemble"))
"""Experiments of one group share runs, such as a teacher; groups share none, so each may have a process."""
EXPERIMENTS: Final = {
    e.name: e for e in (m.EXPERIMENT for m in (window, adapters, classes, rounding, ensemble))
}  # fmt: skip


def section(experiment: Experiment, results: Results) -> str:
    """Tables of an experiment in Markdown: means and spreads by arm, then each contrast with its verdict."""
    arms = list(results)
    measures = list(results[arms[0]][0])
    seeds = len(results[arms[0]])
    lines = [
        f"## {experiment.title}",
        "",
        f"{experiment.source}.",
        "",
        experiment.setting,
        "",
        f"| {seeds} seeds | {' | '.join(measures)} |",
        f"| --- |{' --- |' * len(measures)}",
    ]
    for arm in arms:
        cells = []
        for measure in measures:
            values = [run[measure] for run in results[arm]]
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            cells.append(f"{statistics.fmean(values):.4f} ± {spread:.4f}")
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    lines += ["", "| reported | difference, seed by seed | here |", "| --- | --- | --- |"]
    for contrast in experiment.contrasts:
        verdict = judged(contrast, results)
        what = f"{contrast.measure}: {contrast.left} minus {contrast.right}"
        lines.append(f"| {contrast.says} | {what}: {verdict.mean:+.4f} ± {verdict.spread:.4f} | {verdict.says} |")
    return "\n".join(lines) + "\n"


def done(names: tuple[str, ...], seeds: int, work: Path) -> dict[str, str]:
    """Sections of the experiments of one group, by name."""
    made = {}
    for name in names:
        begin = time.perf_counter()
        made[name] = section(EXPERIMENTS[name], measured(EXPERIMENTS[name], list(range(1, seeds + 1)), work))
        print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return made

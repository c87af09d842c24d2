"""The evidence: `python -m benchmarks.evidence [--seeds 3] [--only NAME ...] [--write]` runs the experiments and prints tables.

Experiments that share no run go side by side, one thread each. What is done already in the work folder is not done again.
`--write` puts the tables into docs/evidence.md, between its marks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from benchmarks.evidence import adapters, classes, ensemble, rounding, window
from benchmarks.evidence.experiment import Experiment, Results, judged
from benchmarks.evidence.harness import measured

__all__ = ["main", "section", "written"]

GROUPS: Final = (("classes", "adapters"), ("window", "rounding", "ensemble"))
"""Experiments of one group share runs, such as a teacher; groups share none, so each may have a process."""
EXPERIMENTS: Final = {
    e.name: e for e in (m.EXPERIMENT for m in (window, adapters, classes, rounding, ensemble))
}  # fmt: skip
DOCUMENT: Final = Path(__file__).parent.parent.parent / "docs" / "evidence.md"


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


def written(text: str, name: str, made: str) -> str:
    """The document with the part between an experiment's two marks replaced.

    Raises:
        ValueError: the marks are not there.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    head, found, rest = text.partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"docs/evidence.md has no part for {name}: {begin.strip()} … {end}")
    return head + begin + made + end + tail


def _done(names: tuple[str, ...], seeds: int, work: Path) -> dict[str, str]:
    """Sections of the experiments of one group, by name."""
    made = {}
    for name in names:
        begin = time.perf_counter()
        made[name] = section(EXPERIMENTS[name], measured(EXPERIMENTS[name], list(range(1, seeds + 1)), work))
        print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)
    return made


def main() -> None:
    """Run, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=sorted(EXPERIMENTS), default=sorted(EXPERIMENTS))
    parser.add_argument("--work", type=Path, help="folder of runs; default: a temporary one")
    parser.add_argument("--write", action="store_true", help="into docs/evidence.md")
    options = parser.parse_args()
    groups = [tuple(name for name in group if name in options.only) for group in GROUPS]
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        with ProcessPoolExecutor(len(GROUPS), multiprocessing.get_context("spawn")) as pool:
            jobs = [pool.submit(_done, group, options.seeds, work / group[0]) for group in groups if group]
            made = {name: text for job in jobs for name, text in job.result().items()}
    for name, text in made.items():
        print(f"\n{text}")
        if options.write:
            DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), name, text), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The evidence: `python -m benchmarks.evidence [--seeds 3] [--only NAME ...] [--write]` runs the experiments and prints tables.

Experiments that share no run go side by side, one thread each. What is done already in the work folder is not done again.
`--write` puts the tables into docs/evidence.md, between its marks.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from benchmarks.evidence.sections import EXPERIMENTS, GROUPS, done

__all__ = ["main", "written"]

DOCUMENT: Final = Path(__file__).parent.parent.parent / "docs" / "evidence.md"


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
            jobs = [pool.submit(done, group, options.seeds, work / group[0]) for group in groups if group]
            made = {name: text for job in jobs for name, text in job.result().items()}
    for name, text in made.items():
        print(f"\n{text}")
        if options.write:
            DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8"), name, text), encoding="utf-8")


if __name__ == "__main__":
    main()

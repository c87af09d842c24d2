"""What the plan foretells beside what a GPU does: speed, MFU and memory of real recipes, each in a process of its own.

    python -m benchmarks.gpu [--device cuda|cpu] [--only NAME ...] [--steps N] [--limit SECONDS] [--out FILE] [--work DIR]

A check that crashes, runs out of memory or takes too long is a row that says so; the others go on. Results are kept as they come.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.gpu.checks import CHECKS
from benchmarks.gpu.processes import ahead
from benchmarks.gpu.shapes import DEVICES
from benchmarks.gpu.table import HEADER, line, table

__all__ = ["main"]

_LIMIT: Final = 480.0
"""Seconds: a call of ten minutes on a lent machine, less its start."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the checks in their order and print the table; 3 where one of them has no numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=list(DEVICES), default="cuda")
    parser.add_argument("--only", nargs="*", choices=list(CHECKS), default=list(CHECKS), metavar="NAME",
                        help=f"of {', '.join(CHECKS)}")  # fmt: skip
    parser.add_argument("--steps", type=int, help="optimizer steps of each training")
    parser.add_argument("--limit", type=float, default=_LIMIT, help="seconds in all; later checks are left out")
    parser.add_argument("--out", type=Path, help="results as JSON, written after each check")
    parser.add_argument("--work", type=Path, help="folder of runs and logs, which is kept; default: one that isn't")
    options = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        work = options.work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        work.mkdir(parents=True, exist_ok=True)
        results = _all(options, work.resolve())
    print(f"\n{table(results)}")
    return 0 if all(found["status"] == "ok" for found in results.values()) else 3


def _all(options: argparse.Namespace, work: Path) -> dict[str, dict[str, Any]]:
    """Every check that time is left for."""
    scale = DEVICES[options.device]
    steps = options.steps or scale.steps
    ends = time.monotonic() + options.limit
    results: dict[str, dict[str, Any]] = {}
    print(HEADER, flush=True)
    with contextlib.closing(ahead([CHECKS[name] for name in options.only], options.device, steps, work)) as processes:
        for process in processes:
            name, left = process.check.name, ends - time.monotonic()
            if left <= 0:
                break
            results[name] = process.measured(min(left, process.check.seconds * scale.patience))
            print(line(name, results[name]), flush=True)
            _keep(results, options.out)
    for name in options.only:
        results.setdefault(name, {"status": "left out", "reason": f"the {options.limit:.0f} s are over"})
    _keep(results, options.out)
    return results


def _keep(results: dict[str, dict[str, Any]], out: Path | None) -> None:
    if out is not None:
        out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())

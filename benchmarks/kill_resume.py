"""Kill -9 a training at random moments, run the same command again, compare the last loss bit by bit.

python -m benchmarks.kill_resume --kills 3 --seed 0 [--recipe recipes/quickstart.yaml] [--set a.b=c ...]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).parent.parent


def _start(options: argparse.Namespace, folder: Path) -> subprocess.Popen[bytes]:
    """The user's own command, in a process group of its own."""
    overrides = [part for override in options.set for part in ("--set", override)]
    cache = folder.parent / "cache"
    command = [
        sys.executable, "-m", "compiler", "run", str(ROOT / options.recipe), "--out", str(folder / "generated"),
        "--runs", str(folder), *overrides, "--set", f"launch.cache={cache}",
    ]  # fmt: skip
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def _run_folder(folder: Path) -> Path | None:
    return next((path.parent for path in folder.glob("*/plan.yaml") if path.parent.parent == folder), None)


def _steps_done(folder: Path) -> int:
    run = _run_folder(folder)
    metrics = run / "metrics.jsonl" if run else None
    if metrics is None or not metrics.exists():
        return 0
    return metrics.read_bytes().count(b"\n")


def _finished(folder: Path) -> float:
    run = _run_folder(folder)
    if run is None:
        raise SystemExit(f"no run in {folder}")
    result = json.loads((run / "steps" / "train.json").read_text(encoding="utf-8"))
    return float(result["values"]["loss"])


def _disturbed(options: argparse.Namespace, folder: Path, r: random.Random) -> list[int]:
    """Run with kills; returns the steps that were logged when each kill struck."""
    struck: list[int] = []
    while len(struck) < options.kills:
        process = _start(options, folder)
        before = _steps_done(folder)
        # Once it trains again, any moment may come: between batches, inside a checkpoint, while evaluating.
        while process.poll() is None and _steps_done(folder) <= before:
            time.sleep(0.05)
        time.sleep(r.uniform(0, options.within))
        if process.poll() is not None:
            print("  a run ended before its kill; the rest of the kills is left out")
            break
        struck.append(_steps_done(folder))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return struck


def main() -> int:
    """Print both losses; 1 if they differ in any bit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="recipes/quickstart.yaml")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=15.0, help="seconds of training within which a kill strikes")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    r = random.Random(options.seed)
    parent = Path(tempfile.mkdtemp(prefix="kill-resume-"))
    try:
        whole, torn = parent / "whole", parent / "torn"
        whole.mkdir()
        torn.mkdir()
        if _start(options, whole).wait() != 0:
            raise SystemExit((parent / "whole.log").read_text(encoding="utf-8")[-3000:])
        struck = _disturbed(options, torn, r)
        if _start(options, torn).wait() != 0:
            raise SystemExit((parent / "torn.log").read_text(encoding="utf-8")[-3000:])
        expected, actual = _finished(whole), _finished(torn)
        print(f"undisturbed: {expected!r} ({expected.hex()})")
        print(f"killed after steps {struck}: {actual!r} ({actual.hex()})")
        print("equal to the last bit" if expected == actual and struck else "NOT EQUAL")
        return 0 if expected == actual and struck else 1
    finally:
        shutil.rmtree(parent, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

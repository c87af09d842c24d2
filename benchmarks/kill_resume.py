"""Kill -9 a training at random moments and go on, also on other machines: is the loss the same, is a sample lost or repeated.

    python -m benchmarks.kill_resume --kills 3 --seed 0 [--recipe recipes/quickstart.yaml] [--set a.b=c ...]
    python -m benchmarks.kill_resume --kills 50 --seed 0 --elastic

The first starts the user's own command again and compares the last loss bit by bit. The second goes on with another number
of ranks, nodes and loader workers after each kill, and counts the samples that the model was given: Composer's Trainer over
gloo, a tiny model, so that fifty restarts take minutes. A batch counts as its last attempt made it, since what a killed
attempt did after its last checkpoint is undone.
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
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from schemas.plan import RunPlan
from tests.runtime.elastic import Attempt, Ranks, fed, plan_of, write_plan
from tests.runtime.training_case import LENGTH

__all__ = ["main"]

ROOT = Path(__file__).parent.parent

_SIZES: Final = {"code": 310, "prose": 170, "notes": 67}
_CACHE_LIMIT: Final = 20_000
"""Bytes for copies of 40 of 159 shards; 25 are the least that 8 ranks with 2 workers each need. Shards come and go."""
_EVERY: Final = 3
"""Batches between two checkpoints."""
_GAIN: Final = 8
"""Batches of a run for each of its kills: an attempt seldom ends further than this from where it began."""


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


@dataclass
class Tally:
    """What came of all runs and kills."""

    runs: int = 0
    struck: list[int] = field(default_factory=list)
    redone: int = 0
    given: int = 0
    lost: int = 0
    repeated: int = 0
    misplaced: int = 0
    shapes: Counter[int] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        """Whether every run was trained on the planned samples in the planned order."""
        return not self.lost and not self.repeated and not self.misplaced


def _changing_mix(batches: int) -> RunPlan:
    """A mix, a transition in four pieces that lets a third source in, and another mix; `batches` of 8, or a few more.

    The first source has a curriculum until the transition, and its shards are packed, elsewhere, and more than the cache holds.
    """
    phase = {"code": 5, "prose": 3, "notes": 0}
    last = {"code": 2, "prose": 2, "notes": 4}
    pieces = [{"code": 17, "prose": 11, "notes": 4}, {"code": 14, "prose": 10, "notes": 8}]
    pieces += [{"code": 12, "prose": 10, "notes": 10}, {"code": 10, "prose": 9, "notes": 13}]
    half = -(-batches // 2)
    whole = [{name: count * half for name, count in part.items()} for part in (phase, last)]
    easy_first = {
        "metric": "length", "model": None, "order": "easy_to_hard", "pacing": "sqrt", "start": 0.1,
        "end_token": half * 8 * LENGTH, "power": 2.0, "growth": 1.0, "stages": 1, "buckets": 10, "scope": "source",
    }  # fmt: skip
    data = {"shuffle_block": 40, "curricula": {"code": easy_first}}
    return plan_of(
        [whole[0], *pieces, whole[1]], _SIZES, data=data,
        checkpoints={"interval_steps": _EVERY}, execution={"cache_limit": _CACHE_LIMIT},
    )  # fmt: skip


def _attempt(r: random.Random) -> Attempt:
    """Machines and a moment by chance: one in eight dies while it sets up, the others within some batches."""
    ranks = r.choice([1, 2, 4, 8])
    shape = Attempt(ranks, nodes=r.choice([1, min(2, ranks)]), workers=r.choice([0, 1, 2]), microbatch=r.choice([1, 8]))
    after = 0 if r.random() < 0.125 else r.randint(1, 2 * _GAIN)
    seconds = r.uniform(0, 1.5) if after == 0 else r.uniform(0, 0.1)
    return Attempt(shape.ranks, shape.nodes, shape.workers, shape.microbatch, r.randrange(ranks), after, seconds)


def _torn(ranks: Ranks, folder: Path, r: random.Random, kills: int, tally: Tally) -> None:
    """One run, killed up to `kills` times; it ends earlier where an attempt comes to the end before its kill."""
    attempts = [_attempt(r) for _ in range(kills)]
    for number, attempt in enumerate([*attempts, Attempt(2)]):
        codes = ranks.run(folder, number, attempt)
        if not any(codes):
            break
        if attempt.dies is None or codes[attempt.dies] != -signal.SIGKILL:
            raise SystemExit((folder / "log").read_text(encoding="utf-8")[-3000:])
        tally.struck.append(max(fed(folder), default=0))
        tally.shapes[attempt.ranks] += 1
        where = f"rank {attempt.dies} of {attempt.ranks} on {attempt.nodes} nodes, {attempt.workers} workers each"
        print(
            f"  after batch {tally.struck[-1]}: {where}, {attempt.seconds:.2f} s after its batch {attempt.after}",
            flush=True,
        )


def _written(folder: Path) -> int:
    """Samples of all batches that attempts went through, undone ones included."""
    records = (line for path in (folder / "fed").iterdir() for line in path.read_text(encoding="utf-8").splitlines())
    return sum(len(json.loads(record)["samples"]) for record in records)


def elastic(kills: int, seed: int, parent: Path) -> Tally:
    """Kill and go on elsewhere `kills` times, over as many runs as it takes; counts against one undisturbed run."""
    r, tally = random.Random(seed), Tally()
    plan = _changing_mix(kills * _GAIN)
    with Ranks() as ranks:
        write_plan(plan, _SIZES, parent / "whole", packed=["code"])
        expected = ranks.finish(parent / "whole", Attempt())
        while len(tally.struck) < kills:
            folder = parent / f"torn{tally.runs}"
            write_plan(plan, _SIZES, folder, packed=["code"])
            _torn(ranks, folder, r, kills - len(tally.struck), tally)
            steps = fed(folder)
            given = [sample for step in sorted(steps) for sample in steps[step]]
            tally.runs += 1
            tally.given += len(given)
            tally.redone += _written(folder) - len(given)
            tally.lost += (Counter(expected) - Counter(given)).total()
            tally.repeated += (Counter(given) - Counter(expected)).total()
            # Of one length where none is lost and none repeated.
            tally.misplaced += sum(a != b for a, b in zip(expected, given, strict=False))
    return tally


def _elastic(options: argparse.Namespace, parent: Path) -> int:
    started = time.monotonic()
    tally = elastic(options.kills, options.seed, parent)
    ranks = ", ".join(f"{count} of {number}" for number, count in sorted(tally.shapes.items()))
    print(
        f"{tally.runs} runs of {tally.given // tally.runs:,} samples each, {tally.redone:,} more were undone by kills; "
        f"ranks when killed: {ranks}; {time.monotonic() - started:.0f} s"
    )
    kills = len(tally.struck)
    print(f"{kills} kills: {tally.lost} lost, {tally.repeated} repeated, {tally.misplaced} out of order")
    return 0 if tally.clean and kills >= options.kills else 1


def _same_command(options: argparse.Namespace, parent: Path) -> int:
    whole, torn = parent / "whole", parent / "torn"
    whole.mkdir()
    torn.mkdir()
    if _start(options, whole).wait() != 0:
        raise SystemExit((parent / "whole.log").read_text(encoding="utf-8")[-3000:])
    struck = _disturbed(options, torn, random.Random(options.seed))
    if _start(options, torn).wait() != 0:
        raise SystemExit((parent / "torn.log").read_text(encoding="utf-8")[-3000:])
    expected, actual = _finished(whole), _finished(torn)
    print(f"undisturbed: {expected!r} ({expected.hex()})")
    print(f"killed after steps {struck}: {actual!r} ({actual.hex()})")
    print("equal to the last bit" if expected == actual and struck else "NOT EQUAL")
    return 0 if expected == actual and struck else 1


def main() -> int:
    """Print what came out; 1 if a bit of the loss differs, or a sample is lost or repeated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="recipes/quickstart.yaml")
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--within", type=float, default=15.0, help="seconds of training within which a kill strikes")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument(
        "--elastic", action="store_true", help="other ranks, nodes and workers after each kill; count samples"
    )
    options = parser.parse_args()
    parent = Path(tempfile.mkdtemp(prefix="kill-resume-"))
    try:
        return (_elastic if options.elastic else _same_command)(options, parent)
    finally:
        shutil.rmtree(parent, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

"""A run of the training step on tiny real shards, without the executor: what the tests of training share.

Also a program, so that a training can be killed:  python -m tests.runtime.training_case FOLDER PLAN.json
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from runtime.data.shards import SampleWriter, write_manifest
from runtime.steps.base import Context, Result
from schemas.plan import RunPlan
from tests.factory import tiny_plan
from tests.runtime.plans import layout_of, metrics

__all__ = [
    "HELDOUT",
    "LENGTH",
    "SIZES",
    "VOCAB",
    "layout_of",
    "metrics",
    "plan_of",
    "prepared",
    "split",
    "start",
    "train",
    "write_source",
]

SIZES = {"code": 50, "prose": 30}
"""Unique samples of each source; the plan below draws more of `code`, so that a second permutation begins."""

HELDOUT = 7
LENGTH = 64
VOCAB = 512


def plan_of(steps: int = 12, **changes: Any) -> RunPlan:
    """The tiny plan with another length; `code` and `prose` are drawn 3 to 1."""
    tokens = steps * 8 * LENGTH
    shares = {name: {"samples": steps * n, "tokens": steps * n * LENGTH} for name, n in (("code", 6), ("prose", 2))}
    phases = [{"id": "phase0", "start_token": 0, "end_token": tokens, "sources": shares}]
    sections = {
        "budget": {"tokens": tokens},
        "data": {"phases": phases, **changes.pop("data", {})},
        "training": {"steps": steps, **changes.pop("training", {})},
        "execution": {"threads": 1, **changes.pop("execution", {})},
        "logging": {"console": False, **changes.pop("logging", {})},
    }
    return tiny_plan(**sections, **changes)


def prepared(cache: Path) -> dict[str, Result]:
    """Results of the tokenizer and prepare steps; shards are written once a folder."""
    tokenizer = {"vocab_size": VOCAB, "eos_token_id": 0}
    results = {"tokenizer": Result("tokenizer", "0" * 64, cache / "tokenizer", tokenizer)}
    for number, (name, size) in enumerate(SIZES.items()):
        folder = cache / f"prepare-{name}"
        if not (folder / "shards.json").exists():
            write_source(folder, stride=number + 1, size=size)
        splits = {"train": split("train", size), "heldout": split("heldout", HELDOUT)}
        values = {"source": name, "column": "tokens", **splits}
        results[f"prepare-{name}"] = Result(f"prepare-{name}", str(number) * 64, folder, values)
    return results


def write_source(folder: Path, *, stride: int, size: int) -> None:
    """Samples that count up by `stride` from random starts, so that there is something to learn."""
    rng = np.random.default_rng(stride)
    for name, samples in (("train", size), ("heldout", HELDOUT)):
        with SampleWriter(folder / name, dtype="uint16", sequence_length=LENGTH) as writer:
            for _ in range(samples):
                writer.write(((rng.integers(0, VOCAB) + np.arange(LENGTH) * stride) % VOCAB).astype(np.uint16))
    write_manifest(folder)


def split(name: str, samples: int) -> dict[str, Any]:
    """What a prepare step says of one split."""
    tokens = samples * LENGTH
    return {"remote": None, "local": name, "first_sample": 0, "samples": samples, "tokens": tokens, "bytes": tokens}


def train(plan: RunPlan, folder: Path) -> dict[str, Any]:
    """Run the training step in this process."""
    from runtime.steps import train as module

    layout = layout_of(plan, folder)
    layout.run.mkdir(parents=True, exist_ok=True)
    step = next(step for step in plan.steps if step.kind == "train")
    return module.run(step, Context(plan, layout), prepared(layout.cache), layout.run)


def start(plan: RunPlan, folder: Path, *, ranks: int = 1) -> subprocess.Popen[str]:
    """Start the same training as a process, or under torchrun; it prints its values last."""
    prepared(layout_of(plan, folder).cache)
    path = folder / "plan.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(plan.model_dump_json(by_alias=True))
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    command = [sys.executable, *launcher, "-m", "tests.runtime.training_case", str(folder), str(path)]
    # Without MASTER_ADDR and the like: a test of several ranks may itself run under a launcher.
    inherited = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE", "NODE_RANK")}
    environment = {**inherited, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=root
    )


def main() -> None:
    """Train, and print the values from the first rank."""
    folder, path = Path(sys.argv[1]), Path(sys.argv[2])
    values = train(RunPlan.model_validate_json(path.read_text()), folder)
    if os.environ.get("RANK", "0") == "0":
        sys.stdout.write(json.dumps(values) + "\n")


if __name__ == "__main__":
    main()

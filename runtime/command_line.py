"""What the command line asks for: runs of a plan and steps of each, and the environment that they need."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.layout import Layout
from runtime.lineage import plans
from runtime.status import world_size
from schemas.plan import RunPlan

__all__ = ["Task", "parser_of", "set_environment", "tasks_of"]

_PARTS: Final = ("all", "before-train", "train", "after-train")


@dataclass(frozen=True)
class Task:
    """One run of the plan, and what is to be done of it.

    Args:
        plan: with the runs before it.
        layout: its folders.
        chosen: ids of its steps; None for all.
        is_last: whether it is the plan's last run, whose folder tells of them all.
    """

    plan: RunPlan
    layout: Layout
    chosen: tuple[str, ...] | None
    is_last: bool


def parser_of() -> argparse.ArgumentParser:
    """The command line's own grammar."""
    parser = argparse.ArgumentParser(prog="runtime", description="Execute a compiled plan.")
    parser.add_argument("plan", type=Path, help="plan.yaml of a job folder")
    parser.add_argument(
        "--root", type=Path, action="append", help="folder of the plan's relative paths (repeatable; default: .)"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="parent of run folders and cache (default: runs)"
    )
    parser.add_argument("--run", help="name of one run of the plan's sequence (default: all, in order)")
    parser.add_argument("--steps", default="all", help=f"{', '.join(_PARTS)}, or ids: a,b (default: all)")
    parser.add_argument("--resume-from", type=Path, help="run folder whose newest checkpoint to go on from")
    return parser


def tasks_of(plan: RunPlan, options: argparse.Namespace, parser: argparse.ArgumentParser) -> list[Task]:
    """The runs asked for, in order, each with the steps asked for. What doesn't fit the plan is wrong usage (exit code 2)."""
    runs = plans(plan)
    names = [str(run.run) for run in runs if run.run is not None]
    if options.run is not None:
        if options.run not in names:
            parser.error(
                f"--run: no run {options.run!r}; " + (f"choose from {', '.join(names)}" if names else "it is one alone")
            )
        runs = tuple(run for run in runs if run.run == options.run)
    if len(runs) > 1 and world_size() > 1:
        parser.error("several processes train one run of a sequence: say which with --run")
    if len(runs) > 1 and options.resume_from is not None:
        parser.error("--resume-from gives one run its checkpoint: say which with --run")
    known = {step.id for run in runs for step in run.steps}
    unknown = [name for name in options.steps.split(",") if name not in known and options.steps not in _PARTS]
    if unknown:
        ids = dict.fromkeys(step.id for run in runs for step in run.steps)
        parser.error(f"--steps: no step {unknown[0]!r}; choose from {', '.join((*_PARTS, *ids))}")
    roots = tuple(options.root or [Path.cwd()])
    return [
        Task(run, Layout.of(run, roots=roots, runs=options.runs), _choose(options.steps, run), run.run == plan.run)
        for run in runs
    ]


def _choose(text: str, plan: RunPlan) -> tuple[str, ...] | None:
    """Ids of a run's steps that are asked for; None for all."""
    ids = [step.id for step in plan.steps]
    trains = [i for i, step in enumerate(plan.steps) if step.kind == "train"] or [len(ids)]
    parts = {
        "before-train": ids[: trains[0]],
        "train": [ids[i] for i in trains if i < len(ids)],
        "after-train": ids[trains[-1] + 1 :],
    }
    if text == "all":
        return None
    return tuple(name for name in parts.get(text, text.split(",")) if name in ids)


def set_environment(plan: RunPlan) -> None:
    """What libraries read from the environment when they are imported, or in child processes."""
    execution = plan.execution
    defaults = {
        "TOKENIZERS_PARALLELISM": "true",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    if "GROUP_RANK" in os.environ:
        # Composer asks for the node's rank under another name than torchrun gives it.
        defaults["NODE_RANK"] = os.environ["GROUP_RANK"]
    if execution.threads is not None:
        defaults["OMP_NUM_THREADS"] = str(execution.threads)
    if any(run.training.deterministic for run in plan.runs):
        # cuBLAS reads it when it is first used, which may be before a training: teachers' logits, scores.
        defaults["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    if execution.offline:
        defaults |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # Says at each import that its kernels were built for another torch; what we use of it has none.
    logging.getLogger("torchao").setLevel(logging.ERROR)
    if not sys.warnoptions:
        # Deprecations inside libraries are ours to watch in tests, not a user's to read at each run.
        warnings.simplefilter("ignore")

"""Kill a training without warning, let the same command go on, and compare what it ends with to an undisturbed run's."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import torch

from runtime import checkpoint
from runtime.layout import Layout
from schemas.plan import RunPlan

__all__ = ["difference", "resumed"]

_ROOT: Final = Path(__file__).parent.parent.parent
_PAUSE: Final = 0.005
"""Seconds between two looks for a checkpoint, of which steps take a multiple."""


def resumed(plan: RunPlan, job: Path, work: Path) -> dict[str, Any]:
    """Train a plan undisturbed, and again with a kill -9 after its first checkpoint.

    Args:
        plan: saves several times.
        job: the plan's file.
        work: gets both runs.

    Raises:
        RuntimeError: a run failed, or was over before the kill.
    """
    undisturbed, disturbed = work / "undisturbed", work / "disturbed"
    # Prepared data is a function of the plan: all runs read that of the other checks.
    shared = work / "runs" / "cache"
    shared.mkdir(parents=True, exist_ok=True)
    for runs in (undisturbed, disturbed):
        shutil.rmtree(runs, ignore_errors=True)
        runs.mkdir()
        (runs / "cache").symlink_to(shared, target_is_directory=True)
    _finished(_started(job, work, "--runs", str(undisturbed)))
    killed = _killed(plan, job, work, disturbed)
    _finished(_started(job, work, "--runs", str(disturbed)))
    one, other = (
        checkpoint.latest(Layout.of(plan, roots=(work,), runs=runs).checkpoints, plan)
        for runs in (undisturbed, disturbed)
    )
    if one is None or other is None or one.progress.step != plan.training.steps:
        raise RuntimeError("a run left no checkpoint of its last step")
    return {
        "killed_after_step": killed,
        "loss": other.progress.loss,
        "initial_loss": other.progress.initial_loss,
        "loss_difference": abs(one.progress.loss - other.progress.loss),
        "steps": other.progress.step,
        **difference(checkpoint.final_weights(one), checkpoint.final_weights(other)),
    }


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Whether two models are the same to the last bit, and how far apart their weights are at most."""
    same = one.keys() == other.keys() and all(torch.equal(weight, other[name]) for name, weight in one.items())
    largest = max(float((weight.float() - other[name].float()).abs().max()) for name, weight in one.items())
    return {"same_bits": same, "largest_difference": largest}


def _started(job: Path, work: Path, *more: str) -> subprocess.Popen[bytes]:
    """The runtime's own command, in this process's group, with which it ends where the check is given up."""
    command = [sys.executable, "-m", "runtime", str(job), "--root", str(work), *more]
    with (work / "resume.log").open("ab") as log:
        return subprocess.Popen(command, cwd=_ROOT, stdout=log, stderr=log)


def _finished(process: subprocess.Popen[bytes]) -> None:
    if process.wait() != 0:
        raise RuntimeError(f"a run ended with exit code {process.returncode}; see resume.log")


def _killed(plan: RunPlan, job: Path, work: Path, runs: Path) -> int:
    """Kill a run once its first checkpoint is there; the step of the newest one that it left."""
    folder = Layout.of(plan, roots=(work,), runs=runs).checkpoints
    process = _started(job, work, "--runs", str(runs))
    while process.poll() is None and not any(folder.glob("ba????????")):
        time.sleep(_PAUSE)
    if process.poll() is not None:
        raise RuntimeError("the run was over before it could be killed; give it more --steps")
    process.kill()  # its loaders see that it is gone, and end
    process.wait()
    left = max(int(path.name.removeprefix("ba")) for path in folder.glob("ba????????"))
    if left >= plan.training.steps:
        raise RuntimeError("the run had saved its last step before it was killed; give it more --steps")
    return left

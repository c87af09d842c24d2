"""What the launch scripts of a job need: for one run, or for each run of a sequence in order."""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

from schemas.plan import RunPlan

__all__ = ["ScriptRun", "folder_name", "script_values"]

_LEAST_SLURM_SECONDS: Final = 600
# A rank on a GPU keeps about this many threads busy: its own, autograd's, the pinning of memory, NCCL's proxy.
_GPU_THREADS: Final = 4


def folder_name(plan: RunPlan) -> str:
    """Name of the job's and of the run's folder."""
    return f"{plan.name}-{plan.short_fingerprint}"


class ScriptRun(NamedTuple):
    """A run of the job as its launch scripts need it."""

    name: str
    folder: str
    devices: int
    nodes: int
    ranks_per_node: int


def _script_run(plan: RunPlan) -> ScriptRun:
    layout = plan.parallelism
    each = math.ceil(layout.devices / layout.nodes)
    return ScriptRun(str(plan.run or plan.name), folder_name(plan), layout.devices, layout.nodes, each)


def script_values(plan: RunPlan) -> dict[str, Any]:
    """What the launch scripts need; a job of several runs asks for what the largest of them takes."""
    execution, runs = plan.execution, [_script_run(run) for run in plan.runs]
    is_cpu = all(run.hardware.gpu == "cpu" for run in plan.runs)
    return {
        "folder": folder_name(plan),
        "is_cpu": is_cpu,
        "runs": runs,
        "devices": max(run.devices for run in runs),
        "nodes": max(run.nodes for run in runs),
        "execution": execution.model_dump(),
        "ranks_per_node": max(run.ranks_per_node for run in runs),
        "cpus_per_rank": (execution.threads or (1 if is_cpu else _GPU_THREADS)) + execution.workers,
        "slurm_time": _slurm_time(plan),
    }


def _slurm_time(plan: RunPlan) -> str:
    """`--time`: as the recipe says, or twice the estimate of all steps of all runs; as d-hh:mm:ss in whole minutes."""
    estimate = sum(max(run.estimate.hours * 3600, sum(step.seconds for step in run.steps)) for run in plan.runs)
    seconds = plan.execution.slurm.time or max(2 * estimate, _LEAST_SLURM_SECONDS)
    minutes = math.ceil(seconds / 60)
    return f"{minutes // 1440}-{minutes // 60 % 24:02}:{minutes % 60:02}:00"

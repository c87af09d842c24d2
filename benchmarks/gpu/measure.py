"""One check in a process of its own: compile, prepare, train, measure; what it found goes to a file as JSON.

    python -m benchmarks.gpu.measure --check NAME --device cuda --steps 24 --work DIR --out FILE

It imports, which takes ten seconds, and begins when it is told to by a line of stdin: while another check is measured.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.evidence.harness import written
from benchmarks.gpu.checks import CHECKS, Check, recipe_of
from benchmarks.gpu.export import exported
from benchmarks.gpu.resume import resumed
from benchmarks.gpu.shapes import DEVICES, Scale
from benchmarks.step_overhead import StepClock, prepared
from compiler.job.emit import emit
from compiler.pipeline import compile_recipe
from runtime.__main__ import main as run_plan
from runtime.build import build_training
from runtime.layout import Layout
from runtime.lineage import plans
from runtime.loggers import quiet
from runtime.preemption import StopSignal
from runtime.steps.train import result
from runtime.teaching.teacher import flops_per_token
from schemas.plan import RunPlan

__all__ = ["main", "measured"]

_WARM: Final = 1 / 3
"""Share of the steps that aren't timed: kernels are chosen, the allocator fills, a compiler compiles."""


def measured(check: Check, scale: Scale, steps: int, work: Path) -> dict[str, Any]:
    """Everything that a row of the table needs.

    Raises:
        RuntimeError: an earlier run of the recipe didn't finish.
    """
    path = written(recipe_of(check, scale, steps), check.name, work)
    plan = compile_recipe(path).expect()
    if check.shards and scale.on_gpu:
        plan = _sharded(plan)
    job = emit(plan, work / "jobs")
    match check.kind:
        case "resume":
            return {**_foretold(plan), **resumed(plan, job / "plan.yaml", work)}
        case "export":
            return {**_foretold(plan), **exported(plan, job / "plan.yaml", work, scale.device)}
    for before in plans(plan)[:-1]:
        _finish(str(before.run), job / "plan.yaml", work)
    last = plans(plan)[-1]
    return {**_foretold(last), **_trained(last, Layout.of(last, roots=(work,), runs=work / "runs"), scale)}


def _sharded(plan: RunPlan) -> RunPlan:
    """FSDP over the one device, which the compiler refuses since nobody would gain by it: all of its machinery, no traffic."""
    layout = plan.parallelism.model_copy(update={"strategy": "fsdp", "sharding": "full"})
    return plan.model_copy(update={"parallelism": layout})


def _finish(run: str, plan: Path, work: Path) -> None:
    """A run that the measured one starts from, or is taught by; not done again where another check has done it."""
    code = run_plan([str(plan), "--runs", str(work / "runs"), "--root", str(work), "--run", run])
    if code != 0:
        raise RuntimeError(f"the run `{run}` ended with exit code {code}")
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _trained(plan: RunPlan, layout: Layout, scale: Scale) -> dict[str, Any]:
    """Seconds of steps, and the fullest moment of the device from the model's arrival on."""
    if plan.execution.threads is not None:
        torch.set_num_threads(plan.execution.threads)
    inputs = prepared(plan, layout)
    if scale.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    clock = StepClock()
    began = time.perf_counter()
    with quiet(), StopSignal() as stop:
        training = build_training(plan, layout, inputs, None, stop)
        built = time.perf_counter()
        training.trainer.state.callbacks.append(clock)
        # One step less than planned, since the last one would write a checkpoint.
        training.trainer.fit(duration=f"{plan.training.steps - 1}ba")
        progress = training.ledger.progress(training.trainer.state)
        training.trainer.close()
    warm = clock.seconds[max(1, int(len(clock.seconds) * _WARM)) :]
    seconds = statistics.median(warm)
    values = result(plan, progress, "finished", None, 1, flops_per_token(plan, layout, progress.step))
    rate = plan.training.global_batch_tokens / seconds
    return {
        "tokens_per_s": rate,
        # The result's own FLOPs a token, at the median's pace instead of the whole run's.
        "mfu": values["mfu"] * rate / values["tokens_per_s"],
        "step_seconds": clock.seconds,
        "slowest_over_median": max(warm) / seconds,
        "build_seconds": built - began,
        "initial_loss": progress.initial_loss,
        "loss": progress.loss,
        "steps": progress.step,
        **_memory(scale),
    }


def _memory(scale: Scale) -> dict[str, int]:
    """Bytes: of tensors, of what the allocator held, and of all that the device gave, with the driver's and libraries' own."""
    if not scale.on_gpu:
        return {}
    free, total = torch.cuda.mem_get_info()
    return {
        "allocated_bytes": torch.cuda.max_memory_allocated(),
        "reserved_bytes": torch.cuda.max_memory_reserved(),
        "device_bytes": total - free,
    }


def _foretold(plan: RunPlan) -> dict[str, Any]:
    """What the plan says of the measured run."""
    estimate = plan.estimate
    return {
        "parameters": plan.model.num_parameters,
        "microbatch": plan.training.microbatch,
        "batch": plan.training.global_batch_tokens,
        "compute": plan.precision.compute,
        "strategy": plan.parallelism.strategy,
        "planned": {
            "tokens_per_s": estimate.tokens_per_s_per_gpu,
            "tokens_per_s_low": estimate.tokens_per_s_per_gpu_low,
            "tokens_per_s_high": estimate.tokens_per_s_per_gpu_high,
            "mfu": estimate.mfu,
            "peak_memory_bytes": estimate.peak_memory_bytes,
            "memory_parts": dict(estimate.memory_parts),
            "step_parts": dict(estimate.step_parts),
        },
    }


def main() -> None:
    """Measure the check that is named, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", choices=list(CHECKS), required=True)
    parser.add_argument("--device", choices=list(DEVICES), required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    scale = DEVICES[options.device]
    if not sys.stdin.readline():
        sys.exit("nobody said when to begin")
    found: Mapping[str, Any] = measured(CHECKS[options.check], scale, options.steps, options.work)
    options.out.write_text(json.dumps({**found, **_where(scale)}, indent=1), encoding="utf-8")


def _where(scale: Scale) -> dict[str, str]:
    name = torch.cuda.get_device_name() if scale.on_gpu else "cpu"
    return {"device": name, "torch": torch.__version__}


if __name__ == "__main__":
    main()

"""Step time of each technique beside the plain run, and how much of it is arithmetic that the plan counts.

    python -m benchmarks.technique_overhead [--rounds 8] [--steps 6] [--only distillation ...]

All runs of a pair live in one process and take a few steps in turn, so that a busy moment of the machine hits both alike. Each is
measured while its technique is at work. `arithmetic` is the ratio of FLOPs in the plan; what is left of the measured ratio is
machinery: masks, rounding, hooks. A CPU's arithmetic is slow; a GPU's is not, so machinery would weigh more there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.evidence.base import named, sequence
from benchmarks.evidence.experiment import Recipe
from benchmarks.evidence.harness import run, written
from benchmarks.step_overhead import StepClock, prepared
from compiler.pipeline import compile_recipe
from runtime.build import Training, build_training
from runtime.layout import Layout
from runtime.lineage import plans
from runtime.loggers import quiet
from runtime.preemption import StopSignal
from schemas.plan import RunPlan

__all__ = ["TECHNIQUES", "main"]

_PRUNED: Final = {"kind": "pruning", "sparsity": 0.5, "start": "0dur", "end": "0.9dur", "interval": "10ba"}
_START: Final = {"model": {"start": {"run": "base"}}}

TECHNIQUES: Final[Mapping[str, Recipe]] = {
    "distillation": {"distillation": {"teacher": {"run": "base"}, "end": "1dur"}},
    "distillation every 5": {"distillation": {"teacher": {"run": "base"}, "end": "1dur", "every": 5}},
    "lora": {**_START, "training": {"adapter": {"rank": 8}}},
    "low_rank": {**_START, "compression": [{"kind": "low_rank", "parameters": 0.5}]},
    "pruning": {"compression": [_PRUNED]},
    "pruning structured": {"compression": [{**_PRUNED, "method": "structured"}]},
    "quantization qat int8": {"compression": [{"kind": "quantization", "mode": "qat", "weights": "int8"}]},
    "quantization qat int4": {"compression": [{"kind": "quantization", "mode": "qat", "weights": "int4"}]},
    "ema": {"averaging": {"half_life": "10ba"}},
    "sequence_length_warmup": {
        "data": {"curriculum": {"kind": "sequence_length_warmup", "start_length": 128, "duration": "1dur"}}
    },
}
"""What each row's run says beside the plain one. (Warm-up of length begins at full length: its machinery alone.)"""


def _training(recipe: Recipe, name: str, work: Path, stop: StopSignal) -> tuple[Training, RunPlan]:
    """The trainer of a recipe's last run; the run before it is in the work folder."""
    plan = plans(compile_recipe(written(recipe, name, work)).expect())[-1]
    layout = Layout.of(plan, roots=(work,), runs=work / "runs")
    return build_training(plan, layout, prepared(plan, layout), None, stop), plan


def _alternate(one: Training, other: Training, rounds: int, steps: int) -> tuple[list[float], list[float]]:
    """Seconds of steps of both, taken in turn; the first round warms up."""
    seconds: tuple[list[float], list[float]] = ([], [])
    clocks = []
    for training in (one, other):
        clocks.append(StepClock())
        training.trainer.state.callbacks.append(clocks[-1])
    for i in range(rounds + 1):
        for training, clock, times in zip((one, other), clocks, seconds, strict=True):
            clock.seconds.clear()
            training.trainer.fit(duration=f"{steps}ba")
            if i:
                times.extend(clock.seconds)
    return seconds


def _arithmetic(plan: RunPlan, plain: RunPlan) -> float:
    """FLOPs of a step with the technique over those without."""
    added = sum(cost.train_flops for cost in plan.techniques) - sum(cost.train_flops for cost in plain.techniques)
    return 1 + added / plan.budget.train_flops


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--only", nargs="*", choices=sorted(TECHNIQUES), default=list(TECHNIQUES))
    options = parser.parse_args()
    total = (options.rounds + 1) * options.steps
    base = named("base", 1, 10)

    def recipe(keys: Mapping[str, Any]) -> Recipe:
        return sequence([base, named("measured", 1, total, **keys)])

    print(f"torch {torch.__version__}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; medians of "
          f"{options.rounds * (options.steps - 1)} steps each, in turn")  # fmt: skip
    print(f"{'':<24}{'plain':>9}{'with it':>9}   ms a step{'ratio':>8}{'arithmetic':>12}{'machinery':>11}")
    with tempfile.TemporaryDirectory() as folder, quiet(), StopSignal() as stop:
        work = Path(folder)
        run(sequence([base, named("last", 1, 1)]), "base", work)
        for name in options.only:
            plain, plain_plan = _training(recipe({}), "plain", work, stop)
            mine, plan = _training(recipe(TECHNIQUES[name]), name.replace(" ", "-"), work, stop)
            slow, fast = (statistics.median(times) for times in _alternate(mine, plain, options.rounds, options.steps))
            ratio, arithmetic = slow / fast, _arithmetic(plan, plain_plan)
            print(f"{name:<24}{fast * 1e3:>9.1f}{slow * 1e3:>9.1f}            {ratio:>8.3f}{arithmetic:>12.3f}"
                  f"{ratio / arithmetic:>11.3f}", flush=True)  # fmt: skip
            for training in (plain, mine):
                training.trainer.close()


if __name__ == "__main__":
    main()

"""Step time of a compiled run beside a plain PyTorch loop with the same model, batch, precision and clipping.

    python -m benchmarks.step_overhead [--rounds 12] [--steps 8]

Both run in one process and in turn, a few steps at a time, so that a busy moment of the machine hits both alike. The run is
the quickstart's own: its prepared data, its loader, its loggers and checkpoints; only the length is cut.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from composer import Callback, Logger, State
from torch.utils.data import DataLoader, TensorDataset

from compiler.pipeline import compile_recipe
from runtime.build import Training, build_training
from runtime.execute import execute
from runtime.layout import Layout
from runtime.loggers import quiet
from runtime.models.planned import build_untrained
from runtime.optim import parameter_groups
from runtime.preemption import StopSignal
from runtime.record import CACHED, step_folder
from runtime.steps.base import Result
from schemas.plan import RunPlan

__all__ = ["StepClock", "main", "prepared"]

ROOT = Path(__file__).parent.parent


class StepClock(Callback):  # type: ignore[misc]  # composer has no types
    """Seconds from the end of one batch to the end of the next: loading, all callbacks and checkpoints included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last: float | None = None

    def fit_start(self, state: State, logger: Logger) -> None:
        self._last = None

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now


class PlainLoop:
    """What one writes by hand: model, AdamW, cosine, clipping, a DataLoader over tensors in memory."""

    def __init__(self, plan: RunPlan) -> None:
        t = plan.training
        self.model = build_untrained(plan).train()
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, t.optimizer.weight_decay),
            lr=t.optimizer.lr,
            betas=t.optimizer.betas,
            eps=t.optimizer.eps,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, t.steps)
        shape = (t.global_batch_samples * 64, plan.data.sequence_length)
        tokens = torch.randint(0, plan.decoder.vocab_size, shape)
        self.loader = DataLoader(TensorDataset(tokens), batch_size=t.global_batch_samples, shuffle=True)
        self._batches = self._forever()

    def _forever(self) -> Iterator[torch.Tensor]:
        while True:
            for (batch,) in self.loader:
                yield batch

    def steps(self, count: int) -> list[float]:
        """Seconds of each step but the first, which warms caches up as in the other run."""
        seconds = []
        last = time.perf_counter()
        for i in range(count):
            batch = next(self._batches)
            self.optimizer.zero_grad()
            logits = self.model(input_ids=batch).logits
            loss = torch.nn.functional.cross_entropy(
                logits[:, :-1].reshape(-1, logits.shape[-1]), batch[:, 1:].reshape(-1)
            )
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.schedule.step()
            loss.item()
            now = time.perf_counter()
            if i:
                seconds.append(now - last)
            last = now
        return seconds


def prepared(plan: RunPlan, layout: Layout) -> dict[str, Result]:
    """Tokenizer and data, made as any run makes them."""
    steps = {step.id: step for step in plan.steps if step.kind in CACHED}
    records = execute(plan, layout, only=list(steps)).records
    return {
        name: Result(name, record.key, step_folder(steps[name], record.key, layout), record.values)
        for name, record in records.items()
    }


def _compare(training: Training, plain: PlainLoop, rounds: int, steps: int) -> tuple[list[float], list[float]]:
    clock = StepClock()
    trainer = training.trainer
    trainer.state.callbacks.append(clock)
    ours: list[float] = []
    theirs: list[float] = []
    for i in range(rounds + 1):
        clock.seconds.clear()
        trainer.fit(duration=f"{steps}ba")
        by_hand = plain.steps(steps)
        if i:  # the first round warms up
            ours += clock.seconds
            theirs += by_hand
    return ours, theirs


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    total = (options.rounds + 1) * options.steps
    overrides = (f"budget.tokens={total * 1024}", "checkpoints.interval=1000000ba", "evaluation.interval=1000000ba")
    plan = compile_recipe(ROOT / "recipes" / "quickstart.yaml", overrides).expect()
    with tempfile.TemporaryDirectory() as folder, quiet(), StopSignal() as stop:
        layout = Layout.of(plan, roots=(ROOT,), runs=Path(folder))
        inputs = prepared(plan, layout)
        training = build_training(plan, layout, inputs, None, stop)
        ours, theirs = _compare(training, PlainLoop(plan), options.rounds, options.steps)
        training.trainer.close()
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"{len(ours)} steps each, {plan.model.num_parameters:,} parameters, batch {plan.training.global_batch_tokens} tokens, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}, {os.cpu_count()} cores")  # fmt: skip
    print(f"{'':<14}{'min':>9}{'median':>9}{'max':>9}   ms a step")
    for name, values in (("compiled run", ours), ("plain loop", theirs)):
        print(f"{name:<14}{min(values) * 1e3:>9.2f}{statistics.median(values) * 1e3:>9.2f}{max(values) * 1e3:>9.2f}")
    print(f"ratio of medians {a / b:.3f}, of minima {min(ours) / min(theirs):.3f}")


if __name__ == "__main__":
    main()

"""Keeps the books of a run: samples drawn per source, losses, time; other callbacks and the result read them here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from composer.core import Callback, Precision, State
from composer.loggers import Logger
from composer.utils import dist

from runtime.books import Books, mix_ends
from runtime.checkpoint import Progress
from runtime.errors import RunFailed
from schemas.plan import RunPlan

__all__ = ["Ledger", "fed_tokens"]


def fed_tokens(batch: Mapping[str, torch.Tensor]) -> int:
    """Tokens of a batch that the model is given; an image counts as one."""
    return int(batch["input_ids"].numel()) if "input_ids" in batch else len(batch["labels"])


class Ledger(Callback):  # type: ignore[misc]  # composer has no types
    """Counts what is really fed, on each rank; sums over ranks where a record is due, so that other batches cost nothing.

    Args:
        plan: phases, batch, and how often to make a record; one is also made where a mix ends.
        unique: samples that each source has for training, in the order of the numbers that batches carry.
        padding: the id of tokens that only fill samples up, where the data may have such.
    """

    def __init__(self, plan: RunPlan, unique: Mapping[str, int], *, padding: int | None = None) -> None:
        self._unique, self._padding = dict(unique), padding
        self._interval, self._steps = max(1, plan.logging.interval_steps), plan.training.steps
        self._length, self._batch_tokens = plan.data.sequence_length, plan.training.global_batch_tokens
        self._scales_loss = plan.precision.loss_scale is not None
        self._phases = plan.data.phases
        self._mix_ends = frozenset(mix_ends(self._phases))
        self._books = Books(self._phases, tuple(unique), self._batch_tokens, self._length)
        self._before = Progress(0, 0, 0, 0.0, float("nan"), float("nan"), dict.fromkeys(unique, 0))
        self._trained_tokens = 0
        self._learning_rate = 0.0
        self._initial_loss = float("nan")
        self._loss = float("nan")
        self._heldout: dict[str, float] = {}
        self._mark = (0, 0.0)
        self._shown = dict.fromkeys(unique, 0)
        self.record: dict[str, Any] | None = None
        """Numbers of the batch that has just ended, and its phase, where it is one to log."""

    def resume(self, progress: Progress) -> None:
        """Go on from a checkpoint's books."""
        self._before = progress
        self._books.go_on(progress.step)
        self._shown = {name: progress.samples.get(name, 0) for name in self._unique}
        self._initial_loss, self._loss = progress.initial_loss, progress.loss
        self._mark = (progress.tokens, progress.seconds)

    def count(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Book a batch as it comes from the loader, before any algorithm; the model gets it without the sources."""
        ids = batch.get("input_ids")
        fill = None if self._padding is None or ids is None else (ids == self._padding).sum(dim=1).numpy()
        self._books.draw(batch["source"].numpy(), fill)
        return {name: value for name, value in batch.items() if name != "source"}

    def batch_start(self, state: State, logger: Logger) -> None:
        """Read what the batch is trained with; the schedule moves on before the batch ends."""
        fed = fed_tokens(state.batch)
        self._trained_tokens += fed
        self._books.cut(fed)
        self._learning_rate = float(state.optimizers[0].param_groups[0]["lr"])
        self.record = None

    def batch_end(self, state: State, logger: Logger) -> None:
        """Keep the loss, which Composer has brought to the CPU anyway.

        Raises:
            RunFailed: it is not a number (RC606). fp16 may overflow now and then; its scaler skips such a step.
        """
        self._heldout = {}
        losses: dict[str, Any] = state.total_loss_dict
        loss = losses.get("loss/train/cross_entropy", losses["loss/train/total"])
        if not math.isfinite(loss):
            if state.precision is Precision.AMP_FP16:
                return
            raise RunFailed(
                "RC606",
                f"the loss is {loss} at step {int(state.timestamp.batch)}: training has diverged",
                "lower `training.optimizer.lr`, lengthen warmup, or clip gradients; earlier checkpoints are kept",
            )
        self._loss = loss
        if math.isnan(self._initial_loss):
            self._initial_loss = loss

    def eval_end(self, state: State, logger: Logger) -> None:
        """Keep a source's held-out loss; Composer has summed it over ranks."""
        for name in ("loss", "accuracy"):
            if name in state.eval_metric_values:
                self._heldout[f"heldout/{state.dataloader_label}/{name}"] = float(state.eval_metric_values[name])

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        """Make the record of a batch, with what was evaluated after it."""
        step, tokens = int(state.timestamp.batch), int(state.timestamp.token)
        due = step % self._interval == 0 or step == self._steps or step * self._batch_tokens in self._mix_ends
        if not due and not self._heldout:
            return
        seconds = state.timestamp.total_wct.total_seconds()
        rate = (tokens - self._mark[0]) / max(seconds - self._mark[1], 1e-9)
        self._mark = (tokens, seconds)
        sources, phase = self._sources(state), self._books.phase_of(step - 1)
        self.record = {
            "step": step,
            "tokens": tokens,
            "phase": self._phases[phase].id,
            "loss": self._loss,
            "lr": self._learning_rate,
            "tokens_per_s": round(rate, 1),
            "seconds": round(seconds, 3),
            **sources,
            **self._parts(state),
            # Each overflow of fp16 halves it and skips a step.
            **({"loss_scale": float(state.scaler.get_scale())} if self._scales_loss else {}),
            **self._heldout,
        }
        # Trackers draw numbers alone: there the phase is its place in the plan's list.
        logger.log_metrics({"lr": self._learning_rate, "tokens_per_s": rate, "phase": phase, **sources})

    def _sources(self, state: State) -> dict[str, float]:
        """Of each source: tokens drawn so far, by all ranks; share since the last record or resume; times it was read through."""
        drawn = state.device.tensor_to_device(torch.from_numpy(self._books.drawn))
        dist.all_reduce(drawn)
        names = zip(self._unique, drawn.tolist(), strict=True)
        total = {name: self._before.samples.get(name, 0) + samples for name, samples in names}
        since = {name: samples - self._shown[name] for name, samples in total.items()}
        self._shown = total
        every = max(1, sum(since.values()))
        return {
            **{f"tokens/{name}": samples * self._length for name, samples in total.items()},
            **{f"share/{name}": round(samples / every, 6) for name, samples in since.items()},
            **{f"epochs/{name}": round(samples / max(1, self._unique[name]), 6) for name, samples in total.items()},
        }

    @staticmethod
    def _parts(state: State) -> dict[str, float]:
        """The loss that is minimised and its parts, where it is more than cross entropy."""
        parts = {name.removeprefix("loss/train/"): value for name, value in state.total_loss_dict.items()}
        return {f"loss/{name}": value for name, value in parts.items()} if len(parts) > 1 else {}

    def progress(self, state: State) -> Progress:
        """The books up to now, summed over ranks; every rank must call it."""
        local = torch.tensor([self._trained_tokens, *self._books.flat()], dtype=torch.int64)
        summed = state.device.tensor_to_device(local)
        dist.all_reduce(summed)
        trained, *counts = (int(value) for value in summed.tolist())
        totals = self._books.totals(counts, self._before)
        return Progress(
            step=int(state.timestamp.batch),
            tokens=int(state.timestamp.token),
            trained_tokens=self._before.trained_tokens + trained,
            seconds=state.timestamp.total_wct.total_seconds(),
            initial_loss=self._initial_loss,
            loss=self._loss,
            samples=totals.samples,
            phases=totals.phases,
            padding=totals.padding,
            truncated=totals.truncated,
        )

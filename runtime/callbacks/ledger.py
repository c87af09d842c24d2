"""Keeps the books of a run: samples drawn per source, losses, time; other callbacks and the result read them here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from composer.core import Callback, Precision, State
from composer.loggers import Logger
from composer.utils import dist

from runtime.checkpoint import Progress
from runtime.errors import RunFailed

__all__ = ["Ledger"]


class Ledger(Callback):  # type: ignore[misc]  # composer has no types
    """Counts what is really fed, on each rank; sums over ranks only when asked, so that a batch costs no communication.

    Args:
        sources: names, in the order of the numbers that batches carry.
        interval: steps between two records.
        steps: of the whole run.
    """

    def __init__(self, sources: Sequence[str], *, interval: int, steps: int) -> None:
        self._sources, self._interval, self._steps = tuple(sources), max(1, interval), steps
        self._before = Progress(0, 0, 0, 0.0, float("nan"), float("nan"), dict.fromkeys(sources, 0))
        self._drawn = np.zeros(len(sources), np.int64)
        self._trained_tokens = 0
        self._learning_rate = 0.0
        self._initial_loss = float("nan")
        self._loss = float("nan")
        self._heldout: dict[str, float] = {}
        self._mark = (0, 0.0)
        self.record: dict[str, float] | None = None
        """Numbers of the batch that has just ended, where it is one to log."""

    def resume(self, progress: Progress) -> None:
        """Go on from a checkpoint's books."""
        self._before = progress
        self._initial_loss, self._loss = progress.initial_loss, progress.loss
        self._mark = (progress.tokens, progress.seconds)

    def count(self, batch: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Book a batch as it comes from the loader, before any algorithm; the model gets it without the sources."""
        self._drawn += np.bincount(batch["source"].numpy(), minlength=len(self._sources))
        return {name: value for name, value in batch.items() if name != "source"}

    def batch_start(self, state: State, logger: Logger) -> None:
        """Read what the batch is trained with; the schedule moves on before the batch ends."""
        self._trained_tokens += state.batch["input_ids"].numel()
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
        self._heldout[f"heldout/{state.dataloader_label}/loss"] = float(state.eval_metric_values["loss"])

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        """Make the record of a batch, with what was evaluated after it."""
        step = int(state.timestamp.batch)
        if step % self._interval and step != self._steps and not self._heldout:
            return
        tokens, seconds = int(state.timestamp.token), state.timestamp.total_wct.total_seconds()
        rate = (tokens - self._mark[0]) / max(seconds - self._mark[1], 1e-9)
        self._mark = (tokens, seconds)
        self.record = {
            "step": step,
            "tokens": tokens,
            "loss": self._loss,
            "lr": self._learning_rate,
            "tokens_per_s": round(rate, 1),
            "seconds": round(seconds, 3),
            **self._parts(state),
            **self._heldout,
        }
        logger.log_metrics({"lr": self._learning_rate, "tokens_per_s": rate})

    @staticmethod
    def _parts(state: State) -> dict[str, float]:
        """The loss that is minimised and its parts, where it is more than cross entropy."""
        parts = {name.removeprefix("loss/train/"): value for name, value in state.total_loss_dict.items()}
        return {f"loss/{name}": value for name, value in parts.items()} if len(parts) > 1 else {}

    def progress(self, state: State) -> Progress:
        """The books up to now, summed over ranks; every rank must call it."""
        local = torch.tensor([self._trained_tokens, *self._drawn.tolist()], dtype=torch.int64)
        total = state.device.tensor_to_device(local)
        dist.all_reduce(total)
        trained, *drawn = (int(value) for value in total.tolist())
        before = self._before
        return Progress(
            step=int(state.timestamp.batch),
            tokens=int(state.timestamp.token),
            trained_tokens=before.trained_tokens + trained,
            seconds=state.timestamp.total_wct.total_seconds(),
            initial_loss=self._initial_loss,
            loss=self._loss,
            samples={name: before.samples[name] + count for name, count in zip(self._sources, drawn, strict=True)},
        )

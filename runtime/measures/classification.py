"""What a classifier takes held-out images for: predictions in a fixed order, loss, accuracy, and a table of classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from runtime.images.batches import heldout_batches
from runtime.measures.language import autocast
from runtime.models.forward import logits_of
from runtime.steps.base import Result
from schemas.plan import RunPlan

__all__ = ["Measured", "confusion", "measure", "predictions"]

Integers = npt.NDArray[np.int64]


class Measured(NamedTuple):
    """A model on the held-out images of one source: true and predicted class of each, [images]; mean cross entropy, nats."""

    truth: Integers
    predicted: Integers
    loss: float

    @property
    def accuracy(self) -> float:
        """Share of images whose likeliest class is the true one."""
        return float(np.mean(self.truth == self.predicted))


def predictions(
    model: nn.Module, plan: RunPlan, prepared: Mapping[str, Result], device: torch.device, cache: Path
) -> tuple[Integers, Integers]:
    """True and predicted class of every held-out image, sources by name, images in their order: the same for each model.

    Args:
        model: maps [batch, channels, height, width] to [batch, classes]; is moved to `device`.
        plan: whose data and number format.
        prepared: results of the prepare steps, by source.
        device: where it computes.
        cache: where shards of a remote are kept.

    Returns:
        (truth, predicted), each [images] int64.

    Raises:
        DataError: a shard is missing or damaged (RC408).
    """
    found = [
        measure(model, plan, result, device, cache)
        for _, result in sorted(prepared.items())
        if result.values["heldout"]["samples"]
    ]
    none = np.zeros(0, np.int64)
    return (
        np.concatenate([none, *(one.truth for one in found)]),
        np.concatenate([none, *(one.predicted for one in found)]),
    )


@torch.no_grad()
def measure(model: nn.Module, plan: RunPlan, result: Result, device: torch.device, cache: Path) -> Measured:
    """A model on the held-out images of a source, one or more; sums are kept in fp64.

    Raises:
        DataError: a shard is missing or damaged (RC408).
    """
    nn.Module.to(model, device)
    model.train(mode=False)
    truth, predicted, total = [], [], torch.zeros((), dtype=torch.float64, device=device)
    with autocast(plan.precision, device):
        for batch in heldout_batches(result, plan, cache):
            labels = batch["labels"].to(device)
            logits = logits_of(model, {"pixel_values": batch["pixel_values"].to(device)}).float()
            total += functional.cross_entropy(logits, labels, reduction="none").double().sum()
            truth.append(batch["labels"].numpy())
            predicted.append(logits.argmax(dim=1).cpu().numpy())
    found = np.concatenate(truth)
    return Measured(found, np.concatenate(predicted), float(total) / len(found))


def confusion(truth: Integers, predicted: Integers, num_classes: int) -> list[list[int]]:
    """Images by true (row) and predicted (column) class."""
    counts = np.bincount(truth * num_classes + predicted, minlength=num_classes**2)
    rows: list[list[int]] = counts.reshape(num_classes, num_classes).tolist()
    return rows

"""Held-out samples as a comparison sees them: their true classes, and what a model takes them for."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from runtime.bias.classes import Partition, frequency_buckets, typical_sources
from runtime.bias.comparison import Prediction
from runtime.bias.language import heldout_batches, likeliest, token_counts
from runtime.data.shards import verify_prepared
from runtime.errors import RunFailed
from runtime.measures.language import autocast
from runtime.models.class_names import names_in
from runtime.precision import measuring_device
from runtime.steps.base import Result
from schemas.evaluation import BiasPlan
from schemas.plan import RunPlan

__all__ = ["HeldOut", "held_out"]

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class HeldOut:
    """The samples of a comparison.

    Args:
        names: of the classes.
        truth: class of each sample, shape (samples,).
        predict: predictions of a model, on the same samples.
        place: where a sample is found, in words.
    """

    names: tuple[str, ...]
    truth: Integers
    predict: Callable[[nn.Module], Prediction]
    place: Callable[[int], str]


def held_out(plan: RunPlan, bias: BiasPlan, prepared: Mapping[str, Result], cache: Path) -> HeldOut:
    """The held-out samples of all sources, by name.

    Raises:
        DataError: a shard is missing or damaged (RC408).
        RunFailed: nothing is held out (RC610).
    """
    found = {name: result for name, result in sorted(prepared.items()) if result.values["heldout"]["samples"]}
    if not found:
        message = "there is no held-out sample to compare models on"
        raise RunFailed("RC610", message, "raise `evaluation.holdout`, or take `evaluation.bias` out of the recipe")
    for result in found.values():
        verify_prepared(result.folder, deep=True, split="heldout")
    device = measuring_device(plan)
    if plan.is_classifier:
        return _images(plan, found, device, cache)
    return _text(plan, _partition(plan, bias, prepared, cache), found, device, cache)


def _partition(plan: RunPlan, bias: BiasPlan, prepared: Mapping[str, Result], cache: Path) -> Partition:
    counts = token_counts(plan, prepared, cache)
    if bias.classes == "sources":
        return typical_sources(counts)
    return frequency_buckets(np.sum(list(counts.values()), axis=0), bias.buckets)


def _images(plan: RunPlan, prepared: Mapping[str, Result], device: torch.device, cache: Path) -> HeldOut:
    """Held-out images with their labels."""
    from runtime.images.batches import heldout_batches as image_batches
    from runtime.measures.classification import predictions

    def predict(model: nn.Module) -> Prediction:
        right, found = predictions(model, plan, prepared, device, cache)
        return Prediction(found, float(np.mean(right == found)))

    labels = {
        name: [int(label) for batch in image_batches(result, plan, cache) for label in batch["labels"]]
        for name, result in prepared.items()
    }
    truth = np.array([label for found in labels.values() for label in found], dtype=np.int64)
    names = names_in(prepared)
    names += tuple(f"class {number}" for number in range(len(names), plan.resnet.num_classes))
    return HeldOut(
        names, truth, predict, _places(prepared, {name: len(found) for name, found in labels.items()}, "image")
    )


def _places(prepared: Mapping[str, Result], sizes: Mapping[str, int], what: str) -> Callable[[int], str]:
    """Where the sample of a number is, sources in their order."""
    ends = np.cumsum([sizes[name] for name in prepared]).tolist()

    def place(number: int) -> str:
        source = bisect.bisect_right(ends, number)
        return f"{list(prepared)[source]}: {what} {number - (ends[source - 1] if source else 0)}"

    return place


def _text(
    plan: RunPlan, partition: Partition, prepared: Mapping[str, Result], device: torch.device, cache: Path
) -> HeldOut:
    """Next tokens of held-out text; a sample is one of them."""

    def tokens(model: nn.Module) -> tuple[Integers, Integers]:
        nn.Module.to(model, device)
        pairs = []
        with autocast(plan.precision, device):
            for result in prepared.values():
                batches = heldout_batches(result, plan.training.microbatch, cache)
                pairs.append(likeliest(model, batches, device, len(partition.of_token)))
        return np.concatenate([truth for truth, _ in pairs]), np.concatenate([found for _, found in pairs])

    def predict(model: nn.Module) -> Prediction:
        truth, found = tokens(model)
        return Prediction(partition.of_token[found], float(np.mean(truth == found)))

    each = plan.data.sequence_length - 1
    samples = _places(prepared, {name: int(r.values["heldout"]["samples"]) for name, r in prepared.items()}, "sample")

    def place(number: int) -> str:
        return f"{samples(number // each)}, token {number % each + 1}"

    truth = np.concatenate(
        [
            batch[:, 1:].reshape(-1)
            for result in prepared.values()
            for batch in heldout_batches(result, plan.training.microbatch, cache)
        ]
    )
    return HeldOut(partition.names, partition.of_token[truth], predict, place)

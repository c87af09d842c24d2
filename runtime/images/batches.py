"""Images in batches: the planned dataset over shards of pixels, and arrays as a network takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.data.planned_dataset import PlannedDataset
from runtime.data.ranges import SourceData
from runtime.images.preparing import LABEL
from runtime.images.sources import Pixels
from runtime.measures.heldout import read_rows
from runtime.steps.base import Result
from runtime.teaching.kept_logits import stack
from schemas.plan import ImagePlan, RunPlan

__all__ = ["ImageCollator", "ImageDataset", "Labelled", "heldout_batches", "to_input"]


class Labelled(NamedTuple):
    """An image [size, size, channels] and the number of its class."""

    pixels: Pixels
    label: int


class ImageDataset(PlannedDataset):
    """All sources of images in the plan's order; see PlannedDataset.

    Args:
        plan: of a classifier.
        sources: where the samples are.
        global_batch: samples of a batch over all ranks.
    """

    def __init__(self, plan: RunPlan, sources: Sequence[SourceData], *, global_batch: int) -> None:
        self._num_classes, self._image = plan.resnet.num_classes, _form(plan)
        super().__init__(
            plan.data, plan.seed, sources, global_batch=global_batch, vocab_size=self._num_classes,
            workers=plan.execution.workers, cache_limit=plan.execution.cache_limit,
        )  # fmt: skip

    def decoded(self, row: Mapping[str, Any], column: str, sample_id: int) -> Labelled:
        """Pixels and label of a row.

        Raises:
            BadSampleError: it isn't of the plan's form (RC411), or its label is too large (RC416).
        """
        pixels, label = row.get(column), row.get(LABEL)
        wanted = (self._image.size, self._image.size, self._image.channels)
        if not isinstance(pixels, np.ndarray) or pixels.shape != wanted or pixels.dtype != np.uint8:
            raise self.bad("RC411", sample_id, f"is not an image of shape {wanted} as planned")
        if not isinstance(label, int) or not 0 <= label < self._num_classes:
            raise self.bad("RC416", sample_id, f"has the label {label}, the network has {self._num_classes} classes")
        return Labelled(pixels, label)


def _form(plan: RunPlan) -> ImagePlan:
    assert plan.data.image is not None
    return plan.data.image


def to_input(pixels: NDArray[np.uint8], form: ImagePlan) -> torch.Tensor:
    """[batch, size, size, channels] uint8 -> [batch, channels, size, size] float32, (value / 255 - mean) / std."""
    mean, std = torch.tensor(form.mean), torch.tensor(form.std)
    values = torch.from_numpy(pixels).float().div_(255.0).sub_(mean).div_(std)
    return values.permute(0, 3, 1, 2).contiguous()


class ImageCollator:
    """Makes batches: `pixel_values` [batch, channels, size, size], `labels` and `source` [batch] int64, and what teachers said.

    A class, since loader processes are sent it.
    """

    def __init__(self, plan: RunPlan) -> None:
        self._form = _form(plan)

    def __call__(self, samples: Sequence[tuple[Any, ...]]) -> dict[str, torch.Tensor]:
        """Stack samples of the dataset."""
        said = [sample[2] for sample in samples if len(sample) == 3]
        return {
            "pixel_values": to_input(np.stack([sample[0].pixels for sample in samples]), self._form),
            "labels": torch.tensor([sample[0].label for sample in samples]),
            "source": torch.tensor([sample[1] for sample in samples]),
            **(stack(said) if said else {}),
        }


def heldout_batches(
    result: Result, plan: RunPlan, cache: Path, split: str = "heldout"
) -> Iterator[dict[str, torch.Tensor]]:
    """Samples of a prepared source in their order, {"pixel_values", "labels"}, in batches of the plan's micro-batch.

    Raises:
        DataError: a shard is missing or damaged (RC408).
    """
    pixels: list[Pixels] = []
    labels: list[int] = []
    for row in read_rows(result.values[split], result.folder, cache):
        pixels.append(row[str(result.values["column"])])
        labels.append(int(row[LABEL]))
        if len(labels) == plan.training.microbatch:
            yield {"pixel_values": to_input(np.stack(pixels), _form(plan)), "labels": torch.tensor(labels)}
            pixels, labels = [], []
    if labels:
        yield {"pixel_values": to_input(np.stack(pixels), _form(plan)), "labels": torch.tensor(labels)}

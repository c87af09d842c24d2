"""From prepared folders to batches: where samples are, the loader in the plan's order, and the held-out evaluators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from composer import DataSpec, Evaluator
from composer.core import Event, State
from composer.utils import dist
from torch.utils.data import DataLoader, DistributedSampler

from runtime import compat
from runtime.callbacks.ledger import Ledger, fed_tokens
from runtime.data.planned_dataset import HeldOut, PlannedDataset, collate
from runtime.data.ranges import SampleRange, SourceData
from runtime.errors import RunFailed
from runtime.files import read_json
from runtime.images.batches import ImageCollator, ImageDataset
from runtime.layout import Layout
from runtime.precision import device_kind
from runtime.preemption import outlive_signals
from runtime.steps.base import Inputs, Result
from schemas.plan import RunPlan
from schemas.sources import MdsSource

__all__ = ["evaluators", "find_sources", "open_dataset", "per_device_batch", "train_data"]


def per_device_batch(plan: RunPlan) -> int:
    """Samples of a global batch that each rank takes.

    Raises:
        RunFailed: the ranks can't share a batch evenly (RC205).
    """
    samples, ranks = plan.training.global_batch_samples, int(dist.get_world_size())
    if samples % ranks:
        fitting = max(n for n in range(1, ranks + 1) if samples % n == 0)
        raise RunFailed(
            "RC205",
            f"a global batch of {samples} samples can't be shared evenly by {ranks} processes",
            f"start {fitting} processes, or compile with a `training.batch` that is a multiple of {ranks} sequences",
        )
    return samples // ranks


def find_sources(plan: RunPlan, layout: Layout, inputs: Inputs) -> tuple[SourceData, ...]:
    """Where each source's samples are, in the plan's order of sources."""
    results = {result.values["source"]: result for result in inputs.values() if "source" in result.values}
    scores = {result.values["scored"]: result.folder for result in inputs.values() if "scored" in result.values}
    logits = {result.values["taught"]: result.folder for result in inputs.values() if "taught" in result.values}
    found = []
    for name, source in plan.data.sources.items():
        ready_made = isinstance(source, MdsSource) and source.content == "tokens"
        result = results[name]
        found.append(
            SourceData(
                name=name,
                column=source.column if isinstance(source, MdsSource) and ready_made else result.values["column"],
                train=_range(result, "train", layout),
                heldout=_range(result, "heldout", layout) if result.values["heldout"]["samples"] else None,
                scores=scores.get(name),
                logits=logits.get(name),
            )
        )
    return tuple(found)


def _range(result: Result, split: str, layout: Layout) -> SampleRange:
    values: dict[str, Any] = result.values[split]
    remote, local, first, samples = (values[name] for name in ("remote", "local", "first_sample", "samples"))
    if local is not None:
        return SampleRange(None, str(result.folder / local), first, samples)
    if "://" not in remote and not _is_packed(Path(remote)):
        # A folder of this machine is read where it is, unless Streaming would unpack its shards into it.
        return SampleRange(None, remote, first, samples)
    # Of ready-made shards the hash of the content is that of their index.
    index = result.values.get("content_sha256")
    return SampleRange(remote, str(layout.cache / f"shards-{result.key[:16]}"), first, samples, index)


def _is_packed(folder: Path) -> bool:
    return any(shard["zip_data"] for shard in read_json(folder / "index.json")["shards"])


def open_dataset(plan: RunPlan, layout: Layout, sources: Sequence[SourceData]) -> PlannedDataset:
    """The dataset of all sources; one sample of each is read at once, so that what can't be used is found now."""
    batch = per_device_batch(plan) * dist.get_world_size()
    dataset: PlannedDataset
    with compat.private_shared_memory(layout.run, leads=dist.get_local_rank() == 0):
        dist.barrier()
        if plan.is_classifier:
            dataset = ImageDataset(plan, sources, global_batch=batch)
        else:
            dataset = PlannedDataset(
                plan.data, plan.seed, sources, global_batch=batch, vocab_size=plan.decoder.vocab_size,
                workers=plan.execution.workers, cache_limit=plan.execution.cache_limit,
            )  # fmt: skip
    for source in sources:
        if source.train.samples:
            dataset[dataset.id_of(source.train)]
    return dataset


def train_data(plan: RunPlan, dataset: PlannedDataset, ledger: Ledger) -> DataSpec:
    """Batches in the plan's order, booked per source as they are fed."""
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=per_device_batch(plan),
        num_workers=plan.execution.workers,
        collate_fn=_collate(plan),
        pin_memory=device_kind(plan) == "gpu",
        # All batches are full; a short one can only come from a loader that broke off.
        drop_last=True,
        worker_init_fn=outlive_signals if plan.execution.workers else None,
    )
    return data_spec(loader, ledger.count)


def evaluators(plan: RunPlan, dataset: PlannedDataset, sources: Sequence[SourceData]) -> list[Evaluator]:
    """Held-out loss per source; Composer drops the samples that pad the last batch over ranks."""
    found = []
    for source in sources:
        if source.heldout is None or not source.heldout.samples:
            continue
        samples = min(source.heldout.samples, max(1, plan.evaluation.max_tokens // plan.data.sequence_length))
        heldout = HeldOut(dataset, source.heldout, samples)
        ranks, rank = dist.get_world_size(), dist.get_global_rank()
        sampler: DistributedSampler[Any] = DistributedSampler(heldout, ranks, rank, shuffle=False, drop_last=False)
        size = min(plan.training.microbatch, per_device_batch(plan))
        data = data_spec(
            DataLoader(heldout, batch_size=size, sampler=sampler, collate_fn=_collate(plan)), without_source
        )
        found.append(Evaluator(label=source.name, dataloader=data, eval_interval=when_to_evaluate(plan)))
    return found


def _collate(plan: RunPlan) -> Callable[[Sequence[Any]], dict[str, torch.Tensor]]:
    return ImageCollator(plan) if plan.is_classifier else collate


def without_source(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the model reads of a batch."""
    return {name: batch[name] for name in ("input_ids", "pixel_values", "labels") if name in batch}


def data_spec(loader: DataLoader[Any], transform: Callable[[Any], Any]) -> DataSpec:
    """A loader with what Composer must know of its batches: every token of a sample counts."""
    return DataSpec(
        loader,
        batch_transforms=transform,
        get_num_samples_in_batch=lambda batch: int(next(iter(batch.values())).shape[0]),
        get_num_tokens_in_batch=fed_tokens,
    )


def when_to_evaluate(plan: RunPlan) -> Callable[[State, Event], bool]:
    """Every interval and after the last step; not where a run is interrupted."""
    interval, steps = max(1, plan.evaluation.interval_steps), plan.training.steps

    def due(state: State, event: Event) -> bool:
        step = int(state.timestamp.batch)
        return event is Event.BATCH_END and (step % interval == 0 or step == steps)

    return due

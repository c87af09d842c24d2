"""Two sources of ready-made shards in a folder or a store, the dataset over them, and trainings on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from streaming import MDSWriter
from torch.utils.data import DataLoader

from runtime import compat
from runtime.data.planned_dataset import PlannedDataset, collate
from runtime.data.ranges import SampleRange, SourceData
from runtime.fetching.stores import Patience
from runtime.preemption import end_loaders, outlive_signals
from tests.runtime.training_case import LENGTH, SIZES, VOCAB, plan_of

__all__ = ["BRIEF", "batches", "dataset_of", "fed", "shards_of", "sources_of", "write_remotes"]

BRIEF = Patience(2.0, first_wait=0.05, longest_wait=0.2, stall=1.0)
"""Patience of a test."""

_SHARD_BYTES = 1024
BATCH = 8


def write_remotes(
    folder: Path, *, compression: str | None = None, hashes: tuple[str, ...] = ("sha1",)
) -> dict[str, str]:
    """The sources' shards below `folder`, six or seven samples each; sample `i` of a source is `i`, `i`, ..."""
    places = {}
    for number, (name, size) in enumerate(SIZES.items()):
        columns = {"tokens": f"ndarray:uint16:{LENGTH}"}
        out = str(folder / name)
        with MDSWriter(
            out=out, columns=columns, compression=compression, hashes=list(hashes), size_limit=_SHARD_BYTES
        ) as writer:
            for sample in range(size):
                writer.write({"tokens": np.full(LENGTH, 100 * number + sample, np.uint16)})
        places[name] = out
    return places


def shards_of(remote: str | Path) -> list[Path]:
    """Files of the shards in a folder, in order."""
    return sorted(path for path in Path(remote).iterdir() if path.name.startswith("shard."))


def sources_of(remotes: Mapping[str, str], cache: Path | None) -> list[SourceData]:
    """The sources, copied into `cache` from where they are, or read there."""
    return [
        SourceData(
            name,
            "tokens",
            SampleRange(remotes[name], str(cache / name), 0, size)
            if cache is not None
            else SampleRange(None, remotes[name], 0, size),
            None,
        )
        for name, size in SIZES.items()
    ]


def dataset_of(
    run: Path, remotes: Mapping[str, str], *, steps: int = 10, cache: Path | None = None, **changes: Any
) -> PlannedDataset:
    """The dataset of the tiny plan; `run` names its shared memory."""
    plan = plan_of(steps)
    with compat.private_shared_memory(run, leads=True):
        return PlannedDataset(
            plan.data, plan.seed, sources_of(remotes, cache),
            global_batch=BATCH, vocab_size=VOCAB, **{"patience": BRIEF, **changes},
        )  # fmt: skip


def batches(dataset: PlannedDataset, workers: int = 0) -> Iterator[list[int]]:
    """What the loader feeds: of each sample of a batch, its first token. Its processes end with it, as a training's do.

    A loader that an error leaves behind waits 5 s for each of its workers when it is collected, in whatever test that is.
    """
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_size=BATCH, num_workers=workers, collate_fn=collate, drop_last=True,
        worker_init_fn=outlive_signals,
    )  # fmt: skip
    try:
        for batch in loader:
            yield [int(ids[0]) for ids in batch["input_ids"]]
    finally:
        end_loaders()


def fed(dataset: PlannedDataset, workers: int = 0) -> list[int]:
    """All that the loader feeds: of each sample, its first token."""
    return [first for batch in batches(dataset, workers) for first in batch]

"""Streaming's dataset with the plan's order, and views of its held-out samples.

Downloaders, formats of shards, workers and resumption are Streaming's; `runtime.fetching` sees to it that shards come whole
(ADR 0008). `_get_work`, the one place where Streaming makes the order of samples, is replaced: it takes windows of the order
that `runtime.order` makes from the plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import torch
from streaming.base.distributed import get_world_size
from torch.utils.data import Dataset

from runtime import compat
from runtime.data.lookahead import LookAhead, Work
from runtime.data.mds import token_ids
from runtime.data.ranges import Ranges, SampleRange, SourceData
from runtime.data.shard_map import ShardMap
from runtime.errors import DataError
from runtime.fetching.stores import PATIENCE, Patience
from runtime.fetching.stream import ShardStream
from runtime.fetching.worker_errors import BadSampleError
from runtime.order.base import Ids
from runtime.order.orders import source_orders
from runtime.order.run_order import Cursor, RunOrder, worker_batches
from runtime.teaching.kept_logits import Row, TeacherRows, stack
from schemas.plan import DataPlan

__all__ = [
    "HeldOut",
    "PlannedDataset",
    "Sample",
    "check_draws",
    "collate",
]

Sample = tuple[Any, int] | tuple[Any, int, Row]
"""Token ids as they are stored, [sequence_length] (or an image with its label), and the number of their source; -1 for held-out
ones. Then what teachers said of it, where that is kept."""

_AHEAD: Final = 1 << 14
"""Samples of all loaders together for which shards are fetched ahead: so that those of the next block come in time."""


def check_draws(data: DataPlan, sources: Sequence[SourceData]) -> None:
    """Refuse a plan that draws more of a source than it has.

    Raises:
        DataError: nothing to draw from (RC401); more draws than `max_epochs` allows (RC405).
    """
    for source in sources:
        drawn = sum(phase.sources[source.name].samples for phase in data.phases if source.name in phase.sources)
        limit, unique = data.sources[source.name].max_epochs, source.train.samples
        if drawn and not unique:
            raise DataError(
                "RC401", f"source `{source.name}` has no sample", "add data to it, or take it out of the mixture"
            )
        if limit is not None and drawn > unique * limit:
            raise DataError(
                "RC405",
                f"source `{source.name}` has {unique:,} samples of {data.sequence_length:,} tokens, the plan draws "
                f"{drawn:,}, which is {drawn / unique:.2f} epochs, and max_epochs is {limit:g}",
                f"set `max_epochs: {-(-drawn * 100 // unique) / 100:.10g}`, lower its weight, or train on fewer tokens",
            )


class PlannedDataset(LookAhead):
    """All sources of a run as one epoch, in the plan's order; `dataset[id]` reads any sample, held-out ones too.

    Args:
        data: the plan's phases.
        seed: the plan's seed.
        sources: where the samples are; each folder of shards is opened once, also if train and held-out share it.
        global_batch: samples of a batch over all ranks.
        vocab_size: rows of the model's embedding.
        workers: loader processes of a rank.
        cache_limit: bytes on this machine that copies of shards may take, or None.
        patience: how long to ask a store that fails.
    """

    def __init__(
        self,
        data: DataPlan,
        seed: int,
        sources: Sequence[SourceData],
        *,
        global_batch: int,
        vocab_size: int,
        workers: int = 0,
        cache_limit: int | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        places = [place for source in sources for place in source.places]
        folders = {place.local: place for place in places}
        streams = [
            ShardStream(remote=place.remote, local=local, index_sha256=place.index_sha256, patience=patience)
            for local, place in folders.items()
        ]
        with compat.replaced_spanner(ShardMap):
            super().__init__(
                streams, batch_size=global_batch // get_world_size(), workers=workers, cache_limit=cache_limit,
                patience=patience,
            )  # fmt: skip
        self._sequence_length, self._vocab_size, self._global_batch = data.sequence_length, vocab_size, global_batch
        self._first = dict(zip(folders, self.sample_offset_per_stream.tolist(), strict=True))
        self._check_sizes(places)
        self._ranges = Ranges(sources, self._first)
        self._taught = {
            number: (self.id_of(source.train), TeacherRows(source.logits))
            for number, source in enumerate(sources)
            if source.logits is not None and source.train.samples
        }
        self.order = self._make_order(data, seed, sources)
        self._drawn: Mapping[str, int] | None = None
        self.length = self.order.samples // self._parallel_rank_world.num_ranks

    def _check_sizes(self, places: Sequence[SampleRange]) -> None:
        sizes = dict(zip(self._first, self.samples_per_stream.tolist(), strict=True))
        for place in places:
            if place.first + place.samples > sizes[place.local]:
                found = (
                    f"{place.local} has {sizes[place.local]} samples, and {place.first + place.samples} were prepared"
                )
                raise DataError("RC408", found, "delete the prepared folder and run again")

    def _make_order(self, data: DataPlan, seed: int, sources: Sequence[SourceData]) -> RunOrder:
        filled = [source for source in sources if source.train.samples]
        offsets = {source.name: self.id_of(source.train) for source in filled}
        shards = {source.name: self._shard_sizes(source.train) for source in filled}
        scores = {source.name: source.scores for source in filled if source.scores is not None}
        return RunOrder(data.phases, source_orders(data, seed, shards, scores), offsets)

    def _shard_sizes(self, place: SampleRange) -> Ids:
        """Samples of a range in each shard, [shards]; shards without any are left out."""
        begin = self.id_of(place)
        ends = np.clip(self.spanner.ends, begin, begin + place.samples)
        sizes = np.diff(ends, prepend=begin)
        return sizes[sizes > 0]

    def id_of(self, place: SampleRange, number: int = 0) -> int:
        """The id of sample `number` of a range."""
        return int(self._first[place.local]) + place.first + number

    def go_on_from(self, drawn: Mapping[str, int]) -> None:
        """Let a resume start at once, from the draws of each source so far, instead of counting them anew.

        With another plan of the future than the one that made them, these draws stay done: nothing is replayed.
        """
        self._drawn = dict(drawn)

    def _get_work(self, epoch: int, sample_in_epoch: int) -> Work:
        """This worker's samples, from `sample_in_epoch` of the run on."""
        del epoch  # a run is one epoch
        world, batch = self._parallel_worker_world, self._global_batch
        cursor = self.order.start(sample_in_epoch, self._drawn if sample_in_epoch else None)
        self.predownload = 8 * self.batch_size
        if self.cache_limit is None:  # of a small cache, what is needed now would make room for what is needed later
            self.predownload = max(self.predownload, _AHEAD // world.num_workers)
        # Of the batches that are left, workers take the first, the second, ... in turn.
        batches = -(-((self.order.samples - sample_in_epoch) // batch - world.worker_of_rank) // world.workers_per_rank)
        return Work(self._worker_windows(cursor), max(0, batches) * (batch // world.num_ranks))

    def _worker_windows(self, cursor: Cursor) -> Iterator[Ids]:
        world, first = self._parallel_worker_world, 0
        for window in cursor.windows(self._global_batch):
            yield worker_batches(
                window, first=first, batch=self._global_batch, rank=world.rank, ranks=world.num_ranks,
                worker=world.worker_of_rank, workers=world.workers_per_rank,
            )  # fmt: skip
            first += len(window) // self._global_batch

    def get_item(self, sample_id: int, retry: int = 20) -> Sample:
        """What a sample holds, its source, and what teachers said of it where that is kept.

        Raises:
            BadSampleError: its shard is damaged (RC408); it doesn't hold what the plan says (RC411, RC416).
        """
        source, column = self._ranges.of_sample(sample_id)
        value = self.decoded(super().get_item(sample_id, retry), column, sample_id)
        if source in self._taught:
            return value, source, self._row(source, sample_id)
        return value, source

    def decoded(self, row: Mapping[str, Any], column: str, sample_id: int) -> Any:
        """The token ids in a row of a shard, checked against the plan.

        Raises:
            BadSampleError: it isn't `sequence_length` ids below `vocab_size` (RC411).
        """
        tokens = token_ids(row.get(column))
        if tokens is None:
            raise self.bad("RC411", sample_id, "is not an array of token ids")
        if tokens.shape != (self._sequence_length,):
            raise self.bad("RC411", sample_id, f"has shape {tokens.shape}, not ({self._sequence_length},) as planned")
        # As unsigned numbers, ids below zero are too large as well.
        if tokens.view(f"u{tokens.itemsize}").max() >= self._vocab_size:
            found = f"has token ids from {tokens.min()} to {tokens.max()}, the model has {self._vocab_size} rows"
            raise self.bad("RC411", sample_id, found)
        return tokens

    def _row(self, source: int, sample_id: int) -> Row:
        """What teachers said of a train sample."""
        first, rows = self._taught[source]
        try:
            return rows[sample_id - first]
        except DataError as error:
            raise BadSampleError.of(error) from error


class HeldOut(Dataset[Sample]):
    """The first `samples` held-out samples of a source, by number."""

    def __init__(self, dataset: PlannedDataset, place: SampleRange, samples: int) -> None:
        self._dataset, self._place, self._samples = dataset, place, samples

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, number: int) -> Sample:
        return cast("Sample", self._dataset[self._dataset.id_of(self._place, number)])


def collate(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """A batch: `input_ids` [batch, sequence_length] and `source` [batch], both int64, and what teachers said of them."""
    ids = np.empty((len(samples), len(samples[0][0])), np.int64)
    for row, sample in enumerate(samples):
        ids[row] = sample[0]
    said = [sample[2] for sample in samples if len(sample) == 3]
    sources = torch.tensor([sample[1] for sample in samples])
    return {"input_ids": torch.from_numpy(ids), "source": sources, **(stack(said) if said else {})}

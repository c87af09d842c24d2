"""Streaming's dataset with the plan's order, and views of its held-out samples.

Shard download, cache, resumption and workers are StreamingDataset's. `_get_work`, the one place where it makes the
order of samples, is replaced: it slices an array that `runtime.data.order` made from the plan.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from streaming import Stream, StreamingDataset
from streaming.base.distributed import get_world_size
from streaming.base.format import Reader
from torch.utils.data import Dataset

from runtime.data.mds import token_ids
from runtime.data.order import Ids, run_order, worker_batches
from runtime.errors import DataError
from schemas.plan import DataPlan

__all__ = [
    "BadSampleError",
    "HeldOut",
    "PlannedDataset",
    "Sample",
    "SampleRange",
    "SourceData",
    "check_draws",
    "collate",
]

Sample = tuple[NDArray[np.int64], int]
"""Token ids, [sequence_length], and the number of their source; -1 for held-out ones."""


@dataclass(frozen=True)
class SampleRange:
    """Consecutive samples of one folder of MDS shards.

    Args:
        remote: URL, or None where the shards are on this machine.
        local: folder of the shards, or of their copies.
        first: number of the first sample.
        samples: how many.
    """

    remote: str | None
    local: str
    first: int
    samples: int


@dataclass(frozen=True)
class SourceData:
    """What a prepare step made of a source; `heldout` is None where nothing is held out."""

    name: str
    column: str
    train: SampleRange
    heldout: SampleRange | None


class BadSampleError(Exception):
    """A sample that can't be used: a DataError as one line of JSON, since a loader worker can only pass on one text."""

    @classmethod
    def of(cls, code: str, message: str, remedy: str) -> BadSampleError:
        """Arguments are DataError's."""
        return cls(json.dumps([code, message, remedy]))

    def error(self) -> DataError:
        """The error for the user; the loader puts the worker's traceback in front of the text."""
        line = str(self).splitlines()[-1]
        return DataError(*json.loads(line[line.index("[") :]))


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
                f"set `max_epochs: {-(-drawn * 100 // unique) / 100:g}`, lower its weight, or train on fewer tokens",
            )


class PlannedDataset(StreamingDataset):  # type: ignore[misc]  # streaming has no types
    """All sources of a run as one epoch, in the plan's order; `dataset[id]` reads any sample, held-out ones too.

    Args:
        data: the plan's phases.
        seed: the plan's seed.
        sources: where the samples are; each folder of shards is opened once, also if train and held-out share it.
        global_batch: samples of a batch over all ranks.
        vocab_size: rows of the model's embedding.
    """

    def __init__(
        self, data: DataPlan, seed: int, sources: Sequence[SourceData], *, global_batch: int, vocab_size: int
    ) -> None:
        places = [place for source in sources for place in _places(source)]
        folders = {place.local: place.remote for place in places}
        streams = [Stream(remote=remote, local=local) for local, remote in folders.items()]
        super().__init__(streams=streams, batch_size=global_batch // get_world_size(), shuffle=False)
        self._sequence_length, self._vocab_size, self._global_batch = data.sequence_length, vocab_size, global_batch
        self._failure: str | None = None
        self._first = dict(zip(folders, self.sample_offset_per_stream.tolist(), strict=True))
        sizes = dict(zip(folders, self.samples_per_stream.tolist(), strict=True))
        for place in places:
            if place.first + place.samples > sizes[place.local]:
                found = (
                    f"{place.local} has {sizes[place.local]} samples, and {place.first + place.samples} were prepared"
                )
                raise DataError("RC408", found, "delete the prepared folder and run again")
        self._columns = [
            next(source.column for source in sources if any(place.local == folder for place in _places(source)))
            for folder in folders
        ]
        self._validate_downloads()
        offsets = {source.name: self._first.get(source.train.local, 0) + source.train.first for source in sources}
        samples = {source.name: source.train.samples for source in sources}
        self.order: Ids = run_order(data.phases, seed, samples, offsets)
        # Where each source's samples begin, in order of ids, so that a sample's source is found by bisection.
        spans = [(offsets[name], offsets[name] + count, i) for i, (name, count) in enumerate(samples.items()) if count]
        self._starts, self._stops, self._numbers = np.array(sorted(spans), np.int64).T
        if (self._stops[:-1] > self._starts[1:]).any():
            raise DataError(
                "RC411", "two sources read the same samples", "name each folder of shards once in `data.sources`"
            )
        self.length = len(self.order) // self._parallel_rank_world.num_ranks

    def id_of(self, place: SampleRange, number: int = 0) -> int:
        """The id of sample `number` of a range."""
        return int(self._first[place.local]) + place.first + number

    def _validate_downloads(self) -> None:
        """Compare each downloaded shard with a hash of its index, where the index has one for all."""
        for number, stream in enumerate(self.streams):
            begin = self.shard_offset_per_stream[number]
            shards = self.shards[begin : begin + self.shards_per_stream[number]]
            known = [set((info[1] or info[0]).hashes) for shard in shards for info in shard.file_pairs]
            stream.validate_hash = min(set.intersection(*known), default=None)

    def _get_work(self, epoch: int, sample_in_epoch: int) -> Ids:
        """This worker's samples, from `sample_in_epoch` of the run on."""
        del epoch  # a run is one epoch
        world = self._parallel_worker_world
        return worker_batches(
            self.order, start=sample_in_epoch, batch=self._global_batch, rank=world.rank, ranks=world.num_ranks,
            worker=world.worker_of_rank, workers=world.workers_per_rank,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Sample]:
        """This worker's samples; raises where the parent would end early because a download failed."""
        try:
            yield from super().__iter__()
        finally:
            # Whoever leaves early, by an error or a stop, would leave threads behind that look ahead for ever.
            if hasattr(self, "_iterator"):
                self._iterator.non_blocking_exit()
        if self._failure is not None:
            raise BadSampleError(self._failure)

    def prepare_shard(self, shard_id: int, blocking: bool = True) -> None:
        """Fetch a shard; remembers why it failed, since the parent drops the errors of its threads."""
        try:
            super().prepare_shard(shard_id, blocking)
        except Exception as error:  # each store has its own exceptions
            stream, shard = self.streams[self.stream_per_shard[shard_id]], self.shards[shard_id]
            place = f"{stream.remote or stream.local}/{shard.raw_data.basename}"
            if stream.remote is not None:
                _remove_copies(stream, shard)
            message = f"the shard {place} can't be read: {_first_line(error)}"
            self._failure = str(
                BadSampleError.of("RC408", message, "check that it is whole and can be reached; run again")
            )
            raise BadSampleError(self._failure) from error

    def get_item(self, sample_id: int, retry: int = 7) -> Sample:
        """Token ids and source of a sample.

        Raises:
            BadSampleError: its shard is damaged (RC408); it isn't `sequence_length` ids below `vocab_size` (RC411).
        """
        shard_id, row = self.spanner[sample_id]
        stream_id = int(self.stream_per_shard[shard_id])
        try:
            value = super().get_item(sample_id, retry)[self._columns[stream_id]]
        except (KeyError, ValueError, IndexError, TypeError, RuntimeError, OSError) as error:
            raise self._bad("RC408", shard_id, row, f"can't be read: {_first_line(error)}") from error
        tokens = token_ids(value)
        if tokens is None:
            raise self._bad("RC411", shard_id, row, "is not an array of token ids")
        if tokens.shape != (self._sequence_length,):
            raise self._bad(
                "RC411", shard_id, row, f"has shape {tokens.shape}, not ({self._sequence_length},) as planned"
            )
        ids = tokens.astype(np.int64)
        if ids.min() < 0 or ids.max() >= self._vocab_size:
            found = f"has token ids from {ids.min()} to {ids.max()}, the model has {self._vocab_size} rows"
            raise self._bad("RC411", shard_id, row, found)
        return ids, self._source_of(sample_id)

    def _source_of(self, sample_id: int) -> int:
        at = int(np.searchsorted(self._starts, sample_id, side="right")) - 1
        return int(self._numbers[at]) if at >= 0 and sample_id < self._stops[at] else -1

    def _bad(self, code: str, shard_id: int, row: int, reason: str) -> BadSampleError:
        folder = self.streams[self.stream_per_shard[shard_id]].local
        place = Path(folder, self.shards[shard_id].raw_data.basename)
        remedy = "delete the prepared folder, or fetch the ready-made shards again; then run again"
        return BadSampleError.of(code, f"{place}: sample {row} {reason}", remedy)


class HeldOut(Dataset[Sample]):
    """The first `samples` held-out samples of a source, by number."""

    def __init__(self, dataset: PlannedDataset, place: SampleRange, samples: int) -> None:
        self._dataset, self._place, self._samples = dataset, place, samples

    def __len__(self) -> int:
        return self._samples

    def __getitem__(self, number: int) -> Sample:
        return cast("Sample", self._dataset[self._dataset.id_of(self._place, number)])


def collate(samples: Sequence[Sample]) -> dict[str, torch.Tensor]:
    """A batch: `input_ids` [batch, sequence_length] and `source` [batch], both int64."""
    tokens, sources = zip(*samples, strict=True)
    return {"input_ids": torch.from_numpy(np.stack(tokens)), "source": torch.tensor(sources)}


def _places(source: SourceData) -> list[SampleRange]:
    return [place for place in (source.train, source.heldout) if place is not None and place.samples]


def _remove_copies(stream: Stream, shard: Reader) -> None:
    """Delete what was fetched of a shard: the parent would take it for whole the next time."""
    for part in (part for pair in shard.file_pairs for part in pair if part is not None):
        Path(stream.local, stream.split, part.basename).unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]

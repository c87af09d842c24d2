"""Where the samples of each source are among all ids of a run."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from runtime.errors import DataError

__all__ = ["Ranges", "SampleRange", "SourceData"]


@dataclass(frozen=True)
class SampleRange:
    """Consecutive samples of one folder of MDS shards.

    Args:
        remote: URL, or None where the shards are on this machine.
        local: folder of the shards, or of their copies.
        first: number of the first sample.
        samples: how many.
        index_sha256: of the index.json by which they were counted, where it is not here.
    """

    remote: str | None
    local: str
    first: int
    samples: int
    index_sha256: str | None = None


@dataclass(frozen=True)
class SourceData:
    """What a prepare step made of a source; `heldout` is None where nothing is held out.

    `scores` is the folder of its score step, where it has a curriculum; `logits` that of what teachers said of its train
    samples, where that is kept.
    """

    name: str
    column: str
    train: SampleRange
    heldout: SampleRange | None
    scores: Path | None = None
    logits: Path | None = None

    @property
    def places(self) -> list[SampleRange]:
        """The ranges that hold samples."""
        return [place for place in (self.train, self.heldout) if place is not None and place.samples]


class Ranges:
    """Finds source and column of an id by bisection.

    Args:
        sources: numbered in this order.
        first: id of the first sample of each folder, rising.

    Raises:
        DataError: two sources are trained on the same samples (RC411).
    """

    def __init__(self, sources: Sequence[SourceData], first: Mapping[str, int]) -> None:
        columns = {place.local: source.column for source in sources for place in source.places}
        spans = sorted(
            (first[source.train.local] + source.train.first, source.train.samples, number)
            for number, source in enumerate(sources)
            if source.train.samples
        )
        for (begin, samples, _), (after, _, _) in pairwise(spans):
            if begin + samples > after:
                raise DataError(
                    "RC411", "two sources read the same samples", "name each folder of shards once in `data.sources`"
                )
        # Sorted with what begins a folder before the sources that begin there, and after what ends there.
        edges = sorted(
            [(begin, 1, columns[folder], -1) for folder, begin in first.items()]
            + [(begin, 2, "", number) for begin, _, number in spans]
            + [(begin + samples, 0, "", -1) for begin, samples, _ in spans]
        )
        self._begins = [begin for begin, *_ in edges]
        self._values: list[tuple[int, str]] = []
        column = ""
        for _, _, changed, number in edges:
            column = changed or column
            self._values.append((number, column))

    def of_sample(self, sample_id: int) -> tuple[int, str]:
        """Number of the source that is trained on a sample, -1 for held-out ones, and the column with its tokens."""
        return self._values[bisect_right(self._begins, sample_id) - 1]

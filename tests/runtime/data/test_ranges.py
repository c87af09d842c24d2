"""Source and column of every id, against looking through all ranges."""

from __future__ import annotations

import pytest

from runtime.data.ranges import Ranges, SampleRange, SourceData
from runtime.errors import DataError


def _source(name: str, column: str, train: SampleRange, heldout: SampleRange | None = None) -> SourceData:
    return SourceData(name, column, train, heldout)


def test_every_id_has_its_source_and_column() -> None:
    """Held-out samples before, after or apart from those of training; a gap; two sources in one folder; an empty one."""
    sources = [
        _source("a", "x", SampleRange(None, "one", 3, 4), SampleRange(None, "one", 0, 3)),
        _source("b", "y", SampleRange(None, "two", 5, 6), SampleRange(None, "three", 0, 2)),
        _source("c", "y", SampleRange(None, "two", 0, 4)),
        _source("d", "z", SampleRange(None, "four", 0, 0)),
    ]
    first, sizes = {"one": 0, "two": 8, "three": 20}, {"one": 8, "two": 12, "three": 2}
    ranges = Ranges(sources, first)
    for folder, begin in first.items():
        for row in range(sizes[folder]):
            training = [
                number
                for number, source in enumerate(sources)
                if source.train.local == folder
                and source.train.first <= row < source.train.first + source.train.samples
            ]
            column = {"one": "x", "two": "y", "three": "y"}[folder]
            assert ranges.of_sample(begin + row) == ((training or [-1])[0], column)


def test_sources_that_share_samples_are_refused() -> None:
    """Each would draw what the other has drawn, and the books could not tell them apart."""
    sources = [
        _source("a", "x", SampleRange(None, "one", 0, 4)),
        _source("b", "x", SampleRange(None, "one", 3, 4)),
    ]
    with pytest.raises(DataError, match="two sources read the same samples") as caught:
        Ranges(sources, {"one": 0})
    assert caught.value.code == "RC411"

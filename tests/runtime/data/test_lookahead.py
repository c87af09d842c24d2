"""A loader worker's ids: the windows in order, from several threads, and no more of them kept than are in use."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.data.lookahead import Work
from runtime.data.shard_map import ShardMap
from runtime.order.base import Ids


def _windows(sizes: list[int]) -> list[Ids]:
    ids = np.arange(100, 100 + sum(sizes))
    return [np.array(part) for part in np.split(ids, np.cumsum(sizes)[:-1])]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 12))
def test_reading_gives_all_ids_in_order(sizes: list[int], step: int) -> None:
    """Also where a worker has no batch in a window; after the end there is nothing."""
    total = sum(sizes)
    work = Work(iter(_windows(sizes)), total)
    found: list[int] = []
    while len(found) < total:
        found.extend(work.read(len(found), len(found) + step).tolist())
    assert found == list(range(100, 100 + total))
    assert len(work) == total
    assert not len(work.read(total, total + 1))


def test_windows_that_were_read_are_dropped() -> None:
    """A worker keeps what lies between the sample it reads and the one it looks ahead to, however long the run."""
    alive: list[int] = []

    def made() -> Iterator[Ids]:
        for number in range(1000):
            alive.append(number)
            yield np.full(10, number)

    work = Work(made(), 10_000)
    work.read(25, 26)
    assert len(alive) == 3
    for number in range(1000):
        assert work.read(number * 10 + 5, number * 10 + 6).tolist() == [number]
        work.forget(number * 10 + 5)
        assert len(work._kept) <= 3


def test_what_is_there_can_be_read_while_the_next_window_is_made() -> None:
    """The loader must not wait for the order of samples that come minutes later."""
    go_on = threading.Event()

    def made() -> Iterator[Ids]:
        yield np.arange(4)
        assert go_on.wait(30)
        yield np.arange(4, 8)

    work = Work(made(), 8)
    work.read(0, 1)
    ahead: list[Ids] = []
    thread = threading.Thread(target=lambda: ahead.append(work.read(4, 8)))
    thread.start()
    assert work.read(1, 4).tolist() == [1, 2, 3]
    assert not ahead
    go_on.set()
    thread.join(30)
    assert ahead[0].tolist() == [4, 5, 6, 7]


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=30).filter(any))
def test_shards_are_found_as_streaming_finds_them(sizes: list[int]) -> None:
    """Shard and row of every sample, by its own table; empty shards hold nothing."""
    from streaming.base.spanner import Spanner

    theirs, ours = Spanner(np.array(sizes), span_size=4), ShardMap(np.array(sizes))
    every = [ours[i] for i in range(sum(sizes))]
    assert every == [tuple(map(int, theirs[i])) for i in range(sum(sizes))]
    ids = np.arange(sum(sizes))[::-1]
    assert ours.shards_of(ids) == [i for i in reversed(range(len(sizes))) if sizes[i]]
    for index in (-1, sum(sizes)):
        with pytest.raises(IndexError, match="there is no sample"):
            ours[index]

"""The worker's samples as they come, and shards fetched ahead of them: Streaming's three threads, in steps of many samples."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import numpy as np
from streaming.base.constant import TICK
from streaming.base.dataset import _Iterator

from runtime.fetching.dataset import FetchingDataset
from runtime.fetching.worker_errors import BadSampleError
from runtime.order.base import Ids

if TYPE_CHECKING:
    from runtime.data.shard_map import ShardMap

__all__ = ["LookAhead", "Work"]

_STEP: Final = 256
"""Samples at most for which a thread looks up shards and takes locks at once."""


class Work:
    """Ids that a loader worker reads, made window by window as they are asked for; windows that were read are dropped.

    Streaming's `_Iterator` takes it for its array of ids, of which it asks only the length.

    Args:
        windows: ids of the worker, in order.
        total: how many they are together.
    """

    def __init__(self, windows: Iterator[Ids], total: int) -> None:
        self._windows, self._total = windows, total
        self._kept: deque[tuple[int, Ids]] = deque()
        self._made = 0
        self._lock, self._making = threading.Lock(), threading.Lock()
        self.moved = threading.Condition()
        """Notified when a thread that others wait for has moved on, or has ended."""

    def __len__(self) -> int:
        return self._total

    def read(self, start: int, stop: int) -> Ids:
        """Ids start to stop (exclusive), or fewer: those up to the end of a window; empty at the end of the work."""
        while (found := self._find(start, stop)) is None:
            # Not under the lock of the windows that are there: the loader reads those while the next one is made.
            with self._making:
                if self._made <= start and not self._make():
                    return np.empty(0, np.int64)
        return found

    def _find(self, start: int, stop: int) -> Ids | None:
        with self._lock:
            for begin, window in self._kept:
                if begin <= start < begin + len(window):
                    return window[start - begin : stop - begin]
        return None

    def _make(self) -> bool:
        """Make the next window; whether there was one."""
        window = next(self._windows, None)
        if window is None:
            return False
        with self._lock:
            self._kept.append((self._made, window))
            self._made += len(window)
        return True

    def forget(self, before: int) -> None:
        """Drop the windows whose ids are all before this one."""
        with self._lock:
            while self._kept and self._kept[0][0] + len(self._kept[0][1]) <= before:
                self._kept.popleft()

    def notify(self) -> None:
        """Wake the threads that wait for another one."""
        with self.moved:
            self.moved.notify_all()

    def wait(self) -> None:
        """Wait until another thread has moved on, a tick at most, since other processes don't notify."""
        with self.moved:
            self.moved.wait(TICK)


class LookAhead(FetchingDataset):
    """Replaces the loops of Streaming's prepare, ready and yield threads; what they do for a shard stays its own.

    The parent's loops look up the shard, lock a file and ask for the raw file once per sample, and sleep 7 ms whenever
    one has caught up with another. Here one lookup and one lock serve all samples of a step in the same shard.
    """

    spanner: ShardMap

    def _prepare_thread(self, it: _Iterator) -> None:
        """Fetch the shards of the next `predownload` samples, in the order in which they are needed."""
        work: Work = it.sample_ids
        while not self._is_over(it) and it.prepare_index < it.total:
            ahead = it.yield_index + self.predownload - it.prepare_index
            # Small steps would look the same shards up again and again; a small `predownload` allows no other.
            if ahead < min(_STEP, max(1, self.predownload // 2)) and it.prepare_index + ahead < it.total:
                work.wait()
                continue
            ids = self._step(work.read(it.prepare_index, it.prepare_index + min(ahead, _STEP)))
            for shard_id in self.spanner.shards_of(ids):
                if self._is_over(it):
                    break
                self.prepare_shard(shard_id, False)
            it.prepare_index += len(ids)
            work.notify()
        it.on_exit()

    def _ready_thread(self, it: _Iterator) -> None:
        """Wait until the shards of the samples that come next are there."""
        work: Work = it.sample_ids
        while not self._is_over(it) and it.ready_index < it.total:
            if it.ready_index >= it.prepare_index:
                work.wait()
                continue
            ids = self._step(work.read(it.ready_index, min(it.prepare_index, it.ready_index + _STEP)))
            for shard_id in self.spanner.shards_of(ids):
                self.await_shard(shard_id)
            it.ready_index += len(ids)
            work.notify()
        it.on_exit()

    def _step(self, ids: Ids) -> Ids:
        """Of these the samples up to the first whose shard isn't here, at least one: nobody waits for shards of later ones."""
        shards = np.searchsorted(self.spanner.ends, ids, side="right")
        away = np.flatnonzero(~self.is_local(shards))
        return ids[: max(1, away[0])] if len(away) else ids

    def await_shard(self, shard_id: int) -> None:
        """Wait until a shard is there, whoever fetches it.

        One that fails counts as ready: reading its sample tries once more, and raises where the loader can see it. Until
        something comes again, nobody else asks.
        """
        if not self.gave_up:
            with contextlib.suppress(BadSampleError):
                self.prepare_shard(shard_id)

    def _each_sample_id(self, it: _Iterator) -> Iterator[int]:
        """Ids of this worker's samples, each once its shard is there."""
        work: Work = it.sample_ids
        while not self._is_over(it) and it.yield_index < it.total:
            if it.ready_index <= it.yield_index:
                work.wait()
                continue
            for sample_id in work.read(it.yield_index, min(it.ready_index, it.yield_index + _STEP)).tolist():
                yield sample_id
                it.yield_index += 1
                if it.should_exit():
                    break
            work.forget(it.yield_index)
            work.notify()
        it.on_exit()

    def _is_over(self, it: _Iterator) -> bool:
        """Whether to leave: another epoch began, the reader left, or a thread failed."""
        return bool(it.should_exit() or self._event.is_set())

"""StreamingDataset whose shards come or say why not: checked, fetched once, tried again, evicted; it never waits for ever.

Streaming marks a shard as being prepared and lets all other processes of the machine spin until it is there. If who
prepares it fails or dies, they spin for ever, since the loader reads the error only when it is that worker's turn. Here
a lock that dies with its process says who fetches, and the next one tries for itself.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from time import monotonic, time_ns
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DataError, RunError, first_line
from runtime.fetching.cache import FAILED, LOCAL, REMOTE, BoundedCache
from runtime.fetching.problems import StoreError
from runtime.fetching.shard_locks import ShardLocks
from runtime.fetching.stores import PATIENCE, Patience
from runtime.fetching.worker_errors import BadSampleError

if TYPE_CHECKING:
    from runtime.fetching.stream import ShardStream

__all__ = ["FetchingDataset"]

_REST_SECONDS: Final = 5.0
"""How long nobody looks ahead after a look ahead that failed."""
# A copy may be evicted between its arrival and its first read, if the limit is small and the workers are many.
_READS: Final = 20
_LOCK_NAME: Final = ".shards.lock"


class FetchingDataset(BoundedCache):
    """Shards of several folders; every one is compared with its index before its first sample is read in a run.

    Args:
        streams: the folders.
        batch_size: samples of a batch of one rank.
        workers: loader processes of a rank.
        cache_limit: bytes on this machine that copies of shards may take, or None.
        patience: how long to ask a store that fails.

    Raises:
        DataError: an index is missing or damaged (RC401, RC408, RC409), or holds no sample (RC401).
        RunFailed: the limit is too small for these shards (RC609); a store can't be reached (RC607).
    """

    def __init__(
        self,
        streams: Sequence[ShardStream],
        *,
        batch_size: int,
        workers: int = 0,
        cache_limit: int | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        super().__init__(streams, batch_size=batch_size, workers=workers, cache_limit=cache_limit)
        self._patience = patience
        roots = [stream.local for stream in streams if stream.is_copy]
        self._locks = {root: ShardLocks(Path(root, _LOCK_NAME)) for root in roots}
        self._broken: BaseException | None = None
        self._rests_until = 0.0
        self.gave_up = False
        """Whether the last one who waited for a shard has given up."""

    def prepare_shard(self, shard_id: int, blocking: bool = True) -> None:
        """Make a shard readable.

        Args:
            shard_id: its number.
            blocking: whether to wait where another process fetches it, and to raise; a look ahead does neither, since
                whoever needs the shard will meet the error.

        Raises:
            BadSampleError: it is missing or damaged (RC408); its store can't be reached (RC607); no room (RC604).
        """
        if self._shard_states[shard_id] == LOCAL:
            self._shard_access_times[shard_id] = time_ns()
            return
        if not blocking and monotonic() < self._rests_until:
            return
        try:
            with self._turn(shard_id, waits=blocking) as mine:
                if mine and self._shard_states[shard_id] != LOCAL:
                    self._bring(shard_id, patient=blocking and self._shard_states[shard_id] != FAILED)
        except BadSampleError:
            if blocking:
                raise
            self._rests_until = monotonic() + _REST_SECONDS

    def is_local(self, shards: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these shards are here and checked."""
        local: NDArray[np.bool_] = self._shard_states.numpy()[shards] == LOCAL
        return local

    @contextlib.contextmanager
    def _turn(self, shard_id: int, *, waits: bool) -> Iterator[bool]:
        locks = self._locks.get(self._stream(shard_id).local)
        if locks is None:  # no copy: two processes may compare the same file
            yield True
            return
        with locks.hold(shard_id, waits=waits, stopped=self._is_stopped) as mine:
            yield mine

    def _stream(self, shard_id: int) -> ShardStream:
        stream: ShardStream = self.streams[self.stream_per_shard[shard_id]]
        return stream

    def _is_stopped(self) -> bool:
        """Whether the loop that reads this process's samples was left."""
        return hasattr(self, "_iterator") and bool(self._iterator.should_exit())

    def _bring(self, shard_id: int, *, patient: bool) -> None:
        """Fetch and check a shard, whose lock we hold; room is booked before, and given back if it doesn't come."""
        patience = self._patience if patient else replace(self._patience, seconds=0.0, least_tries=1)
        stream, shard = self._stream(shard_id), self.shards[shard_id]
        kept = shard.file_pairs[0][0].bytes if stream.is_copy else 0
        most = shard.get_max_size() if stream.is_copy else 0
        self._book(most - self._claim(shard_id))
        booked = 0
        try:
            while True:
                try:
                    stream.fetch(shard, patience=patience, stopped=self._is_stopped)
                    break
                except StoreError as error:
                    # Another run may fill the disk that the limit was meant for.
                    if error.problem != "full" or self.cache_limit is None or not self._evict_one():
                        raise
            booked = kept
            self._shard_access_times[shard_id] = time_ns()
            self._shard_states[shard_id] = LOCAL
            self.gave_up = False
        except StoreError as error:
            if patient:
                self._shard_states[shard_id], self.gave_up = FAILED, True
            raise BadSampleError.of(self._told(error, stream, most)) from error
        finally:
            self._book(booked - most, evicts=False)

    def _told(self, error: StoreError, stream: ShardStream, size: int) -> RunError:
        """The error for the user. A shard that isn't there is damaged data, where its index is."""
        if error.problem == "full":
            error = StoreError("full", error.url, f"it takes {size:,} bytes, and {error.reason}")
        if error.problem in ("missing", "damaged"):
            remedy = f"delete {Path(stream.local).parent} and run again: it is made anew"
            if stream.is_copy or not Path(stream.local).parent.joinpath("shards.json").is_file():
                remedy = "fetch or write the shard again; the same command goes on from there"
            reason = f"is missing ({error.reason})" if error.problem == "missing" else error.reason
            return DataError("RC408", f"the shard {error.url} {reason}", remedy)
        return error.error("the shard ")

    def get_item(self, sample_id: int, retry: int = _READS) -> Any:
        """A sample's columns by name, from a shard that was compared with its index.

        Raises:
            BadSampleError: as `prepare_shard`; or the sample can't be decoded (RC408).
        """
        shard_id, row = self.spanner[sample_id]
        for _ in range(1 + retry):
            self.prepare_shard(shard_id)
            try:
                return self.shards[shard_id][row]
            except FileNotFoundError:
                self._forget(shard_id)
            except (KeyError, ValueError, IndexError, TypeError, RuntimeError, OSError) as error:
                raise self.bad("RC408", sample_id, f"can't be read: {first_line(error)}") from error
        raise self.bad("RC408", sample_id, f"is in a shard that was deleted {retry} times before it could be read")

    def _forget(self, shard_id: int) -> None:
        """A shard that should be here isn't: another run evicted it, or somebody deleted it."""
        with self._turn(shard_id, waits=True) as mine:
            if mine and self._shard_states[shard_id] == LOCAL and not os.path.exists(self._file(shard_id)):
                self._shard_states[shard_id] = REMOTE
                self._book(-self._bytes_of([shard_id]), evicts=False)

    def _file(self, shard_id: int) -> Path:
        return Path(self._stream(shard_id).local, self.shards[shard_id].file_pairs[0][0].basename)

    def bad(self, code: str, sample_id: int, reason: str) -> BadSampleError:
        """The error of a sample that is not what it should be."""
        shard_id, row = self.spanner[sample_id]
        remedy = "delete the prepared folder, or fetch the ready-made shards again; then run again"
        return BadSampleError.of(DataError(code, f"{self._file(shard_id)}: sample {row} {reason}", remedy))

    def __iter__(self) -> Iterator[Any]:
        """This worker's samples.

        Raises:
            BadSampleError: a shard doesn't come; all samples before it have been given.
        """
        try:
            yield from super().__iter__()
        finally:
            # Whoever leaves early, by an error or a stop, would leave threads behind that look ahead for ever.
            if hasattr(self, "_iterator"):
                self._iterator.non_blocking_exit()
        if self._broken is not None:  # the parent would end the epoch here, as if all had been read
            raise RuntimeError(f"a thread that looks ahead has failed: {self._broken}") from self._broken

    def on_exception(self, future: Future[None]) -> None:
        """Remember what stopped a thread, and stop the others; the parent would only log it."""
        error = future.exception()
        if error is not None:
            self._broken = error
            self._event.set()

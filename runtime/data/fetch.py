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
from filelock import FileLock
from numpy.typing import NDArray
from streaming import StreamingDataset
from torch import distributed

from runtime.data.shard_locks import ShardLocks
from runtime.data.stores import PATIENCE, Patience, StoreError, first_line
from runtime.data.worker_errors import BadSampleError
from runtime.errors import DataError, RunError, RunFailed
from schemas.units import format_bytes

if TYPE_CHECKING:
    from runtime.data.stream import ShardStream

__all__ = ["BadSampleError", "FetchingDataset"]

# States of a shard, shared by the processes of a machine; the first three are Streaming's.
_REMOTE: Final = 1
"""Not known to be here: a copy is fetched, a file of this machine is checked."""
_LOCAL: Final = 3
"""Here, whole, and compared with its index since the run was started."""
_FOUND: Final = 4
"""A copy of an earlier run with the right size, not compared yet."""
_FAILED: Final = 5
"""The last one who tried gave up: others try once, so that an error is not the sum of everybody's patience."""

_REST_SECONDS: Final = 5.0
"""How long nobody looks ahead after a look ahead that failed."""
_NEVER: Final = np.iinfo(np.uint64).max
# A copy may be evicted between its arrival and its first read, if the limit is small and the workers are many.
_READS: Final = 20
_LOCK_NAME: Final = ".shards.lock"


class FetchingDataset(StreamingDataset):  # type: ignore[misc]  # streaming has no types
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
        super().__init__(streams=streams, batch_size=batch_size, shuffle=False)
        # Set only now: the parent counts and evicts all shards, and would delete those that are no copies.
        self.cache_limit, self._patience = cache_limit, patience
        self._is_copy = np.array([streams[number].is_copy for number in self.stream_per_shard], bool)
        roots = [stream.local for stream in streams if stream.is_copy]
        self._locks = {root: ShardLocks(Path(root, _LOCK_NAME)) for root in roots}
        self._broken: BaseException | None = None
        self._rests_until = 0.0
        self.gave_up = False
        """Whether the last one who waited for a shard has given up."""
        if cache_limit is not None and roots:
            self._check_limit(cache_limit, workers)
        if self._unique_rank_world.is_local_leader:
            states = self._shard_states.numpy()
            states[states == _LOCAL] = _FOUND
            self.cache_usage = self._bytes_of(np.flatnonzero(states == _FOUND))
        if distributed.is_available() and distributed.is_initialized():
            distributed.barrier()

    def _check_limit(self, limit: int, workers: int) -> None:
        """All processes of the machine may be fetching a shard, packed and unpacked, while one more is read."""
        largest = max(self.shards[number].get_max_size() for number in np.flatnonzero(self._is_copy))
        processes = self._unique_rank_world.ranks_per_node * (workers + 1)
        needed = largest * (processes + 1)
        if limit < needed:
            raise RunFailed(
                "RC609",
                f"`launch.cache_limit` is {format_bytes(limit)}; the largest shard takes {largest:,} bytes, and "
                f"{processes} processes fetch and read them",
                f"set `cache_limit: {_rounded_up(needed)}` or more under `launch`, or leave it out",
            )

    def _bytes_of(self, shards: Any) -> int:
        return sum(self.shards[number].file_pairs[0][0].bytes for number in shards if self._is_copy[number])

    def prepare_shard(self, shard_id: int, blocking: bool = True) -> None:
        """Make a shard readable.

        Args:
            shard_id: its number.
            blocking: whether to wait where another process fetches it, and to raise; a look ahead does neither, since
                whoever needs the shard will meet the error.

        Raises:
            BadSampleError: it is missing or damaged (RC408); its store can't be reached (RC607); no room (RC604).
        """
        if self._shard_states[shard_id] == _LOCAL:
            self._shard_access_times[shard_id] = time_ns()
            return
        if not blocking and monotonic() < self._rests_until:
            return
        try:
            with self._turn(shard_id, waits=blocking) as mine:
                if mine and self._shard_states[shard_id] != _LOCAL:
                    self._bring(shard_id, patient=blocking and self._shard_states[shard_id] != _FAILED)
        except BadSampleError:
            if blocking:
                raise
            self._rests_until = monotonic() + _REST_SECONDS

    def is_local(self, shards: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of these shards are here and checked."""
        local: NDArray[np.bool_] = self._shard_states.numpy()[shards] == _LOCAL
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
        stream, shard, state = self._stream(shard_id), self.shards[shard_id], self._shard_states[shard_id]
        kept = shard.file_pairs[0][0].bytes if stream.is_copy else 0
        most = shard.get_max_size() if stream.is_copy else 0
        booked = kept if state == _FOUND else 0
        self._book(most - booked)
        booked = most
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
            self._shard_states[shard_id] = _LOCAL
            self.gave_up = False
        except StoreError as error:
            booked = 0
            if patient:
                self._shard_states[shard_id], self.gave_up = _FAILED, True
            elif state == _FOUND:
                self._shard_states[shard_id] = _REMOTE
            raise BadSampleError.of(self._told(error, stream, most)) from error
        finally:
            self._book(booked - most, evicts=False)

    def _told(self, error: StoreError, stream: ShardStream, size: int) -> RunError:
        """The error for the user. A shard that isn't there is damaged data, where its index is."""
        if error.problem == "full":
            error = StoreError("full", error.url, f"it takes {size:,} bytes, and {error.reason}")
        if error.problem in ("missing", "damaged"):
            remedy = f"delete {Path(stream.local).parent} and run again: it is prepared anew"
            if stream.is_copy or not Path(stream.local).parent.joinpath("shards.json").is_file():
                remedy = "fetch or write the shard again; the same command goes on from there"
            reason = f"is missing ({error.reason})" if error.problem == "missing" else error.reason
            return DataError("RC408", f"the shard {error.url} {reason}", remedy)
        return error.error("the shard ")

    def _book(self, size: int, *, evicts: bool = True) -> None:
        """Count bytes of the cache; the coldest copies go where there are too many."""
        if self.cache_limit is None or not size:
            return
        with self._cache_lock():
            while evicts and self.cache_usage + size > self.cache_limit and self._evict_coldest():
                pass
            self.cache_usage += size

    def _evict_one(self) -> bool:
        with self._cache_lock():
            return self._evict_coldest()

    def _cache_lock(self) -> FileLock:
        """Protects what is counted; the kernel drops it when its process dies.

        A new one each time: one that is kept can't be pickled, and refuses to work in a loader worker that inherits it.
        """
        return FileLock(self._cache_filelock_path)

    def _evict_coldest(self) -> bool:
        """Delete the copy that was read longest ago; whether there was one. The caller holds the cache's lock."""
        states = self._shard_states.numpy()
        shards = np.flatnonzero(((states == _LOCAL) | (states == _FOUND)) & self._is_copy)
        if not len(shards):
            return False
        coldest = int(shards[np.argmin(self._shard_access_times.numpy()[shards])])
        self._shard_access_times[coldest] = _NEVER
        self._shard_states[coldest] = _REMOTE
        self.shards[coldest].evict()
        self.cache_usage -= self._bytes_of([coldest])
        return True

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
            if mine and self._shard_states[shard_id] == _LOCAL and not os.path.exists(self._file(shard_id)):
                self._shard_states[shard_id] = _REMOTE
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


def _rounded_up(size: int) -> str:
    """Bytes as a recipe takes them."""
    unit, name = (10**6, "MB") if size > 10**7 else (10**3, "kB")
    return f"{-(-size // unit)}{name}"

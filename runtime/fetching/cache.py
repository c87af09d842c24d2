"""The copies of shards on this machine: which are here, how many bytes they take, and which goes for another one.

Streaming's table of states and of the last reads, in shared memory, and its lock; but shards that are no copies are
neither counted nor deleted, copies of earlier runs are compared before they are read, and a limit that can't work is
refused before training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from filelock import FileLock
from streaming import StreamingDataset
from torch import distributed

from runtime.errors import RunFailed
from schemas.units import format_bytes

if TYPE_CHECKING:
    from runtime.fetching.stream import ShardStream

__all__ = ["FAILED", "FOUND", "LOCAL", "REMOTE", "BoundedCache"]

# States of a shard, shared by the processes of a machine; the first three are Streaming's.
REMOTE: Final = 1
"""Not known to be here: a copy is fetched, a file of this machine is checked."""
LOCAL: Final = 3
"""Here, whole, and compared with its index since the run was started."""
FOUND: Final = 4
"""A copy of an earlier run with the right size, not compared yet."""
FAILED: Final = 5
"""The last one who tried gave up: others try once, so that an error is not the sum of everybody's patience."""

_NEVER: Final = np.iinfo(np.uint64).max


class BoundedCache(StreamingDataset):  # type: ignore[misc]  # streaming has no types
    """Counts the copies of shards and deletes those that were read longest ago, where there is a limit.

    Args:
        streams: the folders.
        batch_size: samples of a batch of one rank.
        workers: loader processes of a rank.
        cache_limit: bytes on this machine that copies of shards may take, or None.

    Raises:
        RunFailed: the limit is too small for these shards (RC609).
    """

    def __init__(
        self, streams: Sequence[ShardStream], *, batch_size: int, workers: int, cache_limit: int | None
    ) -> None:
        super().__init__(streams=streams, batch_size=batch_size, shuffle=False)
        # Set only now: the parent counts and evicts all shards, and would delete those that are no copies.
        self.cache_limit = cache_limit
        self._is_copy = np.array([streams[number].is_copy for number in self.stream_per_shard], bool)
        if cache_limit is not None and self._is_copy.any():
            self._check_limit(cache_limit, workers)
        if self._unique_rank_world.is_local_leader:
            states = self._shard_states.numpy()
            states[states == LOCAL] = FOUND
            self.cache_usage = self._bytes_of(np.flatnonzero(states == FOUND))
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

    def _claim(self, shard_id: int) -> int:
        """Bytes that are counted for a copy of an earlier run, which from here on nobody else deletes and counts off."""
        if self._shard_states[shard_id] != FOUND:
            return 0
        with self._cache_lock():
            if self._shard_states[shard_id] != FOUND:
                return 0
            self._shard_states[shard_id] = REMOTE
            return self._bytes_of([shard_id])

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
        shards = np.flatnonzero(((states == LOCAL) | (states == FOUND)) & self._is_copy)
        if not len(shards):
            return False
        coldest = int(shards[np.argmin(self._shard_access_times.numpy()[shards])])
        self._shard_access_times[coldest] = _NEVER
        self._shard_states[coldest] = REMOTE
        self.shards[coldest].evict()
        self.cache_usage -= self._bytes_of([coldest])
        return True


def _rounded_up(size: int) -> str:
    """Bytes as a recipe takes them."""
    unit, name = (10**6, "MB") if size > 10**7 else (10**3, "kB")
    return f"{-(-size // unit)}{name}"

"""Who fetches a shard: one process at a time for each, over all runs that share a folder; a lock dies with its process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

__all__ = ["ShardLocks"]

_POLL_SECONDS: Final = 0.01
_TAKEN: Final = {errno.EACCES, errno.EAGAIN}


class ShardLocks:
    """A byte of one file for each shard, locked by POSIX record locks, and a mutex among the threads of this process.

    The kernel drops a record lock when its process dies, however it dies, so nobody waits for the dead; forked loader
    workers don't inherit it. One file serves any number of shards.

    Args:
        path: the file; runs that share a folder name the same one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        self._mutex = threading.Lock()
        self._process = os.getpid()
        self._close()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor: int | None = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError:  # a folder that can't be written has no copies to collide in either
            self._descriptor = None

    @contextlib.contextmanager
    def hold(self, shard: int, *, waits: bool, stopped: Callable[[], bool]) -> Iterator[bool]:
        """Hold the lock of a shard; gives False where another has it and `waits` is off, or `stopped` became true."""
        if self._process != os.getpid():
            self._open()  # a mutex that was forked may be held by a thread that isn't here
        mutex = _until(lambda: self._mutex.acquire(blocking=False), waits=waits, stopped=stopped)
        if not mutex:
            yield False
            return
        try:
            held = _until(lambda: self._take(shard), waits=waits, stopped=stopped)
            try:
                yield held
            finally:
                if held and self._descriptor is not None:
                    fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, shard)
        finally:
            self._mutex.release()

    def _take(self, shard: int) -> bool:
        if self._descriptor is None:
            return True
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, shard)
        except OSError as error:
            # A file system without locks: two processes may then fetch the same, and each puts whole files in place.
            return error.errno not in _TAKEN
        return True

    def _close(self) -> None:
        descriptor: int | None = getattr(self, "_descriptor", None)
        if descriptor is not None:
            os.close(descriptor)

    def __del__(self) -> None:
        self._close()

    def __getstate__(self) -> Path:
        return self._path

    def __setstate__(self, path: Path) -> None:
        self.__init__(path)  # type: ignore[misc]  # in a process that was spawned


def _until(take: Callable[[], bool], *, waits: bool, stopped: Callable[[], bool]) -> bool:
    while not take():
        if not waits or stopped():
            return False
        time.sleep(_POLL_SECONDS)
    return True

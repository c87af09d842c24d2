"""One run at a time per run folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from runtime.errors import Refused
from runtime.files import disk_errors

__all__ = ["hold"]

_TAKEN = {errno.EACCES, errno.EAGAIN}


@contextlib.contextmanager
def hold(run: Path) -> Iterator[None]:
    """Hold the lock of a run folder while the block runs.

    A POSIX record lock: the kernel drops it when the process dies, however it dies, and data loader workers that
    outlive a killed run don't inherit it (a `flock` they would, and refuse the next run for some seconds). The file
    stays: its text says who held it last.

    Raises:
        Refused: another live process holds it (RC601).
        RunFailed: the folder can't be written (RC604).
    """
    path = run / "lock"
    with disk_errors(path):
        run.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(descriptor, path)
        with disk_errors(path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise Refused(
                "RC601",
                f"the file system of {path.parent} has no locks ({error.strerror}), so two runs could collide in it",
                "choose a folder on another file system with --runs",
            ) from error
        holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
        raise Refused(
            "RC601",
            f"{holder} holds the run folder {path.parent}",
            "wait for it or stop it; the lock of a process that is gone needs no clearing",
        ) from None

"""Work in a forked process: it can be killed, and what it limits or mounts is its own. A fork has all imports at once."""

from __future__ import annotations

import gc
import multiprocessing.process
import os
import pickle
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Child", "children_of", "is_gone", "wait_until"]


class Child:
    """A forked process that runs a function, with its standard error in a file.

    Args:
        work: the function; its value comes back pickled.
        log: where it writes what it has to say.
    """

    def __init__(self, work: Callable[[], Any], log: Path) -> None:
        self.log = log
        gc.collect()  # a loader of an earlier test can only be ended by the process that started its workers
        self._reader, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            gc.freeze()
            multiprocessing.process._children.clear()  # type: ignore[attr-defined]  # they are the parent's
            os.close(self._reader)
            os.setpgid(0, 0)
            code = 1
            try:
                handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(handle, 1)
                os.dup2(handle, 2)
                os.write(writer, pickle.dumps(work()))
                code = 0
            except BaseException:  # noqa: BLE001  # a fork must never return into pytest
                os.write(2, traceback.format_exc().encode())
            finally:
                os.close(writer)
                _leave(code)
        os.close(writer)

    def result(self, timeout: float) -> Any:
        """What the function returned.

        Raises:
            TimeoutError: it hangs; it is killed with its children.
            RuntimeError: it failed or was killed; with its log.
        """
        data, end = b"", time.monotonic() + timeout
        poll = select.poll()  # `select` can't, with the open files of a hundred datasets before it
        poll.register(self._reader)
        while True:
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                self.kill(group=True)
                raise TimeoutError(f"still running after {timeout} s:\n{self.said()}")
            chunk = os.read(self._reader, 1 << 16)
            if not chunk:
                break
            data += chunk
        os.close(self._reader)
        _, status = os.waitpid(self.pid, 0)
        if status or not data:
            raise RuntimeError(f"ended with {status}:\n{self.said()}")
        return pickle.loads(data)

    def said(self) -> str:
        """Its standard output and error so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self, *, group: bool = False) -> None:
        """SIGKILL to the process alone, as from the kernel that ran out of memory; its own children live on."""
        os.kill(-self.pid if group else self.pid, signal.SIGKILL)


def _leave(code: int) -> None:
    """End as a program does: what it registered for its end runs (shared memory goes), pytest's own doesn't."""
    import multiprocessing.util

    try:
        multiprocessing.util._exit_function()  # type: ignore[attr-defined]
    finally:
        os._exit(code)


def children_of(pid: int) -> list[int]:
    """Direct children of a process."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def is_gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something that must happen.

    Raises:
        TimeoutError: it didn't.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.02)

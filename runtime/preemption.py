"""SIGTERM and SIGINT: finish the batch, save, end. A second signal kills at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

from runtime.status import say

__all__ = ["StopSignal", "end_loaders", "outlive_signals"]

_END = signal.SIGUSR1
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_ECHO_SECONDS = 1.0
_WORKER_SECONDS = 600
_REAP_SECONDS = 5.0
_AGAIN_SECONDS = 0.1


class StopSignal:
    """Inside the block, a signal is a request that the training loop reads after each batch.

    Schedulers and torchrun signal a process and its group, so what follows within a second is the same request.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self._previous: dict[signal.Signals, Any] = {}

    @property
    def received(self) -> bool:
        """Whether this process was asked to stop."""
        return self._first is not None

    def __enter__(self) -> Self:
        # Python lets only the main thread set handlers; elsewhere the program's own handling stays.
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # Python's
        now = time.monotonic()
        if self._first is None:
            self._first = now
            say(f"{signal.Signals(number).name}: finishing this batch and saving; once more to stop at once")
        elif now - self._first > _ECHO_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def outlive_signals(worker: int) -> None:  # noqa: ARG001  # torch's
    """For loader workers: a signal to the process group is for the training, which still reads its last batch from them.

    They end with the training, by `end_loaders`, and at the latest ten minutes after they were told to.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(_WORKER_SECONDS))
    # Exit code 0, since torch takes any other for a failure of the training.
    signal.signal(_END, lambda *_: os._exit(0))


def end_loaders() -> None:
    """End the loader workers that a training leaves.

    After an error its traceback keeps their loader alive, so nobody has told them; and Python waits for them when it
    ends, by the signal that they outlive: ten minutes.
    """
    # torch's handler raises for a loader that was killed, wherever the program is when another one ends.
    main = threading.current_thread() is threading.main_thread()
    heard = signal.signal(signal.SIGCHLD, signal.SIG_DFL) if main else None
    children = [child for child in multiprocessing.active_children() if child.daemon]
    last = time.monotonic() + _REAP_SECONDS
    while children and time.monotonic() < last:
        # More than once: Python misses a signal that comes just before the worker begins to wait, for 5 s.
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid or 0, _END)
        multiprocessing.connection.wait([child.sentinel for child in children], _AGAIN_SECONDS)
        children = [child for child in children if child.is_alive()]
    if heard is not None:
        signal.signal(signal.SIGCHLD, heard)

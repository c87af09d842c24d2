"""How a run ends that nobody foresaw: signals that unwind it, full disks and devices, errors whose traceback goes to a log."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Final

from runtime.errors import RunError, RunFailed, first_line
from runtime.files import write_bytes
from runtime.layout import Layout
from runtime.status import rank

__all__ = ["STOPPED", "explain", "unwinding_signals"]

STOPPED: Final = {128 + number: number.name for number in (signal.SIGINT, signal.SIGTERM)}
"""Exit codes of runs that a signal ended outside of training, and its name."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS: Final = ("No space left on device", "database or disk is full")


def explain(error: Exception, layout: Layout) -> RunError:
    """An error for what nobody foresaw: its traceback goes to a log, its last line to the user."""
    if _is_full(error):
        return RunFailed(
            "RC604",
            f"the disk is full ({first_line(error)})",
            "free space or choose another folder with --runs, then run the same command again; what was whole is kept",
        )
    if type(error).__name__ == "OutOfMemoryError":  # torch's; not imported for its name alone
        remedy = "lower `training.microbatch`, or set `activation_checkpointing: true`; the same batch is kept"
        return RunFailed("RC502", f"the device ran out of memory: {first_line(error)}", remedy)
    log = layout.run / ("crash.log" if rank() == 0 else f"crash-rank{rank()}.log")
    last = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
    with contextlib.suppress(OSError, RunError):
        write_bytes(log, "".join(traceback.format_exception(error)).encode(errors="replace"))
    return RunFailed(
        "RC606", last, f"the traceback is in {log}; finished steps are kept, the same command goes on from there"
    )


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error; libraries wrap it, some in text alone (safetensors, torch, SQLite)."""
    while error is not None:
        if getattr(error, "errno", None) in _FULL or any(text in str(error) for text in _FULL_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def unwinding_signals() -> Iterator[None]:
    """SIGINT and SIGTERM unwind the run, so that temporary folders go; training sets its own, which save first.

    By SystemExit, which no `except Exception` of a library swallows. Composer's import sets handlers that do the same.
    """
    main_process = os.getpid()

    def stop(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != main_process:  # a forked data loader worker: nothing of the run is its to clean
            os._exit(128 + number)
        sys.exit(128 + number)

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)

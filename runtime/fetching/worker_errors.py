"""What a loader process says when it fails, or when it or another rank dies, as errors for the user."""

from __future__ import annotations

import json
import re
import time
import traceback
from typing import Final

from runtime.errors import DataError, RunError, RunFailed

__all__ = ["BadSampleError", "rank_death", "worker_death"]

_DEATH: Final = re.compile(r"DataLoader worker \(pid\(?s?\)? ?[\d, ]+\) .*|.*[Bb]us error encountered in worker.*")
# gloo's words, and NCCL's.
_LOST_RANK: Final = re.compile(r"(Connection (closed|reset) by peer|Broken pipe|remote process exited)")
_TAKES_A_BATCH: Final = "_try_get_data"
"""torch's function, of its loader in the main process."""
_BROKEN: Final = (ConnectionError, EOFError, FileNotFoundError)
"""What a connection gives when its other end, or its socket in the file system, is gone."""
_HEAD_START: Final = 5.0
"""Seconds; torchrun looks at its ranks ten times a second, and ends the others when one has failed."""


class BadSampleError(Exception):
    """A RunError as one line of JSON, since a loader worker can only pass on one text."""

    @classmethod
    def of(cls, error: RunError) -> BadSampleError:
        """The error to raise in a loader worker."""
        return cls(json.dumps([type(error).__name__, error.code, error.message, error.remedy]))

    def error(self) -> RunError:
        """The error for the user; the loader puts the worker's traceback in front of the text."""
        line = str(self).splitlines()[-1]
        name, *told = json.loads(line[line.index("[") :])
        kinds: dict[str, type[RunError]] = {kind.__name__: kind for kind in (DataError, RunFailed)}
        return kinds[name](*told)


def worker_death(error: Exception) -> RunFailed | None:
    """The error for the user if a loader process has died; torch notices it within seconds. None for other errors.

    One that dies while its batch is taken over is a broken connection, if the kernel closes that before it says so.
    """
    found = _DEATH.search(str(error))
    if found is not None:
        said = found[0].strip()
    elif isinstance(error, _BROKEN) and _is_taking_a_batch(error):
        said = f"DataLoader worker ended while its batch was taken over ({type(error).__name__})"
    else:
        return None
    return RunFailed(
        "RC606",
        f"a data loader process died: {said}",
        "the kernel kills processes where memory or shared memory runs out: lower `workers` under `launch`, or give the "
        "container more shared memory (--shm-size); the same command goes on from the last checkpoint",
    )


def _is_taking_a_batch(error: Exception) -> bool:
    return any(frame.f_code.co_name == _TAKES_A_BATCH for frame, _ in traceback.walk_tb(error.__traceback__))


def rank_death(error: Exception) -> RunFailed | None:
    """The error for the user if another rank has ended in the middle of a batch. None for other errors.

    Takes some seconds: the launcher should first hear of the rank that failed, whose message and exit code say why.
    """
    if _LOST_RANK.search(str(error)) is None:
        return None
    time.sleep(_HEAD_START)
    return RunFailed(
        "RC606",
        "another process of this run has ended",
        "its own message says why; one without a message was killed, mostly because memory ran out; the same command goes "
        "on from the last checkpoint",
    )

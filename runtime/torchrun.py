"""`python -m runtime.torchrun ARGUMENTS`: torchrun whose exit code is that of the rank that failed first.

torchrun itself turns every failure into 1 and ends with a traceback of its own. The ranks have said what is wrong, so
nothing is added to it, unless a rank was killed and could say nothing.
"""

from __future__ import annotations

import logging
import signal
import sys

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from runtime.errors import RunFailed
from runtime.status import show_error

__all__ = ["main"]


def main() -> int:
    """Run torchrun on the command line's arguments; returns the exit code."""
    # It logs each rank's exit code as an error, below what the rank itself has said; capped runs end with one too.
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
    try:
        torchrun()
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        if failure.exitcode > 0:
            return int(failure.exitcode)
        name = signal.Signals(-failure.exitcode).name
        remedy = "SIGKILL mostly means that memory ran out: lower training.microbatch or the number of processes"
        error = RunFailed("RC606", f"rank {rank} was ended by {name}", remedy)
        show_error(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Stops a training in this process after a step, by the signal that a scheduler sends."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

__all__ = ["interrupted_after"]


@contextlib.contextmanager
def interrupted_after(step: int) -> Iterator[None]:
    """Send SIGTERM to this process when step `step` of a training in the block has ended."""
    from composer.core import State
    from composer.loggers import Logger

    from runtime.callbacks.ledger import Ledger

    original = Ledger.batch_end

    def batch_end(ledger: Ledger, state: State, logger: Logger) -> None:
        original(ledger, state, logger)
        if int(state.timestamp.batch) == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "batch_end", batch_end)
        yield

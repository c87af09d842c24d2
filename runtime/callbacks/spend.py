"""Watches what a run spends, batch by batch, and asks for its end before a cap is passed."""

from __future__ import annotations

from composer.core import Callback, State
from composer.loggers import Logger

from runtime.spend import Meter

__all__ = ["SpendWatch"]


class SpendWatch(Callback):  # type: ignore[misc]  # composer has no types
    """Books each batch; the saver reads `reached`, so that all ranks stop after the same batch, with a checkpoint.

    Args:
        meter: of the first process; None on the others, which only follow.
    """

    def __init__(self, meter: Meter | None) -> None:
        self._meter = meter
        self.reached = False
        """Whether one more batch would pass a cap."""

    def batch_checkpoint(self, state: State, logger: Logger) -> None:
        """Count the batch that has just ended, with the evaluation after it."""
        if self._meter is not None:
            cap = self._meter.batch_ended()
            self.reached = cap is not None and not self.is_done(state)
            if cap is not None and self.reached:
                self._meter.stop(cap)

    @staticmethod
    def is_done(state: State) -> bool:
        """Whether the batch was the run's last: then nothing more is spent on training."""
        return bool(state.timestamp >= state.max_duration)

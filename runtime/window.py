"""Windows of training, in tokens: when an algorithm is active, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schemas.techniques import Window

if TYPE_CHECKING:
    from composer.core import State

__all__ = ["TokenWindow"]


@dataclass(frozen=True)
class TokenWindow:
    """The half-open span [start, end) of training, counted in tokens drawn from the sources.

    Composer counts a batch's tokens before any algorithm changes it, so a window means the same batches whether or not
    sequences are cut short on the way.
    """

    start: int
    end: int

    @classmethod
    def of(cls, window: Window) -> TokenWindow:
        """The plan's window."""
        return cls(window.start_token, window.end_token)

    def contains(self, tokens: int) -> bool:
        """Whether a point of training lies inside."""
        return self.start <= tokens < self.end

    def fraction(self, tokens: int) -> float:
        """Share of the window that has passed: 0 up to its start, 1 from its end on."""
        if tokens >= self.end:
            return 1.0
        return max(0, tokens - self.start) / (self.end - self.start)

    def active(self, state: State) -> bool:
        """Whether the batch that comes next (at the start of a batch: this one) begins inside."""
        return self.contains(int(state.timestamp.token))

    def progress(self, state: State) -> float:
        """`fraction` now."""
        return self.fraction(int(state.timestamp.token))

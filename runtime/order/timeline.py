"""When a draw of a source is trained on: draw numbers of the whole run to tokens of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.order.base import Ids
from schemas.plan import PhasePlan

__all__ = ["Timeline"]


@dataclass(frozen=True)
class Timeline:
    """Draws of one source over the run, a straight line within each phase that draws of it.

    Args:
        draws: number of the first draw of each of these phases, [phases], rising.
        starts: first token of each of these phases, [phases].
        rates: tokens of the run between two draws of the source, [phases].
        end: draws of the run in all.
    """

    draws: Ids
    starts: NDArray[np.float64]
    rates: NDArray[np.float64]
    end: int

    @classmethod
    def of(cls, phases: Sequence[PhasePlan], name: str) -> Timeline:
        """The timeline of source `name`. A mix is level within a phase, so that a line is right to within one sample."""
        drawing = [phase for phase in phases if name in phase.sources and phase.sources[name].samples]
        counts = np.array([phase.sources[name].samples for phase in drawing], np.int64)
        spans = np.array([phase.end_token - phase.start_token for phase in drawing], np.float64)
        starts = np.array([phase.start_token for phase in drawing], np.float64)
        return cls(np.cumsum(counts) - counts, starts, spans / counts, int(counts.sum()))

    def token_of(self, draws: Ids) -> NDArray[np.float64]:
        """Token of the run at which each draw comes, by its ideal place; same shape as `draws`.

        Draws beyond the run's last continue the last line. Exact below 2^53 tokens, but for the last bits.
        """
        if not len(self.draws):
            return np.zeros(np.shape(draws), np.float64)
        at = np.maximum(np.searchsorted(self.draws, draws, side="right") - 1, 0)
        tokens: NDArray[np.float64] = self.starts[at] + (draws - self.draws[at]) * self.rates[at]
        return tokens

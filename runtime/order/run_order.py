"""The order of a whole run, window by window, from any of its places on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from runtime.order.base import Ids, SourceOrder
from runtime.order.turns import Turns
from schemas.plan import PhasePlan

__all__ = ["WINDOW", "Cursor", "RunOrder", "worker_batches"]

WINDOW: Final = 1 << 16
"""Samples of a window: about 0.1 s of work ahead, and half a megabyte."""


class RunOrder:
    """All samples of a run: the phases' turns say whose sample comes, and each source's own order says which.

    Args:
        phases: exact samples of each source, phase by phase.
        orders: of each source that the phases draw from.
        offsets: id of each source's first sample.
    """

    def __init__(
        self, phases: Sequence[PhasePlan], orders: Mapping[str, SourceOrder], offsets: Mapping[str, int]
    ) -> None:
        self.names = sorted({name for phase in phases for name, share in phase.sources.items() if share.samples})
        counts = [
            [phase.sources[name].samples if name in phase.sources else 0 for name in self.names] for phase in phases
        ]
        self.counts = np.array(counts, np.int64).reshape(len(phases), len(self.names))
        self.orders = [orders[name] for name in self.names]
        self.offsets = [offsets[name] for name in self.names]
        self.ends = np.cumsum(self.counts.sum(axis=1))

    @property
    def samples(self) -> int:
        """Of the whole run."""
        return int(self.ends[-1])

    def start(self, samples: int = 0, drawn: Mapping[str, int] | None = None) -> Cursor:
        """A cursor before sample number `samples` of the run.

        Args:
            samples: drawn so far, by all ranks.
            drawn: the same by source, where it is known: then the cursor is there at once, and goes on from these draws
                also if they were made by another plan. Otherwise they are counted, about 1 us for each sample of the phase
                that it stands in.

        Raises:
            ValueError: `drawn` doesn't sum to `samples`, or they are more than the run has.
        """
        if not 0 <= samples <= self.samples:
            raise ValueError(f"a run of {self.samples} samples has no place {samples}")
        if drawn is not None:
            by_source = [drawn.get(name, 0) for name in self.names]
            if sum(drawn.values()) != samples or sum(by_source) != samples:
                raise ValueError(f"the draws {dict(drawn)} are not {samples} samples of {', '.join(self.names)}")
            return Cursor(self, samples, by_source)
        phase = int(np.searchsorted(self.ends, samples, side="right"))
        before = self.counts[:phase].sum(axis=0).tolist()
        if phase == len(self.counts):
            return Cursor(self, samples, before)
        turns = Turns(self.counts[phase].tolist())
        turns.skip(samples - sum(before))
        return Cursor(self, samples, [done + placed for done, placed in zip(before, turns.placed, strict=True)])


class Cursor:
    """A place in a run's order: samples so far, and draws of each source so far. That is all its state."""

    def __init__(self, order: RunOrder, samples: int, drawn: Sequence[int]) -> None:
        self._order, self._samples, self._drawn = order, samples, list(drawn)
        self._phase = int(np.searchsorted(order.ends, samples, side="right"))
        self._turns = self._enter()

    @property
    def samples(self) -> int:
        """Samples before this place."""
        return self._samples

    @property
    def drawn(self) -> dict[str, int]:
        """Draws of each source before this place."""
        return dict(zip(self._order.names, self._drawn, strict=True))

    def take(self, samples: int) -> Ids:
        """Ids of the next samples, [min(samples, those left)]."""
        parts = []
        while samples > 0 and self._turns is not None:
            if not self._turns.left:
                self._phase += 1
                self._turns = self._enter()
                continue
            turns = self._turns.take(samples)
            parts.append(self._draw(turns))
            samples -= len(turns)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def windows(self, batch: int, size: int = WINDOW) -> Iterator[Ids]:
        """The rest of the run in windows of about `size` samples, whole batches each."""
        samples = max(1, size // batch) * batch
        while len(window := self.take(samples)):
            yield window

    def _enter(self) -> Turns | None:
        """The turns of the present phase; draws that a changed plan left over or owes count as the phase's own."""
        if self._phase >= len(self._order.counts):
            return None
        before = self._order.counts[: self._phase].sum(axis=0).tolist()
        placed = [drawn - done for drawn, done in zip(self._drawn, before, strict=True)]
        return Turns(self._order.counts[self._phase].tolist(), placed)

    def _draw(self, turns: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> Ids:
        """Ids at places whose sources are known, each source's next ones."""
        ids = np.empty(len(turns), np.int64)
        places = np.argsort(turns, kind="stable")
        counts = np.bincount(turns, minlength=len(self._drawn)).tolist()
        begin = 0
        for source, count in enumerate(counts):
            if count:
                start, order = self._drawn[source], self._order.orders[source]
                ids[places[begin : begin + count]] = self._order.offsets[source] + order.draws(start, start + count)
                self._drawn[source] = start + count
                begin += count
        self._samples += len(turns)
        return ids


def worker_batches(window: Ids, *, first: int, batch: int, rank: int, ranks: int, worker: int, workers: int) -> Ids:
    """Samples of a window that one loader worker of one rank reads.

    Global batch k of the run is its samples k * batch to (k + 1) * batch; each rank takes a contiguous slice of it, and a
    rank's workers take its batches in turn from where the loader began, as torch's DataLoader collects them.

    Args:
        window: ids of whole batches.
        first: batches between where the loader began and this window.
        batch: samples of a global batch; divisible by `ranks`.
        rank: from 0, of `ranks`.
        ranks: processes that train.
        worker: from 0, of `workers`.
        workers: loader processes of each rank; 1 where the rank loads itself.
    """
    mine = window.reshape(-1, ranks, batch // ranks)[:, rank]
    return np.ascontiguousarray(mine[(worker - first) % workers :: workers]).reshape(-1)

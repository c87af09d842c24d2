"""The books of what is fed: samples by phase and source, padding, tokens cut off; exact integers, each rank its own.

Drawn are the samples that left the loader, before an algorithm touches them. Padding are tokens of them that only fill a
sample up: text is packed, so only ready-made shards have any. Truncated are tokens of them that the model never saw, since
sequences were cut short.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.checkpoint import Progress
from schemas.plan import PhasePlan

__all__ = ["Books", "Totals", "by_phase", "mix_ends", "whole_name"]

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Totals:
    """The books of all ranks since the run began, but for the tokens that went through the model.

    Args:
        samples: drawn, by source.
        phases: samples drawn, by first token of their phase and source; phases that drew none are left out.
        padding: tokens, by source.
        truncated: tokens, by source.
    """

    samples: dict[str, int]
    phases: dict[str, dict[str, int]]
    padding: dict[str, int]
    truncated: dict[str, int]


class Books:
    """Counts batches of one rank as they come.

    Args:
        phases: of the plan; they begin and end with batches.
        sources: names, in the order of the numbers that batches carry.
        batch_tokens: of a batch over all ranks.
        length: tokens of a sample.
    """

    def __init__(self, phases: Sequence[PhasePlan], sources: Sequence[str], batch_tokens: int, length: int) -> None:
        self._starts = [phase.start_token for phase in phases]
        self._sources, self._batch_tokens, self._length = tuple(sources), batch_tokens, length
        self._step = 0
        self._last: Counts = np.zeros(len(sources), np.int64)
        self._drawn: Counts = np.zeros((len(phases), len(sources)), np.int64)
        self._padding: Counts = np.zeros(len(sources), np.int64)
        self._truncated: Counts = np.zeros(len(sources), np.int64)

    def go_on(self, step: int) -> None:
        """The next batch is number `step`, from 0."""
        self._step = step

    def draw(self, numbers: Counts, padding: Counts | None = None) -> None:
        """Book a batch: the source's number of each sample, [samples], and the padding tokens of each, if they have any."""
        self._last = np.bincount(numbers, minlength=len(self._sources))
        self._drawn[self.phase_of(self._step)] += self._last
        self._step += 1
        if padding is not None:
            np.add.at(self._padding, numbers, padding)

    def cut(self, fed: int) -> None:
        """Book what the last batch lost where only `fed` tokens of it went on; each of its samples lost the same."""
        samples = max(1, int(self._last.sum()))
        self._truncated += self._last * (self._length - fed // samples)

    def phase_of(self, step: int) -> int:
        """The phase of batch number `step`, from 0, by its place in the plan's list."""
        return bisect_right(self._starts, step * self._batch_tokens) - 1

    @property
    def drawn(self) -> Counts:
        """Samples drawn by this rank since it started, by source: [sources]."""
        return np.asarray(self._drawn.sum(axis=0))

    def flat(self) -> list[int]:
        """All counts of this rank as one list, to be summed over ranks."""
        return [*self._drawn.ravel().tolist(), *self._padding.tolist(), *self._truncated.tolist()]

    def totals(self, summed: Sequence[int], before: Progress) -> Totals:
        """The books of all ranks.

        Args:
            summed: `flat`, summed over ranks.
            before: the books that the ranks started with.
        """
        width = len(self._sources)
        rows = np.array(summed, np.int64).reshape(-1, width)
        drawn, padding, truncated = rows[:-2], rows[-2], rows[-1]
        phases = {start: dict(row) for start, row in before.phases.items()}
        for start, row in zip(self._starts, drawn.tolist(), strict=True):
            if any(row):
                phases[str(start)] = _plus(phases.get(str(start), {}), dict(zip(self._sources, row, strict=True)))
        return Totals(
            samples=_plus(before.samples, self._named(drawn.sum(axis=0))),
            phases=phases,
            padding=_plus(before.padding, self._named(padding)),
            truncated=_plus(before.truncated, self._named(truncated)),
        )

    def _named(self, counts: Counts) -> dict[str, int]:
        return dict(zip(self._sources, counts.tolist(), strict=True))


def mix_ends(phases: Sequence[PhasePlan]) -> tuple[int, ...]:
    """Tokens at which a constant mix or a whole transition ends; its pieces, `phase1.00`, `phase1.01` and on, are one."""
    pairs = itertools.zip_longest(phases, phases[1:])
    return tuple(p.end_token for p, after in pairs if after is None or whole_name(p) != whole_name(after))


def whole_name(phase: PhasePlan) -> str:
    """The id of a phase, or of the transition that it is a piece of."""
    return phase.id if phase.transition == "step" else phase.id.partition(".")[0]


def by_phase(phases: Sequence[PhasePlan], progress: Progress, length: int) -> dict[str, dict[str, int]] | None:
    """Samples drawn by the plan's phases, by id; None where the run began under a version that didn't count them.

    A run may have gone on under a plan with another future. What was counted in two phases that are one now is added up; where
    one phase is two now, neither's part of it is known, and they are left out.
    """
    counted: dict[str, int] = {}
    for row in progress.phases.values():
        counted = _plus(counted, row)
    if any(counted.get(name, 0) != samples for name, samples in progress.samples.items()):
        return None
    starts = [phase.start_token for phase in phases]
    found: dict[str, dict[str, int]] = {}
    unknown: set[str] = set()
    for start, row in progress.phases.items():
        first = bisect_right(starts, int(start)) - 1
        last = bisect_right(starts, int(start) + sum(row.values()) * length - 1) - 1
        found[phases[first].id] = _plus(found.get(phases[first].id, {}), row)
        unknown |= {phase.id for phase in phases[first : last + 1]} if last > first else set()
    return {name: row for name, row in found.items() if name not in unknown}


def _plus(left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    return {name: left.get(name, 0) + right.get(name, 0) for name in left | right}

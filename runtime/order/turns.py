"""Which source is at each place of a phase: a level schedule, made in pieces from what has been placed so far."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heappush
from math import gcd
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_SOURCES", "Turn", "Turns"]

Turn: TypeAlias = NDArray[np.int16]
"""Source numbers, [places]; 16 bits sort by radix."""

MAX_SOURCES: Final = 1 << 15

_PATTERN: Final = 1 << 16
"""Places of a repeating pattern that are kept; longer ones are made as they go."""


class Turns:
    """Source numbers of a phase, source i exactly counts[i] times, each prefix within one sample of every ideal share.

    With N = sum(counts), sample j (from 0) of source i may come at place m (from 1) only from m > j N / counts[i] on, and
    must come by m = ceil((j + 1) N / counts[i]). Before and after every place, what is placed of a source then differs
    from counts[i] m / N by less than one sample. A schedule with these windows exists for any counts (Tijdeman 1980, The
    chairman assignment problem), and serving the earliest deadline first finds it (Steiner and Yeomans 1993, Level
    schedules for mixed-model, just-in-time processes). All in integers; about 1 us a place, less where counts with a
    common divisor repeat a short pattern.

    What comes next depends only on what is placed so far: that is all that a checkpoint has to know.

    Args:
        counts: samples of each source in the phase; at most MAX_SOURCES sources.
        placed: of each source so far. Where a run goes on with another plan, that may be a sample off the level schedule,
            also above its count or below zero (owed by the phase before); the phase then makes up for it at once.
    """

    def __init__(self, counts: Sequence[int], placed: Sequence[int] | None = None) -> None:
        self._counts = list(counts)
        self.placed = list(placed) if placed is not None else [0] * len(self._counts)
        self._total, self._place = sum(self._counts), sum(self.placed)
        self._pattern = self._repeating()
        waiting = [self._release(i) for i, count in enumerate(self._counts) if self.placed[i] < count]
        heapify(waiting)
        self._waiting: list[int] = waiting
        self._ready: list[int] = []

    @property
    def left(self) -> int:
        """Places of the phase that are still to come."""
        return self._total - self._place

    def take(self, places: int) -> Turn:
        """Sources at the next places, [min(places, left)]."""
        places = min(places, self.left)
        turns = self._serve(places) if self._pattern is None else self._tile(self._pattern, places)
        self._place += places
        return turns

    def skip(self, places: int) -> None:
        """Go on by so many places: at once where a pattern repeats, else about 1 us a place."""
        if self._pattern is not None:
            rounds = min(places, self.left) // len(self._pattern)
            period = np.bincount(self._pattern, minlength=len(self._counts)).tolist()
            self.placed = [placed + rounds * count for placed, count in zip(self.placed, period, strict=True)]
            self._place += rounds * len(self._pattern)
            places -= rounds * len(self._pattern)
        while places > 0 and self.left:
            places -= len(self.take(min(places, _PATTERN)))

    def _release(self, source: int) -> int:
        """From which place on the source's next sample may come, with the source in the lowest digits."""
        count = self._counts[source]
        # One that the phase before owes comes at once.
        place = self.placed[source] * self._total // count + 1 if count else 0
        return place * MAX_SOURCES + source

    def _repeating(self) -> Turn | None:
        """The schedule of counts over their common divisor, which repeats; None where it is long or left already."""
        divisor = gcd(*self._counts)
        unit = [count // divisor for count in self._counts] if divisor else []
        if divisor < 2 or sum(unit) > _PATTERN:
            return None
        pattern = Turns(unit).take(sum(unit))
        rounds, rest = divmod(self._place, len(pattern))
        inside = np.bincount(pattern[:rest], minlength=len(unit)).tolist()
        level = [rounds * count + part for count, part in zip(unit, inside, strict=True)]
        return pattern if level == self.placed else None

    def _tile(self, pattern: Turn, places: int) -> Turn:
        turns = np.resize(np.roll(pattern, -(self._place % len(pattern))), places)
        for source, count in enumerate(np.bincount(turns, minlength=len(self._counts)).tolist()):
            self.placed[source] += count
        return turns

    def _serve(self, places: int) -> Turn:
        counts, placed, total, waiting, ready = self._counts, self.placed, self._total, self._waiting, self._ready
        turns = []
        for place in range(self._place + 1, self._place + places + 1):
            now = (place + 1) * MAX_SOURCES
            # Nothing may come yet only where a changed plan has left the level schedule: then the next one comes early.
            while waiting and (waiting[0] < now or not ready):
                source = heappop(waiting) % MAX_SOURCES
                deadline = -(-(placed[source] + 1) * total // counts[source]) if counts[source] else 0
                heappush(ready, deadline * MAX_SOURCES + source)
            source = heappop(ready) % MAX_SOURCES
            turns.append(source)
            placed[source] += 1
            if placed[source] < counts[source]:
                release = placed[source] * total // counts[source] + 1 if counts[source] else 0
                heappush(waiting, release * MAX_SOURCES + source)
        return np.array(turns, np.int16)

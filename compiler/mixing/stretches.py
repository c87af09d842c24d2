"""A plan's phases as people see them: constant ones, and transitions as one stretch each however many pieces they have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from schemas.data import Transition
from schemas.plan import PhasePlan, RunPlan

__all__ = ["Stretch", "stretches"]

# Samples from which on one of them is less than half a percent.
_SMOOTH: Final = 200


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring phases of one rule: one constant phase, or all pieces of a transition."""

    phases: tuple[PhasePlan, ...]

    @property
    def name(self) -> str:
        """Id without the number of the piece."""
        return self.phases[0].stretch

    @property
    def transition(self) -> Transition:
        """`step` where the shares are constant."""
        return self.phases[0].transition

    @property
    def start_token(self) -> int:
        """First token."""
        return self.phases[0].start_token

    @property
    def end_token(self) -> int:
        """One past the last token."""
        return self.phases[-1].end_token

    @property
    def rule(self) -> str:
        """`linear, 35 pieces`; empty where the shares are constant."""
        return (
            ""
            if self.transition == "step"
            else f"{self.transition}, {len(self.phases)} piece{'s' * (len(self.phases) > 1)}"
        )

    def tokens(self, name: str) -> int:
        """Tokens of a source."""
        return sum(phase.sources[name].tokens for phase in self.phases if name in phase.sources)

    def share(self, name: str) -> float:
        """Share of a source over the whole stretch."""
        return self.tokens(name) / (self.end_token - self.start_token)

    def ends(self, name: str) -> tuple[float, float]:
        """Share of a source in the first and in the last phase."""
        first, last = (_share(phase, name) for phase in (self.phases[0], self.phases[-1]))
        return first, last

    def course(self, name: str) -> list[tuple[float, float]]:
        """(token, share) along the stretch: both ends, and the middle of each piece between them.

        Pieces of few samples are taken together: a sample of 24 is a share of 4 %, which would look like teeth. A line goes
        on to its ends; half a cosine is flat there.
        """
        groups = list(self._groups())
        middles = [((group.start_token + group.end_token) / 2, group.share(name)) for group in groups]
        first, last = middles[0][1], middles[-1][1]
        if self.transition == "linear" and len(middles) > 1:
            first = _onward(middles[1], middles[0], self.start_token)
            last = _onward(middles[-2], middles[-1], self.end_token)
        return [(self.start_token, first), *(middles if len(middles) > 1 else ()), (self.end_token, last)]

    def _groups(self) -> Iterator[Stretch]:
        """Neighbouring phases of enough samples together; the last group may have fewer than twice as many."""
        found: list[PhasePlan] = []
        left = sum(_samples(phase) for phase in self.phases)
        for phase in self.phases:
            found.append(phase)
            left -= _samples(phase)
            if sum(map(_samples, found)) >= _SMOOTH and left >= _SMOOTH:
                yield Stretch(tuple(found))
                found = []
        if found:
            yield Stretch(tuple(found))


def stretches(plan: RunPlan) -> tuple[Stretch, ...]:
    """All stretches of a plan, in order."""
    keyed = groupby(plan.data.phases, key=lambda phase: (phase.transition, phase.stretch))
    return tuple(Stretch(tuple(phases)) for _, phases in keyed)


def _onward(before: tuple[float, float], after: tuple[float, float], token: float) -> float:
    """Share at a token on the line through two points, from 0 to 1."""
    slope = (after[1] - before[1]) / (after[0] - before[0])
    return min(1.0, max(0.0, after[1] + slope * (token - after[0])))


def _samples(phase: PhasePlan) -> int:
    return sum(share.samples for share in phase.sources.values())


def _share(phase: PhasePlan, name: str) -> float:
    tokens = phase.sources[name].tokens if name in phase.sources else 0
    return tokens / (phase.end_token - phase.start_token)

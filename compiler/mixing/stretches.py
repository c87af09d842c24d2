"""A plan's phases as people see them: constant ones, and transitions as one stretch each however many pieces they have."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from schemas.data import Transition
from schemas.plan import PhasePlan, RunPlan

__all__ = ["Stretch", "stretches"]


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
        return "" if self.transition == "step" else f"{self.transition}, {len(self.phases)} pieces"

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
        """(token, share) along the stretch: both ends, and the middle of each piece between them."""
        first, last = self.ends(name)
        middles = [((phase.start_token + phase.end_token) / 2, _share(phase, name)) for phase in self.phases]
        return [(self.start_token, first), *(middles if len(middles) > 1 else ()), (self.end_token, last)]


def stretches(plan: RunPlan) -> tuple[Stretch, ...]:
    """All stretches of a plan, in order."""
    keyed = groupby(plan.data.phases, key=lambda phase: (phase.transition, phase.stretch))
    return tuple(Stretch(tuple(phases)) for _, phases in keyed)


def _share(phase: PhasePlan, name: str) -> float:
    tokens = phase.sources[name].tokens if name in phase.sources else 0
    return tokens / (phase.end_token - phase.start_token)

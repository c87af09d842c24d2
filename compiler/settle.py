"""Budgets of money and time rest on a speed that only the estimate knows: the passes run until both agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Final, NamedTuple

from compiler.draft import Draft
from compiler.notes import Efforts
from compiler.passes.lifetime import paid_device_seconds

__all__ = ["settle"]

_ROUNDS: Final = 16
_OVER: Final = 0.004
"""Aims keep 0.5 % clear of the target (compiler/budgeting/aim.py), so that this much too much is still within it."""
_UNDER: Final = 0.01
"""Whole micro-batches and evaluations make an estimate jump by half a per cent, so less can't always be had."""


_NOTHING: Final = Efforts(1e-3, 1e-3)
"""So little that the plan is the smallest run: what a target that is too small is compared with."""
_HOPELESS: Final = -0.5
"""Where two rounds overspend by this much, the smallest run is tried before a search that may be in vain."""
_LEAP: Final = math.log(4)


class _Round(NamedTuple):
    """One run of the passes: the effort that its aim took a device for, and what the estimate made of it."""

    draft: Draft
    used: Efforts
    found: Efforts
    kind: int
    """The effort that matters: 0 of wall-clock, 1 of paid time."""

    @property
    def place(self) -> float:
        """Logarithm of the effort used."""
        return math.log(self.used[self.kind])

    @property
    def seconds(self) -> float:
        """Device time that the plan takes; what serving costs is counted as device time of training."""
        budget, price = self.draft.budget, self.draft.hardware.usd_per_gpu_hour
        aim = self.draft.targets.aim
        served = budget.inference_usd / price * 3600 if price and aim is not None and aim.goal == "lifetime" else 0.0
        return budget.train_flops / self.found[self.kind] + served

    @property
    def aimed_seconds(self) -> float:
        """Device time that the target allows: its FLOPs by the effort that they were made with."""
        aim = self.draft.targets.aim
        return aim.value / self.used[self.kind] if aim is not None else math.inf

    @property
    def slack(self) -> float:
        """Logarithm of found over used: above 0 the plan spends less than its aim, below it more."""
        return math.log(self.found[self.kind] / self.used[self.kind])


def settle(start: Draft, passes: Callable[[Draft], Draft]) -> Draft:
    """Run all passes; where the targets follow the estimate, again with what it found.

    Startup, checkpoints and failures make the effort depend on the length of the run, so plain repetition would creep or
    swing: the root is bracketed and found by secants. If rounding keeps it from being met, the plan that comes closest
    from below is taken.
    """
    draft = passes(start)
    tried: list[_Round] = []
    while draft.targets.follows_estimate:
        tried.append(_round(draft))
        if -_OVER <= tried[-1].slack <= _UNDER:
            return draft
        if len(tried) == 2 and max(one.slack for one in tried) < _HOPELESS:
            smallest = _round(passes(replace(start, efforts=_NOTHING)))
            if smallest.seconds > tried[0].aimed_seconds * math.exp(_OVER):
                return smallest.draft
        if len(tried) == _ROUNDS:
            below = [one for one in tried if one.slack >= -_OVER]
            return min(below, key=lambda one: one.slack).draft if below else passes(replace(start, efforts=_NOTHING))
        draft = passes(replace(start, efforts=_next(tried)))
    return draft


def _round(draft: Draft) -> _Round:
    flops, estimate = draft.budget.train_flops, draft.sections["estimate"]
    found = Efforts(flops / (estimate.hours * 3600 * draft.hardware.count), flops / paid_device_seconds(draft))
    aim = draft.targets.aim
    return _Round(draft, draft.targets.efforts, found, 0 if aim is not None and aim.key in ("time", "max_hours") else 1)


def _next(tried: list[_Round]) -> Efforts:
    """The efforts to use next: the one that matters from the rounds so far, the other as it was found."""
    last = tried[-1]
    same = [one for one in tried if one.kind == last.kind]
    below = max((one for one in same if one.slack >= 0), key=lambda one: one.place, default=None)
    above = min((one for one in same if one.slack < 0), key=lambda one: one.place, default=None)
    if below is not None and above is not None and below.place < above.place:
        twice = len(same) > 2 and (same[-1].slack >= 0) == (same[-2].slack >= 0)
        share = 0.5 if twice else below.slack / (below.slack - above.slack)
        place = below.place + (above.place - below.place) * min(max(share, 0.1), 0.9)
    else:  # no leap: a run too long to ever finish says little about a short one
        place = last.place + min(max(_step(same), -_LEAP), _LEAP)
    efforts = list(last.found)
    efforts[last.kind] = math.exp(place)
    return Efforts(*efforts)


def _step(same: list[_Round]) -> float:
    """From the last round's effort to the secant's root; the first time, and where the secant runs uphill, to what it found."""
    last = same[-1]
    if len(same) == 1 or same[-2].place == last.place:
        return last.slack
    slope = (last.slack - same[-2].slack) / (last.place - same[-2].place)
    return -last.slack / slope if slope < -0.1 else last.slack

"""Moving average of weights: half-life to smoothing per update."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.lowering.base import known, steps, window
from schemas.fragment import Claim, Fragment, Requirement
from schemas.techniques import Technique
from schemas.techniques.ema import Ema, EmaAlgorithm
from schemas.units import Time

__all__ = ["lower"]


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Claims the average; holds one more copy of the weights."""
    assert isinstance(technique, Ema)
    interval = max(1, steps(draft, technique.update_interval))
    half_life = max(1, steps(draft, technique.half_life))
    # After half_life / interval updates a weight's share is one half: smoothing ** (half_life / interval) == 0.5.
    # An exponent that a double can't hold (more than 1000 half-lives or less than 1e-15 of one) ends at 0 or 1.
    smoothing = 0.5 ** min(max(interval / half_life, 1e-15), 1000.0)
    return Fragment(
        claims=(Claim(slot="model.average"),),
        algorithms=(
            EmaAlgorithm(
                window=window(draft, technique.start, Time(1.0, "dur")),
                smoothing=smoothing,
                update_interval_steps=interval,
            ),
        ),
        requires=(
            *known(
                draft,
                half_life=technique.half_life,
                update_interval=technique.update_interval,
                start=technique.start,
            ),
            Requirement(
                holds=steps(draft, technique.start) != draft.batch.steps,  # what lies beyond it is reported above
                key="start",
                message="averaging would begin when the run is over",
                help="start: 0dur",
            ),
        ),
        memory_parameters=draft.model.num_parameters,
        reason=f"half-life of {half_life} steps, updated every {interval}: 0.5^({interval}/{half_life}) = {smoothing:.6g}",
    )

"""Magnitude pruning: a cubic schedule of sparsity over a window."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.lowering.base import known, steps, window
from schemas.fragment import Claim, Fragment, Requirement
from schemas.techniques import Technique
from schemas.techniques.pruning import Pruning, PruningAlgorithm

__all__ = ["lower"]


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Claims the sparsity of weights. Masks cost one bit a weight, which the estimate leaves out."""
    assert isinstance(technique, Pruning)
    start, end = steps(draft, technique.start), steps(draft, technique.end)
    return Fragment(
        claims=(Claim(slot="model.sparsity"),),
        algorithms=(
            PruningAlgorithm(
                window=window(draft, technique.start, technique.end),
                sparsity=technique.sparsity,
                scope=technique.scope,
                interval_steps=max(1, steps(draft, technique.interval)),
            ),
        ),
        requires=(
            *known(draft, start=technique.start, end=technique.end, interval=technique.interval),
            Requirement(
                holds=start < end or start > draft.batch.steps,  # what lies beyond the run is reported above
                key="end" if start < draft.batch.steps else "start",
                message=f"pruning ends at step {end}, not after its start at step {start}",
                help="end: 1dur" if start < draft.batch.steps else "start: 0.2dur",
            ),
            Requirement(
                holds=draft.hardware.count == 1 or draft.hardware.gpu == "cpu" or technique.scope == "layer",
                key="scope",
                message="a global ranking needs all weights on one device",
                help="scope: layer",
            ),
        ),
        whole_weights=True,  # a layer is ranked as a whole
        reason=f"cubic from 0 to {technique.sparsity:g} between steps {start} and {end}",
    )

"""Sequence-length warm-up: a window over which the length rises from start to full."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.lowering.base import known, window
from schemas.fragment import Claim, Fragment, Requirement
from schemas.techniques import Technique
from schemas.techniques.sequence_length_warmup import SequenceLengthWarmup, SequenceLengthWarmupAlgorithm
from schemas.units import Time

__all__ = ["lower"]


def lower(technique: Technique, draft: Draft, /) -> Fragment:
    """Claims the length of sequences; where tokens are cut off, it also saves their FLOPs."""
    assert isinstance(technique, SequenceLengthWarmup)
    length = draft.recipe.data.sequence_length
    share = (
        min(1.0, draft.batch.steps_of(technique.duration) / draft.batch.steps)
        if technique.duration.unit != "ep"
        else 0.0
    )
    # While it rises linearly, half of the missing length is cut off on average.
    lost = share * (1 - technique.start_length / length) / 2 if technique.truncate else 0.0
    return Fragment(
        claims=(Claim(slot="data.sequence_length"),),
        algorithms=(
            SequenceLengthWarmupAlgorithm(
                window=window(draft, Time(0.0, "ba"), technique.duration),
                start_length=technique.start_length,
                end_length=length,
                step_size=technique.step_size,
                truncate=technique.truncate,
            ),
        ),
        requires=(
            *known(draft, duration=technique.duration),
            Requirement(
                holds=technique.start_length <= length,
                key="start_length",
                message=f"it starts at {technique.start_length} tokens, longer than data.sequence_length = {length}",
                help=f"start_length: {max(2, length // 8)}",
            ),
            Requirement(
                holds=technique.truncate or length % technique.step_size == 0,
                key="step_size",
                message=f"reshaping needs lengths that divide: {technique.step_size} doesn't divide {length}",
                help="step_size: 8",
            ),
        ),
        flops_per_token=-6.0 * draft.model.num_parameters * lost,
        reason=f"linear from {technique.start_length} to {length} over {technique.duration}",
    )

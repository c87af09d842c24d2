"""Sequence-length warm-up: short sequences first, the full length later (Li et al. 2021, arXiv 2108.06084)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Integer
from schemas.techniques.base import Algorithm, Technique
from schemas.units import Time, TrainingTime

__all__ = ["SequenceLengthWarmup", "SequenceLengthWarmupAlgorithm"]


class SequenceLengthWarmup(Technique):
    """Knobs of sequence-length warm-up."""

    kind: Literal["sequence_length_warmup"] = Field(description="sequence_length_warmup")
    start_length: Integer = Field(64, ge=2, description="Length of the first sequences.")
    duration: TrainingTime = Field(Time(0.3, "dur"), description="Length of the linear rise to data.sequence_length.")
    step_size: Integer = Field(8, ge=1, description="Lengths are multiples of this.")
    truncate: bool = Field(
        True,
        strict=True,
        description="true: cut sequences off, tokens are lost; false: reshape them into more, shorter ones.",
    )


class SequenceLengthWarmupAlgorithm(Algorithm):
    """Lowered sequence-length warm-up."""

    kind: Literal["sequence_length_warmup"] = "sequence_length_warmup"
    start_length: Integer
    end_length: Integer
    step_size: Integer
    truncate: bool

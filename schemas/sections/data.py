"""Sections of the plan on data: sources and exact draws, phase by phase."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Float, Frozen, Integer, Name
from schemas.curriculum import CurriculumPlan
from schemas.data import Selection, Transition
from schemas.sources import Source

__all__ = ["DataPlan", "ImagePlan", "PhasePlan", "SourceShare"]


class SourceShare(Frozen):
    """What one phase draws of one source."""

    samples: Integer
    tokens: Integer


class PhasePlan(Frozen):
    """A span of training with one rule of mixing; sample counts are exact and sum over sources to the span."""

    id: Name
    start_token: Integer
    end_token: Integer
    sources: dict[Name, SourceShare]
    transition: Transition = Field(
        "step", description="linear, cosine: one of the pieces, neighbours in the list, of which a transition is made."
    )

    @property
    def stretch(self) -> str:
        """The same for all pieces of a transition, and for no others: the id without the number of the piece."""
        return self.id if self.transition == "step" else self.id.rpartition(".")[0]


class ImagePlan(Frozen):
    """What a network is given of an image: [channels, size, size], (value / 255 - mean) / std of each channel."""

    size: Integer
    channels: Literal[1, 3]
    mean: tuple[Float, ...]
    std: tuple[Float, ...]


class DataPlan(Frozen):
    """Sources and exact draws. A sample is `sequence_length` tokens; an image is a sample of one."""

    sequence_length: Integer
    sources: dict[Name, Source]
    phases: tuple[PhasePlan, ...]
    shuffle_block: Integer
    curricula: dict[Name, CurriculumPlan] = Field(description="By source; the others are read in random order.")
    selection: Selection
    image: ImagePlan | None = Field(description="null: the samples are no images.")

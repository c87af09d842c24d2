"""What a recipe says of its data: the mixture of its sources over time, their order, selection of documents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Fraction, Frozen, Integer, Name
from schemas.curriculum import Curriculum
from schemas.sources import Source
from schemas.techniques.sequence_length_warmup import SequenceLengthWarmup
from schemas.units import Bytes, Time, TrainingTime

__all__ = [
    "Data",
    "DomainUpsampling",
    "Image",
    "Knot",
    "Selection",
    "Transition",
]

Transition = Literal["step", "linear", "cosine"]
"""How weights get from one knot to the next."""


class Image(Frozen):
    """The form that all images are brought to. An image is one sample and counts as one token."""

    size: Integer = Field(
        32, ge=4, le=4096, description="Height and width, pixels; other images are scaled bilinearly to it."
    )
    channels: Literal[1, 3] = Field(3, description="1: grey; 3: red, green, blue.")


class Knot(Frozen):
    """From here on, these are the shares of tokens."""

    from_: TrainingTime = Field(
        Time(0.0, "dur"), alias="from", description="Where the weights begin to hold; the first knot starts at 0dur."
    )
    weights: dict[Name, Fraction] = Field(min_length=1, description="Share of tokens of each source; they sum to 1.")
    transition: Transition = Field(
        "step",
        description="How the weights get here from those of the knot before: all at once, or over the whole time between the "
        "two knots, along a line or half a cosine.",
    )


class DomainUpsampling(Frozen):
    """Upsample small domains at the end of training (Blakeney et al. 2024, arXiv 2406.03476); adds the mixture's last knot."""

    fraction: Fraction = Field(
        0.2, gt=0, lt=1, description="Last share of the run; 0.2 favours code and math, 0.1 broad knowledge."
    )
    weights: dict[Name, Fraction] = Field(
        min_length=1, description="Shares of the upsampled sources among themselves; they sum to 1."
    )
    keep: Fraction = Field(
        0.3, lt=1, description="Share of the general mix that stays, so that the distribution doesn't jump."
    )
    keep_sources: tuple[Name, ...] = Field(
        (), description="Which sources of the general mix stay; default: all that aren't upsampled."
    )


class Selection(Frozen):
    """Which documents are kept when a source is prepared."""

    min_bytes: Bytes = Field(1, ge=1, description="Shorter documents are left out.")
    max_bytes: Bytes | None = Field(None, ge=1, description="Longer documents are left out.")
    deduplicate: Literal["none", "exact"] = Field(
        "none", description="exact: of equal documents of a source, keep the first."
    )

    @model_validator(mode="after")
    def _something_is_left(self) -> Selection:
        if self.max_bytes is not None and self.max_bytes < self.min_bytes:
            raise PydanticCustomError(
                "conflict",
                "no document is at least {least} and at most {most} bytes long",
                {
                    "least": self.min_bytes,
                    "most": self.max_bytes,
                    "key": "max_bytes",
                    "fix": f"max_bytes: {self.min_bytes}",
                },
            )
        return self


def _curriculum_kind(value: Any) -> str | None:
    """The kind of an entry of `curriculum`; difficulty need not be said."""
    if isinstance(value, Frozen):
        return str(getattr(value, "kind", ""))
    kind = value.get("kind", "difficulty") if isinstance(value, dict) else None
    return kind if kind in ("difficulty", "sequence_length_warmup") else None


AnyCurriculum = Annotated[
    Annotated[Curriculum, Tag("difficulty")] | Annotated[SequenceLengthWarmup, Tag("sequence_length_warmup")],
    Discriminator(
        _curriculum_kind,
        custom_error_type="curriculum_kind",
        custom_error_message="a curriculum is of kind difficulty (then it says `by`) or sequence_length_warmup",
    ),
]


def _one_or_list(value: Any) -> str:
    """Which of its two forms `curriculum` has, so that findings are about that one alone."""
    return "list" if isinstance(value, list | tuple) else "one"


Curricula = Annotated[
    Annotated[AnyCurriculum, Tag("one")] | Annotated[tuple[AnyCurriculum, ...], Tag("list")],
    Discriminator(_one_or_list),
]


class Data(Frozen):
    """Sources and how they are mixed over the run."""

    sequence_length: Integer = Field(
        1024, ge=8, le=1 << 22, description="Tokens of a sample; documents are packed into it."
    )
    sources: dict[Name, Source] = Field(min_length=1, description="Named data sets.")
    mixture: tuple[Knot, ...] = Field((), description="Shares over time; without it every source has the same share.")
    domain_upsampling: DomainUpsampling | None = Field(
        None, description="A last phase that upsamples small domains; short for one more knot of `mixture`."
    )
    curriculum: Curricula = Field(
        (), description="Order of difficulty over all sources, length of sequences, or a list of both."
    )
    shuffle_block: Integer = Field(
        1 << 18,
        ge=1,
        le=1 << 40,
        description="Samples of neighbouring shards (in their shuffled order) that are shuffled together: more mixes better, "
        "fewer needs less memory and fewer shards at hand.",
    )
    selection: Selection = Field(Selection(), description="Which documents are kept.")
    image: Image = Field(Image(), description="classification: size and colours of the images.")

"""What a recipe says of its data: sources, their mixture over time, selection of documents."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Float, Fraction, Frozen, Integer, Name, Text
from schemas.curriculum import Curriculum
from schemas.techniques.sequence_length_warmup import SequenceLengthWarmup
from schemas.units import Bytes, Time, Tokens, TrainingTime

__all__ = [
    "SOURCE_KINDS",
    "BuiltinSource",
    "Data",
    "DomainUpsampling",
    "FilesSource",
    "HubSource",
    "Image",
    "ImagesSource",
    "JsonlSource",
    "Knot",
    "MdsSource",
    "ParquetSource",
    "Selection",
    "Source",
    "Transition",
    "holds_images",
]

SOURCE_KINDS = ("files", "jsonl", "parquet", "hf", "images", "mds", "builtin")


class _Source(Frozen):
    """What every source may say."""

    tokens: Tokens | None = Field(
        None, gt=0, description="Unique tokens it holds, where known: lets the plan count epochs before anything runs."
    )
    max_epochs: Float | None = Field(
        None,
        gt=0,
        le=1e6,
        examples=[4],
        description="Times its unique tokens may be drawn; the run refuses to go beyond.",
    )
    min_tokens: Tokens | None = Field(
        None,
        gt=0,
        examples=["100k tok"],
        description="Tokens of it that the run must draw at least; a mixture that draws fewer is an error.",
    )
    curriculum: Curriculum | None = Field(
        None, description="Order in which this source is read; instead of `data.curriculum`, if there is one."
    )
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="What a broken document does: stop the run, or be left out and counted."
    )
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        None, description="Pins the content: the hash that an earlier run's report printed."
    )


class FilesSource(_Source):
    """Text files, one document each: `files: src/**/*.py`."""

    files: Text | tuple[Text, ...] = Field(
        description="Glob or list of globs of text, markdown or code files, also .gz and .zst. `*` and `**` pass over folders "
        "of runs and jobs and the cache of prepared data.",
        examples=["docs/**/*.md"],
    )


class JsonlSource(_Source):
    """JSON lines, one document each: `jsonl: data/*.jsonl.zst`."""

    jsonl: Text | tuple[Text, ...] = Field(
        description="Glob or list of globs; .gz and .zst are unpacked as they are read."
    )
    text: Text = Field("text", description="Key that holds the text.")


class ParquetSource(_Source):
    """Parquet files, one document a row: `parquet: data/*.parquet`."""

    parquet: Text | tuple[Text, ...] = Field(description="Glob or list of globs.")
    text: Text = Field("text", description="Column that holds the text.")


class HubSource(_Source):
    """A data set of Hugging Face `datasets`, from the hub or saved in a folder."""

    hf: Text = Field(description="Name on the hub, or a folder written by `save_to_disk`.", examples=["allenai/c4"])
    config: Text | None = Field(None, description="Configuration of the data set, such as `en`.")
    split: Text = Field("train", description="Split to read.")
    revision: Text | None = Field(None, description="Commit of the hub's repository, so that it can't change.")
    text: Text = Field("text", description="Column that holds the text.")


class ImagesSource(_Source):
    """Images, a folder per class: `images: photos` with photos/cat/1.jpg, photos/dog/7.png."""

    images: Text = Field(
        description="Folder with one folder for each class, whose name is the class's; PNG, JPEG, BMP, GIF, TIFF, WebP.",
        examples=["photos"],
    )


class MdsSource(_Source):
    """Ready-made MDS shards, at a local path or in an object store; tokens are used as they are."""

    mds: Text = Field(
        description="Folder with index.json: a local path or s3://bucket/prefix.", examples=["s3://corpus/web"]
    )
    column: Text = Field(
        "tokens",
        description="Column with data.sequence_length token ids, or with text if `content: text`; `content: images`: with the "
        "image, by default `image`.",
    )
    content: Literal["tokens", "text", "images"] = Field(
        "tokens",
        description="tokens: samples are used as they are; text: documents, tokenized by the run; images: with a label each.",
    )
    label: Text = Field("label", description="images: column with the number of the class, from 0 on.")

    @property
    def image_column(self) -> str:
        """The column with the image, where `content` is images."""
        return "image" if self.column == "tokens" else self.column


class BuiltinSource(_Source):
    """Real data that every machine with this project has; for demonstrations and tests."""

    builtin: Literal["cpython-library", "cpython-docs", "cpython-unicode", "digits"] = Field(
        description="cpython-library: the standard library's source code; cpython-docs: its topics and docstrings; "
        "cpython-unicode: names of characters; digits: scikit-learn's 1797 images of handwritten digits, for "
        "`objective: classification`."
    )


def _kind(value: Any) -> str | None:
    """The key that says where a source comes from."""
    keys = value if isinstance(value, dict) else type(value).model_fields if isinstance(value, Frozen) else ()
    found = [kind for kind in SOURCE_KINDS if kind in keys]
    return found[0] if len(found) == 1 else None


Source = Annotated[
    Annotated[FilesSource, Tag("files")]
    | Annotated[JsonlSource, Tag("jsonl")]
    | Annotated[ParquetSource, Tag("parquet")]
    | Annotated[HubSource, Tag("hf")]
    | Annotated[ImagesSource, Tag("images")]
    | Annotated[MdsSource, Tag("mds")]
    | Annotated[BuiltinSource, Tag("builtin")],
    Discriminator(
        _kind,
        custom_error_type="source_kind",
        custom_error_message="a source says where it comes from with exactly one of files, jsonl, parquet, hf, images, mds, "
        "builtin",
    ),
]


Transition = Literal["step", "linear", "cosine"]
"""How weights get from one knot to the next."""


def holds_images(source: Source) -> bool:
    """Whether a source is of images with labels; else it is text or tokens."""
    if isinstance(source, MdsSource):
        return source.content == "images"
    return isinstance(source, ImagesSource) or (isinstance(source, BuiltinSource) and source.builtin == "digits")


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

"""Sources of a recipe: files, tables, the hub, images, ready-made shards, and data that every machine has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from schemas.base import Float, Frozen, Text
from schemas.curriculum import Curriculum
from schemas.units import Tokens

__all__ = [
    "SOURCE_KINDS",
    "BuiltinSource",
    "FilesSource",
    "HubSource",
    "ImagesSource",
    "JsonlSource",
    "MdsSource",
    "ParquetSource",
    "Source",
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


def holds_images(source: Source) -> bool:
    """Whether a source is of images with labels; else it is text or tokens."""
    if isinstance(source, MdsSource):
        return source.content == "images"
    return isinstance(source, ImagesSource) or (isinstance(source, BuiltinSource) and source.builtin == "digits")

"""The recipe: what a person writes. The whole list of top-level keys, each with its type from a file beside this one."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from schemas.base import Frozen, Integer, Name, Text, short_for
from schemas.budget import Budget
from schemas.data import Data
from schemas.evaluation import Checkpoints, Evaluation, Logging
from schemas.hardware import Hardware, Launch
from schemas.model import Model, Objective, Tokenizer
from schemas.techniques.distillation import Distillation
from schemas.techniques.ema import Ema
from schemas.techniques.low_rank import LowRank
from schemas.techniques.pruning import Pruning
from schemas.techniques.quantization import Quantization
from schemas.training import Precision, Training

__all__ = ["Compression", "Recipe"]

Compression = Annotated[Pruning | LowRank | Quantization, Field(discriminator="kind")]
"""What may stand in `compression`."""


class Recipe(Frozen):
    """A training recipe. Everything but `name`, `data.sources` and a model or a budget has a default."""

    name: Name = Field(
        description="Names the job's folder: letters, digits, `.`, `_` and `-`.", examples=["quickstart"]
    )
    seed: Integer = Field(17, ge=0, lt=1 << 31, description="Fixes initial weights and the order of data.")
    objective: Annotated[Objective, short_for("kind")] = Field(Objective(), description="What is learnt.")
    model: Model = Field(Model(), description="Family and size of the model.", examples=[{"size": "125M"}])
    tokenizer: Tokenizer = Field(Tokenizer(), description="How text becomes tokens.")
    data: Data = Field(description="Sources, their mixture over time, sequence length.")
    budget: Budget = Field(Budget(), description="How much training, for what quality, within what limits.")
    hardware: Hardware = Field(Hardware(), description="Devices to train on, and their price.")
    training: Training = Field(Training(), description="Batch, optimizer, schedule, duration.")
    precision: Annotated[Precision, short_for("compute")] = Field(Precision(), description="Number formats.")
    compression: tuple[Compression, ...] = Field(
        (), description="Methods that make the model smaller: pruning, low_rank, quantization."
    )
    distillation: Annotated[Distillation, short_for("teacher")] | None = Field(
        None, description="Learn from a teacher model.", examples=["models/teacher"]
    )
    averaging: Ema | None = Field(None, description="Average the weights over time.")
    evaluation: Evaluation = Field(Evaluation(), description="Held-out text per source, samples of generated text.")
    checkpoints: Checkpoints = Field(Checkpoints(), description="What is saved and kept, and the export.")
    logging: Logging = Field(Logging(), description="Where metrics go.")
    launch: Launch = Field(Launch(), description="Where and how the job runs; changes no result.")


class Preamble(Frozen):
    """The keys that are gone once a recipe is resolved; listed for the JSON Schema and for suggestions."""

    extends: Annotated[
        Text | tuple[Text, ...],
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = Field((), description="Recipe (or recipes, later ones win) that this one changes; relative to this file.")
    variables: dict[Name, Any] = Field({}, description="Values used as ${name}.")
    sequence: tuple[dict[str, Any], ...] = Field(
        (),
        description="Runs, one after the other: a name each, and the keys in which it differs from the rest of the recipe, "
        "merged as with `extends`.",
    )

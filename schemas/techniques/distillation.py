"""Distillation from frozen teachers (Hinton et al. 2015, arXiv 1503.02531), live or from logits that were kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Float, Fraction, Frozen, Integer, Name, Text, short_for
from schemas.techniques.base import Algorithm, Technique
from schemas.units import Time, TrainingTime

__all__ = ["Distillation", "DistillationAlgorithm", "Divergence", "LogitsCache", "Sampling", "Teacher", "TeacherPlan"]

Divergence = Literal["kl", "reverse_kl", "mse"]
Sampling = Literal["all", "one"]
_PLACES = ("run", "folder", "hub", "checkpoint")


class Teacher(Frozen):
    """A trained model to learn from. `distillation: models/big` is short for `{teacher: {folder: models/big}}`."""

    run: Name | None = Field(
        None,
        description="An earlier run of `sequence` by name, or `previous`: the one just before; the first run has none, and "
        "learns without a teacher.",
        examples=["previous"],
    )
    folder: Text | None = Field(
        None,
        description="Hugging Face folder of a model with the same tokenizer, beside the recipe or absolute.",
        examples=["runs/big/export"],
    )
    hub: Text | None = Field(None, description="Name on the Hugging Face hub.", examples=["gpt2"])
    revision: Text | None = Field(None, description="Commit of the hub's repository, so that it can't change.")
    checkpoint: Text | None = Field(
        None,
        description="Folder of a finished run of another recipe; its last checkpoint teaches.",
        examples=["runs/big-1a2b3c4d"],
    )

    @model_validator(mode="after")
    def _one_place(self) -> Teacher:
        given = [name for name in _PLACES if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "conflict",
                "a teacher comes from exactly one of `run`, `folder`, `hub` and `checkpoint`",
                {"first": given[0], "key": given[1], "fix": ""}
                if given
                else {"fix": "teacher: {folder: runs/big/export}"},
            )
        if self.revision is not None and self.hub is None:
            raise PydanticCustomError(
                "conflict", "only the hub has revisions", {"key": "revision", "fix": "hub: organisation/model"}
            )
        return self


class LogitsCache(Frozen):
    """Teachers that run once over each sample, before training; `cache: {}` keeps the 64 likeliest tokens of each position."""

    top_k: Integer = Field(
        64,
        ge=1,
        le=1 << 17,
        description="Tokens (or classes) of each prediction that are kept; the rest is one bucket.",
    )


class Distillation(Technique):
    """Knobs of distillation."""

    kind: Literal["distillation"] = Field("distillation", description="distillation")
    teacher: Annotated[Teacher, short_for("folder")] | None = Field(
        None, description="The model to learn from; this or `teachers`.", examples=["runs/big/export"]
    )
    teachers: tuple[Annotated[Teacher, short_for("folder")], ...] = Field(
        (), max_length=64, description="Several of them, an ensemble.", examples=[["models/a", "models/b"]]
    )
    sampling: Sampling = Field(
        "all",
        description="teachers: learn from the mean of all, or at each step from one that is drawn at random, at the cost of "
        "one (arXiv 2211.00683).",
    )
    loss: Divergence = Field(
        "kl",
        description="kl: cover all that the teacher does; reverse_kl: do nothing that it doesn't; mse: between logits, which "
        "is kl at an endless temperature.",
    )
    temperature: Float = Field(1.0, gt=0, le=100, description="Both distributions are softened by it (not for mse).")
    weight: Fraction = Field(0.5, gt=0, description="Share of the teacher's term in the loss while it is active.")
    start: TrainingTime = Field(Time(0.0, "dur"), description="When the teacher begins.")
    end: TrainingTime = Field(
        Time(0.5, "dur"), description="When it ends; early teaching is worth most (arXiv 2211.00683)."
    )
    every: Integer = Field(1, ge=1, le=1 << 30, description="Steps from one with the teacher to the next.")
    probability: Fraction = Field(
        1.0,
        gt=0,
        description="Chance of the teacher at each of these steps; drawn from the seed, the same on all devices.",
    )
    cache: LogitsCache | None = Field(
        None, description="Run the teacher once over every sample before training, and keep its likeliest tokens."
    )

    @property
    def all_teachers(self) -> tuple[Teacher, ...]:
        """Of `teacher` or `teachers`."""
        return self.teachers if self.teacher is None else (self.teacher,)

    @model_validator(mode="after")
    def _consistent(self) -> Distillation:
        if self.teacher is not None and self.teachers:
            fields = {"first": "teacher", "key": "teachers", "fix": ""}
            raise PydanticCustomError("conflict", "`teacher` and `teachers` both name whom to learn from", fields)
        if not self.all_teachers:
            raise PydanticCustomError(
                "conflict", "`distillation` names no teacher", {"fix": "distillation: {teacher: runs/big/export}"}
            )
        if self.sampling == "one" and len(self.all_teachers) == 1:
            raise PydanticCustomError(
                "conflict",
                "`sampling: one` draws one of several teachers, and there is one",
                {"first": "teachers" if self.teachers else "teacher", "key": "sampling", "fix": "sampling: all"},
            )
        if self.loss == "mse" and self.temperature != 1:
            raise PydanticCustomError(
                "conflict",
                "`loss: mse` compares logits, which no temperature softens",
                {"first": "loss", "key": "temperature", "fix": ""},
            )
        if self.loss == "mse" and self.cache is not None:
            raise PydanticCustomError(
                "conflict",
                "`loss: mse` compares all logits, and a cache keeps the largest",
                {"first": "loss", "key": "cache", "fix": ""},
            )
        if self.sampling == "one" and self.cache is not None and len(self.teachers) > 1:
            raise PydanticCustomError(
                "conflict",
                "a cache holds the mean of all teachers, and `sampling: one` draws one a step",
                {"first": "sampling", "key": "cache", "fix": ""},
            )
        return self


class TeacherPlan(Frozen):
    """Where a teacher comes from; one of the last four is set."""

    run: Name | None = Field(description="Id of an earlier run of the same plan.")
    fingerprint: Text | None = Field(description="Of that run, so that another one is another teacher.")
    folder: Text | None
    hub: Text | None
    revision: Text | None
    checkpoint: Text | None = Field(description="Folder of another recipe's run.")

    @property
    def name(self) -> str:
        """As the recipe calls it."""
        return str(self.run or self.folder or self.hub or self.checkpoint)


class DistillationAlgorithm(Algorithm):
    """Lowered distillation: loss <- (1 - w) loss + w T^2 KL(teacher || student) at each step on which the gate is open.

    The gate is open inside the window, at every `every`-th step counted from its start, with `probability`.
    """

    kind: Literal["distillation"] = "distillation"
    teachers: tuple[TeacherPlan, ...] = Field(min_length=1)
    sampling: Sampling
    loss: Divergence
    temperature: Float
    weight: Fraction
    every: Integer
    probability: Fraction
    top_k: Integer | None = Field(
        description="Predictions of a position that the steps `logits` keep; null: the teacher runs while training.",
    )

    def duty(self, steps: int, step_tokens: int) -> float:
        """Share of the first `steps` steps, of `step_tokens` each, on which the gate is open; with a probability its mean."""
        first, end = self.window.start_token // step_tokens, min(self.window.end_token // step_tokens, steps)
        return -(-max(0, end - first) // self.every) * self.probability / max(1, steps)

    def row_bytes(self, width: int) -> int:
        """Bytes that the steps `logits` keep of one prediction among `width` tokens or classes; 0 where none are kept."""
        return 0 if self.top_k is None else self.bytes_of(self.top_k, width)

    @staticmethod
    def bytes_of(top_k: int, width: int) -> int:
        """Of each part its id (2 or 4 bytes) and its logit (2), and 4 for the rest."""
        return top_k * ((2 if width <= 1 << 16 else 4) + 2) + 4

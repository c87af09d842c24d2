"""Curricula: by which score a source is read, in which order, and how fast the harder part of it comes in."""

from __future__ import annotations

import math
from typing import Final, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Float, Fraction, Frozen, Integer, Text
from schemas.units import Time, TrainingTime

__all__ = ["EASIER_WHEN_HIGH", "Curriculum", "CurriculumPlan", "Metric", "Pacing", "ReadingOrder", "competence"]

Metric = Literal[
    "length",
    "unigram_entropy",
    "compression_ratio",
    "ttr",
    "mtld",
    "hdd",
    "vocd",
    "flesch_reading_ease",
    "flesch_kincaid",
    "loss",
]
"""What a document can be scored by."""

EASIER_WHEN_HIGH: Final[frozenset[Metric]] = frozenset({"flesch_reading_ease"})
"""Metrics whose high values mean easy text; of all others high values mean hard text."""

ReadingOrder = Literal["easy_to_hard", "hard_to_easy", "random"]
Pacing = Literal["linear", "sqrt", "root", "exponential", "two_stage", "step"]

_KNOBS: Final[dict[str, tuple[Pacing, ...]]] = {
    "power": ("root",),
    "growth": ("exponential",),
    "stages": ("step", "exponential"),
}
"""Knobs that only some pacings have."""
_USUAL_POWER: Final = 3.0
# Hacohen & Weinshall 2019, the reference code's increase.
_USUAL_GROWTH: Final = 1.9
_USUAL_STAIRS: Final = 4
_MOST_STAGES: Final = 1000


class Curriculum(Frozen):
    """Knobs of a curriculum: samples are ranked by a score, and come in as the pacing lets them."""

    kind: Literal["difficulty"] = Field("difficulty", description="difficulty")
    by: Metric = Field(description="Score of documents; a sample has the mean of its documents', weighted by tokens.")
    order: ReadingOrder = Field(
        "easy_to_hard", description="What comes first; random ranks by chance, which is the control."
    )
    pacing: Pacing = Field("sqrt", description="How the share of samples that may be drawn grows from `start` to 1.")
    start: Fraction = Field(0.01, gt=0, description="Share that may be drawn at first (c0; Platanios et al. 2019).")
    duration: TrainingTime = Field(Time(0.5, "dur"), description="When all samples may be drawn.")
    power: Float | None = Field(
        None, ge=1, le=100, examples=[3], description="root: p of the p-th root, by default 3; 1 is linear, 2 is sqrt."
    )
    growth: Float | None = Field(
        None,
        gt=1,
        le=1000,
        examples=[1.9],
        description="exponential: factor of each stage, by default 1.9 (Hacohen & Weinshall 2019).",
    )
    stages: Integer | None = Field(
        None,
        ge=2,
        le=_MOST_STAGES,
        examples=[8],
        description="step: equal stairs, by default 4; exponential: stages of equal length, by default as many as reach 1.",
    )
    buckets: Integer = Field(
        10, ge=2, le=1000, description="Equally large groups of ranks; within one, the order is random."
    )
    model: Text | None = Field(
        None,
        description="loss: Hugging Face folder of the model that reads the documents.",
        examples=["runs/small/export"],
    )

    @property
    def decided_growth(self) -> float:
        """Factor of a stage of the exponential pacing, without unit."""
        return _USUAL_GROWTH if self.growth is None else self.growth

    @property
    def decided_power(self) -> float:
        """Which root the pacing is, 2 for sqrt; 1 where it is none."""
        usual: dict[Pacing, float] = {"sqrt": 2.0, "root": _USUAL_POWER if self.power is None else self.power}
        return usual.get(self.pacing, 1.0)

    @property
    def decided_stages(self) -> int:
        """Stages until all samples may be drawn; 1 where the pacing has none. Exponential: least n with start growth^n >= 1."""
        if self.stages is not None:
            return self.stages
        if self.pacing == "exponential":
            # Rounded, so that ten stages of 10 % are ten, also where the logarithms' quotient is 10.000000000000002.
            return max(1, math.ceil(round(-math.log(self.start) / math.log(self.decided_growth), 9)))
        return _USUAL_STAIRS if self.pacing == "step" else 1

    @model_validator(mode="after")
    def _model_is_for_loss(self) -> Curriculum:
        if self.by == "loss" and self.model is None:
            fix = "model: runs/small/export"
            raise PydanticCustomError("conflict", "`by: loss` needs the `model` that reads the documents", {"fix": fix})
        if self.by != "loss" and self.model is not None:
            text = "`model` reads documents for `by: loss`; {by} is computed from the text alone"
            raise PydanticCustomError(
                "conflict", text, {"by": self.by, "key": "model", "first": "by", "fix": "by: loss"}
            )
        return self

    @model_validator(mode="after")
    def _knobs_are_read(self) -> Curriculum:
        for knob, pacings in _KNOBS.items():
            if getattr(self, knob) is not None and self.pacing not in pacings:
                text = "`{key}` belongs to `pacing: {pacings}`; the pacing is {pacing}, which doesn't read it"
                named = {"key": knob, "pacings": " or ".join(pacings), "pacing": self.pacing, "first": "pacing"}
                raise PydanticCustomError("conflict", text, {**named, "fix": f"pacing: {pacings[0]}"})
        return self

    @model_validator(mode="after")
    def _everything_comes_in(self) -> Curriculum:
        if self.pacing != "exponential" or self.stages is None:
            return self
        reached = self.start * self.decided_growth**self.stages
        if reached < 1 - 1e-9:
            needed = self.model_copy(update={"stages": None}).decided_stages
            # The last stage would leap from `reached` to 1: more stages, or larger ones.
            least = math.ceil(100 * self.start ** (-1 / self.stages)) / 100
            fix = f"stages: {needed}" if needed <= _MOST_STAGES else f"growth: {least:g}"
            text = (
                "{stages} stages of {growth} bring {start} to no more than {reached}, so the rest would come in at once"
            )
            said = {"stages": self.stages, "growth": f"{self.decided_growth:g}", "start": f"{self.start:g}"}
            raise PydanticCustomError(
                "conflict", text, {**said, "reached": f"{reached:.3g}", "key": "stages", "fix": fix}
            )
        return self


class CurriculumPlan(Frozen):
    """A curriculum of one source, decided. Tokens are those of the whole run."""

    metric: Metric
    model: Text | None
    order: ReadingOrder
    pacing: Pacing
    start: Fraction
    end_token: Integer = Field(description="From here on all samples may be drawn.")
    power: Float = Field(description="p of the p-th root: 2 of sqrt, 1 of linear and of what is no root.")
    growth: Float = Field(description="exponential: factor of a stage; otherwise 1.")
    stages: Integer = Field(description="exponential and step: stages up to `end_token`; otherwise 1.")
    buckets: Integer
    scope: Literal["source", "mix"] = Field(
        description="Ranked within the source, or among all sources of this scope together."
    )


def competence(plan: CurriculumPlan, token: float) -> float:
    """Share of the ranks that may be drawn at a token of the run, from `start` to 1.

    linear, sqrt, root: min(1, (t (1 - c0^p) / T + c0^p)^(1/p)) with p = 1, 2, `power` (Platanios et al. 2019, eq. 6-7).
    exponential: min(1, c0 growth^floor(stages t / T)) (Hacohen & Weinshall 2019, fixed exponential pacing), 1 from T on.
    two_stage: c0, then 1 (Bengio et al. 2009). step: `stages` equal stairs from c0, with 1 from T on.
    """
    if token >= plan.end_token:
        return 1.0
    token = max(0.0, token)
    # Tokens before division: both are whole, so that stairs begin where they should and not one rounding later.
    stage = int(token * plan.stages // plan.end_token)
    if plan.pacing == "two_stage":
        return plan.start
    if plan.pacing == "step":
        return plan.start + (1 - plan.start) * stage / plan.stages
    if plan.pacing == "exponential":
        return float(min(1.0, plan.start * plan.growth**stage))
    floor = plan.start**plan.power
    return float(min(1.0, (token / plan.end_token * (1 - floor) + floor) ** (1 / plan.power)))

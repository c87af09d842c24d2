"""Curricula: by which score a source is read, in which order, and how fast the harder part of it comes in."""

from __future__ import annotations

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
    power: Float = Field(2.0, ge=1, le=100, description="root: p of the p-th root; 2 is sqrt.")
    growth: Float = Field(1.9, gt=1, le=1000, description="exponential: factor of each step (Hacohen & Weinshall 2019).")
    stages: Integer = Field(4, ge=2, le=1000, description="step and exponential: steps from `start` to 1.")
    buckets: Integer = Field(
        10, ge=2, le=1000, description="Equally large groups of ranks; within one, the order is random."
    )
    model: Text | None = Field(
        None, description="loss: Hugging Face folder of the model that reads the documents.", examples=["runs/small/export"]
    )

    @model_validator(mode="after")
    def _model_is_for_loss(self) -> Curriculum:
        if (self.by == "loss") != (self.model is not None):
            raise PydanticCustomError(
                "conflict",
                "`by: loss` names the `model` that reads the documents, and only it does",
                {"key": "model" if self.model is not None else "by", "fix": "by: loss, model: runs/small/export"},
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
    power: Float
    growth: Float
    stages: Integer
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
    share = max(0.0, token) / plan.end_token
    if plan.pacing == "two_stage":
        return plan.start
    if plan.pacing == "step":
        return plan.start + (1 - plan.start) * int(share * plan.stages) / plan.stages
    if plan.pacing == "exponential":
        return min(1.0, plan.start * plan.growth ** int(share * plan.stages))
    power = {"linear": 1.0, "sqrt": 2.0}.get(plan.pacing, plan.power)
    floor = plan.start**power
    return float(min(1.0, (share * (1 - floor) + floor) ** (1 / power)))

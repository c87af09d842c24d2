"""What run_report.json holds: planned against actual, keyed by the plan's ids."""

from __future__ import annotations

from typing import Any, Final

from runtime.reporting.data_report import Amount, DataReport
from runtime.scoring.report import ScoreReport
from schemas.base import Frozen
from schemas.counted import Counts
from schemas.plan import StepKind

__all__ = [
    "Environment",
    "EvaluationReport",
    "Losses",
    "PlanName",
    "Report",
    "RetentionReport",
    "SourceEvaluation",
    "SpendReport",
    "StepReport",
    "TextSample",
    "TrainingReport",
]

FORMAT_VERSION: Final = "1.3"
"""A minor adds, a reader refuses another major."""


class PlanName(Frozen):
    """Which plan was executed."""

    name: str
    fingerprint: str


class Environment(Frozen):
    """What the run ran on."""

    python: str
    packages: dict[str, str]
    device: str
    world_size: int


class StepReport(Frozen):
    """One step; `seconds.actual` is the work's time, also when the last run reused its result."""

    kind: StepKind
    seconds: Amount
    key: str | None
    reused: bool
    status: str


class TrainingReport(Frozen):
    """The training; planned loss is the scaling law's, in nats per token."""

    status: str
    steps: Amount
    tokens: Amount
    seconds: Amount
    tokens_per_s: Amount
    mfu: Amount
    loss: Amount
    initial_loss: float | None
    resumed_from: int | None


class SpendReport(Frozen):
    """What the run cost: the training over all its sessions, and the measuring and exporting after it.

    Planned are the whole estimate's dollars and hours in which devices are held; caps are the recipe's limits.
    """

    usd: Amount
    device_hours: Amount
    max_usd: float | None
    max_seconds: float | None
    stopped_by: str | None


class Losses(Frozen):
    """Held-out loss in nats per token or image; of text its exponential and bits per byte, of images the share that is right."""

    loss: float
    perplexity: float | None = None
    bits_per_byte: float | None = None
    accuracy: float | None = None


class SourceEvaluation(Frozen):
    """Held-out samples of one source, by the model before its first step, the trained one, and what is shipped of it.

    `confusion` counts the trained model's images by true (row) and predicted (column) class; an image is one token.
    """

    untrained: Losses
    trained: Losses
    shipped: Losses | None = None
    tokens: int
    bytes: int
    classes: tuple[str, ...] | None = None
    confusion: tuple[tuple[int, ...], ...] | None = None


class TextSample(Frozen):
    """A prompt and what the trained model made of it."""

    prompt: str
    text: str


class RetentionReport(Frozen):
    """What the training forgot: loss after it minus loss before, in nats per token; negative where it learnt."""

    nats: dict[str, float]
    mean_nats: float


class EvaluationReport(Frozen):
    """What the finished model can do."""

    sources: dict[str, SourceEvaluation]
    samples: tuple[TextSample, ...]
    retention: RetentionReport | None = None


class Report(Frozen):
    """The whole of run_report.json."""

    format_version: str = FORMAT_VERSION
    plan: PlanName
    counts: Counts = "tokens"
    """What is meant where a name says `tokens`."""
    environment: Environment
    steps: dict[str, StepReport]
    data: DataReport
    scores: dict[str, ScoreReport]
    training: TrainingReport | None
    evaluation: EvaluationReport | None
    compression: dict[str, Any] | None = None
    """What the step `compress` made of the model: parameters, nonzero, bytes, tokens_per_s, each before and after."""
    bias: dict[str, Any] | None = None
    """What the step `compare` measured, class by class; see runtime/bias/comparison.py."""
    cost_usd: Amount
    spend: SpendReport

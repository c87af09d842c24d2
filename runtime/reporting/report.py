"""run_report.json: planned against actual, keyed by the plan's ids; written after every step."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from runtime.files import write_json
from runtime.layout import Layout
from runtime.record import Record
from runtime.reporting.data_report import Amount, DataReport, data_report
from runtime.scoring.report import ScoreReport, score_reports
from schemas.base import Frozen
from schemas.plan import HOLDS_DEVICES, RunPlan, StepKind

__all__ = [
    "Environment",
    "EvaluationReport",
    "Losses",
    "Report",
    "SpendReport",
    "StepReport",
    "TrainingReport",
    "build_report",
    "write_report",
]

FORMAT_VERSION: Final = "1.2"
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


def build_report(plan: RunPlan, records: Mapping[str, Record], environment: Environment) -> Report:
    """Planned against actual as far as the run has come; a pure function of its arguments."""
    train = _values(records, "train")
    evaluation = _values(records, "evaluate")
    trained = train if "steps" in train else {}
    spend = _spend(plan, records, trained)
    return Report(
        plan=PlanName(name=plan.name, fingerprint=plan.fingerprint),
        environment=environment,
        steps=_steps(plan, records),
        data=data_report(plan.data, records, trained),
        scores=score_reports(records),
        training=_training(plan, trained) if trained else None,
        evaluation=EvaluationReport.model_validate(evaluation) if evaluation else None,
        compression=dict(_values(records, "compress")) or None,
        bias=dict(_values(records, "compare")) or None,
        cost_usd=spend.usd,
        spend=spend,
    )


def _spend(plan: RunPlan, records: Mapping[str, Record], trained: Mapping[str, Any]) -> SpendReport:
    """The books of the training, and the other steps for which the devices are held."""
    estimate, hardware, books = plan.estimate, plan.hardware, trained.get("spend")
    planned = sum(estimate.time_parts.values()) - estimate.time_parts.get("prepare", 0.0)
    usd = hours = None
    if books is not None:
        others = HOLDS_DEVICES - {"train"}
        held = sum(record.seconds for record in records.values() if record.kind in others)
        held = held / 3600 * trained.get("world_size", hardware.count)
        usd = books["usd"] + held * hardware.usd_per_gpu_hour
        hours = books["device_seconds"] / 3600 + held
    return SpendReport(
        usd=Amount(planned=estimate.usd, actual=usd),
        device_hours=Amount(planned=planned / 3600 * hardware.count, actual=hours),
        max_usd=plan.budget.max_cost_usd,
        max_seconds=plan.budget.max_seconds,
        stopped_by=books["stopped_by"] if books is not None else None,
    )


def write_report(plan: RunPlan, layout: Layout, records: Mapping[str, Record]) -> Report:
    """Build the report and replace the run's run_report.json by it."""
    world = _values(records, "train").get("world_size", 1)
    report = build_report(plan, records, _environment(world, on_cpu=plan.hardware.gpu == "cpu"))
    write_json(layout.report, report.model_dump(mode="json"))
    return report


def _values(records: Mapping[str, Record], kind: StepKind) -> Mapping[str, Any]:
    """What the step of a kind measured; empty while it has not run."""
    return next((record.values for record in records.values() if record.kind == kind), {})


def _steps(plan: RunPlan, records: Mapping[str, Record]) -> dict[str, StepReport]:
    steps = {}
    for step in plan.steps:
        record = records.get(step.id)
        steps[step.id] = StepReport(
            kind=step.kind,
            seconds=Amount(planned=step.seconds, actual=record.seconds if record else None),
            key=record.key if record else None,
            reused=record.reused if record else False,
            status=str(record.values.get("status", "finished")) if record else "waiting",
        )
    return steps


def _training(plan: RunPlan, trained: Mapping[str, Any]) -> TrainingReport:
    estimate = plan.estimate
    seconds = sum(step.seconds for step in plan.steps if step.kind == "train")
    return TrainingReport(
        status=trained["status"],
        steps=Amount(planned=plan.training.steps, actual=trained["steps"]),
        tokens=Amount(planned=plan.budget.tokens, actual=trained["tokens"]),
        seconds=Amount(planned=seconds, actual=trained.get("seconds")),
        tokens_per_s=Amount(
            planned=estimate.tokens_per_s_per_gpu * plan.hardware.count, actual=trained.get("tokens_per_s")
        ),
        mfu=Amount(planned=estimate.mfu, actual=trained.get("mfu")),
        loss=Amount(planned=_expected_loss(plan), actual=trained.get("loss")),
        initial_loss=trained.get("initial_loss"),
        resumed_from=trained.get("resumed_from"),
    )


def _expected_loss(plan: RunPlan) -> float | None:
    """What the scaling law expects: nothing of classifiers, nor outside of its data."""
    if plan.is_classifier or plan.law_budget.extrapolated:
        return None
    return plan.law_budget.loss


@functools.cache
def _environment(world_size: int, *, on_cpu: bool) -> Environment:
    packages = {}
    for name in ("torch", "mosaicml", "mosaicml-streaming", "transformers", "tokenizers", "numpy"):
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return Environment(
        python=platform.python_version(), packages=packages, device=_device(on_cpu=on_cpu), world_size=world_size
    )


def _device(*, on_cpu: bool) -> str:
    """The GPU's name, or the processor's."""
    if not on_cpu:
        import torch  # takes seconds, and a run on a CPU needs no question to it

        if torch.cuda.is_available():
            return str(torch.cuda.get_device_name(0))
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

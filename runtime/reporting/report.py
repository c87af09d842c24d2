"""Makes run_report.json out of a plan and what its steps recorded; written after every step."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from runtime.files import write_json
from runtime.layout import Layout
from runtime.record import Record
from runtime.reporting.data_report import Amount, data_report
from runtime.reporting.run_report import (
    Environment,
    EvaluationReport,
    PlanName,
    Report,
    SpendReport,
    StepReport,
    TrainingReport,
)
from runtime.scoring.report import score_reports
from schemas.plan import HOLDS_DEVICES, RunPlan, StepKind

__all__ = ["build_report", "write_report"]


def build_report(plan: RunPlan, records: Mapping[str, Record], environment: Environment) -> Report:
    """Planned against actual as far as the run has come; a pure function of its arguments."""
    train = _values(records, "train")
    evaluation = _values(records, "evaluate")
    trained = train if "steps" in train else {}
    spend = _spend(plan, records, trained)
    return Report(
        plan=PlanName(name=plan.name, fingerprint=plan.fingerprint),
        counts=plan.counted.many,
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
    """What the scaling law expects: nothing of classifiers, of trained weights, nor outside of its data."""
    if plan.is_law_silent or plan.law_budget.extrapolated:
        return None
    return plan.promise.loss


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

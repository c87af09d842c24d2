"""The report's part on data: tokens planned and drawn, by source and by phase, and what of the text was never drawn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.record import Record
from schemas.base import Frozen
from schemas.counted import TOKENS, Counted
from schemas.data import Transition
from schemas.plan import DataPlan, PhasePlan

__all__ = ["Amount", "DataReport", "PhaseReport", "SourceReport", "data_report", "differences"]


class Amount(Frozen):
    """One quantity, planned and as it came out; None for what is not known (yet)."""

    planned: int | float | None
    actual: int | float | None


class SourceReport(Frozen):
    """What was drawn of one source; `epochs` is samples drawn by unique samples.

    Padding was drawn and trained on, but is no text. Truncated tokens were drawn, and cut off before the model. A tail fills no
    sample; unused held-out text is neither trained on nor measured by. Each is None where it isn't known.
    """

    tokens: Amount
    samples: Amount
    equal: bool | None
    """Whether the finished run drew what was planned; None before."""
    unique_samples: int | None
    epochs: float | None
    padding_tokens: int | None
    truncated_tokens: int | None
    dropped_tail_tokens: int | None
    unused_heldout_documents: int | None
    unused_heldout_bytes: int | None
    content_sha256: str | None


class PhaseReport(Frozen):
    """A span of the plan with one rule of mixing; tokens per source, planned and drawn."""

    start_token: int
    end_token: int
    transition: Transition
    tokens: dict[str, int]
    drawn: dict[str, int] | None
    equal: bool | None
    """Whether what was drawn is what was planned; None before the phase has ended, and where it was not counted."""


class DataReport(Frozen):
    """Sources over the run, and its phases."""

    equal: bool | None
    """Whether the finished run drew of every source what was planned; None before."""
    sources: dict[str, SourceReport]
    phases: dict[str, PhaseReport]


def data_report(data: DataPlan, records: Mapping[str, Record], trained: Mapping[str, Any]) -> DataReport:
    """Planned against drawn.

    Args:
        data: of the plan.
        records: results of the prepare steps, among others.
        trained: values of the train step; empty while it has not run.
    """
    prepared = {str(r.values.get("source")): r.values for r in records.values() if r.kind == "prepare"}
    sources = {name: _source(name, data, prepared.get(name, {}), trained) for name in data.sources}
    verdicts = [source.equal for source in sources.values()]
    return DataReport(
        equal=None if None in verdicts else all(verdicts),
        sources=sources,
        phases={phase.id: _phase(phase, data.sequence_length, trained) for phase in data.phases},
    )


def _source(name: str, data: DataPlan, prepared: Mapping[str, Any], trained: Mapping[str, Any]) -> SourceReport:
    shares = [phase.sources[name] for phase in data.phases if name in phase.sources]
    samples = Amount(
        planned=sum(share.samples for share in shares), actual=trained.get("samples_per_source", {}).get(name)
    )
    finished = trained.get("status") == "finished" and samples.actual is not None
    unique = prepared["train"]["samples"] if prepared else None
    unused = prepared.get("unused_heldout", {})
    return SourceReport(
        tokens=Amount(
            planned=sum(share.tokens for share in shares), actual=trained.get("tokens_per_source", {}).get(name)
        ),
        samples=samples,
        equal=samples.actual == samples.planned if finished else None,
        unique_samples=unique,
        epochs=samples.actual / unique if samples.actual is not None and unique else None,
        padding_tokens=(trained.get("padding_tokens_per_source") or {}).get(name),
        truncated_tokens=(trained.get("truncated_tokens_per_source") or {}).get(name),
        dropped_tail_tokens=prepared.get("dropped_tail_tokens"),
        unused_heldout_documents=unused.get("documents"),
        unused_heldout_bytes=unused.get("bytes"),
        content_sha256=prepared.get("content_sha256"),
    )


def _phase(phase: PhasePlan, length: int, trained: Mapping[str, Any]) -> PhaseReport:
    counted = trained.get("samples_per_phase")
    row = None if counted is None else counted.get(phase.id, {} if trained["tokens"] <= phase.start_token else None)
    drawn = None if row is None else {name: samples * length for name, samples in row.items() if samples}
    planned = {name: share.tokens for name, share in phase.sources.items()}
    ended = trained.get("tokens", 0) >= phase.end_token
    return PhaseReport(
        start_token=phase.start_token,
        end_token=phase.end_token,
        transition=phase.transition,
        tokens=planned,
        drawn=drawn,
        equal=drawn == {name: tokens for name, tokens in planned.items() if tokens}
        if ended and drawn is not None
        else None,
    )


def differences(report: DataReport, counted: Counted = TOKENS) -> tuple[str, ...]:
    """A sentence for each source of a finished run that was not drawn as planned; there should be none."""
    return tuple(
        f"`{name}` was to give {counted.number(int(source.tokens.planned or 0))}, and gave {source.tokens.actual or 0:,}"
        for name, source in report.sources.items()
        if source.equal is False
    )

"""The report's part on scores: by source and metric, the span of its documents' scores and how many have none."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.record import Record
from schemas.base import Frozen

__all__ = ["MetricReport", "ScoreReport", "score_reports"]


class MetricReport(Frozen):
    """Scores of documents by one metric; a document that is too short for it is `undefined`."""

    min: float
    mean: float
    max: float
    undefined: int


class ScoreReport(Frozen):
    """What a score step found: documents that are trained on, of them those whose scores were stored before, samples."""

    metrics: dict[str, MetricReport]
    documents: int
    reused_documents: int
    samples: int
    undefined_samples: int


def score_reports(records: Mapping[str, Record]) -> dict[str, ScoreReport]:
    """By source; empty where nothing is read by a curriculum."""
    return {
        str(record.values["scored"]): ScoreReport.model_validate(
            {name: value for name, value in record.values.items() if name in ScoreReport.model_fields}
        )
        for record in records.values()
        if record.kind == "score" and "scored" in record.values
    }

"""What people read of scores: half a line when the step is done, an entry of the report, and what is missing at the start."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from runtime.errors import DataError, Refused, RunFailed
from runtime.record import Record
from runtime.scoring.models import check_models
from runtime.scoring.report import score_reports
from runtime.status import facts
from tests.runtime.scoring.case import scoring_plan

VALUES = {
    "scored": "text",
    "metrics": {"mtld": {"min": 8.25, "mean": 41.5, "max": 135.6470, "undefined": 1222}},
    "documents": 9000,
    "reused_documents": 3000,
    "samples": 400,
    "undefined_samples": 2,
}


def test_facts() -> None:
    """Span and mean, and how much was known before."""
    known = "mtld 8.25 to 135.6, mean 41.5; 9,000 documents, 1,222 too short for it, 3,000 scored before"
    assert facts("score", VALUES) == known


def test_the_report_has_the_scores_by_source() -> None:
    """Other steps are no scores; a step that has only begun has none yet."""
    done = Record(kind="score", key="1", inputs={}, seconds=1.0, reused=False, values=VALUES)
    begun = done.model_copy(update={"values": {"status": "started"}})
    other = done.model_copy(update={"kind": "prepare"})
    (name, found), *rest = score_reports({"a": done, "b": begun, "c": other}).items()
    assert (name, rest) == ("text", [])
    assert found.model_dump() == {key: value for key, value in VALUES.items() if key != "scored"}


def test_a_missing_model_is_found_before_anything_runs(tmp_path: Path) -> None:
    """Not after hours of preparing; one that is there is fine, and so is a score that needs none."""
    plan = scoring_plan({"files": "*.txt"}, "loss", curriculum={"model": "small"})
    with pytest.raises(DataError, match="no model `small` to score `text` by") as caught:
        check_models(plan, (tmp_path,))
    assert caught.value.code == "RC401"
    (tmp_path / "small").mkdir()
    check_models(plan, (tmp_path,))
    check_models(scoring_plan({"files": "*.txt"}), (tmp_path,))


@pytest.mark.parametrize("kind", [DataError, RunFailed, Refused])
def test_errors_of_other_processes_arrive_whole(kind: type[DataError]) -> None:
    """Pools hand errors on as pickles."""
    error = kind("RC604", "the disk is full", "free space")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.code, again.message, again.remedy) == (kind, "RC604", "the disk is full", "free space")

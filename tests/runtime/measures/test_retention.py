"""What a training forgot: after minus before, of the sources that the plan names."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.measures.retention import forgotten
from runtime.reporting.run_report import EvaluationReport
from runtime.reporting.summary import evaluation_table
from runtime.steps import evaluate
from tests.runtime.finished import finished_run


def measured(before: float, after: float) -> dict[str, object]:
    """One source, as the step `evaluate` says it."""

    def losses(nats: float) -> dict[str, float]:
        return {"loss": nats, "perplexity": 2.0, "bits_per_byte": 1.0}

    return {"untrained": losses(before), "trained": losses(after), "tokens": 64, "bytes": 200}


def test_forgetting_is_after_minus_before() -> None:
    """3.5 after 3.0 is half a nat lost, 1.9 after 2.0 a tenth gained; what has no held-out text is left out."""
    sources = {"code": measured(3.0, 3.5), "prose": measured(2.0, 1.9), "new": measured(9.0, 4.0)}
    found = forgotten(sources, ("code", "prose", "tiny"))
    assert found is not None
    assert found["nats"] == pytest.approx({"code": 0.5, "prose": -0.1})
    assert found["mean_nats"] == pytest.approx(0.2)
    assert forgotten(sources, ()) is None
    assert forgotten(sources, ("tiny",)) is None


def test_the_summary_shows_it() -> None:
    """With its sign, and a mean where there are several."""
    sources = {"code": measured(3.0, 3.5), "prose": measured(2.0, 1.9)}
    values: dict[str, object] = {"sources": sources, "samples": [], "retention": forgotten(sources, sources)}
    lines = evaluation_table(EvaluationReport.model_validate(values), 80).splitlines()
    assert [line.split() for line in lines[-3:]] == [["code", "+0.5000"], ["prose", "-0.1000"], ["mean", "+0.2000"]]
    plain = evaluation_table(EvaluationReport.model_validate({**values, "retention": None}), 80)
    assert "forgotten" not in plain


def test_the_step_evaluate_measures_it(tmp_path: Path) -> None:
    """Of a real run: the difference of the very losses that it reports."""
    context, inputs = finished_run(tmp_path, evaluation={"holdout": 0.2, "prompts": [], "retention": ["two"]})
    step = next(step for step in context.plan.steps if step.kind == "evaluate")
    values = evaluate.run(step, context, inputs, context.layout.run)
    two = values["sources"]["two"]
    assert values["retention"]["nats"] == {"two": two["trained"]["loss"] - two["untrained"]["loss"]}
    assert values["retention"]["mean_nats"] != 0
    assert evaluate.identity(step, context, inputs)["retention"] == ["two"]

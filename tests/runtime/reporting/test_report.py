"""Planned against actual: the report, the table, the loss curve."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.execute import execute
from runtime.reporting.plots import draw_loss, read_curves, smooth
from runtime.reporting.run_report import Report
from runtime.reporting.summary import files, summary, table
from tests.runtime.plans import layout_of, light_modules, sealed_plan


def _report(folder: Path) -> Report:
    plan = sealed_plan()
    _, modules = light_modules()
    layout = layout_of(plan, folder)
    execute(plan, layout, modules=modules)
    return Report.model_validate_json(layout.report.read_bytes())


def test_the_report_is_keyed_by_the_plans_ids(tmp_path: Path) -> None:
    """Sources and steps stand under their ids, tokens per source are exact integers and equal the plan's."""
    plan = sealed_plan()
    report = _report(tmp_path)
    assert list(report.steps) == sorted(step.id for step in plan.steps)
    assert report.plan.fingerprint == plan.fingerprint
    code = report.data.sources["code"]
    assert (code.tokens.planned, code.tokens.actual) == (4608, 4608)
    assert isinstance(code.tokens.actual, int)
    assert code.epochs == 72 / 48
    assert report.training is not None
    assert (report.training.steps.planned, report.training.steps.actual) == (12, 12)
    assert report.environment.packages["torch"]


def test_cost_is_the_trainings_books_and_what_follows(tmp_path: Path) -> None:
    """$5 in the books, and the seconds of evaluating and exporting on one device at $3600 an hour; caps stand beside it."""
    plan = sealed_plan(hardware={"usd_per_gpu_hour": 3600.0}, budget={"max_cost_usd": 20.0, "tokens": 6144})
    _, modules = light_modules()
    layout = layout_of(plan, tmp_path)
    records = execute(plan, layout, modules=modules).records
    report = Report.model_validate_json(layout.report.read_bytes())
    after = records["evaluate"].seconds + records["export"].seconds
    assert report.cost_usd.actual == pytest.approx(5.0 + after)
    assert report.spend.usd == report.cost_usd
    assert report.spend.device_hours.actual == pytest.approx((5.0 + after) / 3600)
    assert report.spend.device_hours.planned == pytest.approx(19 / 3600)  # of 21 s, 2 s prepare data
    assert (report.spend.max_usd, report.spend.stopped_by) == (20.0, None)


def test_the_table_fits_its_width(tmp_path: Path) -> None:
    """80 columns hold it, with names of any length; names are cut and numbers are not."""
    report = _report(tmp_path)
    long = report.model_copy(update={"steps": {"s" * 64: report.steps["train"]}})
    lines = table(long, 80).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert any(line.startswith("  ssss") and "... " in line for line in lines)
    assert "from 6.250" in table(report, 80)
    assert "1.50 x 3.072k tok" in table(report, 80)


def test_the_summary_shows_losses_and_samples(tmp_path: Path) -> None:
    """Perplexity before and after, the prompt with its continuation, and the files that are there."""
    report = _report(tmp_path)
    layout = layout_of(sealed_plan(), tmp_path)
    text = summary(report, layout, 80)
    assert "518 -> 148" in text
    assert "  | def main(self):" in text
    assert str(layout.export) in files(layout)
    assert "loss.png" not in files(layout)


def _metrics(path: Path, lines: int) -> None:
    rows = [
        {"step": i, "tokens": 512 * i, "loss": 6.0 - 0.1 * i, "heldout/code/loss": 5.5} for i in range(1, lines + 1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 99, "tok')


def test_a_loss_curve_is_drawn(tmp_path: Path) -> None:
    """metrics.jsonl with a line cut short gives a PNG; a single point gives none."""
    plan = sealed_plan()
    target = tmp_path / "loss.png"
    _metrics(tmp_path / "metrics.jsonl", 1)
    assert not draw_loss(plan, tmp_path / "metrics.jsonl", target)
    assert not target.exists()
    _metrics(tmp_path / "metrics.jsonl", 12)
    assert len(read_curves(tmp_path / "metrics.jsonl").heldout["code"]) == 12
    assert draw_loss(plan, tmp_path / "metrics.jsonl", target)
    data = target.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert struct.unpack(">II", data[16:24]) == (1200, 675)


def test_no_metrics_no_curve(tmp_path: Path) -> None:
    """Without metrics.jsonl (logging.jsonl is off) nothing is drawn and nothing fails."""
    assert not draw_loss(sealed_plan(), tmp_path / "metrics.jsonl", tmp_path / "loss.png")


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=30), st.integers(0, 40))
def test_smoothing_is_the_mean_of_a_window(values: list[float], reach: int) -> None:
    """Each point is the mean of its neighbourhood, cut at both ends of the curve."""
    for i, value in enumerate(smooth(values, reach)):
        window = values[max(i - reach, 0) : i + reach + 1]
        assert abs(value - sum(window) / len(window)) < 1e-9

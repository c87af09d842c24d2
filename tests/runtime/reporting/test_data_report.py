"""The report's part on data: planned against drawn by source and phase, what was lost, and the fault that must not pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime import __main__ as command
from runtime.execute import execute
from runtime.record import Record
from runtime.reporting.data_report import DataReport, data_report, differences
from runtime.reporting.run_report import Report
from runtime.reporting.summary import summary
from tests.factory import tiny_plan
from tests.runtime.plans import LightStep, layout_of, light_modules, sealed_plan, write_plan

TRAINED: dict[str, Any] = {
    "status": "finished",
    "tokens": 6144,
    "samples_per_source": {"code": 72, "prose": 24},
    "tokens_per_source": {"code": 4608, "prose": 1536},
    "samples_per_phase": {"phase0": {"code": 72, "prose": 24}},
    "padding_tokens_per_source": {"code": 0, "prose": 11},
    "truncated_tokens_per_source": {"code": 480, "prose": 0},
}


def prepare(source: str, samples: int) -> Record:
    """A prepare step's record with its books."""
    values = {
        "source": source,
        "train": {"samples": samples},
        "dropped_tail_tokens": 17,
        "unused_heldout": {"documents": 2, "bytes": 900},
    }
    return Record(kind="prepare", key="0" * 64, inputs={}, seconds=1.0, reused=False, values=values)


def report_of(**trained: Any) -> DataReport:
    """The part on data of the tiny plan's run."""
    records = {f"prepare-{name}": prepare(name, samples) for name, samples in (("code", 48), ("prose", 30))}
    return data_report(tiny_plan().data, records, {**TRAINED, **trained})


def test_a_finished_run_is_equal_to_its_plan() -> None:
    """Tokens, samples and epochs; padding, cuts and tails stand apart and change nothing of what was drawn."""
    report = report_of()
    code, prose = report.sources["code"], report.sources["prose"]
    assert report.equal
    assert (code.tokens.planned, code.tokens.actual, code.equal) == (4608, 4608, True)
    assert (code.epochs, prose.epochs) == (72 / 48, 24 / 30)
    assert (code.padding_tokens, prose.padding_tokens) == (0, 11)
    assert (code.truncated_tokens, prose.truncated_tokens) == (480, 0)
    assert (code.dropped_tail_tokens, code.unused_heldout_documents, code.unused_heldout_bytes) == (17, 2, 900)
    phase = report.phases["phase0"]
    assert phase.tokens == phase.drawn == {"code": 4608, "prose": 1536}
    assert (phase.equal, phase.transition) == (True, "step")
    assert differences(report) == ()


def test_a_run_on_its_way_is_neither_equal_nor_unequal() -> None:
    """Interrupted: what was drawn is there, verdicts are not; phases that have ended have theirs."""
    half = {
        "status": "interrupted",
        "tokens": 3072,
        "samples_per_source": {"code": 36, "prose": 12},
        "tokens_per_source": {"code": 2304, "prose": 768},
        "samples_per_phase": {"phase0": {"code": 36, "prose": 12}},
    }
    report = report_of(**half)
    assert report.equal is None
    assert {source.equal for source in report.sources.values()} == {None}
    assert report.phases["phase0"].drawn == {"code": 2304, "prose": 768}
    assert report.phases["phase0"].equal is None
    assert differences(report) == ()
    assert data_report(tiny_plan().data, {}, {}).phases["phase0"].drawn is None


def test_one_sample_off_is_a_difference() -> None:
    """A sample of one source in place of another is found, by source and by phase."""
    off = {"code": 71, "prose": 25}
    tokens = {name: samples * 64 for name, samples in off.items()}
    report = report_of(samples_per_source=off, tokens_per_source=tokens, samples_per_phase={"phase0": off})
    assert report.equal is False
    assert report.phases["phase0"].equal is False
    assert differences(report) == (
        "`code` was to give 4,608 tokens, and gave 4,544",
        "`prose` was to give 1,536 tokens, and gave 1,600",
    )


def test_what_was_not_counted_is_not_told() -> None:
    """A run that began under an older version: no counts by phase, no padding, no cuts, and no verdict on phases."""
    unknown = dict.fromkeys(("samples_per_phase", "padding_tokens_per_source", "truncated_tokens_per_source"))
    report = report_of(**unknown)
    code = report.sources["code"]
    assert (code.equal, code.padding_tokens, code.truncated_tokens) == (True, None, None)
    assert (report.phases["phase0"].drawn, report.phases["phase0"].equal) == (None, None)


def test_a_phase_of_unknown_counts_has_no_verdict() -> None:
    """Left out of the counts though it has begun: unknown; not begun: nothing was drawn."""
    begun = report_of(samples_per_phase={}).phases["phase0"]
    assert (begun.drawn, begun.equal) == (None, None)
    waiting = report_of(samples_per_phase={}, tokens=0, status="interrupted").phases["phase0"]
    assert (waiting.drawn, waiting.equal) == ({}, None)


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> dict[str, LightStep]:
    """Steps without weight, of which the training drew a sample too few of `code`."""
    steps, modules = light_modules()
    steps["train"].values |= {
        "samples_per_source": {"code": 71, "prose": 24},
        "tokens_per_source": {"code": 4544, "prose": 1536},
    }
    monkeypatch.setattr(command, "execute", lambda *given, **named: execute(*given, **named, modules=modules))
    return steps


def test_other_data_than_planned_fails_the_run(
    tmp_path: Path, wrong: dict[str, LightStep], capsys: pytest.CaptureFixture[str]
) -> None:
    """All steps are done and the model is kept; the end is loud: table, error RC902, exit code 3, status failed. Each time."""
    plan = sealed_plan()
    path = write_plan(plan, tmp_path / "plan.yaml")
    layout = layout_of(plan, tmp_path)
    for runs in (1, 1):
        assert command.main([str(path), "--runs", str(tmp_path / "runs")]) == 3
        shown = capsys.readouterr()
        assert "NOT AS PLANNED" in shown.out
        assert "error[RC902]" in shown.err
        assert "`code` was to give 4,608 tokens, and gave 4,544" in shown.err
        assert "`prose`" not in shown.err
        assert json.loads((layout.run / "status.json").read_text())["state"] == "failed"
        assert json.loads((layout.run / "status.json").read_text())["exit_code"] == 3
        assert len(wrong["train"].runs) == len(wrong["export"].runs) == runs
    report = Report.model_validate_json(layout.report.read_bytes())
    assert report.data.equal is False
    assert layout.export.is_dir()


def test_the_table_tells_what_never_reached_the_model(tmp_path: Path) -> None:
    """Padding and cuts are rows of their own, only where there are any."""
    steps, modules = light_modules()
    steps["train"].values |= {
        "padding_tokens_per_source": {"code": 0, "prose": 11},
        "truncated_tokens_per_source": {"code": 480, "prose": 0},
    }
    plan = sealed_plan()
    layout = layout_of(plan, tmp_path)
    execute(plan, layout, modules=modules)
    lines = [
        line.split()
        for line in summary(Report.model_validate_json(layout.report.read_bytes()), layout, 80).splitlines()
    ]
    drawn = lines[lines.index(["tokens", "drawn"]) + 1 :][:4]
    assert [row[0] for row in drawn] == ["code", "of", "prose", "of"]
    assert drawn[1] == ["of", "it", "cut", "off", "-", "480"]
    assert drawn[3] == ["of", "it", "padding", "-", "11"]

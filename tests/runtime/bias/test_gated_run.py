"""A run whose comparison exceeds its limits: recorded, reported, not exported; with a raised limit only exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.bias.picture import PICTURE
from runtime.errors import RunFailed
from runtime.execute import execute
from runtime.reporting.model_card import model_card
from runtime.reporting.report import write_report
from runtime.reporting.summary import summary
from schemas.plan import RunPlan
from tests.runtime.bias.test_comparison import bias_of, golden
from tests.runtime.plans import LightStep, layout_of, light_modules, sealed_plan


def _plan(**limits: Any) -> RunPlan:
    """The tiny plan with a comparison between evaluation and export."""
    plain = sealed_plan().model_dump(by_alias=True)
    steps = [step for step in plain["steps"] if step["kind"] != "export"]
    compared = {"id": "compare", "kind": "compare", "inputs": ["train"], "source": None, "devices": 1, "seconds": 1.0}
    export = {**compared, "id": "export", "kind": "export", "inputs": ["tokenizer", "train", "evaluate", "compare"]}
    return sealed_plan(steps=[*steps, compared, export], evaluation={"bias": bias_of(**limits).model_dump()})


def test_a_limit_stops_the_run_before_the_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The step is recorded and in the report, the table is printed, RC610 is raised, and nothing is exported."""
    plan = _plan(max_cev=0.1)
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    steps["compare"] = LightStep(golden())
    for _ in range(2):
        with pytest.raises(RunFailed, match=r"CEV 0\.1111 is above max_cev: 0\.1") as caught:
            execute(plan, layout, modules=modules)
        assert caught.value.code == "RC610"
    assert len(steps["compare"].runs) == 1
    assert steps["export"].runs == []
    assert not layout.export.exists()
    report = json.loads(layout.report.read_text())
    assert report["bias"]["cev"] == pytest.approx(1 / 9)
    assert report["steps"]["compare"]["status"] == "finished"
    printed = capsys.readouterr().out
    assert "against base: CEV 0.1111, SDE 0.3333" in printed
    assert "false negatives" in printed


def test_the_export_alone_is_stopped_too(tmp_path: Path) -> None:
    """Asked for by name, after a comparison that was recorded earlier."""
    plan = _plan(max_sde=0.1)
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    steps["compare"] = LightStep(golden())
    with pytest.raises(RunFailed, match="SDE"):
        execute(plan, layout, modules=modules)
    with pytest.raises(RunFailed, match="SDE"):
        execute(plan, layout, only=["export"], modules=modules)
    assert steps["export"].runs == []


def test_a_raised_limit_only_exports(tmp_path: Path) -> None:
    """The same folder, nothing trained or measured again."""
    tight, wide = _plan(max_cev=0.1), _plan(max_cev=0.2)
    assert layout_of(tight, tmp_path) == layout_of(wide, tmp_path)
    steps, modules = light_modules()
    steps["compare"] = LightStep(golden())
    with pytest.raises(RunFailed):
        execute(tight, layout_of(tight, tmp_path), modules=modules)
    before = {kind: list(step.runs) for kind, step in steps.items()}
    assert execute(wide, layout_of(wide, tmp_path), modules=modules).state == "finished"
    assert {kind: list(step.runs) for kind, step in steps.items()} == {**before, "export": ["export"]}


def test_a_lowered_limit_withdraws_an_export(tmp_path: Path) -> None:
    """What an earlier start exported under a wider limit is gone, with its record; a raised limit exports it again."""
    tight, wide = _plan(max_cev=0.1), _plan(max_cev=0.2)
    layout = layout_of(tight, tmp_path)
    steps, modules = light_modules()
    steps["compare"] = LightStep(golden())
    execute(wide, layout, modules=modules)
    layout.export.mkdir(exist_ok=True)
    (layout.export / "model.safetensors").write_bytes(b"of an earlier start")
    for only in (None, ["export"]):
        with pytest.raises(RunFailed, match="CEV"):
            execute(tight, layout, only=only, modules=modules)
        assert not layout.export.exists()
        assert not layout.step_result("export").exists()
    exported = len(steps["export"].runs)
    assert execute(wide, layout, modules=modules).state == "finished"
    assert len(steps["export"].runs) == exported + 1
    assert len(steps["train"].runs) == 1


def test_summary_and_card_show_the_classes(tmp_path: Path) -> None:
    """The table at the end of the run, the picture among the files, and a section of the model card."""
    plan = _plan()
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    steps["compare"] = LightStep(golden())
    outcome = execute(plan, layout, modules=modules)
    (layout.run / PICTURE).write_text("<svg/>")
    text = summary(write_report(plan, layout, outcome.records), layout, 80)
    assert "classes of the trained model, against base (paper convention)" in text
    assert str(layout.run / PICTURE) in text
    card = model_card(plan, trained={}, evaluation=None, bias=golden())
    assert "## Classes" in card
    assert "| `dog` | 10 | 10.00% -> 15.00% | 20.00% -> 20.00% |" in card
    assert "## Classes" not in model_card(plan, trained={}, evaluation=None)

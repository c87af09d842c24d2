"""Executing steps: order, reuse, what an interruption or a failure leaves."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from runtime.errors import Refused, RunFailed
from runtime.execute import execute
from runtime.files import TEMPORARY_PREFIX, temporary_path
from runtime.record import read_record
from schemas.plan import Step
from tests.runtime.plans import layout_of, light_modules, sealed_plan


def test_steps_run_in_order_and_only_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All steps run, each says two lines; the second time nothing runs and each says that it is reused."""
    plan = sealed_plan()
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    assert execute(plan, layout, modules=modules).state == "finished"
    runs = [name for step in steps.values() for name in step.runs]
    assert runs == [step.id for step in plan.steps]
    first = capsys.readouterr().out.splitlines()
    assert len(first) == 2 * len(plan.steps)
    assert "step 4/6 train: done in" in first[7]
    assert "12 batches, 6.144k tok, loss 5.2500" in first[7]

    outcome = execute(plan, layout, modules=modules)
    assert runs == [name for step in steps.values() for name in step.runs]
    assert capsys.readouterr().out.count("nothing has changed, reused") == len(plan.steps)
    assert all(record.reused for record in outcome.records.values())


def test_a_change_redoes_what_depends_on_it(tmp_path: Path) -> None:
    """With another identity of `prepare`, preparing and all after it run again; the tokenizer does not."""
    plan = sealed_plan()
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    execute(plan, layout, modules=modules)
    steps["prepare"].given_identity = "v2"
    shutil.rmtree(layout.checkpoints)
    execute(plan, layout, modules=modules)
    assert [len(step.runs) for step in steps.values()] == [1, 4, 2, 2, 2]


def test_runs_share_prepared_data(tmp_path: Path) -> None:
    """A plan that differs in the learning rate alone reuses tokenizer and data, and trains in its own folder."""
    steps, modules = light_modules()
    plan = sealed_plan()
    optimizer = {**plan.training.optimizer.model_dump(), "lr": 0.001}
    other = sealed_plan(training={"optimizer": optimizer})
    for each in (plan, other):
        execute(each, layout_of(each, tmp_path), modules=modules)
    assert [len(step.runs) for step in steps.values()] == [1, 2, 2, 2, 2]
    assert layout_of(plan, tmp_path).run != layout_of(other, tmp_path).run


def test_other_data_never_continues_old_checkpoints(tmp_path: Path) -> None:
    """Checkpoints made on data that has changed since are refused (RC602), and the source is named."""
    plan = sealed_plan()
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    steps["train"].values["status"] = "interrupted"
    execute(plan, layout, modules=modules)
    steps["prepare"].given_identity = "v2"
    with pytest.raises(Refused, match=r"prepare-code, prepare-prose changed since") as caught:
        execute(plan, layout, modules=modules)
    assert caught.value.code == "RC602"
    assert len(steps["train"].runs) == 1


def test_an_interrupted_training_stops_the_sequence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Later steps wait, a report exists, and the same call trains on and finishes."""
    plan = sealed_plan()
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    steps["train"].values |= {"status": "interrupted", "steps": 7}
    first = execute(plan, layout, modules=modules)
    assert first.state == "interrupted"
    assert capsys.readouterr().out.endswith("stopped at batch 7; saved. The same command goes on from there.\n")
    assert not steps["evaluate"].runs
    report = json.loads(layout.report.read_text())
    assert report["training"]["steps"] == {"planned": 12, "actual": 7}
    assert report["steps"]["evaluate"]["status"] == "waiting"

    assert execute(plan, layout, only=["evaluate", "export"], modules=modules).state == "interrupted"
    assert not steps["evaluate"].runs

    steps["train"].values |= {"status": "finished", "steps": 12}
    second = execute(plan, layout, modules=modules)
    assert second.state == "finished"
    assert len(steps["train"].runs) == 2
    assert second.records["train"].seconds > first.records["train"].seconds


def test_parts_of_a_plan_add_up_to_the_whole(tmp_path: Path) -> None:
    """Before, training and after in three calls give the same keys as one call for all."""
    plan = sealed_plan()
    keys = []
    for folder, parts in (
        (tmp_path / "a", [None]),
        (tmp_path / "b", [plan.steps[:3], plan.steps[3:4], plan.steps[4:]]),
    ):
        _, modules = light_modules()
        layout = layout_of(plan, folder)
        for part in parts:
            outcome = execute(plan, layout, only=None if part is None else [step.id for step in part], modules=modules)
        keys.append({name: record.key for name, record in outcome.records.items()})
    assert keys[0] == keys[1]


def test_a_part_whose_inputs_are_missing_says_what_to_run(tmp_path: Path) -> None:
    """Training before preparing is RC606 with the step to run first."""
    plan = sealed_plan()
    _, modules = light_modules()
    with pytest.raises(RunFailed, match="train reads tokenizer") as caught:
        execute(plan, layout_of(plan, tmp_path), only=["train"], modules=modules)
    assert "--steps tokenizer" in caught.value.remedy


def test_a_killed_prepare_step_leaves_nothing_that_counts(tmp_path: Path) -> None:
    """A step that dies half-way leaves no folder under its key; what a dead process left is removed by the next run."""
    plan = sealed_plan()
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()

    def die(step: Step, folder: Path) -> None:
        raise KeyboardInterrupt

    steps["prepare"].act = die
    with pytest.raises(KeyboardInterrupt):
        execute(plan, layout, modules=modules)
    assert not list(layout.cache.glob("prepare-*"))

    # No process has this number: Linux counts them to 2^22 at most.
    of_the_dead = temporary_path(layout.cache / "prepare-x")
    of_the_dead = of_the_dead.with_name(of_the_dead.name.replace(str(os.getpid()), str(2**22 + 1)))
    of_the_living = temporary_path(layout.cache / "prepare-y")
    for folder in (of_the_dead, of_the_living):
        folder.mkdir()
    steps["prepare"].act = lambda step, folder: None
    execute(plan, layout, modules=modules)
    assert not of_the_dead.exists()
    assert of_the_living.exists()
    assert of_the_living.name.startswith(TEMPORARY_PREFIX)


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    """A prepared folder without its result is not taken for whole."""
    plan = sealed_plan()
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    execute(plan, layout, modules=modules)
    folder = next(layout.cache.glob("prepare-*"))
    (folder / "result.json").write_text('{"kind": "prep')
    execute(plan, layout, modules=modules)
    assert len(steps["prepare"].runs) == 3
    assert read_record(folder / "result.json") is not None
    assert (folder / "prepare-made").exists()


def test_a_damaged_cache_that_another_run_has_mended_stays(tmp_path: Path) -> None:
    """Two runs mend one folder: the later one leaves what the earlier one made, which may be read by then."""
    plan = sealed_plan()
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    execute(plan, layout, modules=modules)
    folder = next(layout.cache.glob("prepare-*"))
    whole = (folder / "result.json").read_bytes()
    (folder / "result.json").unlink()

    def other_run_is_faster(step: Step, temporary: Path) -> None:
        (folder / "result.json").write_bytes(whole)
        (folder / "of-the-other-run").touch()

    steps["prepare"].act = other_run_is_faster
    execute(plan, layout, modules=modules)
    assert len(steps["prepare"].runs) == 3
    assert (folder / "of-the-other-run").exists()
    assert not list(layout.cache.glob(f"{TEMPORARY_PREFIX}*"))


def test_files_that_were_deleted_are_made_again(tmp_path: Path) -> None:
    """Without the export's folder the export runs again, and nothing else does."""
    plan = sealed_plan()
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    execute(plan, layout, modules=modules)
    shutil.rmtree(layout.export)
    execute(plan, layout, modules=modules)
    assert [len(step.runs) for step in steps.values()] == [1, 2, 1, 1, 2]


def test_a_loss_that_is_no_number_does_not_pass(tmp_path: Path) -> None:
    """A diverged training is RC606 that names the value, and is not recorded as finished."""
    plan = sealed_plan()
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    steps["train"].values["loss"] = float("nan")
    with pytest.raises(RunFailed, match="loss = nan"):
        execute(plan, layout, modules=modules)
    record = read_record(layout.step_result("train"))
    assert record is not None
    assert not record.is_finished


def test_only_training_runs_on_several_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under torchrun, preparing is refused; training runs on every rank and only the first one records it."""
    plan = sealed_plan()
    layout = layout_of(plan, tmp_path)
    steps, modules = light_modules()
    execute(plan, layout, only=["tokenizer", "prepare-code", "prepare-prose"], modules=modules)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    execute(plan, layout, only=["train"], modules=modules)
    assert steps["train"].runs == ["train"]
    assert not layout.step_result("train").exists()
    with pytest.raises(RunFailed, match="runs in one process"):
        execute(plan, layout, modules=modules)

"""Classifiers from outside, on real trainers: one run's export is another run's start, and what it is compared with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime.errors import DataError
from runtime.models.class_names import write_names
from runtime.models.planned import load_trained
from runtime.record import Record, write_record
from runtime.steps import compare, evaluate, export
from runtime.steps import train as training
from runtime.steps.base import Context, Inputs, Result
from schemas.fingerprint import fingerprint, resume_key
from schemas.plan import RunPlan, Step
from tests.exports import export_of, resnet
from tests.runtime.bias.test_comparison import bias_of
from tests.runtime.images import case
from tests.runtime.interruption import interrupted_after

NAMES = [str(digit) for digit in range(10)]
RATE = {"kind": "adamw", "lr": 0.02, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0}
COMPARE = Step(id="compare", kind="compare", inputs=(), source=None, devices=1, seconds=1.0)
WINDOW = {"start_token": 0, "end_token": 12 * 32}
TIMING = ("seconds", "tokens_per_s", "mfu", "resumed_from", "spend")


def _plan(name: str, steps: int, start: str | None = None, **changes: Any) -> RunPlan:
    given = {"kind": "folder", "run": None, "fingerprint": None, "folder": start, "hub": None, "revision": None}
    evaluation = {"holdout": 0.4, **changes.pop("evaluation", {})}
    begun: dict[str, Any] = {} if start is None else {"start": given}
    plan = case.plan_of(steps, name=name, evaluation=evaluation, training={"optimizer": RATE}, **begun, **changes)
    return plan.model_copy(update={"fingerprint": fingerprint(plan), "resume_key": resume_key(plan)})


def _evaluated(plan: RunPlan, folder: Path, trained: dict[str, Any]) -> tuple[dict[str, Any], Inputs]:
    """What the step `evaluate` measures of a trained run, recorded like the runtime does; and the inputs of later steps."""
    layout = case.layout_of(plan, folder)
    inputs = {**case.prepared(plan, folder), "train": Result("train", "t" * 64, layout.run, trained)}
    step = next(step for step in plan.steps if step.kind == "evaluate")
    values = evaluate.run(step, Context(plan, layout), inputs, layout.run)
    record = Record(kind="evaluate", key="e" * 64, inputs={"train": "t" * 64}, seconds=1.0, reused=False, values=values)
    write_record(layout.step_result(step.id), record)
    return values["sources"]["digits"], inputs


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder of runs whose first one is trained and exported, and what its evaluation found."""
    folder = tmp_path_factory.mktemp("digits")
    plan = _plan("base", 25)
    measured, inputs = _evaluated(plan, folder, case.train(plan, folder))
    layout = case.layout_of(plan, folder)
    export.run(next(s for s in plan.steps if s.kind == "export"), Context(plan, layout), inputs, layout.run)
    layout.export.rename(folder / "base")
    return folder, measured


def test_an_export_says_its_classes(base: tuple[Path, dict[str, Any]]) -> None:
    """In the order of the outputs, beside dimensions and weights."""
    folder, _ = base
    assert json.loads((folder / "base/classes.json").read_text()) == NAMES


def test_a_run_goes_on_where_the_export_ended(base: tuple[Path, dict[str, Any]]) -> None:
    """Held-out loss before the first step is the exported model's to the last bit; training then lowers it."""
    folder, exported = base
    plan = _plan("tuned", 25, "base")
    measured, _ = _evaluated(plan, folder, case.train(plan, folder))
    assert measured["untrained"] == exported["trained"]
    assert measured["trained"]["loss"] < exported["trained"]["loss"]


def test_a_resumed_run_is_an_undisturbed_one(base: tuple[Path, dict[str, Any]]) -> None:
    """Stopped in the middle, with the start's folder needed no more than its name: the same loss and weights, bit for bit."""
    folder, _ = base
    straight, other = _plan("straight", 6, "base"), _plan("disturbed", 6, "base")
    expected = case.train(straight, folder)
    with interrupted_after(3):
        assert case.train(other, folder)["status"] == "interrupted"
    found = case.train(other, folder)
    assert found["resumed_from"] == 3
    assert {k: v for k, v in found.items() if k not in TIMING} == {k: v for k, v in expected.items() if k not in TIMING}
    left, right = (load_trained(plan, case.layout_of(plan, folder)).state_dict() for plan in (straight, other))
    assert all(torch.equal(tensor, right[name]) for name, tensor in left.items())


def test_other_weights_are_another_training(base: tuple[Path, dict[str, Any]]) -> None:
    """The key of the training holds the hashes of the folder's files."""
    folder, _ = base
    plan = _plan("keyed", 6, "base")
    context = Context(plan, case.layout_of(plan, folder))
    step = next(step for step in plan.steps if step.kind == "train")
    before = training.identity(step, context, {})
    assert set(before["start"]) == {"classes.json", "config.json", "model.safetensors"}
    names = folder / "base/classes.json"
    text = names.read_text()
    names.write_text(text + "\n")
    try:
        assert training.identity(step, context, {}) != before
    finally:
        names.write_text(text)


def test_other_classes_stop_before_the_first_step(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Digits have names that any class may have; a source with other names is told which one differs."""
    folder, _ = base
    shutil.copytree(folder / "base", tmp_path / "base")
    shutil.copytree(folder / "prepared", tmp_path / "prepared")
    write_names(tmp_path / "base", ["zero", *NAMES[1:]])
    plan = _plan("named", 2, "base")
    assert case.train(plan, tmp_path)["status"] == "finished"
    values = tmp_path / "prepared/digits/values.json"
    values.write_text(values.read_text().replace('"0", "1"', '"nought", "1"'))
    with pytest.raises(DataError, match="class 0 is `nought` in the data, and `zero` in the start in") as caught:
        case.train(_plan("renamed", 2, "base"), tmp_path)
    assert caught.value.code == "RC416"


def _compared(plan: RunPlan, folder: Path) -> dict[str, Any]:
    layout = case.layout_of(plan, folder)
    return compare.run(COMPARE, Context(plan, layout), case.prepared(plan, folder), layout.run)


PRUNED = [{"kind": "pruning", "window": WINDOW, "sparsity": 0.5, "scope": "layer", "interval_steps": 1}]


def test_a_folder_is_compared_with(base: tuple[Path, dict[str, Any]]) -> None:
    """CEV and SDE against the folder are those against the start that came from it, and 0 for an untouched copy."""
    folder, exported = base
    by_folder = bias_of(against="folder", folder="base", run=None, fingerprint=None)
    by_start = bias_of(against="start", run=None, fingerprint=None)
    plans = [
        _plan("pruned", 12, "base", algorithms=PRUNED, evaluation={"bias": bias.model_dump()})
        for bias in (by_folder, by_start)
    ]
    case.train(plans[0], folder)
    # The other plan reads the first one's checkpoint, which is of its fingerprint.
    same = plans[0].model_copy(update={"evaluation": plans[1].evaluation})
    one, other = _compared(plans[0], folder), _compared(same, folder)
    assert one["against"] == "base"
    assert {**one, "against": "its start"} == other
    assert one["accuracy"]["reference"] == exported["trained"]["accuracy"]
    assert one["cev"] > 0
    assert one["sde"] > 0
    assert [entry["name"] for entry in one["classes"]] == NAMES


def test_references_that_do_not_fit(base: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Other outputs, other channels, other names: refused in words, also where only this machine has the folder."""
    folder, _ = base
    for changes, code, said in (
        ({"num_classes": 7}, "RC416", "has 7 classes, the model 10"),
        ({"channels": 3}, "RC203", "reads images of 3 channels, the model of 1"),
    ):
        place = export_of(tmp_path / code, resnet(**changes))  # type: ignore[arg-type]
        bias = bias_of(against="folder", folder=str(place), run=None, fingerprint=None)
        plan = _plan("base", 25, evaluation={"bias": bias.model_dump()})
        with pytest.raises(DataError, match=said) as caught:
            _compared(plan, folder)
        assert caught.value.code == code

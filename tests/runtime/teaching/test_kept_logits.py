"""Kept logits: what the step `logits` writes, that training on it is training with the live teacher, and damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from runtime.algorithms import distillation
from runtime.errors import DataError, RunFailed
from runtime.models.planned import build_untrained
from runtime.record import Record, write_record
from runtime.steps import logits
from runtime.steps import train as train_step
from runtime.steps.base import Context, Result
from runtime.teaching.divergence import top_k
from runtime.teaching.kept_logits import TeacherRows, of_batch, stack
from schemas.plan import RunPlan, Step
from schemas.techniques.distillation import DistillationAlgorithm
from tests.runtime.training_case import SIZES, layout_of, metrics, plan_of, prepared

BATCH = 512
STEPS = 8
TIMING = ("seconds", "tokens_per_s", "mfu", "resumed_from", "spend")


def kept_plan(
    name: str = "kept", *, top_k: int | None, others: tuple[dict[str, Any], ...] = (), **said: Any
) -> RunPlan:
    """A plan that learns from one teacher on steps 0 to 5 of 8, from logits that are kept, or live."""
    spec = {
        "kind": "distillation", "window": {"start_token": 0, "end_token": 6 * BATCH}, "temperature": 2.0, "weight": 0.5,
        "teachers": [{"folder": "teacher"}], "top_k": top_k, **said,
    }  # fmt: skip
    return plan_of(STEPS, name=name, algorithms=[*others, spec])


def saved(model: Any, folder: Path) -> None:
    """A model as the folder of a teacher."""
    model.save_pretrained(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a teacher whose logits differ by more than those of an untrained model."""
    for number, name in enumerate(("teacher", "other")):
        saved(build_untrained(plan_of(seed=90 + number, model={"init_std": 0.3})), tmp_path / name)
    return tmp_path


def kept(plan: RunPlan, folder: Path) -> dict[str, Result]:
    """Inputs of the training, with what the steps `logits` wrote."""
    layout = layout_of(plan, folder)
    found = prepared(layout.cache)
    for name in SIZES:
        inputs = {f"prepare-{name}": found[f"prepare-{name}"]}
        step = Step(id=f"logits-{name}", kind="logits", inputs=tuple(inputs), source=name, devices=1, seconds=1.0)
        place = layout.cache / f"{plan.name}-logits-{name}"
        place.mkdir(parents=True, exist_ok=True)
        values = logits.run(step, Context(plan, layout), inputs, place)
        found[step.id] = Result(step.id, "9" * 64, place, values)
    return found


def train(plan: RunPlan, folder: Path, inputs: dict[str, Result] | None = None) -> dict[str, Any]:
    """Run the training step in this process."""
    layout = layout_of(plan, folder)
    layout.run.mkdir(parents=True, exist_ok=True)
    step = next(step for step in plan.steps if step.kind == "train")
    return train_step.run(step, Context(plan, layout), inputs or prepared(layout.cache), layout.run)


def shown(plan: RunPlan, folder: Path) -> list[dict[str, Any]]:
    """What was measured, without times."""
    return [{k: v for k, v in line.items() if k not in TIMING} for line in metrics(plan, folder)]


def test_rows_are_the_teachers_largest_parts_in_the_samples_order(folder: Path) -> None:
    """Row i is of train sample i: ids, scores to fp16's digits, and the rest to fp32's; bytes are those of the plan."""
    from runtime.measures.heldout import read_samples

    plan = kept_plan(top_k=9)
    found = kept(plan, folder)
    teacher = build_untrained(plan_of(seed=90, model={"init_std": 0.3})).eval()
    for name, size in SIZES.items():
        result, source = found[f"logits-{name}"], found[f"prepare-{name}"]
        rows = TeacherRows(result.folder)
        assert (len(rows), result.values["samples"], result.values["taught"]) == (size, size, name)
        spec = cast("DistillationAlgorithm", plan.algorithms[0])
        least = size * 64 * spec.row_bytes(512)
        assert least <= result.values["bytes"] <= 1.1 * least
        assert 0 < result.values["rest"] < 1
        samples = list(read_samples(source.values["train"], source.folder, "tokens", folder))
        for number in (0, 1, size - 1):
            with torch.no_grad():
                expected = top_k(teacher(input_ids=torch.from_numpy(samples[number])[None]).logits, 9, 2.0)
            ids, scores, rest = rows[number]
            assert [str(each.dtype) for each in (ids, scores, rest)] == ["uint16", "float16", "float32"]
            assert ids.tolist() == expected.ids[0].tolist()
            np.testing.assert_allclose(scores, expected.scores[0], rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(rest, expected.rest[0], atol=1e-5)


@pytest.mark.parametrize("loss", ["kl", "reverse_kl"])
def test_all_logits_kept_train_like_the_live_teacher(folder: Path, loss: str) -> None:
    """With k = vocabulary losses agree to 1e-4 on every step; with fewer they are bounded by it at first, and differ."""
    live, whole, few = (kept_plan(n, top_k=k, loss=loss) for n, k in (("live", None), ("whole", 512), ("few", 8)))
    train(live, folder)
    for plan in (whole, few):
        train(plan, folder, kept(plan, folder))
    lines = [metrics(plan, folder) for plan in (live, whole, few)]
    for one, other in zip(lines[0], lines[1], strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
        assert one.get("loss/distillation") == pytest.approx(other.get("loss/distillation"), abs=1e-4)
    first, rough = (each[0]["loss/distillation"] for each in (lines[0], lines[2]))
    assert 0 < rough < first
    assert [line["step"] for line in lines[2] if "loss/distillation" in line] == [1, 2, 3, 4, 5, 6]


def test_the_mean_of_teachers_is_kept(folder: Path) -> None:
    """Of two, with k = vocabulary, training is that with both live; without either of them in memory."""
    both = [{"folder": "teacher"}, {"folder": "other"}]
    live, plan = kept_plan("live", top_k=None, teachers=both), kept_plan(top_k=512, teachers=both)
    train(live, folder)
    train(plan, folder, kept(plan, folder))
    for one, other in zip(metrics(live, folder), metrics(plan, folder), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
    (spec,) = plan.algorithms
    assert distillation.build(cast("DistillationAlgorithm", spec), plan, layout_of(plan, folder))._teachers == ()


def test_loader_processes_read_rows(folder: Path) -> None:
    """Two loaders give what none does."""
    plan = kept_plan("alone", top_k=8)
    helped = plan.model_copy(update={"name": "helped", "execution": plan.execution.model_copy(update={"workers": 2})})
    inputs = kept(plan, folder)
    for each in (plan, helped):
        train(each, folder, inputs)
    assert shown(helped, folder) == shown(plan, folder)


def test_shortened_samples_take_the_beginnings_of_rows(folder: Path) -> None:
    """A causal teacher says the same of the beginning of a sample, whether or not the rest is there."""
    warmup = {
        "kind": "sequence_length_warmup", "window": {"start_token": 0, "end_token": 4 * BATCH}, "start_length": 16,
        "end_length": 64, "step_size": 8, "truncate": True,
    }  # fmt: skip
    live, plan = kept_plan("live", top_k=None, others=(warmup,)), kept_plan(top_k=512, others=(warmup,))
    train(live, folder)
    train(plan, folder, kept(plan, folder))
    for one, other in zip(metrics(live, folder), metrics(plan, folder), strict=True):
        assert one.get("loss/distillation") == pytest.approx(other.get("loss/distillation"), abs=1e-4)


def test_rows_in_a_batch_keep_their_shapes() -> None:
    """[batch, P, k] and [batch, P]; of an image P is 1, whatever the number of classes."""
    row = (np.array([[3, 1]], np.uint16), np.array([[0.0, -1.0]], np.float16), np.array([0.25], np.float32))
    batch = stack([row, row, row])
    assert batch["teacher_ids"].shape == (3, 1, 2)
    assert batch["teacher_ids"].dtype == torch.int64
    found = of_batch(batch, torch.zeros(3, 10))
    assert (found.ids.shape, found.scores.shape, found.rest.shape) == ((3, 1, 2), (3, 1, 2), (3, 1))


def test_another_teacher_or_temperature_is_another_folder(folder: Path) -> None:
    """The step's key holds the teacher's weights and what is kept; not the share of the loss, nor when it is used."""

    def key(**said: Any) -> Any:
        plan = kept_plan(**{"top_k": 8, **said})
        step = Step(id="logits-code", kind="logits", inputs=(), source="code", devices=1, seconds=1.0)
        return logits.identity(step, Context(plan, layout_of(plan, folder)), {})

    plain = key()
    assert key(weight=0.9, every=3, window={"start_token": BATCH, "end_token": 2 * BATCH}) == plain
    for changed in ({"top_k": 9}, {"temperature": 3.0}, {"loss": "reverse_kl"}, {"teachers": [{"folder": "other"}]}):
        assert key(**changed) != plain
    saved(build_untrained(plan_of(seed=92)), folder / "teacher")
    assert key() != plain


def test_damaged_rows_stop_the_training(folder: Path) -> None:
    """A changed byte is found when training begins; a lost shard is named when its row is asked for."""
    plan = kept_plan(top_k=8)
    inputs = kept(plan, folder)
    place = inputs["logits-code"].folder
    (shard,) = place.glob("*.mds")
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(bytes(data))
    with pytest.raises((DataError, RunFailed), match="is not what was written"):
        train(plan, folder, inputs)
    shard.unlink()
    with pytest.raises(DataError, match="row 3 of"):
        TeacherRows(place)[3]
    (place / "index.json").unlink()
    with pytest.raises(DataError, match=r"index\.json is missing or damaged"):
        TeacherRows(place)


def test_logits_of_images_are_kept(tmp_path: Path) -> None:
    """One position a sample; with all ten classes kept, a classifier learns as from the live teacher."""
    from tests.runtime.images import case

    first = case.plan_of(6, name="tiny-first", seed=5).model_copy(update={"run": "first"})
    case.train(first, tmp_path)

    def taught(name: str, k: int | None) -> RunPlan:
        said = {
            "kind": "distillation", "window": {"start_token": 0, "end_token": 4 * 32}, "temperature": 2.0, "weight": 0.5,
            "teachers": [{"run": "first", "fingerprint": first.fingerprint}], "top_k": k,
        }  # fmt: skip
        return case.plan_of(6, name=name, algorithms=[said]).model_copy(update={"run": name, "earlier": (first,)})

    layout = case.layout_of(first, tmp_path)
    record = Record(kind="train", key="a" * 64, inputs={}, seconds=1.0, reused=False, values={"status": "finished"})
    write_record(layout.step_result("train"), record)
    live, plan = taught("live", None), taught("kept", 10)
    case.train(live, tmp_path)
    inputs = case.prepared(plan, tmp_path)
    step = Step(id="logits-digits", kind="logits", inputs=("prepare-digits",), source="digits", devices=1, seconds=1.0)
    place = tmp_path / "logits"
    place.mkdir()
    there = case.layout_of(plan, tmp_path)
    steps = (*plan.steps[:1], step, *plan.steps[1:])
    context = Context(plan.model_copy(update={"steps": steps}), there)
    values = logits.run(step, context, inputs, place)
    assert values["samples"] == inputs["prepare-digits"].values["train"]["samples"]
    there.run.mkdir(parents=True)
    train_ = next(each for each in plan.steps if each.kind == "train")
    train_step.run(train_, context, {**inputs, step.id: Result(step.id, "9" * 64, place, values)}, there.run)
    one, other = (case.metrics(each, tmp_path) for each in (live, plan))
    assert sum("loss/distillation" in line for line in one) == 4
    for left, right in zip(one, other, strict=True):
        assert left["loss"] == pytest.approx(right["loss"], abs=1e-4)
        assert left.get("loss/distillation") == pytest.approx(right.get("loss/distillation"), abs=1e-4)

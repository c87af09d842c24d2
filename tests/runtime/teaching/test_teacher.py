"""The teacher of a distillation: found, pinned by its files, and compared with the run's own tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from runtime.errors import DataError, RunFailed
from runtime.layout import Layout
from runtime.record import Record, write_record
from runtime.steps import train
from runtime.teaching import teacher
from tests.runtime.corpus import context_of
from tests.runtime.plans import sealed_plan, write_plan
from tests.runtime.training_case import plan_of

DISTILLED = {
    "kind": "distillation", "window": {"start_token": 0, "end_token": 3072},
    "teachers": [{"folder": "teacher"}], "temperature": 2.0, "weight": 0.5,
}  # fmt: skip


def tokenizer(folder: Path, words: dict[str, int]) -> Path:
    """A folder with a tokenizer.json of whole words."""
    folder.mkdir(parents=True, exist_ok=True)
    Tokenizer(models.WordLevel(words, unk_token="a")).save(str(folder / "tokenizer.json"))
    return folder


def test_a_changed_teacher_is_another_training(tmp_path: Path) -> None:
    """The key of the training holds the teacher's weights and configuration, and nothing else of its folder."""
    folder = tmp_path / "teacher"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"one")
    context = context_of(plan_of(6, algorithms=[DISTILLED]), tmp_path)
    before = train.identity(context.plan.steps[0], context, {})
    (folder / "README.md").write_text("a note")
    assert train.identity(context.plan.steps[0], context, {}) == before
    (folder / "model.safetensors").write_bytes(b"two")
    assert train.identity(context.plan.steps[0], context, {}) != before


def test_missing_teachers_are_found_ahead_of_everything(tmp_path: Path) -> None:
    """A plan without one needs none; a missing folder or run says where it was looked for; runs of the plan come later."""
    teacher.check_present(plan_of(), context_of(plan_of(), tmp_path).layout)
    assert teacher.pins(plan_of(), context_of(plan_of(), tmp_path).layout) == []
    for place in ({"folder": "teacher"}, {"checkpoint": "teacher"}):
        plan = plan_of(6, algorithms=[{**DISTILLED, "teachers": [place]}])
        with pytest.raises(DataError, match="there is no teacher `teacher`; looked in") as caught:
            teacher.check_present(plan, context_of(plan, tmp_path).layout)
        assert caught.value.code == "RC401"
        assert str(tmp_path) in caught.value.message
    later = plan_of(6, algorithms=[{**DISTILLED, "teachers": [{"run": "first"}]}])
    teacher.check_present(later, context_of(later, tmp_path).layout)


def test_the_run_of_another_recipe_teaches_by_its_checkpoint(tmp_path: Path) -> None:
    """Found by its folder, pinned by the key of its training; refused until that is done, or where no plan is in it."""
    other = sealed_plan(name="big")
    layout = Layout.of(other, roots=(tmp_path,), runs=tmp_path / "elsewhere")
    plan = plan_of(6, algorithms=[{**DISTILLED, "teachers": [{"checkpoint": f"elsewhere/{layout.run.name}"}]}])
    here = context_of(plan, tmp_path).layout
    layout.run.mkdir(parents=True)
    with pytest.raises(DataError, match=r"plan\.yaml can't be read"):
        teacher.pins(plan, here)
    write_plan(other, layout.run / "plan.yaml")
    with pytest.raises(RunFailed, match="has not been trained to its end"):
        teacher.pins(plan, here)
    record = Record(kind="train", key="a" * 64, inputs={}, seconds=1.0, reused=False, values={"status": "finished"})
    write_record(layout.step_result("train"), record)
    assert teacher.pins(plan, here) == ["a" * 64]
    assert teacher.flops_per_token(plan, here, 6) == 2 * 26_720


def test_teachers_of_ours_are_asked_for_their_tokenizers(tmp_path: Path) -> None:
    """A run that teaches has its tokenizer in the cache; another vocabulary is refused, the same folder or words are not."""
    first = sealed_plan(name="tiny-first").model_copy(update={"run": "first"})
    plan = plan_of(6, algorithms=[{**DISTILLED, "teachers": [{"run": "first"}]}])
    plan = plan.model_copy(update={"run": "second", "earlier": (first,)})
    here = context_of(plan, tmp_path).layout
    place = Layout.of(first, roots=here.roots, runs=here.runs)
    record = Record(kind="tokenizer", key="b" * 64, inputs={}, seconds=1.0, reused=False, values={})
    write_record(place.step_result("tokenizer"), record)
    theirs = tokenizer(here.cache / f"tokenizer-{'b' * 16}", {"a": 0, "b": 1})
    teacher.check_tokenizers(plan, here, theirs)
    teacher.check_tokenizers(plan, here, tokenizer(tmp_path / "same", {"a": 0, "b": 1}))
    with pytest.raises(DataError, match="2 of 2 tokens mean other words"):
        teacher.check_tokenizers(plan, here, tokenizer(tmp_path / "swapped", {"a": 1, "b": 0}))


def test_padding_is_known_where_samples_came_ready_made(tmp_path: Path) -> None:
    """By the tokenizer's own configuration; text is packed without."""
    ready = {"sources": {"code": {"mds": "a", "content": "tokens"}, "prose": {"builtin": "cpython-docs"}}}
    plan = plan_of(6, data=ready)
    here = context_of(plan, tmp_path).layout
    assert teacher.padding_of(plan, here) is None
    record = Record(kind="tokenizer", key="c" * 64, inputs={}, seconds=1.0, reused=False, values={})
    write_record(here.step_result("tokenizer"), record)
    folder = tokenizer(here.cache / f"tokenizer-{'c' * 16}", {"a": 0, "<pad>": 1, "</s>": 2})
    (folder / "tokenizer_config.json").write_text('{"pad_token": "<pad>", "eos_token": "</s>"}')
    assert teacher.padding_of(plan, here) == 1
    assert teacher.padding_of(plan_of(), here) is None

"""The teacher of a distillation: found, pinned by its files, and compared with the run's own tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from runtime import teacher
from runtime.errors import DataError
from runtime.steps import train
from tests.runtime.corpus import context_of
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


def test_a_plan_without_a_teacher_needs_none(tmp_path: Path) -> None:
    """None, and no folder is looked for; with a teacher that is missing the error says where it was looked for."""
    assert teacher.folder_of(plan_of(), (tmp_path,)) is None
    with pytest.raises(DataError, match="there is no teacher `teacher`; looked in") as caught:
        teacher.folder_of(plan_of(6, algorithms=[DISTILLED]), (tmp_path,))
    assert caught.value.code == "RC401"
    assert str(tmp_path) in caught.value.message


def test_token_ids_must_mean_the_same_words(tmp_path: Path) -> None:
    """Equal vocabularies pass, further words of the teacher too; a swapped pair is counted and refused."""
    ours = tokenizer(tmp_path / "ours", {"a": 0, "b": 1, "c": 2})
    teacher.check_tokenizer(tokenizer(tmp_path / "same", {"a": 0, "b": 1, "c": 2}), ours)
    teacher.check_tokenizer(tokenizer(tmp_path / "more", {"a": 0, "b": 1, "c": 2, "d": 3}), ours)
    with pytest.raises(DataError, match="2 of 3 tokens mean other words") as caught:
        teacher.check_tokenizer(tokenizer(tmp_path / "swapped", {"a": 0, "c": 1, "b": 2}), ours)
    assert caught.value.code == "RC406"


def test_a_teacher_without_a_readable_tokenizer(tmp_path: Path) -> None:
    """One without tokenizer.json can't be asked and is let through; one that is damaged is refused."""
    ours = tokenizer(tmp_path / "ours", {"a": 0})
    bare = tmp_path / "bare"
    bare.mkdir()
    teacher.check_tokenizer(bare, ours)
    (bare / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match="can't be read"):
        teacher.check_tokenizer(bare, ours)

"""Folders of models: whose token ids mean what."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runtime.errors import DataError
from runtime.models.folders import COMPRESSED, check_tokenizer, num_parameters
from tests.runtime.teaching.test_teacher import tokenizer


def test_token_ids_must_mean_the_same_words(tmp_path: Path) -> None:
    """Equal vocabularies pass, further words of the other model too; a swapped pair is counted and refused."""
    ours = tokenizer(tmp_path / "ours", {"a": 0, "b": 1, "c": 2})
    check_tokenizer(tokenizer(tmp_path / "same", {"a": 0, "b": 1, "c": 2}), ours)
    check_tokenizer(tokenizer(tmp_path / "more", {"a": 0, "b": 1, "c": 2, "d": 3}), ours)
    with pytest.raises(DataError, match="2 of 3 tokens mean other words") as caught:
        check_tokenizer(tokenizer(tmp_path / "swapped", {"a": 0, "c": 1, "b": 2}), ours)
    assert caught.value.code == "RC406"


def test_a_model_without_a_readable_tokenizer(tmp_path: Path) -> None:
    """One without tokenizer.json can't be asked and is let through; one that is damaged is refused."""
    ours = tokenizer(tmp_path / "ours", {"a": 0})
    bare = tmp_path / "bare"
    bare.mkdir()
    check_tokenizer(bare, ours)
    (bare / "tokenizer.json").write_text("{")
    with pytest.raises(DataError, match="can't be read"):
        check_tokenizer(bare, ours)


def test_a_smaller_form_beside_the_weights_is_not_counted(tmp_path: Path) -> None:
    """An export of factors has both: a teacher is what others load, not the sum."""
    save_file({"a": torch.zeros(4, 8), "b": torch.zeros(3)}, tmp_path / "model.safetensors")
    save_file({"a.down": torch.zeros(2, 8)}, tmp_path / COMPRESSED)
    assert num_parameters(tmp_path) == 35

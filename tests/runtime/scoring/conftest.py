"""Fixtures of the tests of scores: a tokenizer, and documents to score."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.steps.base import Result
from tests.runtime.corpus import context_of, plan_of, run_tokenizer, words, write_files
from tests.runtime.scoring.case import FILES, Case


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A tokenizer of 300 tokens."""
    root = tmp_path_factory.mktemp("tokenizer")
    write_files(root / "text", 30)
    return run_tokenizer(context_of(plan_of({"text": FILES}), root), root / "made")


@pytest.fixture
def case(tmp_path: Path, made: Result) -> Case:
    """60 documents of 40 to 99 words."""
    (tmp_path / "text").mkdir()
    for i in range(60):
        (tmp_path / "text" / f"{i:04}.txt").write_text(words(i, 40 + i))
    return Case(tmp_path, made)

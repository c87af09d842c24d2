"""The graph of steps: a score for each source that has a curriculum, read by the training alone."""

from __future__ import annotations

from pathlib import Path

from schemas.plan import Step
from tests.recipes import plan_text

TWO = """\
name: two
model: {size: 1M}
budget: {tokens: 1M tok}
data: {sequence_length: 128, sources: {code: {builtin: cpython-library}, prose: {builtin: cpython-docs}}}
"""


def steps(folder: Path, *overrides: str) -> dict[str, Step]:
    """Steps of the plan by id."""
    return {step.id: step for step in plan_text(TWO, folder, *overrides).steps}


def test_without_a_curriculum_nothing_is_scored(tmp_path: Path) -> None:
    """The graph is what it always was."""
    assert list(steps(tmp_path)) == ["tokenizer", "prepare-code", "prepare-prose", "train", "evaluate", "export"]


def test_a_curriculum_over_the_mix_scores_every_source(tmp_path: Path) -> None:
    """Each score reads the tokenizer and its source; the training reads all scores, the evaluation none."""
    found = steps(tmp_path, "data.curriculum={by: mtld}")
    assert list(found)[1:5] == ["prepare-code", "prepare-prose", "score-code", "score-prose"]
    assert (found["score-prose"].kind, found["score-prose"].source) == ("score", "prose")
    assert found["score-prose"].inputs == ("tokenizer", "prepare-prose")
    assert found["train"].inputs == ("tokenizer", "prepare-code", "prepare-prose", "score-code", "score-prose")
    assert found["evaluate"].inputs == ("tokenizer", "prepare-code", "prepare-prose", "train")


def test_a_curriculum_of_one_source_scores_that_one(tmp_path: Path) -> None:
    """The other is read in random order, which needs no score."""
    found = steps(tmp_path, "data.sources.code.curriculum={by: compression_ratio}")
    assert [name for name in found if name.startswith("score")] == ["score-code"]


def test_long_names_of_sources(tmp_path: Path) -> None:
    """An id has 64 characters at most, so such a step goes by its source's number."""
    name = "x" * 60
    found = steps(tmp_path, f"data.sources={{{name}: {{builtin: cpython-docs}}}}", "data.curriculum={by: ttr}")
    assert list(found)[1:3] == ["prepare-0", "score-0"]
    assert found["score-0"].inputs == ("tokenizer", "prepare-0")

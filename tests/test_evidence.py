"""The verdicts of docs/evidence.md: paired differences, their sign against the claim, and when nothing can be said."""

from __future__ import annotations

import pytest

from benchmarks.evidence.__main__ import DOCUMENT, written
from benchmarks.evidence.experiment import Contrast, judged
from benchmarks.evidence.sections import EXPERIMENTS, GROUPS
from benchmarks.evidence.window import steps_of

BELOW = Contrast("loss", "a", "b", "below", "a is better")


def results(a: list[float], b: list[float]) -> dict[str, list[dict[str, float]]]:
    return {"a": [{"loss": value} for value in a], "b": [{"loss": value} for value in b]}


@pytest.mark.parametrize(
    ("a", "b", "says"),
    [
        ([1.0, 2.0, 3.0], [1.5, 2.4, 3.6], "as reported"),
        ([1.5, 2.4, 3.6], [1.0, 2.0, 3.0], "the other way"),
        ([1.0, 2.0, 3.0], [1.1, 1.9, 3.05], "not told apart"),
    ],
)
def test_differences_are_taken_seed_by_seed(a: list[float], b: list[float], says: str) -> None:
    """The arms overlap in all three cases: only the pairs tell."""
    verdict = judged(BELOW, results(a, b))

    assert verdict.says == says
    assert verdict.mean == pytest.approx(sum(a) / 3 - sum(b) / 3)


def test_one_seed_tells_nothing() -> None:
    assert judged(BELOW, results([1.0], [2.0])).says == "not told apart"


def test_equal_compute_pays_for_the_teacher() -> None:
    """A teacher of the student's size adds a third while it is active."""
    assert steps_of(0.0) * 6 == pytest.approx(steps_of(1.0) * 8, rel=0.01)


def test_the_document_has_a_part_for_each_experiment() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")

    for name in EXPERIMENTS:
        assert "new\n" in written(text, name, "new\n")
    assert sorted(name for group in GROUPS for name in group) == sorted(EXPERIMENTS)
    with pytest.raises(ValueError, match="no part for other"):
        written(text, "other", "new\n")

"""compiler.render.words: what the screen, the page and the README of a job say alike."""

from __future__ import annotations

import pytest

from compiler.render.words import silence, warmup, when
from schemas.counted import IMAGES
from schemas.plan import StartPlan
from schemas.techniques import Window
from tests.factory import tiny_plan


@pytest.mark.parametrize(
    ("window", "words"),
    [
        ((0, 0), "kept as the start left it"),
        ((100, 100), "of the finished model"),
        ((0, 100), "throughout"),
        ((40, 40), "at token 40"),
        ((20, 80), "tokens 20 to 80"),
    ],
)
def test_when_a_technique_works(window: tuple[int, int], words: str) -> None:
    """In words where numbers say nothing: a mask that is held, rounding of the finished model, a single step."""
    start, end = window
    assert when(Window(start_token=start, end_token=end), 100, str) == words


def test_windows_of_image_runs_are_images() -> None:
    """An image is no token, whatever the plan's keys are called."""
    assert when(Window(start_token=20, end_token=80), 100, str, IMAGES) == "images 20 to 80"
    assert when(Window(start_token=40, end_token=40), 100, str, IMAGES) == "at image 40"


@pytest.mark.parametrize(
    ("steps", "words"), [(0, "without warmup"), (1, "after 1 warmup step"), (1955, "after 1,955 warmup steps")]
)
def test_warmup(steps: int, words: str) -> None:
    """None, one and many."""
    assert warmup(steps) == words


def test_of_what_the_law_says_nothing() -> None:
    """The screen and the page name the reason."""
    assert silence(tiny_plan()) == "this size"
    started = StartPlan(kind="folder", run=None, fingerprint=None, folder="base", hub=None, revision=None)
    assert "trained weights" in silence(tiny_plan(start=started.model_dump()))

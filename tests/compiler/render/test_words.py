"""compiler.render.words: what the screen, the page and the README of a job say alike."""

from __future__ import annotations

import pytest

from compiler.render.words import when
from schemas.techniques import Window


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

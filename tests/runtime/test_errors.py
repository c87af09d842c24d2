"""What others raise, in a line of ours: also when they say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.endings import explain
from runtime.errors import first_line
from tests.runtime.plans import layout_of
from tests.runtime.test_checkpoint import PLAN


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError(""), "ValueError"),
        (ValueError("\n \n"), "ValueError"),
        (KeyError("x" * 500), "'" + "x" * 199),
    ],
)
def test_a_line_of_an_error(error: Exception, said: str) -> None:
    assert first_line(error) == said


@pytest.mark.parametrize("error", [OutOfMemoryError(), OSError(28, ""), RuntimeError()])
def test_an_error_without_words_is_explained(error: Exception, tmp_path: Path) -> None:
    explained = explain(error, layout_of(PLAN, tmp_path))

    assert explained.code in ("RC502", "RC604", "RC606")
    assert explained.message.strip()

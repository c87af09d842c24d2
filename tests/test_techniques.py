"""No orphans: every technique has all its parts, and every part belongs to a technique."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.techniques import TECHNIQUES
from tests.recipes import GALLERY

ROOT = Path(__file__).parent.parent
ROOMS = {
    "schemas/techniques": ".py",
    "compiler/lowering": ".py",
    "runtime/algorithms": ".py",
    "docs/techniques": ".md",
}
SHARED = {"__init__", "base"}


@pytest.mark.parametrize(("room", "suffix"), ROOMS.items())
def test_every_room_has_one_file_for_each_technique(room: str, suffix: str) -> None:
    """A missing file is a technique that is accepted and does nothing; a further one is dead."""
    assert {path.stem for path in (ROOT / room).glob(f"*{suffix}")} - SHARED == set(TECHNIQUES)


@pytest.mark.parametrize("kind", TECHNIQUES)
def test_every_technique_stands_in_a_recipe_of_the_gallery(kind: str) -> None:
    """Users start from examples."""
    _, home = TECHNIQUES[kind]
    key = home.rsplit(".", 1)[-1]

    assert any(f"{key}:" in recipe.read_text(encoding="utf-8") for recipe in GALLERY)

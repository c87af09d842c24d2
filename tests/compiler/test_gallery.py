"""compiler.gallery: recipes to start from, copied so that they work where they land."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from compiler import gallery as module
from compiler.frontend.resolve import resolve
from compiler.gallery import describe, gallery, start
from schemas.diagnostics import DiagnosticsError


def schema_of(recipe: Path) -> Path:
    """Where the editor looks for the schema."""
    match = re.match(r"# yaml-language-server: \$schema=(.*)", recipe.read_text())
    assert match is not None
    return (recipe.parent / match[1]).resolve()


def test_every_recipe_says_what_it_is() -> None:
    """The gallery lists quickstart, and each recipe begins with a line about itself."""
    found = gallery()
    assert "quickstart" in found
    assert [name for name, path in found.items() if len(describe(path)) < 20] == []
    assert not any("yaml-language-server" in describe(path) for path in found.values())


@pytest.mark.parametrize("name", sorted(gallery()))
def test_copy_means_the_same(tmp_path: Path, name: str) -> None:
    """A copy elsewhere resolves to the same recipe, and its schema line leads to the same schema."""
    copy = start(name, tmp_path / "deep/down/mine.yaml")
    original = gallery()[name]
    assert resolve(copy).tree == resolve(original).tree
    assert schema_of(copy) == schema_of(original)


@pytest.mark.parametrize(
    "line",
    ["extends: base.yaml", "extends: [base.yaml, 'base.yaml']", 'extends:\n  - base.yaml # why\n  - "./base.yaml"'],
)
def test_extends_is_followed_from_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Relative paths under `extends:` lead to the same files, inside the checkout by relative ones."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/base.yaml").write_text("name: base\nseed: 3\n")
    (tmp_path / "recipes/child.yaml").write_text(f"# Changes base.\n{line}\nname: child\n")
    monkeypatch.setattr(module, "_CHECKOUT", tmp_path)
    inside = start("child", tmp_path / "mine/child.yaml")
    assert resolve(inside).tree == {"name": "child", "seed": 3}
    assert str(tmp_path) not in inside.read_text()
    assert "# why" not in line or "# why" in inside.read_text()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A file that exists stays as it is."""
    target = tmp_path / "quickstart.yaml"
    target.write_text("mine")
    for place in (target, tmp_path):
        with pytest.raises(DiagnosticsError, match=r"RC604 .*exists and is not overwritten"):
            start("quickstart", place)
    assert target.read_text() == "mine"


def test_unknown_name_gets_a_suggestion(tmp_path: Path) -> None:
    """A typo is answered with the closest name, and writes nothing."""
    with pytest.raises(DiagnosticsError, match="RC001") as caught:
        start("quikstart", tmp_path)
    assert caught.value.diagnostics[0].help == "did you mean `quickstart`?"
    assert list(tmp_path.iterdir()) == []


def test_target_that_can_t_be_written(tmp_path: Path) -> None:
    """A path below a file is a diagnostic, not a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DiagnosticsError, match="RC604"):
        start("quickstart", tmp_path / "file/recipe.yaml")

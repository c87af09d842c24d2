"""The house as the README draws it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CODE = sorted(path for room in ("schemas", "compiler", "runtime") for path in (ROOT / room).rglob("*.py"))


def test_readme_tree_equals_the_disk() -> None:
    """One line for every file; `make tree` rewrites it."""
    done = subprocess.run([sys.executable, ROOT / ".ci" / "tree.py", "--check"], cwd=ROOT, check=False)

    assert done.returncode == 0


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_small(path: Path) -> None:
    """400 lines at most; a crowded room is rebuilt, not extended."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400

"""Rooms: who may import whom, and a compile side that works where the runtime's libraries are not installed."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.recipes import ROOT

# What a machine has after `pip install recipec` without extras, by distribution.
COMPILE_SIDE = {"pydantic", "ruamel.yaml", "jinja2", "typer", "rich"}
SCRIPT = """
import sys
from pathlib import Path
from compiler.cli import app
assert "site-packages" not in "".join(p for p in sys.path if not p.endswith("only")), sys.path
for name in ("torch", "composer", "streaming", "transformers", "numpy"):
    try:
        __import__(name)
    except ImportError:
        continue
    raise SystemExit(f"{name} is there, so this proves nothing")
looks = (["plan"], ["plan", "--format", "json"], ["plan", "--html", "page.html"], ["plan", "--sweep", "seed=1,2"])
for command in (["check"], *looks, ["compile", "--out", "out"]):
    try:
        app([command[0], "quickstart.yaml", *command[1:]], standalone_mode=False)
    except SystemExit as end:
        assert not end.code, end.code
assert list(Path("out").glob("quickstart-*/plan.yaml"))
assert "torch" not in sys.modules
"""


def _closure(names: set[str]) -> set[str]:
    """Distributions and all that they need, without extras."""
    found: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop().lower().replace("_", "-").replace(".", "-")
        if name in found:
            continue
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # a need of another platform
        found.add(name)
        queue += [re.split(r"[^A-Za-z0-9._-]", need)[0] for need in needs if "extra" not in need]
    return found


def _environment(folder: Path) -> Path:
    """A site folder with links to the compile side's distributions and nothing else."""
    only = folder / "only"
    only.mkdir()
    site = Path(sysconfig.get_paths()["purelib"])
    for name in _closure(COMPILE_SIDE):
        for file in importlib.metadata.files(name) or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (only / top).exists():
                (only / top).symlink_to(site / top)
    return only


def test_compile_side_works_without_torch(tmp_path: Path) -> None:
    """check, plan and compile in an environment that has only the compile side's packages."""
    only = _environment(tmp_path)
    recipe = (ROOT / "recipes" / "quickstart.yaml").read_text(encoding="utf-8")
    (tmp_path / "quickstart.yaml").write_text(recipe, encoding="utf-8")
    program = f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(only)!r}]\n{SCRIPT}"

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_import_contracts_hold() -> None:
    """compiler and runtime never meet; schemas import nothing of ours; nothing heavy on the compile side."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["compiler", "runtime", "schemas"])
def test_package_names_are_ours_alone(name: str) -> None:
    """No other distribution of the environment ships a package of this name."""
    assert set(importlib.metadata.packages_distributions().get(name, ["recipec"])) == {"recipec"}

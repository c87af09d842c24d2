"""Recipes as text, compiled in a temporary folder."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from compiler.pipeline import Compiled, compile_recipe
from schemas.diagnostics import Diagnostic, Severity
from schemas.plan import RunPlan

__all__ = ["GALLERY", "MINIMAL", "ROOT", "algorithm_of", "compile_text", "errors_of", "plan_text"]

Spec = TypeVar("Spec")

ROOT = Path(__file__).parent.parent
GALLERY = sorted((ROOT / "recipes").glob("*.yaml"))

MINIMAL = """\
name: minimal
model: {size: 1M}
tokenizer: {vocab_size: 2048}
data:
  sequence_length: 128
  sources:
    code: {builtin: cpython-library}
    prose: {builtin: cpython-docs}
budget: {tokens: 1M tok}
"""


def compile_text(text: str, folder: Path, *overrides: str) -> Compiled:
    """Compile a recipe given as text."""
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return compile_recipe(path, overrides)


def errors_of(text: str, folder: Path, *overrides: str) -> list[Diagnostic]:
    """What leaves a recipe without a plan."""
    return [found for found in compile_text(text, folder, *overrides).findings if found.severity is Severity.ERROR]


def algorithm_of(plan: RunPlan, kind: type[Spec]) -> Spec:
    """The plan's only algorithm of a kind."""
    (found,) = (one for one in plan.algorithms if isinstance(one, kind))
    return found


def plan_text(text: str, folder: Path, *overrides: str) -> RunPlan:
    """The plan of a recipe that has no errors."""
    return compile_text(text, folder, *overrides).expect()

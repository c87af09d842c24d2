"""A recipe of three sources whose mixture the tests replace."""

from __future__ import annotations

from pathlib import Path

from compiler.pipeline import Compiled
from schemas.diagnostics import Diagnostic
from schemas.plan import RunPlan
from tests.recipes import compile_text

__all__ = ["compiled", "findings", "plan", "shares"]

_RECIPE = """\
name: mix
model: {{family: llama, hidden_size: 64, num_layers: 2, num_heads: 4}}
tokenizer: {{vocab_size: 2048}}
data:
  sequence_length: 128
  sources:
    a: {{builtin: cpython-library{a}}}
    b: {{builtin: cpython-docs{b}}}
    c: {{builtin: cpython-unicode{c}}}
{mixture}
budget: {{tokens: 1024k tok}}
training: {{batch: 1024 tok}}
evaluation: {{holdout: 0.0}}
"""
"""1000 steps of 8 samples."""


def compiled(folder: Path, mixture: str, *overrides: str, **sources: str) -> Compiled:
    """The recipe with lines of `data`, and with further keys of sources: `a="max_epochs: 2"`."""
    keys = {name: f", {sources[name]}" if name in sources else "" for name in "abc"}
    lines = "\n".join(f"  {line}" for line in mixture.splitlines())
    return compile_text(_RECIPE.format(mixture=lines, **keys), folder, *overrides)


def plan(folder: Path, mixture: str, *overrides: str, **sources: str) -> RunPlan:
    """Its plan."""
    return compiled(folder, mixture, *overrides, **sources).expect()


def findings(folder: Path, mixture: str, **sources: str) -> list[Diagnostic]:
    """What is found about it."""
    return list(compiled(folder, mixture, **sources).findings)


def shares(made: RunPlan) -> list[dict[str, float]]:
    """Shares of each phase, in thousandths."""
    return [
        {name: round(part.tokens / (p.end_token - p.start_token), 3) for name, part in p.sources.items()}
        for p in made.data.phases
    ]

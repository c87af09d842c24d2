"""The recipe whose budget the tests of budgets change, and what becomes of it."""

from __future__ import annotations

from pathlib import Path

from schemas.diagnostics import Diagnostic
from schemas.plan import RunPlan
from tests.recipes import compile_text, errors_of, plan_text

RECIPE = """\
name: budget
model: {family: llama, size: auto}
tokenizer: {kind: pretrained, hub: someone/tokenizer, vocab_size: 32000}
data: {sequence_length: 2048, sources: {web: {mds: "s3://corpus/web"}}}
hardware: {gpu: h100-sxm-80gb, count: 64, price: $2.10/gpu-hour}
"""


RUNS = Path(__file__).parents[1] / "runs.csv"


def plan(folder: Path, budget: str, *more: str) -> RunPlan:
    """The plan of RECIPE under a budget."""
    return plan_text(RECIPE, folder, f"budget={budget}", *more)


def findings(folder: Path, budget: str, *more: str) -> list[Diagnostic]:
    """Errors and warnings of RECIPE under a budget."""
    return list(compile_text(RECIPE, folder, f"budget={budget}", *more).findings)


def errors(folder: Path, budget: str, *more: str) -> list[Diagnostic]:
    """Errors of RECIPE under a budget."""
    return errors_of(RECIPE, folder, f"budget={budget}", *more)

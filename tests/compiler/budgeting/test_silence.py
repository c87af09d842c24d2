"""Where the scaling law says nothing: the plan has no loss then, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.budgeting.silence import SILENT
from compiler.pipeline import compile_recipe
from schemas.plan import RunPlan
from schemas.sections.budget import Promise
from tests.recipes import GALLERY, plan_text

RUNS = """
name: two
model: {hidden_size: 64, num_layers: 2, num_heads: 4}
tokenizer: {vocab_size: 1024}
data:
  sequence_length: 64
  sources: {code: {builtin: cpython-library}}
budget: {tokens: 100k tok}
training: {batch: 1024 tok}
sequence:
  - {name: base}
  - {name: tuned, model: {start: {run: base}}}
"""


def _why(plan: RunPlan, name: str) -> str:
    return plan.provenance[f"budget.{name}"].reason


def test_a_run_that_starts_from_trained_weights_has_no_expected_loss(tmp_path: Path) -> None:
    """N and D of the fine-tuning alone would give 40 nats; nothing of what follows from that is left."""
    tuned = plan_text(RUNS, tmp_path)
    budget = tuned.law_budget

    assert tuned.is_law_silent
    assert [getattr(budget, name) for name in SILENT] == [None] * len(SILENT)
    assert budget.tokens_per_parameter == pytest.approx(budget.tokens / tuned.model.num_parameters)
    assert {_why(tuned, name) for name in SILENT} == {_why(tuned, "loss")}
    assert "trained ones" in _why(tuned, "loss")
    with pytest.raises(TypeError, match="says nothing"):
        assert tuned.promise


def test_a_run_far_outside_of_the_laws_data_has_none_either(tmp_path: Path) -> None:
    """A loss above ln(vocabulary) is worse than guessing, which every model does before its first step."""
    base = plan_text(RUNS, tmp_path).earlier[0]

    assert base.start is None
    assert base.law_budget.loss is None
    assert "uniform guess over the vocabulary (6.93)" in _why(base, "loss")


def test_elsewhere_the_law_speaks() -> None:
    """All of it, with the law's own reason."""
    plan = compile_recipe(next(path for path in GALLERY if path.stem == "weekend-8-gpus")).expect()

    assert not plan.is_law_silent
    assert plan.promise == Promise(*(getattr(plan.budget, name) for name in Promise._fields))
    assert 2 < plan.promise.loss < 3
    assert "E + A/N^alpha" in _why(plan, "loss")

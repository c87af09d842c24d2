"""compiler/costing/reuse.py: steps on data that an earlier run has done take no time, and are those that the runtime reuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.plan import RunPlan
from tests.recipes import MINIMAL, plan_text

ALL = {"tokenizer", "prepare-code", "prepare-prose"}


def done(plan: RunPlan) -> set[str]:
    """Steps on data that take time."""
    return {step.id for step in plan.steps if step.kind in ("tokenizer", "prepare", "score") and step.seconds}


@pytest.mark.parametrize(
    ("second", "anew"),
    [
        ("training: {optimizer: {lr: 1e-3}}", set()),
        ("model: {start: {run: one}}", set()),
        ("model: {size: 2M}", set()),
        ("data: {sequence_length: 64}", {"prepare-code", "prepare-prose"}),
        ("evaluation: {max_tokens: 1k tok}", {"prepare-code", "prepare-prose"}),
        ("evaluation: {holdout: 0.2}", ALL),
        ("data: {selection: {min_bytes: 100}}", ALL),
        ("tokenizer: {vocab_size: 1024}", ALL),
        ("data: {sources: {prose: null}}", {"tokenizer", "prepare-code"}),
        ("model: {start: {run: one}}, data: {sources: {more: {jsonl: more.jsonl}}}", {"prepare-more"}),
        ("data: {curriculum: {by: length}}", {"score-code", "score-prose"}),
    ],
)
def test_a_run_makes_what_no_earlier_one_has_made(tmp_path: Path, second: str, anew: set[str]) -> None:
    """The first run makes all; the estimates of the steps still sum to the whole."""
    plan = plan_text(MINIMAL + f"sequence: [{{name: one}}, {{name: two, {second}}}]\n", tmp_path)
    assert done(plan.earlier[0]) == ALL
    assert done(plan) == anew
    for run in plan.runs:
        assert sum(step.seconds for step in run.steps) == pytest.approx(run.estimate.hours * 3600)


def test_scores_are_reused_by_metric(tmp_path: Path) -> None:
    """Another order by the same score needs no scoring; another score does."""
    by = "data: {{curriculum: {{by: {}, order: {}}}}}"
    runs = [
        f"{{name: r{n}, {by.format(*said)}}}"
        for n, said in enumerate([("length", "easy_to_hard"), ("length", "hard_to_easy"), ("mtld", "easy_to_hard")])
    ]
    first, second, third = plan_text(MINIMAL + f"sequence: [{', '.join(runs)}]\n", tmp_path).runs
    assert done(first) == ALL | {"score-code", "score-prose"}
    assert (done(second), done(third)) == (set(), {"score-code", "score-prose"})


def test_images_have_no_tokenizer(tmp_path: Path) -> None:
    """Another size of the images is another preparation."""
    text = (
        "name: digits\nobjective: classification\nmodel: {family: resnet, depth: 8}\n"
        "data: {sources: {digits: {builtin: digits}}}\ntraining: {batch: 64, duration: 2ep}\n"
        "sequence: [{name: one}, {name: two}, {name: three, data: {image: {size: 16}}}]\n"
    )
    assert [done(run) for run in plan_text(text, tmp_path).runs] == [{"prepare-digits"}, set(), {"prepare-digits"}]


def test_a_process_starts_once(tmp_path: Path) -> None:
    """Later runs on a CPU have its imports behind them."""
    first, second = plan_text(MINIMAL + "sequence: [{name: one}, {name: two}]\n", tmp_path).runs
    parts = [run.estimate.time_parts["startup"] for run in (first, second)]
    assert parts[0] - parts[1] == pytest.approx(7, abs=0.1)

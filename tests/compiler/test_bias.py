"""What `evaluation.bias` means for a run, and what can't be compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes import MINIMAL, errors_of, plan_text

RUNS = """\
sequence:
  - name: base
  - name: pruned
    model: {start: {run: base}}
    compression: [{kind: pruning}]
    evaluation: {bias: {}}
"""


def test_without_it_there_is_no_comparison(tmp_path: Path) -> None:
    """Off is not listed: no section, no step."""
    plan = plan_text(MINIMAL, tmp_path)
    assert plan.evaluation.bias is None
    assert "compare" not in [step.kind for step in plan.steps]


def test_the_start_is_the_usual_reference(tmp_path: Path) -> None:
    """A run that starts from trained weights is compared with them, by classes of frequency; the export waits for it."""
    plan = plan_text(MINIMAL + RUNS, tmp_path)
    bias = plan.evaluation.bias
    assert bias is not None
    assert (bias.against, bias.run, bias.classes, bias.buckets) == ("start", None, "token_frequency", 10)
    steps = {step.id: step for step in plan.steps}
    assert {"train", "compress", "prepare-code"} <= set(steps["compare"].inputs)
    assert "compare" in steps["export"].inputs
    assert steps["compare"].seconds > steps["evaluate"].seconds / 2
    assert plan.earlier[0].evaluation.bias is None
    assert plan.provenance["evaluation.bias.against"].reason == "the run has a start"


@pytest.mark.parametrize(
    ("said", "against", "run", "folder"),
    [
        ("previous", "run", "base", None),
        ("base", "run", "base", None),
        ("uncompressed", "uncompressed", None, None),
        ("exports/teacher", "folder", None, "exports/teacher"),
    ],
)
def test_a_reference_by_name(said: str, against: str, run: str | None, folder: str | None, tmp_path: Path) -> None:
    """An earlier run by its name, with its fingerprint; a folder by its slash; the model before it is made smaller."""
    plan = plan_text(MINIMAL + RUNS, tmp_path, f"sequence.pruned.evaluation.bias={said}")
    bias = plan.evaluation.bias
    assert bias is not None
    assert (bias.against, bias.run, bias.folder) == (against, run, folder)
    assert bias.fingerprint == (plan.earlier[0].fingerprint if run else None)


def test_previous_is_nothing_in_the_first_run(tmp_path: Path) -> None:
    """A base recipe may compare each run with the one before; the first has none, and is not compared."""
    text = MINIMAL + "evaluation: {bias: previous}\nsequence: [{name: a}, {name: b, seed: 2}, {name: c, seed: 3}]\n"
    plan = plan_text(text, tmp_path)
    found = [run.evaluation.bias for run in plan.runs]
    assert found[0] is None
    assert [bias.run for bias in found[1:] if bias is not None] == ["a", "b"]


def test_replicates_are_earlier_runs(tmp_path: Path) -> None:
    """By name, each with its fingerprint."""
    text = (
        MINIMAL
        + "sequence: [{name: a}, {name: b, seed: 2}, {name: c, evaluation: {bias: {against: a, replicates: [b]}}}]\n"
    )
    plan = plan_text(text, tmp_path)
    assert plan.evaluation.bias is not None
    assert plan.evaluation.bias.replicates == {"b": plan.earlier[1].fingerprint}


def test_limits_are_no_part_of_the_identity(tmp_path: Path) -> None:
    """A raised limit is the same run in the same folder; another reference is another one."""
    plans = [
        plan_text(MINIMAL, tmp_path, f"evaluation.bias={said}")
        for said in ("a/x", "{against: a/x, max_cev: 0.1, max_sde: 0.2}", "a/y")
    ]
    assert plans[0].fingerprint == plans[1].fingerprint != plans[2].fingerprint
    assert plans[1].evaluation.bias is not None
    assert plans[1].evaluation.bias.max_cev == 0.1


@pytest.mark.parametrize(
    ("said", "message", "help_"),
    [
        ("{}", "the comparison needs a reference: no technique of this run makes", "bias: {against: runs/base/export}"),
        ("start", "this run begins with random weights", "bias: runs/base/export"),
        ("uncompressed", "no technique of this run makes the finished model smaller", "bias: runs/base/export"),
        ("previous", "there is no run before this one", "bias: runs/base/export"),
        ("prevoius", "there is no earlier run `prevoius`", "bias: previous"),
        (
            "{against: a/x, classes: labels}",
            "causal_lm has no classes of the kind `labels`",
            "classes: token_frequency",
        ),
        ("{against: a/x, replicates: [a]}", "there is no earlier run `a` to be a replicate", "replicates: []"),
    ],
)
def test_what_cannot_be_compared(said: str, message: str, help_: str, tmp_path: Path) -> None:
    """One RC203 at the line, with the line to write."""
    (error,) = errors_of(MINIMAL, tmp_path, f"evaluation.bias={said}")
    assert error.code == "RC203"
    assert message in error.message
    assert error.help == help_
    assert error.path.startswith("evaluation.bias")


def test_one_source_is_one_class(tmp_path: Path) -> None:
    """`classes: sources` needs two."""
    text = MINIMAL.replace("    prose: {builtin: cpython-docs}\n", "")
    (error,) = errors_of(text, tmp_path, "evaluation.bias={against: a/x, classes: sources}")
    assert "one source alone" in error.message


def test_a_later_run_is_no_reference(tmp_path: Path) -> None:
    """The order of the runs is what `earlier` means; the message says so instead of guessing a typo."""
    text = MINIMAL + "sequence: [{name: a, evaluation: {bias: b}}, {name: b, seed: 2}]\n"
    (error,) = errors_of(text, tmp_path)
    assert "the run `b` comes no earlier" in error.message


def test_a_run_with_another_tokenizer_is_no_reference(tmp_path: Path) -> None:
    """Token ids that mean other words are told before anything runs, not after the training."""
    text = MINIMAL + "sequence: [{name: a}, {name: b, tokenizer: {vocab_size: 1024}, evaluation: {bias: a}}]\n"
    (error,) = errors_of(text, tmp_path)
    assert error.code == "RC203"
    assert "the run `a` has another tokenizer" in error.message

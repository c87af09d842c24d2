"""Laws of a recipe: its own constants, its own runs, and a warning where a law is stretched past its data."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.estimate.law.scaling_law import LAWS
from schemas.diagnostics import Severity
from tests.compiler.passes.budgets import RUNS, errors, findings, plan


def test_a_law_of_one_s_own_runs(tmp_path: Path) -> None:
    """The fit's constants, its file's hash and its interval are in the plan; another file is another model."""
    (tmp_path / "runs.csv").write_text(RUNS.read_text(encoding="utf-8"), encoding="utf-8")
    first = plan(tmp_path, "{match_chinchilla: 1B, scaling_law: {fit: runs.csv}}")
    budget = first.law_budget

    assert (budget.scaling_law, budget.law.num_runs) == ("fit", 30)
    assert (budget.law.alpha, budget.law.beta) == pytest.approx((0.3478, 0.3658), abs=0.05)
    assert budget.law.sha256 is not None
    assert budget.loss_low is not None
    assert budget.loss_high is not None
    assert budget.loss_low < first.promise.loss < budget.loss_high < budget.loss_low + 0.1
    assert not budget.extrapolated
    steeper = RUNS.read_text(encoding="utf-8").splitlines()[:-6]
    (tmp_path / "runs.csv").write_text("\n".join(steeper), encoding="utf-8")
    second = plan(tmp_path, "{match_chinchilla: 1B, scaling_law: {fit: runs.csv}}")
    assert second.law_budget.law.sha256 != budget.law.sha256
    assert second.fingerprint != first.fingerprint
    assert second.law_budget.extrapolated


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("N,D,loss\n1e9,x,2\n", ":2:1", "`tokens` is 'x'"),
        ("a,b\n1,2\n", ":1:1", "no column `parameters`"),
        ("N,D,loss\n1e9,2e10,2.5\n", ":1:1", "1 runs are too few"),
    ],
)
def test_a_file_of_runs_that_can_t_be_fitted_is_shown_line_by_line(
    text: str, place: str, words: str, tmp_path: Path
) -> None:
    """RC306 at the line of the CSV, not of the recipe."""
    (tmp_path / "runs.csv").write_text(text, encoding="utf-8")
    found = errors(tmp_path, "{match_chinchilla: 1B, scaling_law: {fit: runs.csv}}")

    assert {one.code for one in found} == {"RC306"}
    assert any(words in one.message for one in found)
    assert all(str(one.span).endswith(f"runs.csv{place}") for one in found if words in one.message)


def test_a_missing_file_of_runs(tmp_path: Path) -> None:
    """Said at the recipe's line."""
    (error,) = errors(tmp_path, "{match_chinchilla: 1B, scaling_law: {fit: no.csv}}")

    assert (error.code, error.path) == ("RC306", "budget.scaling_law.fit")


@pytest.mark.parametrize(
    ("law", "better"),
    [
        ("hoffmann", "scaling_law: hoffmann_tex"),
        ("besiroglu2024", "scaling_law: besiroglu"),
        ("{name: sardana, fit: runs.csv}", ""),
        ("{e: 1.7, a: 400, b: 400, alpha: 0.3}", "beta: 0.28"),
        ("{max_tokens_per_parameter: 20}", "fit: runs.csv"),
        ("{e: 0, a: 3.679e4, b: 3.099e7, alpha: 1.32, beta: 0.0283}", "scaling_law: besiroglu"),
    ],
)
def test_a_law_that_is_said_wrongly(law: str, better: str, tmp_path: Path) -> None:
    """Names of papers and older recipes are led to the new ones; half a law lacks something."""
    (error,) = errors(tmp_path, f"{{match_chinchilla: 1B, scaling_law: {law}}}")

    assert better in error.help


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("{match_chinchilla: 70B}", "above the 16B of the law's data"),
        ("{match_chinchilla: 1B, inference: {requests: 100B}}", "tokens per parameter is beyond the 250"),
        (
            "{match_chinchilla: 1B, scaling_law: {fit: RUNS, max_tokens_per_parameter: 20}, inference: {requests: 10B}}",
            "beyond the 20",
        ),
        ("{target_loss: 1.83}", "within 0.02 of the irreducible 1.817"),
    ],
)
def test_a_law_that_is_stretched_past_its_data_is_said(budget: str, words: str, tmp_path: Path) -> None:
    """By size, by ratio, for own fits, and close to the irreducible loss: a warning."""
    found = findings(tmp_path, budget.replace("RUNS", str(RUNS)), "hardware.count=1024")

    assert any(one.code == "RC303" and words in one.message and one.severity is Severity.WARNING for one in found)


def test_given_constants_are_used_as_they_are(tmp_path: Path) -> None:
    """A recipe's own constants choose what the shipped ones of the same value choose."""
    law = LAWS["sardana"]
    text = f"{{e: {law.e}, a: {law.a}, b: {law.b}, alpha: {law.alpha}, beta: {law.beta}}}"
    own = plan(tmp_path, f"{{match_chinchilla: 3B, scaling_law: {text}}}")
    named = plan(tmp_path, "{match_chinchilla: 3B, scaling_law: sardana}")

    assert own.promise.optimal_tokens == named.promise.optimal_tokens
    assert own.fingerprint == named.fingerprint
    assert (own.law_budget.scaling_law, named.law_budget.scaling_law) == ("constants", "sardana")

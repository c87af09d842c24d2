"""Knots and transitions of a recipe as phases: times in every unit, what holds where, findings, and where phases come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compiler.mixing.cases import compiled, findings, plan, shares

TWO = "mixture:\n- {{from: 0dur, weights: {{a: 0.5, b: 0.5}}}}\n- {{from: {at}, weights: {{b: 0.2, c: 0.8}}{more}}}"


@pytest.mark.parametrize("at", ["0.25dur", "250ba", "256000tok", "2000sp", "0.5ep"])
def test_a_knot_stands_at_any_unit_of_time(tmp_path: Path, at: str) -> None:
    """A source leaves and another enters at step 250 of 1000, however it is said."""
    sizes = dict.fromkeys("abc", "tokens: 170_667, max_epochs: 9")
    made = plan(tmp_path, TWO.format(at=at, more=""), **sizes)
    assert [(phase.start_token // 1024, phase.end_token // 1024) for phase in made.data.phases] == [
        (0, 250),
        (250, 1000),
    ]
    assert shares(made) == [{"a": 0.5, "b": 0.5}, {"b": 0.2, "c": 0.8}]


def test_a_transition_fills_the_time_between_its_knots(tmp_path: Path) -> None:
    """Weights move over all of it, then hold; the pieces are neighbours, and the steps of the plan know nothing of them."""
    made = plan(tmp_path, TWO.format(at="0.5dur", more=", transition: linear"))
    pieces, last = made.data.phases[:-1], made.data.phases[-1]
    assert [phase.id for phase in made.data.phases] == [*(f"phase0.{i:02}" for i in range(1, 81)), "phase1"]
    assert {phase.transition for phase in pieces} == {"linear"}
    assert (last.transition, last.start_token) == ("step", 512 * 1000)
    drawn = {name: sum(p.sources[name].samples for p in pieces if name in p.sources) for name in "abc"}
    assert drawn == {"a": 1000, "b": 1400, "c": 1600}
    assert [step.id for step in made.steps] == [
        "tokenizer",
        "prepare-a",
        "prepare-b",
        "prepare-c",
        "train",
        "evaluate",
        "export",
    ]
    # Both come from the line of the knot that the transition leads to, or that holds.
    assert {made.provenance[f"data.phases[{i}]"].where.split(":")[1] for i in range(81)} == {"12"}
    assert made.provenance["data.phases[79]"].reason.startswith("a piece of the linear transition")


def test_a_transition_may_end_with_the_run(tmp_path: Path) -> None:
    """A last knot at 1dur is reached with the last token; a step there would change nothing."""
    made = plan(tmp_path, TWO.format(at="1dur", more=", transition: cosine"))
    assert {phase.transition for phase in made.data.phases} == {"cosine"}
    drawn = {name: sum(p.sources[name].samples for p in made.data.phases if name in p.sources) for name in "abc"}
    assert drawn == {"a": 2000, "b": 2800, "c": 3200}
    (finding,) = findings(tmp_path, TWO.format(at="1dur", more=""))
    assert (finding.code, finding.path) == ("RC404", "data.mixture[1].from")


def test_the_first_knot_has_nothing_to_come_from(tmp_path: Path) -> None:
    """A transition there is an error at its line, with the line to write."""
    (finding,) = findings(tmp_path, "mixture:\n- {weights: {a: 0.4, b: 0.3, c: 0.3}, transition: linear}")
    assert (finding.code, finding.path, finding.help) == ("RC404", "data.mixture[0].transition", "transition: step")


def test_all_of_a_mixture_s_errors_come_at_once(tmp_path: Path) -> None:
    """Order, names and sums: each at its line."""
    text = (
        "mixture:\n- {from: 0.1dur, weights: {a: 0.5, bb: 0.5}}\n"
        "- {from: 0dur, weights: {a: 0.5, b: 0.2}, transition: linear}\n- {from: 2000ba, weights: {b: 1}}"
    )
    found = [(f.code, f.path) for f in findings(tmp_path, text)]
    assert found == [
        ("RC402", "data.sources.c"),
        ("RC404", "data.mixture[0].from"),
        ("RC402", "data.mixture[0].weights.bb"),
        ("RC404", "data.mixture[1].from"),
        ("RC403", "data.mixture[1].weights"),
        ("RC404", "data.mixture[2].from"),
    ]


def test_the_order_of_sources_changes_nothing(tmp_path: Path) -> None:
    """Weights written the other way round are the same plan."""
    turned = TWO.replace("a: 0.5, b: 0.5", "b: 0.5, a: 0.5").replace("b: 0.2, c: 0.8", "c: 0.8, b: 0.2")
    more = {"at": "0.5dur", "more": ", transition: cosine"}
    assert plan(tmp_path, TWO.format(**more)).fingerprint == plan(tmp_path, turned.format(**more)).fingerprint


def test_min_tokens_is_held_against_the_run(tmp_path: Path) -> None:
    """Too few tokens of a source are an error that says what the run draws, and the mean weight that it would take."""
    mixture = TWO.format(at="0.75dur", more="")
    assert compiled(tmp_path, mixture, c="min_tokens: 204_800").plan is not None
    (finding,) = findings(tmp_path, mixture, c="min_tokens: 300k tok")
    assert (finding.code, finding.path) == ("RC414", "data.sources.c.min_tokens")
    assert finding.message == "the run draws 204800 tokens of `c`, 20.00% of all"
    assert finding.help == "min_tokens: 204800   # or a mean weight of 0.293"
    (finding,) = findings(tmp_path, mixture, c="min_tokens: 5M tok")
    assert finding.help == "min_tokens: 204800"
    assert finding.reason == "the whole run is 1024000 tokens"


def test_what_is_read_up_is_known_before_the_run(tmp_path: Path) -> None:
    """Tokens, share and epochs of each source, and the token at which it has been read once; unknown sizes stay unknown."""
    made = plan(tmp_path, TWO.format(at="0.5dur", more=""), a="tokens: 1M tok", c="tokens: 102_400")
    found = made.estimate.exposure
    assert (found["a"].tokens, found["a"].share, found["a"].epochs) == (256_000, 0.25, 0.256)
    assert found["a"].read_up_token is None
    assert (found["b"].epochs, found["b"].read_up_token) == (None, None)
    # c: 0.8 of the second half; its 102,400 tokens last for 128,000 of the run.
    assert (found["c"].epochs, found["c"].read_up_token) == (4.0, 640_000)


def test_a_source_that_runs_dry_says_when(tmp_path: Path) -> None:
    """max_epochs is an error with the step; without it more than four epochs are a warning."""
    mixture = TWO.format(at="0.5dur", more="")
    (finding,) = findings(tmp_path, mixture, c="tokens: 102_400, max_epochs: 2")
    assert (finding.code, finding.severity.value, finding.help) == ("RC405", "error", "max_epochs: 4")
    assert finding.reason == "epoch 2 of it ends at step 750 of 1000"
    (finding,) = findings(tmp_path, mixture, c="tokens: 81_920")
    assert (finding.code, finding.severity.value) == ("RC405", "warning")
    assert finding.reason == "epoch 4 of it ends at step 900 of 1000"

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


def test_a_wrong_value_of_a_knot_silences_no_other_knot(tmp_path: Path) -> None:
    """One knot's typo is cut out alone; what is wrong with the others is heard at once."""
    text = (
        "mixture:\n- {from: 0.1dur, weights: {a: 0.5, b: 0.5}, transition: wobble}\n"
        "- {from: 50%, weights: {c: 0.9}}\n- {from: 0.9dur, weights: {d: 1}}"
    )
    found = [(f.code, f.path) for f in findings(tmp_path, text)]
    assert found == [
        ("RC404", "data.mixture[0].from"),
        ("RC105", "data.mixture[0].transition"),
        ("RC106", "data.mixture[1].from"),
        ("RC403", "data.mixture[1].weights"),
        ("RC402", "data.mixture[2].weights.d"),
    ]


@pytest.mark.parametrize(
    ("at", "help_"),
    [
        ("50%", "from: 0.5dur"),
        ("1h", "from: 0.8dur"),
        ("512000", "from: 0.8dur"),
        ("1.5dur", "from: 0.8dur"),
        ("0ba", "from: 0.5dur"),
        ("2000ba", "from: 0.5dur"),
    ],
)
def test_the_time_to_write_compiles(tmp_path: Path, at: str, help_: str) -> None:
    """The default, 0dur, is right for the first knot alone."""
    (finding,) = findings(tmp_path, TWO.format(at=at, more=""))
    assert finding.help == help_
    assert compiled(tmp_path, TWO.format(at=help_.removeprefix("from: "), more="")).plan is not None


@pytest.mark.parametrize(("steps", "help_"), [(100_000, "from: 99999ba"), (1, "delete this knot")])
def test_the_time_to_write_fits_what_is_left_of_the_run(tmp_path: Path, steps: int, help_: str) -> None:
    """Before the last of them there may be one that no short share of the run names; after the only step there is none."""
    first = "{from: 99998ba, weights: {a: 1}}\n- " if steps > 1 else ""
    text = f"mixture:\n- {{weights: {{a: 0.5, b: 0.5}}}}\n- {first}{{from: 1dur, weights: {{c: 1}}}}"
    found = [f for f in compiled(tmp_path, text, f"budget.tokens={1024 * steps}").findings if f.code == "RC404"]
    assert [f.help.startswith(help_) for f in found] == [True]


def test_a_time_that_can_t_be_known_is_one_finding(tmp_path: Path) -> None:
    """Epochs of sources without a size: no step stands in for them that could be out of order."""
    assert [f.code for f in findings(tmp_path, TWO.format(at="0.5ep", more=""))] == ["RC410"]


@pytest.mark.parametrize(
    ("said", "help_"),
    [
        ("{from: 0dur, weights: {a: 0.4, b: 0.3, c: 0.3}}", "[{from: 0dur, weights: {a: 0.4, b: 0.3, c: 0.3}}]"),
        ("{a: 0.4, b: 0.3, c: 0.3}", "[{weights: {a: 0.4, b: 0.3, c: 0.3}}]"),
    ],
)
def test_a_mixture_that_is_no_list_keeps_its_weights(tmp_path: Path, said: str, help_: str) -> None:
    """The line to write has what the recipe meant, and compiles."""
    (finding,) = findings(tmp_path, f"mixture: {said}")
    assert finding.help == f"mixture: {help_}"
    assert compiled(tmp_path, f"mixture: {help_}").plan is not None


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
    found = findings(tmp_path, "mixture:\n- {weights: {a: 0.5, b: 0.5}}", c="min_tokens: 300k tok")
    assert [f.help for f in found if f.code == "RC414"] == ["delete `min_tokens`, or give `c` a weight"]
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


@pytest.mark.parametrize("tokens", [300, 7_777, 81_919, 99_000])
def test_the_epochs_to_write_are_enough(tmp_path: Path, tokens: int) -> None:
    """They are rounded up, and written out however many they are."""
    mixture = TWO.format(at="0.5dur", more="")
    (finding,) = findings(tmp_path, mixture, c=f"tokens: {tokens}, max_epochs: 1")
    line, _, advice = finding.help.partition("   # ")
    assert advice == "or a lower weight of `c`, or more data"
    assert findings(tmp_path, mixture, c=f"tokens: {tokens}, {line}") == []


def test_a_source_that_runs_dry_says_when(tmp_path: Path) -> None:
    """max_epochs is an error with the step; without it more than four epochs are a warning."""
    mixture = TWO.format(at="0.5dur", more="")
    (finding,) = findings(tmp_path, mixture, c="tokens: 102_400, max_epochs: 2")
    assert (finding.code, finding.severity.value) == ("RC405", "error")
    assert finding.help.startswith("max_epochs: 4   #")
    assert finding.reason == "epoch 2 of it ends at step 750 of 1000"
    (finding,) = findings(tmp_path, mixture, c="tokens: 81_920")
    assert (finding.code, finding.severity.value) == ("RC405", "warning")
    assert finding.help.startswith("max_epochs: 5   #")
    assert finding.reason == "epoch 4 of it ends at step 900 of 1000"

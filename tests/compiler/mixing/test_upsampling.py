"""Domain upsampling: the paper's mix and exposures, the same plan as its long form, advice and conflicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.pipeline import compile_recipe
from schemas.plan import RunPlan
from tests.compiler.mixing.cases import compiled, findings, plan, shares
from tests.recipes import ROOT

BASE = "mixture:\n- {weights: {a: 0.6, b: 0.3, c: 0.1}}\n"
BATCH = 960 * 4096


def paper(fraction: float) -> RunPlan:
    """The gallery's recipe of the paper, with another length of the last phase."""
    return compile_recipe(
        ROOT / "recipes/domain-upsampling.yaml", (f"data.domain_upsampling.fraction={fraction}",)
    ).expect()


@pytest.mark.parametrize(
    ("fraction", "billions"),
    [
        (0.05, (326.325, 363.650, 85.615, 224.410)),
        (0.10, (309.150, 360.300, 99.530, 231.020)),
        (0.20, (274.800, 353.600, 127.360, 244.240)),
        (0.30, (240.450, 346.900, 155.190, 257.460)),
    ],
)
def test_exposure_of_the_paper(fraction: float, billions: tuple[float, ...]) -> None:
    """(1 - d) p + d q of a trillion tokens, p of table 2 and q of table 4, to the rounding of a batch of 3,932,160 tokens."""
    made = paper(fraction)
    found = [made.estimate.exposure[name].tokens for name in ("large_cc", "small_cc", "domain", "code")]
    assert made.training.global_batch_tokens == BATCH
    assert made.training.steps == 254_313
    assert found == pytest.approx([value * 1e9 for value in billions], abs=BATCH)


def test_mix_and_switch_of_the_paper() -> None:
    """At 203,450.5 batches, so on the boundary beside it; 30 % smaller crawl, 35 % domains, 35 % code, no large crawl."""
    first, last = paper(0.2).data.phases
    assert first.end_token in (203_450 * BATCH, 203_451 * BATCH)
    drawn = {name: part.tokens / (last.end_token - last.start_token) for name, part in last.sources.items()}
    assert drawn == pytest.approx({"small_cc": 0.30, "domain": 0.35, "code": 0.35}, abs=1e-6)


def test_short_and_long_form_are_one_plan(tmp_path: Path) -> None:
    """All of the general mix stays where no source is named: a and b in the proportion that they had."""
    short = plan(tmp_path, BASE + "domain_upsampling: {weights: {c: 1}}")
    assert shares(short) == [{"a": 0.6, "b": 0.3, "c": 0.1}, {"a": 0.2, "b": 0.1, "c": 0.7}]
    long = plan(tmp_path, BASE + "- {from: 0.8dur, weights: {a: 0.2, b: 0.1, c: 0.7}}")
    assert short.data.phases == long.data.phases
    assert short.fingerprint == long.fingerprint
    assert short.provenance["data.phases[1]"].where.endswith("recipe.yaml:12:22")


@pytest.mark.parametrize(
    ("keys", "mix"),
    [
        ("weights: {b: 0.5, c: 0.5}, keep: 0.2", {"a": 0.2, "b": 0.4, "c": 0.4}),
        ("weights: {c: 1}, keep: 0.4, keep_sources: [b]", {"b": 0.4, "c": 0.6}),
        ("weights: {c: 1}, keep: 0.4, keep_sources: [a, c]", {"a": 0.343, "c": 0.657}),
        ("weights: {b: 0.25, c: 0.75}, keep: 0", {"b": 0.25, "c": 0.75}),
    ],
)
def test_what_is_kept(tmp_path: Path, keys: str, mix: dict[str, float]) -> None:
    """keep x (the mix before it over what stays) + (1 - keep) x (the upsampled ones)."""
    found = shares(plan(tmp_path, BASE + f"domain_upsampling: {{{keys}}}"))[-1]
    assert found == pytest.approx(mix, abs=0.001)


def test_it_follows_the_last_knot_before_it(tmp_path: Path) -> None:
    """The general mix is the one that holds at the switch, after transitions too; without a mixture all have the same share."""
    knots = "mixture:\n- {weights: {a: 1}}\n- {from: 0.5dur, weights: {a: 0.5, b: 0.5}, transition: linear}\n"
    assert shares(plan(tmp_path, knots + "domain_upsampling: {weights: {c: 1}}"))[-2:] == [
        {"a": 0.5, "b": 0.5},
        {"a": 0.15, "b": 0.15, "c": 0.7},
    ]
    assert shares(plan(tmp_path, "domain_upsampling: {weights: {c: 1}}"))[-1] == {"a": 0.15, "b": 0.15, "c": 0.7}


@pytest.mark.parametrize(
    ("keys", "path", "help"),
    [
        ("fraction: 0.4", "fraction", "fraction: 0.2   # 0.2 favours code and math, 0.1 broad knowledge"),
        ("fraction: 0.04", "fraction", "fraction: 0.05   # 0.2 favours code and math, 0.1 broad knowledge"),
        ("keep: 0.1", "keep", "keep: 0.3   # what the paper kept, so that the distribution doesn't jump"),
    ],
)
def test_advice(tmp_path: Path, keys: str, path: str, help: str) -> None:
    """Outside of what was tried there is a warning with the value to write, and a plan."""
    made = compiled(tmp_path, BASE + f"domain_upsampling: {{weights: {{c: 1}}, {keys}}}")
    (finding,) = made.findings
    assert (finding.code, finding.severity.value) == ("RC413", "warning")
    assert (finding.path, finding.help) == (f"data.domain_upsampling.{path}", help)
    assert made.plan is not None


def test_many_epochs_of_the_upsampled_are_a_warning(tmp_path: Path) -> None:
    """Upsampling is what makes small sources come back: past four epochs it is said."""
    found = findings(tmp_path, BASE + "domain_upsampling: {weights: {c: 1}}", c="tokens: 40k tok")
    assert [(finding.code, finding.path) for finding in found] == [("RC405", "data.sources.c.tokens")]


def test_a_knot_in_its_place_is_a_conflict(tmp_path: Path) -> None:
    """Both lines are shown, for each of the knots, also for one whose transition would end there."""
    text = (
        "mixture:\n- {weights: {a: 0.6, b: 0.3, c: 0.1}}\n- {from: 0.85dur, weights: {a: 1}}\n"
        "- {from: 1dur, weights: {b: 1}, transition: linear}\ndomain_upsampling: {weights: {c: 1}}"
    )
    found = findings(tmp_path, text)
    assert [(finding.code, finding.path) for finding in found] == [
        ("RC412", "data.mixture[1].from"),
        ("RC412", "data.mixture[2].from"),
    ]
    assert found[0].message == "this knot is reached at step 850, and domain upsampling holds from step 800 on"
    assert [finding.help for finding in found] == [
        "from: 266ba, or delete this knot, or `domain_upsampling`",
        "from: 533ba, or delete this knot, or `domain_upsampling`",
    ]
    moved = text.replace("0.85dur", "266ba").replace("1dur", "533ba")
    assert compiled(tmp_path, moved).plan is not None
    assert [related.span.line for finding in found for related in finding.related] == [14, 14]


@pytest.mark.parametrize(
    ("keys", "code", "path"),
    [
        ("weights: {c: 1}, fraction: 0.0001", "RC412", "fraction"),
        ("weights: {a: 0.4, b: 0.3, c: 0.3}", "RC412", "keep"),
        ("weights: {d: 1}", "RC402", "weights.d"),
        ("weights: {c: 0.9}", "RC403", "weights"),
        ("weights: {c: 1}, keep_sources: [d]", "RC402", "keep_sources[0]"),
    ],
)
def test_what_can_not_be(tmp_path: Path, keys: str, code: str, path: str) -> None:
    """Names, sums, nothing to keep, no step to hold for: each at its line."""
    found = findings(tmp_path, BASE + f"domain_upsampling: {{{keys}}}")
    assert (code, f"data.domain_upsampling.{path}") in [(finding.code, finding.path) for finding in found]


@pytest.mark.parametrize(
    ("said", "help_"),
    [
        ("[c]", "domain_upsampling: {weights: {c: 1}}"),
        ("c", "domain_upsampling: {weights: {c: 1}}"),
        ("{fraction: 0.1}", "add `weights: {c: 1}` under `domain_upsampling:`"),
        ("{weights: {}}", "weights: {c: 1}"),
        ("{weights: {c: 1}, keep_sources: a}", "keep_sources: [a]"),
        ("{weights: {c: 1}, fraction: 0}", "fraction: 0.2"),
    ],
)
def test_the_line_to_write_leaves_something_to_keep(tmp_path: Path, said: str, help_: str) -> None:
    """Weights over all sources would leave no general mix."""
    (finding,) = findings(tmp_path, BASE + f"domain_upsampling: {said}")
    assert finding.help == help_


@pytest.mark.parametrize(("steps", "help_"), [(1, "delete `domain_upsampling`"), (2, "fraction: 0.5")])
def test_a_run_of_a_step_or_two(tmp_path: Path, steps: int, help_: str) -> None:
    """A fifth of it is no step; the line to write is one that there is."""
    text = BASE + "domain_upsampling: {weights: {c: 1}}"
    made = compiled(tmp_path, text, f"budget.tokens={1024 * steps}")
    (finding,) = [f for f in made.findings if f.code == "RC412"]
    assert finding.help.startswith(help_)
    half = ("data.domain_upsampling.fraction=0.5", f"budget.tokens={1024 * steps}")
    assert (compiled(tmp_path, text, *half).plan is not None) == (steps == 2)


def test_a_kept_name_that_is_no_source_is_one_finding(tmp_path: Path) -> None:
    """That it has no share in the mix follows from that."""
    found = findings(tmp_path, BASE + "domain_upsampling: {weights: {c: 1}, keep_sources: [bb]}")
    assert [f.code for f in found] == ["RC402"]


def test_a_kept_source_without_a_share(tmp_path: Path) -> None:
    """Nothing can be kept of what was not in the mix; those that were are named."""
    text = "mixture:\n- {weights: {a: 0.7, b: 0.3}}\ndomain_upsampling: {weights: {b: 1}, keep_sources: [c]}"
    (finding,) = [f for f in findings(tmp_path, text) if f.code == "RC412"]
    assert finding.help == "keep_sources: [a, b]"

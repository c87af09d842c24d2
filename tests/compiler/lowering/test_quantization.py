"""Quantisation in the plan: which layers, how many bits, what it costs, and what is refused before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.resume import resume_conflicts
from schemas.techniques.quantization import QuantizationAlgorithm
from tests.recipes import algorithm_of, compile_text, errors_of, plan_text

SMALL = """\
name: small
model: {hidden_size: 64, num_layers: 2, num_heads: 4, intermediate_size: 192}
tokenizer: {vocab_size: 2048}
data:
  sequence_length: 128
  sources: {code: {builtin: cpython-library}}
budget: {tokens: 1M tok}
training: {batch: 8192 tok}
checkpoints: {export_dtype: bf16}
"""
RESNET = """\
name: digits
objective: classification
model: {family: resnet, depth: 8, width: 16}
data: {sources: {digits: {builtin: digits}}}
training: {duration: 2ep}
"""
STEPS = 122


def said(text: str) -> str:
    """An override with one quantisation."""
    return f"compression=[{{kind: quantization{', ' if text else ''}{text}}}]"


def test_defaults_are_channels_for_int8_and_groups_for_int4(tmp_path: Path) -> None:
    """What the recipe leaves open is decided in the plan."""
    spec = algorithm_of(plan_text(SMALL, tmp_path, said("")), QuantizationAlgorithm)
    assert (spec.mode, spec.weights, spec.granularity, spec.group_size) == ("ptq", "int8", "channel", None)
    spec = algorithm_of(plan_text(SMALL, tmp_path, said("weights: int4")), QuantizationAlgorithm)
    assert (spec.weights, spec.granularity, spec.group_size, spec.activations) == ("int4", "group", 32, "none")


@pytest.mark.parametrize(("start", "step"), [("0dur", 0), ("0.5dur", 61), ("100ba", 100)])
def test_rounding_in_training_has_a_window_to_its_end(tmp_path: Path, start: str, step: int) -> None:
    """QAT from `start` on; PTQ when the last step is over."""
    spec = algorithm_of(plan_text(SMALL, tmp_path, said(f"mode: qat, start: {start}")), QuantizationAlgorithm)
    assert (spec.window.start_token, spec.window.end_token) == (step * 8192, STEPS * 8192)
    spec = algorithm_of(plan_text(SMALL, tmp_path, said("")), QuantizationAlgorithm)
    assert spec.window.start_token == spec.window.end_token == STEPS * 8192


def test_a_plan_that_ships_something_smaller_compresses_before_it_measures(tmp_path: Path) -> None:
    """train -> compress -> evaluate -> export; without a technique there is no such step."""
    steps = {step.id: step for step in plan_text(SMALL, tmp_path, said("")).steps}
    order = list(steps)
    assert order[-4:] == ["train", "compress", "evaluate", "export"]
    assert steps["compress"].inputs == ("tokenizer", "train")
    assert "compress" in steps["evaluate"].inputs
    assert "compress" in steps["export"].inputs
    assert steps["compress"].seconds > 1
    assert "compress" not in {step.id for step in plan_text(SMALL, tmp_path).steps}


def test_bits_are_averaged_over_the_model_and_scales_count(tmp_path: Path) -> None:
    """By hand: 2 x (4 x 64 x 64 + 3 x 64 x 192) rounded weights; the rest in bf16."""
    plan = plan_text(SMALL, tmp_path, said("weights: int4"))
    rounded, total = 2 * (4 * 64 * 64 + 3 * 64 * 192), plan.model.num_parameters
    expected = (rounded * (4 + 16 / 32) + (total - rounded) * 16) / total
    reason = next(p.reason for path, p in plan.provenance.items() if path.startswith("algorithms[0]"))
    assert f"{expected:.3g} bits a weight" in reason
    assert "14 layers in int4 by groups of 32" in reason


def test_fake_quantisation_is_in_the_estimate_and_rounding_afterwards_is_not(tmp_path: Path) -> None:
    """Rounded weights are held beside the trained ones; a plan with PTQ trains in the memory of a plain one."""
    plain, ptq, qat = (
        plan_text(SMALL, tmp_path, override).estimate.memory_parts
        for override in ("seed=17", said(""), said("mode: qat"))
    )
    assert ptq == plain
    rounded = 2 * (4 * 64 * 64 + 3 * 64 * 192)
    assert qat["techniques"] == pytest.approx(4 * 1.25 * rounded)
    early, late = (
        plan_text(SMALL, tmp_path, said(f"mode: qat, start: {start}")).estimate.hours for start in ("0dur", "0.9dur")
    )
    assert early > late > plan_text(SMALL, tmp_path, said("")).estimate.hours


def test_a_checkpoint_may_be_rounded_otherwise(tmp_path: Path) -> None:
    """Rounding comes after training, so PTQ binds no checkpoint; QAT does."""
    plain, ptq = plan_text(SMALL, tmp_path), plan_text(SMALL, tmp_path, said(""))
    other, qat = plan_text(SMALL, tmp_path, said("weights: int4")), plan_text(SMALL, tmp_path, said("mode: qat"))
    assert not resume_conflicts(plain, ptq)
    assert not resume_conflicts(ptq, other)
    assert [path for path, _ in resume_conflicts(ptq, qat)] == ["algorithms"]


@pytest.mark.parametrize(
    ("text", "path", "help"),
    [
        ("weights: int4, group_size: 48", "compression[0].group_size", "group_size: 32"),
        ("granularity: group, group_size: 128", "compression[0].group_size", "group_size: 64"),
        ("weights: int4, granularity: channel", "compression[0].granularity", "granularity: group"),
        ("weights: int4, granularity: tensor", "compression[0].granularity", "granularity: group"),
        ("group_size: 64", "compression[0].group_size", "granularity: group"),
        ("start: 0.5dur", "compression[0].start", "delete `start`"),
        ("mode: qat, start: 1dur", "compression[0].start", "start: 0.9dur"),
        ("mode: qat, start: 200ba", "compression[0].start", "start: 0.5dur"),
        ("exclude: [dwn_proj]", "compression[0].exclude", "exclude: [down_proj]"),
        ("exclude: ['model.*']", "compression[0].exclude", "delete `exclude`"),
    ],
)
def test_what_cannot_be_rounded_is_refused_with_the_line_to_write(
    tmp_path: Path, text: str, path: str, help: str
) -> None:
    """One finding at the key, and its remedy compiles."""
    found = errors_of(SMALL, tmp_path, said(text))
    assert [(one.code, one.path) for one in found] == [("RC203", path)]
    assert found[0].help.startswith(help)


def test_groups_follow_the_family(tmp_path: Path) -> None:
    """A layer that doesn't fit may be left out; a convolution's inputs are channels times its kernel's entries."""
    narrow = "model.intermediate_size=200"
    (found,) = errors_of(SMALL, tmp_path, narrow, said("weights: int4"))
    assert found.path == "compression[0].group_size"
    assert plan_text(SMALL, tmp_path, narrow, said("weights: int4, exclude: [down_proj]"))
    assert plan_text(SMALL, tmp_path, narrow, said("weights: int4, group_size: 8"))
    assert plan_text(SMALL, tmp_path, "model.family=gpt2", said("weights: int4"))
    # 16 x 9 = 144 inputs, 16 of the projections.
    assert errors_of(RESNET, tmp_path, said("weights: int4"))[0].help == "group_size: 16"
    assert plan_text(RESNET, tmp_path, said("weights: int4, group_size: 16"))


@pytest.mark.parametrize(
    ("overrides", "paths"),
    [
        (("compression=[{kind: quantization}, {kind: quantization, mode: qat}]",), ["compression[1]"]),
        (
            ("compression=[{kind: quantization, weights: int4}, {kind: pruning, method: structured}]",),
            ["compression[0].granularity"],
        ),
        (
            (
                "compression=[{kind: quantization, weights: int4}, {kind: low_rank, rank: 10}]",
                "sequence=[{name: a, compression: []}, {name: b, model: {start: {run: a}}}]",
            ),
            ["compression[0].group_size"],
        ),
    ],
    ids=["twice", "channels removed", "thin factors"],
)
def test_conflicts_with_other_techniques(tmp_path: Path, overrides: tuple[str, ...], paths: list[str]) -> None:
    """Found at compile time."""
    found = errors_of(SMALL, tmp_path, *overrides)
    assert [one.path for one in found] == paths


def test_adapters_and_fake_quantisation_name_both_lines(tmp_path: Path) -> None:
    """Adapters claim the weights for themselves; rounding what they are merged into is fine."""
    text = SMALL + (
        "sequence: [{name: a, compression: []}, {name: b, model: {start: {run: a}}, training: {adapter: {}}}]\n"
        "compression:\n  - {kind: quantization, mode: qat}\n"
    )
    findings = [f for f in compile_text(text, tmp_path).findings if f.code == "RC202"]
    assert len(findings) == 1
    assert "model.weights" in findings[0].message
    assert findings[0].related
    assert plan_text(text.replace("mode: qat", "mode: ptq"), tmp_path)


def test_pruned_weights_may_be_rounded(tmp_path: Path) -> None:
    """Single weights and 2:4 keep the layers' sizes."""
    for method in ("magnitude", "2:4"):
        both = f"compression=[{{kind: pruning, method: '{method}'}}, {{kind: quantization, mode: qat, weights: int4}}]"
        plan = plan_text(SMALL, tmp_path, both)
        assert [algorithm.kind for algorithm in plan.algorithms] == ["pruning", "quantization"]


def test_factors_of_a_model_that_lost_structures_have_no_groups(tmp_path: Path) -> None:
    """Their inputs are as many as were left; whole rows may share a scale."""
    runs = (
        "sequence: [{name: a}, {name: cut, model: {start: {run: a}}, compression: [{kind: pruning, method: structured}]},"
        " {name: thin, model: {start: {run: cut}}, compression: [{kind: low_rank, rank: 8}]},"
        " {name: b, model: {start: {run: thin}}, compression: [QUANTIZATION]}]\n"
    )
    grouped = SMALL + runs.replace("QUANTIZATION", "{kind: quantization, weights: int4, group_size: 8}")
    assert plan_text(grouped.replace("compression: [{kind: pruning, method: structured}]", "compression: []"), tmp_path)
    assert [one.path.rpartition(".")[2] for one in errors_of(grouped, tmp_path)] == ["granularity"]
    assert plan_text(SMALL + runs.replace("QUANTIZATION", "{kind: quantization, weights: int8}"), tmp_path)

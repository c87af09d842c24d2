"""What techniques add to a plan, and what the shipped model saves over its life."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.passes.accounting import form_of
from schemas.fragment import Fragment
from schemas.plan import RunPlan, TechniqueCost
from tests.recipes import MINIMAL, plan_text

SERVED = """\
name: served
model: {size: 1.3B}
data:
  sequence_length: 2048
  sources: {web: {mds: s3://corpus/web, tokens: 30B tok}}
budget: {tokens: 26B tok, objective: dollars, inference: {requests: 1B, precision: bf16}}
hardware: {gpu: h100-sxm-80gb, count: 8}
training: {batch: 1048576 tok, sharding: none, microbatch: 4}
checkpoints: {export_dtype: bf16}
"""
TUNED = "sequence: [{name: base}, {name: tuned, model: {start: {run: base}}, training: {%s}}]\n"
TEACHER = "distillation={teacher: {folder: models/teacher}, end: 1dur}"
INT8 = "compression=[{kind: quantization}]"
BOTH = "compression=[{kind: pruning}, {kind: quantization, weights: int4}]"


def _row(plan: RunPlan, kind: str) -> TechniqueCost:
    return next(row for row in plan.techniques if row.kind == kind)


def test_no_technique_adds_nothing(tmp_path: Path) -> None:
    """Empty sections, each with its reason."""
    plan = plan_text(MINIMAL, tmp_path)
    assert plan.techniques == ()
    assert plan.shipped is None
    assert "no technique" in plan.provenance["techniques"].reason
    assert "no technique" in plan.provenance["shipped"].reason


def test_a_teacher_of_the_same_size_adds_a_third(tmp_path: Path) -> None:
    """2 N beside 6 N over the whole run: 33.3 % more FLOPs, and as much more of the time of matrix products."""
    plan, plain = (plan_text(SERVED, tmp_path, *said) for said in ((TEACHER,), ()))
    row = _row(plan, "distillation")
    assert row.train_flops / plan.budget.train_flops == pytest.approx(1 / 3)
    assert row.hours == pytest.approx(plan.estimate.hours - plain.estimate.hours)
    assert row.usd == pytest.approx(plan.estimate.usd - plain.estimate.usd)
    assert row.memory_bytes == plan.estimate.peak_memory_bytes - plain.estimate.peak_memory_bytes
    # Its fp32 weights at least; its logits come on top.
    assert row.memory_bytes > 4 * plan.model.num_parameters
    assert 0.15 < row.hours / plain.estimate.hours < 0.40


def test_half_of_the_run_adds_half(tmp_path: Path) -> None:
    """A window of half the run: half the FLOPs and hours, the same memory."""
    whole, half = (
        _row(plan_text(SERVED, tmp_path, TEACHER.replace("1dur", end)), "distillation") for end in ("1dur", "0.5dur")
    )
    assert half.train_flops == pytest.approx(whole.train_flops / 2)
    assert half.hours == pytest.approx(whole.hours / 2, rel=0.02)
    assert half.memory_bytes == whole.memory_bytes


@pytest.mark.parametrize("said", [(TEACHER,), (INT8,), (TEACHER, BOTH), (TEACHER, BOTH, "averaging={}")])
def test_rows_sum_to_the_whole(said: tuple[str, ...], tmp_path: Path) -> None:
    """With the interaction they are exactly what all techniques add to the run without any, in the same layout."""
    plan, plain = plan_text(SERVED, tmp_path, *said), plan_text(SERVED, tmp_path)
    assert (plan.training.microbatch, plan.parallelism) == (plain.training.microbatch, plain.parallelism)
    rows = plan.techniques
    assert len(rows) == len(plan.algorithms) + (len(plan.algorithms) > 1)
    assert sum(row.hours for row in rows) == pytest.approx(plan.estimate.hours - plain.estimate.hours)
    assert sum(row.usd for row in rows) == pytest.approx(plan.estimate.usd - plain.estimate.usd)
    whole = plan.estimate.peak_memory_bytes - plain.estimate.peak_memory_bytes
    assert sum(row.memory_bytes for row in rows) == whole


def test_what_techniques_share_is_their_interaction(tmp_path: Path) -> None:
    """Two techniques make one step `compress`: neither alone adds it, so it is the interaction's."""
    plan = plan_text(SERVED, tmp_path, BOTH)
    compress = next(step for step in plan.steps if step.kind == "compress")
    assert _row(plan, "pruning").hours == pytest.approx(0.0, abs=1e-9)
    assert _row(plan, "interaction").hours * 3600 >= compress.seconds


def test_adapters_need_no_gradients_of_frozen_weights(tmp_path: Path) -> None:
    """Gradients and states of the adapters alone; FLOPs 4 N of 6 N and the adapters' own; no weight gradient counted twice."""
    lora, full = (plan_text(SERVED + TUNED % said, tmp_path) for said in ("adapter: {kind: lora, rank: 16}", ""))
    row = _row(lora, "lora")
    n = lora.model.num_parameters
    trained = (row.train_flops / lora.budget.tokens + 2 * n) / 6
    assert 0 < trained < 0.05 * n
    parts, before = lora.estimate.memory_parts, full.estimate.memory_parts
    assert parts["optimizer"] == pytest.approx(8 * trained, rel=0.01)
    assert parts["gradients"] < 0.05 * before["gradients"]
    assert parts["parameters"] == before["parameters"]
    assert row.memory_bytes < -10 * n
    # 2 of 6 N of the matrix products are gone, and a little comes back for the adapters.
    assert 0.60 < lora.estimate.step_parts["matmul"] / full.estimate.step_parts["matmul"] < 0.75


@pytest.mark.parametrize("said", ["hardware={gpu: cpu}", "hardware={gpu: h100-sxm-80gb, count: 8, mfu: 0.4}"])
def test_adapters_save_time_also_where_an_mfu_says_it(said: str, tmp_path: Path) -> None:
    """A step's length from FLOPs over the peak follows the FLOPs that are left."""
    small = SERVED.replace("size: 1.3B", "size: 20M").replace("data:", "tokenizer: {vocab_size: 2048}\ndata:")
    lora = plan_text(small + TUNED % "adapter: {kind: lora, rank: 4}", tmp_path, said, "budget={tokens: 1B tok}")
    row, steps = _row(lora, "lora"), lora.estimate.step_parts
    share = row.train_flops / lora.budget.train_flops
    full = sum(steps.values()) - row.hours * 3600 / lora.training.steps
    assert -0.33 < share < -0.25
    # Attention over 2,048 positions is no part of 6 N, so the step saves a smaller share.
    assert share < sum(steps.values()) / full - 1 < share / 4


def test_four_bit_bases_are_small(tmp_path: Path) -> None:
    """QLoRA keeps frozen weights in about half a byte."""
    full, nf4 = (
        plan_text(SERVED + TUNED % f"adapter: {{kind: lora, base: {kept}}}", tmp_path).estimate.memory_parts
        for kept in ("full", "nf4")
    )
    assert nf4["parameters"] < 0.3 * full["parameters"]
    assert nf4["optimizer"] == full["optimizer"]


def test_factors_take_the_place_of_weights(tmp_path: Path) -> None:
    """Weights, gradients and states of what is left; FLOPs saved in full, once; the shipped model has the same count."""
    said = "compression: [{kind: low_rank, parameters: 0.5}]"
    tuned = "sequence: [{name: base}, {name: small, model: {start: {run: base}}, %s}]\n"
    small, whole = (plan_text(SERVED + tuned % text, tmp_path) for text in (said, "seed: 2"))
    row, shipped, n = _row(small, "low_rank"), small.shipped, whole.model.num_parameters
    assert shipped is not None
    left = shipped.num_parameters / n
    assert 0.5 < left < 0.65
    for part in ("parameters", "gradients", "optimizer"):
        assert small.estimate.memory_parts[part] / whole.estimate.memory_parts[part] == pytest.approx(left, rel=1e-3)
    assert row.train_flops / small.budget.train_flops == pytest.approx(left - 1, rel=1e-3)
    assert shipped.inference_flops_per_token == pytest.approx(2 * shipped.num_parameters)
    assert shipped.inference_usd / shipped.dense_inference_usd == pytest.approx(left)
    assert row.hours < 0


def test_int8_halves_the_file_and_moves_the_optimum(tmp_path: Path) -> None:
    """About 8 of 16 bits but for what stays whole; serving is cheaper, so a larger model on fewer tokens is best."""
    plan = plan_text(SERVED, tmp_path, INT8)
    shipped = plan.shipped
    assert shipped is not None
    assert shipped.num_parameters == plan.model.num_parameters
    assert shipped.dense_bytes == 2 * plan.model.num_parameters
    assert 0.5 < shipped.bytes / shipped.dense_bytes < 0.6
    assert shipped.written_share == pytest.approx(shipped.bits_per_weight / 16)
    assert shipped.inference_flops_per_token == shipped.dense_inference_flops_per_token == 2 * plan.model.num_parameters
    assert shipped.dense_inference_usd == plan.budget.inference_usd
    # Nearly all of serving is writing, at a hundredth of the peak.
    assert shipped.inference_usd / shipped.dense_inference_usd == pytest.approx(shipped.written_share, rel=0.02)
    old, new = shipped.dense_optimum, shipped.optimum
    assert old is not None
    assert new is not None
    assert new.parameters > old.parameters
    assert new.tokens < old.tokens
    assert new.loss == pytest.approx(old.loss) == pytest.approx(plan.promise.loss)
    assert new.lifetime_usd < old.lifetime_usd


def test_fewer_bits_save_more(tmp_path: Path) -> None:
    """Monotone in the bits: file, dollars of serving, and the size of the best model."""
    plans = [
        plan_text(SERVED, tmp_path, f"compression=[{{kind: quantization, weights: {bits}}}]").shipped
        for bits in ("int8", "int4")
    ]
    assert plans[0] is not None
    assert plans[1] is not None
    assert plans[1].bytes < plans[0].bytes
    assert plans[1].inference_usd < plans[0].inference_usd
    assert plans[0].optimum is not None
    assert plans[1].optimum is not None
    assert plans[1].optimum.parameters > plans[0].optimum.parameters
    assert plans[1].optimum.lifetime_usd < plans[0].optimum.lifetime_usd


def test_bits_do_not_change_a_lifetime_in_flops(tmp_path: Path) -> None:
    """With `objective: flops` both optima are the same: FLOPs of a token don't follow its weights' bits."""
    shipped = plan_text(SERVED, tmp_path, INT8, "budget.objective=flops").shipped
    assert shipped is not None
    assert shipped.optimum is not None
    assert shipped.dense_optimum is not None
    assert shipped.optimum.parameters == shipped.dense_optimum.parameters


def test_single_zeros_save_nothing_where_they_are_served(tmp_path: Path) -> None:
    """Unstructured pruning: the share of zeros is said, and not paid."""
    shipped = plan_text(SERVED, tmp_path, "compression=[{kind: pruning, sparsity: 0.8}]").shipped
    assert shipped is not None
    assert shipped.nonzero < 0.4
    assert shipped.inference_usd == pytest.approx(shipped.dense_inference_usd)
    assert shipped.bytes == shipped.dense_bytes


def test_without_a_demand_there_is_nothing_to_serve(tmp_path: Path) -> None:
    """Size is still said; dollars are 0 and optima are absent."""
    shipped = plan_text(SERVED, tmp_path, INT8, "budget={tokens: 26B tok}").shipped
    assert shipped is not None
    assert shipped.inference_usd == shipped.dense_inference_usd == 0
    assert shipped.optimum is shipped.dense_optimum is None


def test_accounting_decides_nothing(tmp_path: Path) -> None:
    """Outside of the fingerprint: another demand is the same run, though all of it is accounted otherwise."""
    one, two = (plan_text(SERVED, tmp_path, INT8, f"budget.inference.requests={n}") for n in ("1B", "2B"))
    assert one.shipped != two.shipped
    assert one.fingerprint == two.fingerprint


def _fragment(**said: float) -> Fragment:
    return Fragment.model_validate({"claims": (), "reason": "", **said})


def test_forms_compose() -> None:
    """Shares multiply; the fewest bits count; what nobody says stays."""
    assert form_of((), 100, 16.0).bits == 16.0
    found = form_of(
        (_fragment(shipped_parameters=80, shipped_nonzero=0.5), _fragment(shipped_parameters=50, shipped_bits=4.5)),
        100,
        16.0,
    )
    assert found.parameters == pytest.approx(0.4)
    assert (found.nonzero, found.bits) == (0.5, 4.5)

"""Adapters in the plan: counts of the papers, targets by family, advice, conflicts, rates, memory and FLOPs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler.lowering.lora import adapter_parameters, layer_shapes
from schemas.diagnostics import Severity
from schemas.plan import ModelPlan
from schemas.techniques.lora import LoraAlgorithm
from tests.recipes import algorithm_of, compile_text, errors_of, plan_text

BASE = """\
name: adapted
model: {size: 1M}
tokenizer: {vocab_size: 2048}
data:
  sequence_length: 128
  sources:
    code: {builtin: cpython-library}
    prose: {builtin: cpython-docs}
  mixture: [{from: 0dur, weights: {code: 1}}]
budget: {tokens: 1M tok}
sequence:
  - {name: pretrain}
  - name: adapt
    model: {start: {run: previous}}
    training: {adapter: {rank: 8}}
    evaluation: {retention: [prose]}
"""
BASE = BASE.replace("weights: {code: 1}", "weights: {code: 0.5, prose: 0.5}")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


def shape(**changes: Any) -> ModelPlan:
    """Llama-2-7B, or another."""
    llama_2_7b = {
        "family": "llama", "num_parameters": 6_738_415_616, "num_embedding_parameters": 131_072_000, "vocab_size": 32_000,
        "hidden_size": 4096, "num_layers": 32, "num_heads": 32, "num_kv_heads": 32, "intermediate_size": 11_008,
        "max_sequence_length": 4096, "tie_embeddings": False, "dropout": 0.0, "rope_theta": 10000.0, "norm_eps": 1e-5,
        "init_std": 0.02, "attention": "sdpa", "compile": False,
    }  # fmt: skip
    return ModelPlan.model_validate({**llama_2_7b, **changes})


@pytest.mark.parametrize(
    ("targets", "rank", "expected", "share"),
    [
        (ATTENTION + MLP, 16, 39_976_960, 0.00593),
        (ATTENTION + MLP, 64, 159_907_840, 0.02373),
        (ATTENTION + MLP, 256, 639_631_360, 0.09492),
        (ATTENTION, 16, 16_777_216, None),
        (MLP, 16, 23_199_744, None),
    ],
)
def test_adapters_of_llama_2_7b(targets: tuple[str, ...], rank: int, expected: int, share: float | None) -> None:
    """The counts of Biderman et al. 2024."""
    found = adapter_parameters(shape(), targets, rank)
    assert found == expected
    if share is not None:
        assert found / shape().num_parameters == pytest.approx(share, abs=5e-6)


@pytest.mark.parametrize(("rank", "expected"), [(1, 4_718_592), (8, 37_748_736)])
def test_adapters_of_gpt_3_s_queries_and_values(rank: int, expected: int) -> None:
    """96 layers of width 12288 (Hu et al. 2021, table 4: 4.7M and 37.7M)."""
    gpt3 = shape(hidden_size=12_288, num_layers=96, num_heads=96, num_kv_heads=96, intermediate_size=49_152)
    assert adapter_parameters(gpt3, ("q_proj", "v_proj"), rank) == expected


def test_layers_of_a_block_hold_the_block_s_weights() -> None:
    """Grouped key-value heads are narrower; gpt2 has queries, keys and values in one layer."""
    assert layer_shapes(shape(num_kv_heads=8))["k_proj"] == (4096, 1024)
    gpt2 = shape(family="gpt2", hidden_size=768, num_heads=12, num_kv_heads=12, intermediate_size=3072)
    assert sum(a * b for a, b in layer_shapes(gpt2).values()) == 12 * 768**2


@pytest.mark.parametrize(
    ("family", "targets", "expected"),
    [
        ("llama", "all", ATTENTION + MLP),
        ("llama", "attention", ATTENTION),
        ("llama", "mlp", MLP),
        ("llama", "[v_proj, q_proj]", ("v_proj", "q_proj")),
        ("gpt2", "all", ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")),
        ("gpt2", "mlp", ("mlp.c_fc", "mlp.c_proj")),
    ],
)
def test_targets_are_resolved_by_family(tmp_path: Path, family: str, targets: str, expected: tuple[str, ...]) -> None:
    """Groups in the family's order, names as they are said; alpha is twice the rank."""
    plan = plan_text(
        BASE.replace("rank: 8", f"rank: 8, targets: {targets}"), tmp_path, f"model={{size: 1M, family: {family}}}"
    )
    found = algorithm_of(plan, LoraAlgorithm)
    assert (found.targets, found.alpha, found.rank) == (expected, 16.0, 8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("    model: {start: {run: previous}}\n", ""), "beside random weights learn next to nothing"),
        (
            ("rank: 8", "rank: 8, targets: [gat_proj]"),
            "`gat_proj` is no linear layer of llama's blocks; did you mean `gate_proj`",
        ),
    ],
)
def test_adapters_that_can_not_work_are_refused(tmp_path: Path, change: tuple[str, str], words: str) -> None:
    """With the line to write."""
    found = errors_of(BASE.replace(*change), tmp_path)
    assert [f.code for f in found] == ["RC203"]
    assert words in found[0].message
    assert found[0].help


def test_nf4_is_of_linear_layers_alone(tmp_path: Path) -> None:
    """GPT-2's are Conv1D."""
    text = BASE.replace("rank: 8", "rank: 8, base: nf4")
    found = compile_text(text, tmp_path, "model={size: 1M, family: gpt2}").findings
    assert ["bitsandbytes rounds Linear layers, and gpt2's are Conv1D" in f.message for f in found] == [True]
    assert algorithm_of(plan_text(text, tmp_path), LoraAlgorithm).base == "nf4"


@pytest.mark.parametrize(
    ("adapter", "more", "words"),
    [
        ("alpha: 8", "", "alpha is 8, and 16 (twice the rank)"),
        ("targets: attention", "", "attention alone learn least"),
        ("rank: 8", ", optimizer: {lr: 2e-3}", "a learning rate of 0.002 is outside of 1e-5 to 5e-4"),
    ],
)
def test_advice_that_is_not_followed_is_a_warning(tmp_path: Path, adapter: str, more: str, words: str) -> None:
    """Biderman et al. 2024, section 4.7; a plan is made all the same, and the recipe that follows it has no finding."""
    rank = "" if "rank" in adapter else ", rank: 8"
    compiled = compile_text(BASE.replace("{rank: 8}}", f"{{{adapter}{rank}}}{more}}}"), tmp_path)
    assert compiled.plan is not None
    assert [words in f.message for f in compiled.findings if f.severity is Severity.WARNING] == [True]
    assert not compile_text(BASE, tmp_path).findings


def test_long_training_of_adapters_is_a_warning(tmp_path: Path) -> None:
    """Over a billion tokens they fell behind at every rank."""
    found = compile_text(BASE.replace("1M tok", "2B tok"), tmp_path, "hardware={gpu: h100-sxm-80gb}").findings
    assert any("over 2B tokens adapters learn less" in f.message for f in found)


@pytest.mark.parametrize(
    ("line", "rival"),
    [("compression: [{kind: pruning}]", "pruning"), ("compression: [{kind: low_rank, rank: 8}]", "low_rank"),
     ("compression: [{kind: quantization, mode: qat}]", "quantization")],
)  # fmt: skip
def test_what_else_changes_the_weights_is_a_conflict_that_names_both_lines(
    tmp_path: Path, line: str, rival: str
) -> None:
    """Adapters are added to weights that stay."""
    found = compile_text(BASE + f"    {line}\n", tmp_path).findings
    (conflict,) = [f for f in found if f.code == "RC202"]
    assert "lora" in conflict.message
    assert rival in conflict.message
    assert conflict.span is not None
    assert conflict.related[0].span.line != conflict.span.line


def test_default_rates_of_trained_weights_and_adapters(tmp_path: Path) -> None:
    """Full fine-tuning at most 5e-5, adapters ten times that, half of it at rank 256; pre-training as ever."""
    plan = plan_text(BASE, tmp_path)
    before, adapted = (run.training.optimizer.lr for run in plan.runs)
    full = plan_text(BASE.replace("    training: {adapter: {rank: 8}}\n", ""), tmp_path).training.optimizer.lr
    high = plan_text(BASE.replace("rank: 8", "rank: 256"), tmp_path).training.optimizer.lr
    assert (before, full, adapted, high) == pytest.approx((2.9e-3, 5e-5, 5e-4, 2.5e-4))
    assert "10 times that of full fine-tuning" in plan.provenance["training.optimizer.lr"].reason


def test_frozen_weights_cost_no_gradients(tmp_path: Path) -> None:
    """4 N + 6 A FLOPs instead of 6 N, and gradients and optimizer states of adapters alone."""
    text, gpu = BASE.replace("size: 1M", "size: 1B"), "hardware={gpu: h100-sxm-80gb}"
    adapted = plan_text(text, tmp_path, gpu)
    full = plan_text(text.replace("    training: {adapter: {rank: 8}}\n", ""), tmp_path, gpu)
    model = adapted.decoder
    trained = adapter_parameters(model, ATTENTION + MLP, 8)
    assert adapted.estimate.memory_parts["optimizer"] == pytest.approx(8 * trained, rel=0.02)
    assert full.estimate.memory_parts["optimizer"] == pytest.approx(8 * model.num_parameters, rel=0.02)
    rounded = plan_text(text.replace("rank: 8", "rank: 8, base: nf4"), tmp_path, gpu)
    parts = rounded.estimate.memory_parts["parameters"], adapted.estimate.memory_parts["parameters"]
    assert parts[0] < 0.35 * parts[1]


def test_retention_names_sources_without_weight(tmp_path: Path) -> None:
    """A source of which is only measured what is forgotten draws nothing; one that nothing names stays an error."""
    changes = "data.mixture=[{from: 0dur, weights: {code: 1}}]"
    text = BASE.split("sequence:", maxsplit=1)[0].replace("size: 1M", "size: 1M, start: {hub: a/b, revision: c}")
    assert [f.code for f in compile_text(text, tmp_path, changes).findings if "prose" in f.message] == ["RC402"]
    kept = compile_text(text, tmp_path, changes, "evaluation.retention=[prose]")
    assert not [f for f in kept.findings if "prose" in f.message]
    unknown = compile_text(text, tmp_path, "evaluation.retention=[prosa]").findings
    assert [f.label for f in unknown if f.code == "RC402"] == ["did you mean `prose`?"]


def test_retention_of_random_weights_is_a_warning(tmp_path: Path) -> None:
    """They know nothing; without a mixture, what is only measured is not drawn."""
    text = BASE.split("sequence:", maxsplit=1)[0]
    mixed = "  mixture: [{from: 0dur, weights: {code: 0.5, prose: 0.5}}]\n"
    compiled = compile_text(text.replace(mixed, ""), tmp_path, "evaluation.retention=[prose]")
    assert ["nothing that could be forgotten" in f.message for f in compiled.findings] == [True]
    plan = compiled.expect()
    assert plan.evaluation.retention == ("prose",)
    assert [set(phase.sources) for phase in plan.data.phases] == [{"code"}]

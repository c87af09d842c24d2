"""Number formats: what the device has, what goes together, and what a parameter weighs."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.passes.parallelism import numerics_of
from schemas.diagnostics import Severity
from schemas.plan import PrecisionPlan
from schemas.training import OptimizerKind, ParamFormat
from tests.recipes import MINIMAL, compile_text, plan_text

GPT2 = "model={family: gpt2, hidden_size: 128, num_layers: 2, num_heads: 4}"
LLAMA = "model={hidden_size: 128, num_layers: 2, num_heads: 4, intermediate_size: 352}"
H100 = "hardware={gpu: h100-sxm-80gb}"


def findings(tmp_path: Path, *overrides: str) -> list[tuple[str, str, str, bool]]:
    """Severity, path and message of each RC503, and whether it names a second line."""
    found = compile_text(MINIMAL, tmp_path, *overrides).findings
    return [(f.severity, f.path, f.message, bool(f.related)) for f in found if f.code == "RC503"]


@pytest.mark.parametrize(
    ("gpu", "compute", "held"),
    [
        ("a100-sxm-80gb", "fp8", False),
        ("h100-sxm-80gb", "fp8", True),
        ("v100-sxm2-32gb", "bf16", False),
        ("v100-sxm2-32gb", "fp16", True),
        ("cpu", "bf16", False),
        ("cpu", "fp32", True),
    ],
)
def test_a_format_that_the_device_lacks_is_refused(tmp_path: Path, gpu: str, compute: str, held: bool) -> None:
    """fp8 came with Hopper, bf16 with Ampere; on a CPU Composer trains in fp32."""
    found = findings(tmp_path, LLAMA, f"hardware={{gpu: {gpu}}}", f"precision={compute}")
    assert [f for f in found if f[0] == Severity.ERROR] == (
        [] if held else [(Severity.ERROR, "precision.compute", f"{gpu} can't compute in {compute}", False)]
    )


@pytest.mark.parametrize(
    ("overrides", "path", "words", "names_another"),
    [
        ([LLAMA, "precision={compute: fp32, param: bf16}"], "param", "weights in bf16 need products in bf16", False),
        ([LLAMA, "precision={compute: fp16, param: bf16}"], "param", "weights in bf16 need products in bf16", False),
        ([LLAMA, "precision={param: bf16}", "averaging={}"], "param", "an average of weights in bf16 stands", True),
        ([GPT2, "precision={compute: fp32, norms: low}"], "norms", "and that is fp32", False),
        ([LLAMA, "precision={norms: low}"], "norms", "llama has RMSNorms", False),
        ([LLAMA, "precision={loss_scale: {initial: 8}}"], "loss_scale", "bf16 has the range of fp32", False),
        ([LLAMA, "precision={reduce: fp16}"], "reduce", "in bf16 can't be summed in fp16", False),
        ([LLAMA, "precision={compute: fp16, reduce: bf16}"], "reduce", "in fp16 can't be summed in bf16", False),
        ([GPT2, "precision=fp8"], "compute", "gpt2 has none of that form", False),
        ([LLAMA, "model.intermediate_size=360", "precision=fp8"], "compute", "`model.intermediate_size` gives 360", True),
        ([LLAMA, "data.sequence_length=120", "precision=fp8"], "compute", "a sample has 120 tokens", True),
        ([LLAMA, "precision=fp8", "compression=[{kind: pruning}]"], "compute", "pruning and fp8 both replace", True),
        (
            [LLAMA, "precision=fp8", "compression=[{kind: quantization, mode: qat}]"],
            "compute", "quantization and fp8 both replace", True,
        ),
    ],
)  # fmt: skip
def test_formats_that_do_not_go_together_are_errors(
    tmp_path: Path, overrides: list[str], path: str, words: str, names_another: bool
) -> None:
    """Each names the line to change, and the other line where there is one."""
    errors = [f for f in findings(tmp_path, H100, *overrides) if f[0] == Severity.ERROR]
    assert [(at, another) for _, at, _, another in errors] == [(f"precision.{path}", names_another)]
    assert words in errors[0][2]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["precision=fp8"], "hardly faster than bf16"),
        (["precision={param: bf16}", "training={optimizer: {lr: 5e-5}}"], "drops what is below 2^-8"),
        (["precision={compute: fp16, reduce: fp16}", "hardware.count=2"], "overflow earlier"),
    ],
)
def test_formats_that_lose_something_are_warned_of(tmp_path: Path, overrides: list[str], words: str) -> None:
    """They work, so that the plan is made; the same recipe with a rate of 6e-3 loses no updates."""
    found = findings(tmp_path, LLAMA, H100, *overrides)
    assert [severity for severity, *_ in found] == [Severity.WARNING]
    assert words in found[0][2]
    assert findings(tmp_path, LLAMA, H100, "precision={param: bf16}", "training={optimizer: {lr: 6e-3}}") == []


def test_fp16_has_a_scale_and_the_others_none(tmp_path: Path) -> None:
    """torch's defaults: 2^16, doubled after 2000 steps; an average beside it is of fp32 weights."""
    plan = plan_text(MINIMAL, tmp_path, H100, "precision=fp16", "averaging={}")
    assert plan.precision.loss_scale is not None
    assert (plan.precision.loss_scale.initial, plan.precision.loss_scale.growth_interval) == (65_536, 2_000)
    assert plan.precision.param == "fp32"
    said = plan_text(MINIMAL, tmp_path, H100, "precision={compute: fp16, loss_scale: {initial: 1024}}")
    assert said.precision.loss_scale is not None
    assert said.precision.loss_scale.initial == 1024
    assert said.provenance["precision.loss_scale.initial"].origin == "recipe"
    assert plan_text(MINIMAL, tmp_path, H100, "precision=bf16").precision.loss_scale is None


@pytest.mark.parametrize(
    ("param", "optimizer", "expected"),
    [("fp32", "adamw", 16), ("bf16", "adamw", 8), ("fp32", "decoupled_lionw", 12), ("bf16", "sgd", 6)],
)
def test_bytes_of_a_parameter(param: ParamFormat, optimizer: OptimizerKind, expected: int) -> None:
    """Weights, gradients and two moments: 4 + 4 + 8 = 16 with Adam (card 6.1), half of it in pure bf16."""
    numbers = numerics_of(
        PrecisionPlan(param=param, compute="bf16", reduce="fp32", norms="full", loss_scale=None), optimizer
    )
    assert numbers.weight_bytes + numbers.gradient_bytes + numbers.optimizer_bytes == expected


def test_pure_bf16_needs_less_memory(tmp_path: Path) -> None:
    """Half of what weights, gradients and states take."""
    changes = (H100, "model={size: 1B}", "budget={tokens: 10M}", "precision.param=")
    full, half = (plan_text(MINIMAL, tmp_path, *changes[:3], changes[3] + p).estimate for p in ("fp32", "bf16"))
    for part in ("parameters", "gradients", "optimizer"):
        assert half.memory_parts[part] == pytest.approx(full.memory_parts[part] / 2, rel=0.01)

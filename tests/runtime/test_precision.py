"""Number formats on a real Trainer: fp8's rounding, weights in bf16, norms in low precision, a scaled loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from composer.algorithms.low_precision_layernorm.low_precision_layernorm import LPLayerNorm
from composer.trainer import trainer as composer_trainer
from torch.amp.grad_scaler import GradScaler
from transformers import PreTrainedModel

from runtime import build, checkpoint, precision
from runtime.errors import RunFailed
from runtime.models.planned import build_untrained, load_trained
from schemas.plan import PrecisionPlan, RunPlan
from tests.runtime.interruption import interrupted_after
from tests.runtime.training_case import layout_of, metrics, plan_of, train

GPT2 = {"family": "gpt2", "num_parameters": 27_040, "num_embedding_parameters": 18_432}
CLIPPING = [{"kind": "gradient_clipping", "window": {"start_token": 0, "end_token": 3072}, "clipping": "norm",
             "threshold": 0.1}]  # fmt: skip
FP8 = PrecisionPlan(param="fp32", compute="fp8", reduce="fp32", norms="full", loss_scale=None)


def logits(model: torch.nn.Module) -> torch.Tensor:
    """Of 4 x 64 tokens that count up."""
    found: torch.Tensor = model(input_ids=torch.arange(256).view(4, 64)).logits
    return found


def weights_of(plan: RunPlan, folder: Path) -> dict[str, torch.Tensor]:
    """The finished model's."""
    return load_trained(plan, layout_of(plan, folder)).state_dict()


def test_names_of_the_formats() -> None:
    """fp8 is bf16 with other linear layers; FSDP gathers in the format of products and keeps buffers exact."""
    names = {c: precision.composer_precision(FP8.model_copy(update={"compute": c}), on_gpu=True)
             for c in ("fp32", "bf16", "fp16")}  # fmt: skip
    assert names == {"fp32": "fp32", "bf16": "amp_bf16", "fp16": "amp_fp16"}
    assert precision.fsdp_mixed_precision(FP8) == {
        "param_dtype": "bf16",
        "buffer_dtype": "fp32",
        "reduce_dtype": "fp32",
    }
    with pytest.raises(RunFailed, match="computes in fp8, and torch sees no GPU"):
        precision.composer_precision(FP8, on_gpu=False)


def test_a_gpu_without_fp8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute capability 8.9 is Ada's; an A100 has 8.0."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    with pytest.raises(RunFailed, match="A100 has no products in it"):
        precision.composer_precision(FP8, on_gpu=True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert precision.composer_precision(FP8, on_gpu=True) == "amp_bf16"


def test_fp8_rounds_the_blocks_layers_and_nothing_else() -> None:
    """Seven layers a block, the output layer not; names stay; e4m3 has 3 bits, so that logits are off by a few per cent."""
    model, exact = (build_untrained(plan_of()) for _ in range(2))
    precision.convert_model(model, FP8, emulate=True)
    replaced = [name for name, module in model.named_modules() if type(module).__name__ == "Float8Linear"]
    assert len(replaced) == 7
    assert not any("lm_head" in name for name in replaced)
    assert list(model.state_dict()) == list(exact.state_dict())
    with torch.no_grad():
        found, expected = logits(model), logits(exact)
    error = ((found - expected).norm() / expected.norm()).item()
    assert 1e-4 < error < 0.1


def test_layers_of_odd_sizes_stay_as_they_are() -> None:
    """torch._scaled_mm takes sizes in 16s."""
    odd, even = torch.nn.Linear(24, 32), torch.nn.Linear(32, 48)
    assert not precision.takes_fp8(odd, "block.odd")
    assert precision.takes_fp8(even, "block.even")
    with pytest.raises(RunFailed, match="no layer of the model"):
        precision.convert_model(torch.nn.Sequential(odd), FP8, emulate=True)


def test_fp8_trains_and_resumes_to_the_last_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated in fp32 on a CPU: the loss falls nearly as without, and a resumed run is the undisturbed one."""
    plan = plan_of(6, name="plain")
    exact = train(plan, tmp_path)

    def emulated(model: torch.nn.Module, formats: PrecisionPlan) -> None:
        precision.convert_model(model, formats.model_copy(update={"compute": "fp8"}), emulate=True)

    monkeypatch.setattr(build, "convert_model", emulated)
    straight, other = (plan.model_copy(update={"name": name}) for name in ("straight", "other"))
    rounded = train(straight, tmp_path)
    assert rounded["loss"] != exact["loss"]
    assert rounded["loss"] == pytest.approx(exact["loss"], abs=0.05)
    assert rounded["loss"] < rounded["initial_loss"]
    with interrupted_after(3):
        train(other, tmp_path)
    assert train(other, tmp_path)["loss"] == rounded["loss"]
    left, right = weights_of(straight, tmp_path), weights_of(other, tmp_path)
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_weights_in_bf16_halve_what_a_checkpoint_holds(tmp_path: Path) -> None:
    """Weights and both moments are in bf16 from the first step to the last; the finished model has their values."""
    formats = {"param": "bf16"}
    plan, other = (plan_of(6, name=name, precision=formats) for name in ("half", "other"))
    half, full = train(plan, tmp_path), train(plan_of(6, name="full"), tmp_path)
    assert half["loss"] == pytest.approx(full["loss"], abs=0.1)
    assert half["loss"] < half["initial_loss"]
    found = checkpoint.latest(layout_of(plan, tmp_path).checkpoints, plan)
    assert found is not None
    state = found.state["state"]
    assert {weight.dtype for weight in state["model"].values()} == {torch.bfloat16}
    (optimizer,) = dict(state["optimizers"]).values()
    moments = {s[name].dtype for s in optimizer["state"].values() for name in ("exp_avg", "exp_avg_sq")}
    assert moments == {torch.bfloat16}
    weights = weights_of(plan, tmp_path)
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(weights[name], state["model"][f"model.{name}"].float())
    with interrupted_after(3):
        train(other, tmp_path)
    assert train(other, tmp_path)["loss"] == half["loss"]


def test_beside_frozen_weights_what_trains_stays_in_fp32() -> None:
    """Adapters are few, and their updates small."""
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    model[0].requires_grad_(False)
    precision.convert_model(model, FP8.model_copy(update={"compute": "fp32", "param": "bf16"}))
    assert [module.weight.dtype for module in model] == [torch.bfloat16, torch.float32]


def test_low_norms_are_in_the_format_of_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Composer's LayerNorm gives bf16 under autocast, where torch's gives fp32; a llama has none to lower."""
    formats = FP8.model_copy(update={"compute": "bf16", "norms": "low"})
    model, plain = (build_untrained(plan_of(model=GPT2)) for _ in range(2))
    precision.convert_model(model, formats)
    assert sum(isinstance(module, LPLayerNorm) for module in model.modules()) == 3
    assert list(model.state_dict()) == list(plain.state_dict())
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        # Composer asks whether autocast is on without saying where, which torch answers for CUDA. Patched only inside: torch
        # puts back what it finds on the way in, and would leave autocast on for every later test of the process.
        monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: True)
        states = torch.randn(2, 32, generator=torch.manual_seed(1))
        outputs = [cast("Any", each).transformer.ln_f(states) for each in (model, plain)]
        monkeypatch.undo()
    assert [output.dtype for output in outputs] == [torch.bfloat16, torch.float32]
    torch.testing.assert_close(outputs[0].float(), outputs[1], atol=0.02, rtol=0.01)
    assert not torch.is_autocast_enabled("cpu")
    with torch.no_grad():
        assert torch.equal(logits(model), logits(plain))
    with pytest.raises(RunFailed, match="no LayerNorm or GroupNorm"):
        precision.convert_model(build_untrained(plan_of()), formats)


class _OnCpu(GradScaler):
    """Composer's scaler is made for CUDA, and does nothing on a CPU."""

    def __init__(self, init_scale: float = 2.0**16, growth_interval: int = 2000) -> None:
        super().__init__("cpu", init_scale=init_scale, growth_interval=growth_interval)


@pytest.fixture
def scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Composer scale the loss on a CPU, in fp32."""
    monkeypatch.setattr(composer_trainer, "GradScaler", _OnCpu)
    monkeypatch.setattr(composer_trainer.Trainer, "_use_grad_scaling", lambda *_: True)
    monkeypatch.setattr(composer_trainer.Trainer, "_use_closures", lambda _: False)  # as in fp16


def scaled_plan(name: str, initial: float, growth_interval: int = 2000) -> RunPlan:
    """Six clipped steps with a scaled loss."""
    scale = {"initial": initial, "growth_interval": growth_interval}
    return plan_of(6, name=name, algorithms=CLIPPING, precision={"loss_scale": scale})


@pytest.mark.usefixtures("scaled")
def test_the_scale_changes_no_gradient(tmp_path: Path) -> None:
    """S = 1 and S = 1024 give the same weights to the last bit: gradients are unscaled before they are clipped."""
    plans = [scaled_plan("one", 1.0), scaled_plan("many", 1024.0)]
    for plan in plans:
        train(plan, tmp_path)
    assert [metrics(plan, tmp_path)[0]["loss_scale"] for plan in plans] == [1.0, 1024.0]
    left, right = (weights_of(plan, tmp_path) for plan in plans)
    assert all(torch.equal(left[name], right[name]) for name in left)
    unclipped = plan_of(6, name="unclipped", precision={"loss_scale": {"initial": 1024.0, "growth_interval": 2000}})
    train(unclipped, tmp_path)
    assert not torch.equal(weights_of(unclipped, tmp_path)["model.norm.weight"], left["model.norm.weight"])


@pytest.mark.usefixtures("scaled")
def test_the_scale_grows_as_planned_and_goes_on_after_a_kill(tmp_path: Path) -> None:
    """Doubled after two steps each; a resumed run goes on with the scale that it had."""
    straight, other = scaled_plan("straight", 8.0, 2), scaled_plan("other", 8.0, 2)
    train(straight, tmp_path)
    with interrupted_after(3):
        train(other, tmp_path)
    train(other, tmp_path)
    scales = [[line["loss_scale"] for line in metrics(plan, tmp_path)] for plan in (straight, other)]
    assert scales[0] == [8.0, 16.0, 16.0, 32.0, 32.0, 64.0]
    assert scales[1] == scales[0]


def test_without_fp16_nothing_scales() -> None:
    """The list of callbacks is empty."""
    assert precision.loss_scaling(FP8) == []
    assert isinstance(build_untrained(plan_of()), PreTrainedModel)

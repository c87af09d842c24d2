"""Adapters: nothing changes at step 0, only they train, they merge exactly, and load elsewhere."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers import PreTrainedModel

from runtime import checkpoint
from runtime.algorithms import lora
from runtime.errors import RunFailed
from runtime.models.planned import build_untrained, initial_model, load_trained
from schemas.plan import RunPlan
from schemas.techniques.lora import LoraAlgorithm
from tests.runtime.training_case import layout_of, plan_of, train

LLAMA = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
GPT2 = ["attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"]
WHOLE = {"start_token": 0, "end_token": 6 * 512}
LORA = {
    "kind": "lora", "window": WHOLE, "rank": 4, "alpha": 8.0, "dropout": 0.1, "targets": LLAMA, "rank_stabilized": False,
    "base": "full",
}  # fmt: skip
START = {"kind": "folder", "run": None, "fingerprint": None, "folder": "base", "hub": None, "revision": None}
GPT2_MODEL = {"family": "gpt2", "num_parameters": 27_040, "num_embedding_parameters": 18_432}


def adapted(steps: int = 6, **changes: Any) -> RunPlan:
    """The tiny plan with adapters beside the weights in the folder `base`."""
    algorithm = {**LORA, **changes.pop("lora", {})}
    return plan_of(steps, algorithms=[algorithm], start=START, **changes)


def spec_of(plan: RunPlan) -> LoraAlgorithm:
    """Its adapters."""
    found = plan.algorithms[0]
    assert isinstance(found, LoraAlgorithm)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the weights to begin with."""
    cast("PreTrainedModel", build_untrained(plan_of(seed=99))).save_pretrained(tmp_path / "base")
    return tmp_path


def prepared(plan: RunPlan) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A model before and after its adapters, in evaluation mode."""
    base = build_untrained(plan)
    model = copy.deepcopy(base)
    lora.prepare(spec_of(plan), model, plan)
    return base.eval(), model.eval()


def logits(model: torch.nn.Module) -> torch.Tensor:
    """Of 2 x 16 tokens that count up."""
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=torch.arange(32).view(2, 16)).logits
    return found


def moved(model: torch.nn.Module) -> torch.nn.Module:
    """With a B that is not zero."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            parameter.data.normal_(0.0, 0.1, generator=generator)
    return model


@pytest.mark.parametrize(
    ("changes", "targets", "trained"),
    [
        ({}, LLAMA, 4 * (4 * (32 + 32) + 3 * (32 + 64))),
        ({"model": GPT2_MODEL}, GPT2, 4 * ((32 + 96) + (32 + 32) + 2 * (32 + 64))),
    ],
)
def test_at_step_0_the_output_is_the_base_s_to_the_last_bit(
    changes: dict[str, Any], targets: list[str], trained: int
) -> None:
    """B is zero (Hu et al. 2021, section 4.1); only A and B train: r (d_in + d_out) weights a matrix, in fp32."""
    plan = adapted(lora={"targets": targets}, **changes)
    base, model = prepared(plan)
    assert torch.equal(logits(base), logits(model))
    training = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in training.values()) == trained
    assert {p.dtype for p in training.values()} == {torch.float32}
    assert not torch.equal(logits(base), logits(moved(model)))


@pytest.mark.parametrize("stabilized", [False, True])
def test_a_merged_layer_is_w_plus_s_b_a(stabilized: bool) -> None:
    """s is alpha / r, or alpha / sqrt(r); the merged model has the base's names, and computes what the adapted one did."""
    plan = adapted(lora={"rank_stabilized": stabilized})
    base, model = prepared(plan)
    assert lora.scaling(spec_of(plan)) == (8 / 2 if stabilized else 8 / 4)
    before = logits(moved(model))
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    merged = lora.finish(spec_of(plan), model, plan)
    assert list(merged.state_dict()) == list(base.state_dict())
    torch.testing.assert_close(logits(merged), before, atol=1e-5, rtol=0)
    path = "model.layers.0.self_attn.q_proj"
    a, b = (weights[f"{path}.lora_{letter}.default.weight"] for letter in "AB")
    expected = weights[f"{path}.base_layer.weight"] + lora.scaling(spec_of(plan)) * (b @ a)
    torch.testing.assert_close(merged.state_dict()[f"{path}.weight"], expected, atol=1e-6, rtol=0)
    assert all(parameter.requires_grad for parameter in merged.parameters())


def test_nf4_rounds_the_blocks_layers_and_merges_without_rounding_again() -> None:
    """16 values a block of 64 (Dettmers et al. 2023); the merged layer is those values plus the update, in fp32."""
    plan = adapted(lora={"base": "nf4"})
    base, model = prepared(plan)
    assert model.state_dict()["model.layers.0.mlp.up_proj.base_layer.weight"].dtype == torch.uint8
    assert model.get_input_embeddings().weight.dtype == torch.float32  # type: ignore[operator]
    before = logits(moved(model))
    assert 1e-4 < (logits(base) - before).abs().max() < 1
    merged = lora.finish(spec_of(plan), model, plan)
    torch.testing.assert_close(logits(merged), before, atol=1e-5, rtol=0)
    assert list(merged.state_dict()) == list(base.state_dict())
    # Without updates the rounded weights themselves come out: 16 levels for each 64 weights.
    _, untouched = prepared(plan)
    plain = lora.finish(spec_of(plan), untouched, plan).state_dict()["model.layers.0.mlp.up_proj.weight"]
    assert len(plain.flatten()[:64].unique()) <= 16


def test_nf4_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback for a missing extra."""
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    plan = adapted(lora={"base": "nf4"})
    with pytest.raises(RunFailed, match=r"bitsandbytes.*not installed"):
        lora.prepare(spec_of(plan), build_untrained(plan), plan)


def test_layers_without_adapters_stay_as_they_were(folder: Path) -> None:
    """After six steps and the merge: embeddings are the base's to the last bit, an adapted layer is not."""
    plan = adapted(6)
    train(plan, folder)
    trained = load_trained(plan, layout_of(plan, folder)).state_dict()
    start = initial_model(plan_of(6, start=START), layout_of(plan, folder)).state_dict()
    assert torch.equal(trained["model.embed_tokens.weight"], start["model.embed_tokens.weight"])
    assert not torch.equal(trained["model.layers.0.mlp.up_proj.weight"], start["model.layers.0.mlp.up_proj.weight"])


def test_a_checkpoint_holds_adapters_and_their_states_alone(folder: Path) -> None:
    """Frozen weights come from the start, which the lock pins; they are neither saved nor given optimizer states."""
    plan = adapted()
    train(plan, folder)
    found = checkpoint.latest(layout_of(plan, folder).checkpoints, plan)
    assert found is not None
    state = found.state["state"]
    assert all(".lora_A." in name or ".lora_B." in name for name in state["model"])
    (optimizer,) = dict(state["optimizers"]).values()
    assert all(".lora_" in name for name in optimizer["state"])
    trained = sum(p.numel() for p in initial_model(plan, layout_of(plan, folder)).parameters() if p.requires_grad)
    assert sum(weight.numel() for weight in state["model"].values()) == trained
    assert sum(s["exp_avg"].numel() for s in optimizer["state"].values()) == trained


def test_weights_that_do_not_belong_together_are_refused(folder: Path) -> None:
    """A checkpoint of other targets, taken for this plan's."""
    plan = adapted()
    train(plan, folder)
    other = plan.model_copy(update={"algorithms": adapted(lora={"targets": ["q_proj"]}).algorithms})
    with pytest.raises(RunFailed, match="differ in 12 weights"):
        load_trained(other, layout_of(plan, folder))


def test_the_adapter_alone_loads_in_another_process(folder: Path) -> None:
    """Peft adds the files to the base and gets what the run merged; nothing of ours is imported there."""
    plan = adapted()
    train(plan, folder)
    layout = layout_of(plan, folder)
    lora.export(spec_of(plan), plan, layout, folder)
    expected = logits(load_trained(plan, layout).eval())
    torch.save(expected, folder / "expected.pt")
    config = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert config["target_modules"] == sorted(config["target_modules"])
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (4, 8, "base")
    program = """
import sys, torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base = AutoModelForCausalLM.from_pretrained(sys.argv[1] + "/base")
model = PeftModel.from_pretrained(base, sys.argv[1] + "/adapter").eval()
with torch.no_grad():
    found = model(input_ids=torch.arange(32).view(2, 16)).logits
torch.testing.assert_close(found, torch.load(sys.argv[1] + "/expected.pt", weights_only=True), atol=1e-5, rtol=0)
assert not any(name == "runtime" or name.startswith("runtime.") for name in sys.modules)
"""
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

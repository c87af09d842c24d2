"""Quantisation on real trainings: when rounding begins, what it leaves alone, and what is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from compiler.layers import body_layers
from runtime.algorithms import quantization
from runtime.algorithms.quantization import rounding_of
from runtime.compression.rounded_layers import FakeRounding, RoundedLayer, plain_model, roundable, rounded_layers
from runtime.compression.shipping import counts, load_shipped
from runtime.errors import RunFailed
from runtime.models.folders import COMPRESSED
from runtime.models.model_files import write_loadable
from runtime.models.planned import build_untrained, initial_model, load_trained
from schemas.fingerprint import resume_key
from schemas.plan import RunPlan
from schemas.techniques.quantization import QuantizationAlgorithm
from tests.runtime.images import case
from tests.runtime.training_case import layout_of, metrics, plan_of, train

BATCH = 512
STEPS = 6
TIMING = ("seconds", "tokens_per_s", "mfu", "resumed_from", "spend")
GPT2 = {"family": "gpt2", "num_parameters": 27_040, "num_embedding_parameters": 18_432}


def said(start: int = 0, **changes: Any) -> dict[str, Any]:
    """QAT in int4 groups of 16 from a step on."""
    return {
        "kind": "quantization", "window": {"start_token": start * BATCH, "end_token": STEPS * BATCH}, "mode": "qat",
        "weights": "int4", "granularity": "group", "group_size": 16, "activations": "none", "exclude": [], **changes,
    }  # fmt: skip


PTQ = said(STEPS, mode="ptq")


def plan_with(*algorithms: dict[str, Any], name: str = "tiny", **changes: Any) -> RunPlan:
    """Six steps with these algorithms."""
    return plan_of(STEPS, name=name, algorithms=list(algorithms), evaluation={"interval_steps": 2}, **changes)


def shown(plan: RunPlan, folder: Path) -> list[dict[str, Any]]:
    """What was measured, without times."""
    return [{k: v for k, v in line.items() if k not in TIMING} for line in metrics(plan, folder)]


def weights_of(plan: RunPlan, folder: Path) -> dict[str, torch.Tensor]:
    """Of the finished model."""
    return load_trained(plan, layout_of(plan, folder)).state_dict()


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Equal to the last bit."""
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def logits(model: Any) -> torch.Tensor:
    """Of a fixed batch."""
    ids = torch.arange(128).view(2, 64) * 3 % 512
    return cast("torch.Tensor", model.eval()(input_ids=ids).logits)


def test_rounding_a_finished_model_leaves_its_training_alone(tmp_path: Path) -> None:
    """PTQ equals not listed, bit for bit; and so does QAT up to its start, from which on losses differ."""
    plain, ptq, late = plan_with(name="plain"), plan_with(PTQ, name="ptq"), plan_with(said(3), name="late")
    for plan in (plain, ptq, late):
        train(plan, tmp_path)
    assert shown(ptq, tmp_path) == shown(plain, tmp_path)
    assert same(weights_of(ptq, tmp_path), weights_of(plain, tmp_path))
    losses = [[line["loss"] for line in shown(plan, tmp_path)] for plan in (plain, late)]
    assert losses[0][:3] == losses[1][:3]
    assert all(a != b for a, b in zip(losses[0][3:], losses[1][3:], strict=True))
    # The same checkpoint may be continued under a plan that rounds its finished model otherwise.
    assert resume_key(ptq) == resume_key(plain) != resume_key(late)


@pytest.mark.parametrize("model", [{}, GPT2], ids=["llama", "gpt2"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"weights": "int8", "granularity": "channel", "group_size": None},
        {"weights": "int8", "granularity": "tensor", "group_size": None, "activations": "int8"},
        {"activations": "int8"},
    ],
    ids=["int4 groups", "int8 channels", "int8 tensor, inputs", "int4 groups, inputs"],
)
def test_what_is_shipped_computes_what_was_trained(model: dict[str, Any], changes: dict[str, Any]) -> None:
    """Fake quantisation and the integers give the same logits, bit for bit; taken away, the trained weights are there."""
    plan = plan_with(said(**changes), model=model)
    spec = cast("QuantizationAlgorithm", plan.algorithms[0])
    network = build_untrained(plan)
    before = logits(network)
    quantization.prepare(spec, network, plan, None)
    assert torch.equal(logits(network), before)
    layers = list(FakeRounding.all_of(network))
    for layer in layers:
        layer.active = True
    trained = logits(network)
    assert not torch.equal(trained, before)
    quantization.finish(spec, network, plan)
    assert torch.equal(logits(network), before)
    parameters = counts(network)[0]
    shipped = quantization.ship(spec, network, plan)
    assert torch.equal(logits(shipped), trained)
    assert len(rounded_layers(shipped)) == len(layers) == (4 if model else 7)
    assert counts(shipped)[0] == parameters
    plain = plain_model(shipped)
    if spec.activations == "none":
        assert torch.allclose(logits(plain), trained, atol=1e-6)
    assert not rounded_layers(plain)


def test_embeddings_and_excluded_layers_stay_whole() -> None:
    """Only layers of the blocks are rounded: by name in each block, a part of one, or by pattern."""
    network = build_untrained(plan_of())
    names = set(roundable(network, ()))
    assert names == {
        f"model.layers.0.{name}"
        for name in (
            "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj",
            "mlp.down_proj",
        )
    }  # fmt: skip
    assert names - set(roundable(network, ("down_proj",))) == {"model.layers.0.mlp.down_proj"}
    assert len(roundable(network, ("layers.0.self_attn",))) == 3
    assert not roundable(network, ("model.layers.0.*",))


def test_the_finished_model_holds_what_the_optimizer_trained(tmp_path: Path) -> None:
    """Latent weights, which lie off the grid; rounding them once more, as shipped, changes nothing further."""
    plan = plan_with(said())
    train(plan, tmp_path)
    rounding = rounding_of(cast("QuantizationAlgorithm", plan.algorithms[0]))
    latent = weights_of(plan, tmp_path)["model.layers.0.mlp.up_proj.weight"]
    assert not torch.allclose(rounding.fake(latent), latent, atol=1e-4)
    shipped = load_shipped(plan, layout_of(plan, tmp_path))
    layer = rounded_layers(shipped)["model.layers.0.mlp.up_proj"]
    assert torch.equal(layer.matrix, rounding.fake(latent))
    assert set(layer.quantized.flatten().tolist()) <= set(range(-8, 8))


def test_held_out_loss_is_that_of_rounded_weights_once_rounding_has_begun(tmp_path: Path) -> None:
    """The last held-out loss of the training is the shipped model's own, not that of the latent weights."""
    plan = plan_with(said(3))
    train(plan, tmp_path)
    last = metrics(plan, tmp_path)[-1]
    model = initial_model(plan, layout_of(plan, tmp_path))
    assert all(not layer.active for layer in FakeRounding.all_of(model))
    assert last["heldout/code/loss"] > 0
    plain = plan_with(name="plain")
    train(plain, tmp_path)
    assert metrics(plain, tmp_path)[1]["heldout/code/loss"] == metrics(plan, tmp_path)[1]["heldout/code/loss"]
    assert metrics(plain, tmp_path)[-1]["heldout/code/loss"] != last["heldout/code/loss"]


def test_pruned_weights_stay_zero_through_rounding(tmp_path: Path) -> None:
    """Half of each layer pruned, then trained with rounded weights: at least those are zero in what is shipped."""
    pruning = {
        "kind": "pruning", "window": {"start_token": 0, "end_token": 3 * BATCH}, "method": "magnitude", "sparsity": 0.5,
        "initial": 0.0, "schedule": "linear", "scope": "layer", "norm": "l1", "targets": "all", "exclude": [],
        "interval_steps": 1,
    }  # fmt: skip
    plan = plan_with(pruning, said(1))
    train(plan, tmp_path)
    latent = weights_of(plan, tmp_path)
    layers = rounded_layers(load_shipped(plan, layout_of(plan, tmp_path)))
    for name, layer in layers.items():
        gone = latent[f"{name}.weight"] == 0
        assert gone.float().mean().item() == 0.5
        assert (layer.quantized[gone] == 0).all()


def test_distillation_and_rounding_compose(tmp_path: Path) -> None:
    """The student's loss has both: it differs from that of each alone."""
    cast("Any", build_untrained(plan_of(seed=99))).save_pretrained(tmp_path / "teacher")
    taught = {
        "kind": "distillation", "window": {"start_token": 0, "end_token": STEPS * BATCH}, "temperature": 2.0, "weight": 0.5,
        "teachers": [{"folder": "teacher"}],
    }  # fmt: skip
    losses = []
    for number, algorithms in enumerate(((taught,), (said(),), (taught, said()))):
        plan = plan_with(*algorithms, name=f"run{number}")
        train(plan, tmp_path)
        losses.append(metrics(plan, tmp_path)[-1]["loss"])
    assert len(set(losses)) == 3


def test_groups_that_other_techniques_cut_are_refused_with_a_remedy() -> None:
    """A layer of 24 inputs is no whole number of groups of 16."""
    network = nn.Module()
    network.add_module("0", nn.Linear(24, 8))
    plan = plan_with(said())
    with pytest.raises(RunFailed, match="24 inputs, which are no whole number of groups of 16"):
        quantization.ship(cast("QuantizationAlgorithm", plan.algorithms[0]), network, plan)


def test_a_classifier_trains_with_rounded_convolutions_and_ships_them(tmp_path: Path) -> None:
    """A ResNet on digits, inputs rounded too: integers of all convolutions but the first."""
    rounded = said(
        2, weights="int8", granularity="channel", group_size=None, activations="int8",
        window={"start_token": 64, "end_token": 192},
    )  # fmt: skip
    plan = case.plan_of(6, algorithms=[rounded])
    case.train(plan, tmp_path)
    layout = layout_of(plan, tmp_path)
    trained, shipped = load_trained(plan, layout).eval(), load_shipped(plan, layout).eval()
    assert len(rounded_layers(shipped)) == len(body_layers(plan.model)) == 8
    assert counts(shipped)[0] == plan.model.num_parameters
    images = torch.rand(4, 1, 8, 8)
    assert 0 < (shipped(images) - trained(images)).abs().max().item() < 0.2
    write_loadable(shipped, tmp_path, plan)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"config.json", "model.safetensors", COMPRESSED} <= names
    again = build_untrained(plan)
    again.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.allclose(again.eval()(images), trained(images), atol=0.2)
    assert not torch.equal(again(images), trained(images))


def test_a_convolution_is_rounded_as_its_matrix() -> None:
    """By output channel over all of its kernel; an image counts as one token; both forms compute the same."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.ReLU())
    plan = plan_with(said(weights="int8", granularity="channel", group_size=None, activations="int8"))
    spec = cast("QuantizationAlgorithm", plan.algorithms[0])
    images = torch.randn(3, 4, 9, 9)
    before = network(images)
    quantization.prepare(spec, network, plan, None)
    for layer in FakeRounding.all_of(network):
        layer.active = True
    trained = network(images)
    assert 0 < (trained - before).abs().max().item() < 0.1
    shipped = quantization.ship(spec, quantization.finish(spec, network, plan), plan)
    assert isinstance(shipped.get_submodule("0"), RoundedLayer)
    assert torch.equal(shipped(images), trained)
    images[0] *= 1000
    assert torch.equal(shipped(images)[1:], trained[1:])

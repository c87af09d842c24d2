"""What the compiler says of layers and sizes, without torch, beside built models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from compiler.layers import body_layers
from compiler.lowering import low_rank, pruning
from runtime.algorithms.low_rank import prepare
from runtime.algorithms.pruning import masks_of
from runtime.compression.factors import matrix_of
from runtime.compression.sparsity.layers import prunable
from runtime.compression.sparsity.removal import remove_dead
from runtime.models.classifier import PlannedResNet
from runtime.models.decoder import model_config
from schemas.plan import ModelPlan, ResNetPlan
from schemas.techniques.low_rank import LowRankAlgorithm
from schemas.techniques.pruning import PruningAlgorithm
from tests.factory import lowered, tiny_plan

WINDOW = {"start_token": 0, "end_token": 0}


def decoder(family: str, **changes: Any) -> ModelPlan:
    """Two layers, four heads, two key-value groups of llama."""
    sizes = {"hidden_size": 48, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2 if family == "llama" else 4}
    plan = tiny_plan().decoder.model_copy(update={"family": family, "intermediate_size": 52, **sizes, **changes})
    return plan.model_copy(update={"num_parameters": count(built(plan))})


def resnet(block: str, stem: str, blocks: tuple[int, ...]) -> ResNetPlan:
    """A narrow network for images of 40 pixels."""
    made = {
        "family": "resnet",
        "num_parameters": 0,
        "macs": 0,
        "depth": 18,
        "width": 8,
        "norm": "batch",
        "num_classes": 5,
    }
    images = {"channels": 3, "image_size": 40, "compile": False}
    plan = ResNetPlan.model_validate({**made, **images, "block": block, "stem": stem, "blocks": blocks})
    return plan.model_copy(update={"num_parameters": count(built(plan))})


def built(plan: ModelPlan | ResNetPlan) -> nn.Module:
    """The model of a plan's dimensions."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    if isinstance(plan, ResNetPlan):
        return PlannedResNet(plan)
    model: nn.Module = AutoModelForCausalLM.from_config(model_config(plan))
    return model


def count(model: nn.Module) -> int:
    """Weights, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


MODELS: dict[str, Callable[[], ModelPlan | ResNetPlan]] = {
    "llama": lambda: decoder("llama"),
    "gpt2": lambda: decoder("gpt2"),
    "basic": lambda: resnet("basic", "imagenet", (2, 1, 2, 1)),
    "bottleneck": lambda: resnet("bottleneck", "small", (1, 2, 1, 2)),
}


@pytest.mark.parametrize("name", MODELS)
def test_layers_have_the_names_and_sizes_of_the_built_model(name: str) -> None:
    """In its order, those of the blocks, convolutions as matrices."""
    plan = MODELS[name]()
    found = prunable(dict(built(plan).named_modules()))
    told = {layer.name: (layer.outputs, layer.inputs) for layer in body_layers(plan)}
    assert told == {key: tuple(matrix_of(layer).shape) for key, layer in found.items()}


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("llama", "gpt2")])
def test_convolutions_are_applied_as_often_as_they_are(name: str) -> None:
    """Height times width of what each puts out."""
    plan = MODELS[name]()
    model, seen = built(plan), {}
    for key, layer in prunable(dict(model.named_modules())).items():
        layer.register_forward_hook(lambda _, __, out, key=key: seen.update({key: out.shape[2] * out.shape[3]}))
    model(torch.zeros(2, 3, 40, 40))
    assert seen == {layer.name: layer.positions for layer in body_layers(plan)}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("method", "sparsity"),
    [("2:4", 0.5), *((method, share) for method in ("magnitude", "structured") for share in (0.3, 0.5, 0.99))],
)
def test_what_is_left_is_what_the_plan_says(name: str, method: str, sparsity: float) -> None:
    """Parameters after removal, and the share of them that isn't zero, to the last weight."""
    plan = MODELS[name]()
    targets = "mlp" if name == "gpt2" else "all"
    said = {"method": method, "window": WINDOW, "sparsity": sparsity, "scope": "layer", "interval_steps": 1}
    spec = PruningAlgorithm.model_validate(lowered({"kind": "pruning", **said, "targets": targets}))
    model = built(plan)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)  # biases and norms too, so that only masks make zeros
    with torch.no_grad():
        for key, mask in masks_of(spec, dict(model.named_modules()), sparsity).items():
            model.get_parameter(key).mul_(mask)
    small = remove_dead(model) if method == "structured" else model
    parameters, nonzero = pruning.left(spec, plan)
    assert count(small) == parameters
    left = sum(int(parameter.count_nonzero()) for parameter in small.parameters())
    assert left == round(nonzero * parameters)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("measure", [{"rank": 6}, {"parameters": 0.4}])
def test_factors_are_as_many_as_the_plan_says(name: str, measure: dict[str, float]) -> None:
    """Ranks, and layers that stay whole, come out alike on both sides."""
    plan = MODELS[name]()
    none = {"rank": None, "energy": None, "parameters": None}
    targets = sorted({layer.name.rpartition(".")[2] for layer in body_layers(plan)} - {"0"})
    spec = LowRankAlgorithm.model_validate(
        lowered({"kind": "low_rank", "window": WINDOW, "targets": targets, **none, **measure})
    )
    model = built(plan)
    prepare(spec, model, tiny_plan(), None)
    assert count(model) == low_rank.left(spec, plan) < plan.num_parameters

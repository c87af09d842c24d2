"""What the compiler says of layers and sizes, without torch, beside built models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from compiler import removal
from compiler.layers import body_layers
from compiler.lowering import low_rank
from runtime.algorithms.low_rank import prepare
from runtime.algorithms.pruning import masks_of
from runtime.compression.factors import matrix_of
from runtime.compression.sparsity.layers import prunable
from runtime.compression.sparsity.removal import remove_dead
from runtime.models.classifier import PlannedResNet
from runtime.models.decoder import model_config
from runtime.models.forward import logits_of
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


def resnet(block: str, stem: str, blocks: tuple[int, ...], norm: str = "batch", width: int = 8) -> ResNetPlan:
    """A narrow network for images of 40 pixels."""
    made = {
        "family": "resnet",
        "num_parameters": 0,
        "macs": 0,
        "depth": 18,
        "width": width,
        "norm": norm,
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


def structured(sparsity: float, **changes: object) -> PruningAlgorithm:
    """Channels and heads."""
    said = {"kind": "pruning", "method": "structured", "window": WINDOW, "sparsity": sparsity, "interval_steps": 1}
    return PruningAlgorithm.model_validate(lowered({**said, "scope": "layer", **changes}))


def zeroed(plan: ModelPlan | ResNetPlan, *specs: PruningAlgorithm) -> nn.Module:
    """A model that was pruned by one after the other, its biases and norms random too, so that only masks make zeros."""
    model = built(plan)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    with torch.no_grad():
        for spec in specs:
            for key, mask in masks_of(spec, dict(model.named_modules()), spec.sparsity).items():
                model.get_parameter(key).mul_(mask)
    return model


MODELS: dict[str, Callable[[], ModelPlan | ResNetPlan]] = {
    "llama": lambda: decoder("llama"),
    "gpt2": lambda: decoder("gpt2"),
    "basic": lambda: resnet("basic", "imagenet", (2, 1, 2, 1)),
    "bottleneck": lambda: resnet("bottleneck", "small", (1, 2, 1, 2)),
    # 16 groups of 1, 32 of 1, of 2 and of 4 channels.
    "grouped": lambda: resnet("basic", "small", (1, 1, 1, 2), "group", 16),
    "grouped bottleneck": lambda: resnet("bottleneck", "small", (1, 1, 1, 1), "group", 16),
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
    said = {"method": method, "window": WINDOW, "sparsity": sparsity, "scope": "layer", "interval_steps": 1}
    spec = PruningAlgorithm.model_validate(lowered({"kind": "pruning", **said}))
    model = zeroed(plan, spec)
    small = remove_dead(model) if method == "structured" else model
    parameters, nonzero = removal.left([spec], plan)
    assert count(small) == parameters
    left = sum(int(parameter.count_nonzero()) for parameter in small.parameters())
    assert left == round(nonzero * parameters)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize(
    "knobs",
    [
        [{"exclude": ["0.mlp"]}],
        [{"exclude": ["0.attn", "0.self_attn"]}],
        [{"targets": "mlp"}, {"targets": "attention"}],
        [{"sparsity": 0.25}, {"sparsity": 0.5, "targets": "mlp"}],
        [{"sparsity": 0.5}, {"method": "magnitude", "sparsity": 0.7}],
        [{"sparsity": 0.5}, {"method": "magnitude", "sparsity": 0.7, "scope": "global"}],
        [{"method": "magnitude", "sparsity": 0.6}, {"method": "magnitude", "sparsity": 0.3}],
    ],
)
def test_one_pruning_after_the_other_leaves_what_the_plan_says(name: str, knobs: list[dict[str, Any]]) -> None:
    """Also where layers are spared: a size of the configuration stays, a gpt2's heads go layer by layer."""
    plan, specs = MODELS[name](), [structured(**{"sparsity": 0.5, **changes}) for changes in knobs]
    small = remove_dead(zeroed(plan, *specs))
    parameters, nonzero = removal.left(specs, plan)
    assert count(small) == parameters
    left = sum(int(parameter.count_nonzero()) for parameter in small.parameters())
    assert left == pytest.approx(nonzero * parameters, abs=0.5)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("measure", [{"rank": 3}, {"parameters": 0.4}])
def test_factors_of_what_is_left_are_as_many_as_the_plan_says(name: str, measure: dict[str, float]) -> None:
    """Layers have the sizes that are left, also where they are built for a checkpoint that will be loaded."""
    plan, pruned = MODELS[name](), structured(0.5)
    none = {"rank": None, "energy": None, "parameters": None}
    targets = sorted({layer.name.rpartition(".")[2] for layer in body_layers(plan)} - {"0"})
    spec = LowRankAlgorithm.model_validate(
        {
            "kind": "low_rank",
            "window": WINDOW,
            "targets": targets,
            **none,
            **measure,
            "hold": False,
            "removes": [pruned],
        }
    )
    small = remove_dead(zeroed(plan, pruned))
    told = {layer.name: (layer.outputs, layer.inputs) for layer in low_rank.layers_of(spec, plan)}
    assert told == {key: tuple(matrix_of(layer).shape) for key, layer in prunable(dict(small.named_modules())).items()}
    model = zeroed(plan, pruned)
    prepare(spec, model, tiny_plan(), None)
    assert count(model) == low_rank.left(spec, plan) < removal.left([pruned], plan)[0]
    loaded = built(plan)
    prepare(spec, loaded, tiny_plan(), model.state_dict())
    loaded.load_state_dict(model.state_dict())
    batch = (
        {"pixel_values": torch.rand(1, 3, 40, 40)}
        if isinstance(plan, ResNetPlan)
        else {"input_ids": torch.arange(9)[None]}
    )
    assert torch.equal(logits_of(loaded.eval(), batch), logits_of(model.eval(), batch))


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


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "knobs", [{"method": "magnitude"}, {"method": "magnitude", "scope": "global"}, {"method": "2:4"}]
)
def test_zeros_of_factors_are_as_many_as_the_plan_says(name: str, knobs: dict[str, str]) -> None:
    """Of their weights, which are fewer than the layer's; 2:4 where the rank divides by four."""
    plan, spec = MODELS[name](), structured(0.5, **knobs)
    none: dict[str, Any] = {"energy": None, "parameters": None, "removes": [], "hold": False}
    targets = sorted({layer.name.rpartition(".")[2] for layer in body_layers(plan)} - {"0"})
    thin = LowRankAlgorithm.model_validate(
        {"kind": "low_rank", "window": WINDOW, "targets": targets, "rank": 4, **none}
    )
    model = built(plan)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    prepare(thin, model, tiny_plan(), None)
    with torch.no_grad():
        for key, mask in masks_of(spec, dict(model.named_modules()), spec.sparsity).items():
            model.get_parameter(key).mul_(mask)
    left = sum(int(parameter.count_nonzero()) for parameter in model.parameters())
    share = removal.nonzero_of([spec], low_rank.factor_layers(thin, plan), low_rank.left(thin, plan))
    assert left == pytest.approx(share * count(model), abs=0.5)

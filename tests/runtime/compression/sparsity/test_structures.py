"""Channels, heads and inner channels: removing them computes what zeros compute, in a smaller model that loads anywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from runtime.compression.factors import Factorized
from runtime.compression.sparsity.layers import clean_name, is_excluded, prunable
from runtime.compression.sparsity.removal import remove_dead
from runtime.compression.sparsity.structures import (
    dead_units,
    find_structures,
    held_masks,
    structure_masks,
    unit_scores,
)
from runtime.models.forward import logits_of
from tests.runtime.compression.sparsity import models


def masked(model: nn.Module, sparsity: float, targets: str = "all", exclude: Sequence[str] = ()) -> nn.Module:
    """The model with structures' weights set to zero."""
    modules = dict(model.named_modules())
    parameters = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, mask in structure_masks(find_structures(modules, targets, exclude), modules, sparsity, "l1").items():
            parameters[name].mul_(mask)
    return model


def count(model: nn.Module) -> int:
    """Weights, shared ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def text() -> dict[str, torch.Tensor]:
    """A batch of tokens."""
    return {"input_ids": models.tokens()}


def images() -> dict[str, torch.Tensor]:
    """A batch of images."""
    return {"pixel_values": torch.randn(3, 3, 40, 40, generator=torch.Generator().manual_seed(3))}


@pytest.mark.parametrize(
    ("build", "batch", "targets"),
    [
        (models.llama, text, "all"),
        (models.llama, text, "mlp"),
        (models.llama, text, "attention"),
        (models.gpt2, text, "all"),
        (models.gpt2, text, "mlp"),
        (models.gpt2, text, "attention"),
        (models.resnet, images, "all"),
        (lambda: models.resnet(bottleneck=True), images, "all"),
        (lambda: models.resnet(grouped=True), images, "all"),
        (lambda: models.resnet(grouped=True, bottleneck=True), images, "all"),
    ],
)
def test_a_smaller_model_computes_what_the_zeros_did(
    build: Callable[[], nn.Module], batch: Callable[[], dict[str, torch.Tensor]], targets: str
) -> None:
    """Logits agree to 1e-5 and differ from the whole model's, and the weights are fewer."""
    whole = logits_of(build(), batch())
    zeroed = masked(build(), 0.5, targets)
    before, expected = count(zeroed), logits_of(zeroed, batch())
    small = remove_dead(zeroed)
    assert (logits_of(small, batch()) - expected).abs().max() < 1e-5
    assert (whole - expected).abs().max() > 1e-3
    assert count(small) < before


def test_sizes_of_a_smaller_llama_and_what_it_says_of_itself(tmp_path: Path) -> None:
    """Half of 24 channels and one of two key-value groups go: an ordinary llama, which transformers loads from its folder."""
    from transformers import AutoModelForCausalLM

    small = remove_dead(masked(models.llama(), 0.5))
    config = small.config
    sizes = (config.intermediate_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim)  # type: ignore[union-attr]
    assert sizes == (12, 2, 1, 8)
    # Embedding and output layer, then per layer q, o: 16 x 32, k, v: 8 x 32, three matrices of 12 x 32, two norms.
    assert count(small) == 2 * 64 * 32 + 2 * (2 * 16 * 32 + 2 * 8 * 32 + 3 * 12 * 32 + 2 * 32) + 32
    small.save_pretrained(tmp_path)  # type: ignore[operator]
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert torch.equal(logits_of(loaded, text()), logits_of(small, text()))
    assert loaded.generate(models.tokens(), max_new_tokens=3, do_sample=False).shape == (3, 23)


def test_a_smaller_gpt2_loads_too(tmp_path: Path) -> None:
    """`n_inner` says the width; its heads stay, since no configuration could say their size."""
    from transformers import AutoModelForCausalLM

    small = remove_dead(masked(models.gpt2(), 0.25, "mlp"))
    assert small.config.n_inner == 18  # type: ignore[union-attr]
    small.save_pretrained(tmp_path)  # type: ignore[operator]
    assert torch.equal(
        logits_of(AutoModelForCausalLM.from_pretrained(tmp_path).eval(), text()), logits_of(small, text())
    )


def test_a_layer_that_was_spared_keeps_all_layers_at_its_size() -> None:
    """One configuration for all layers: with one MLP excluded none shrinks, and the heads still do."""
    small = remove_dead(masked(models.llama(), 0.5, exclude=["layers.0.mlp"]))
    assert small.config.intermediate_size == 24  # type: ignore[union-attr]
    assert small.config.num_key_value_heads == 1  # type: ignore[union-attr]


def test_a_model_without_dead_units_stays_as_it_is() -> None:
    """Nothing is removed, and nothing is written into the configuration."""
    model = models.llama()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    same = remove_dead(model)
    assert same.config.intermediate_size == 24  # type: ignore[union-attr]
    assert all(torch.equal(weight, before[name]) for name, weight in same.state_dict().items())


def test_scores_sum_up_everything_that_goes_with_a_channel() -> None:
    """Row of gate, row of up, column of down: 2 + 3 + 4 times the width in l1, the root of the squares in l2."""
    model = models.llama()
    mlp = model.model.layers[0].mlp  # type: ignore[union-attr, index]
    for layer, value in ((mlp.gate_proj, 2.0), (mlp.up_proj, -3.0), (mlp.down_proj, 4.0)):
        nn.init.constant_(layer.weight, value)
    modules = dict(model.named_modules())
    one = next(structure for structure in find_structures(modules) if structure.name == "model.layers.0.mlp")
    assert unit_scores(one, modules, "l1").tolist() == [32 * 9.0] * 24
    assert unit_scores(one, modules, "l2").tolist() == pytest.approx([(32 * 29.0) ** 0.5] * 24)


def test_l1_and_l2_choose_different_channels() -> None:
    """Many small entries against one large one."""
    model = models.llama()
    modules = dict(model.named_modules())
    one = find_structures(modules, "mlp")[0]
    with torch.no_grad():
        for member in one.members:
            modules[member.name.rpartition(".")[0]].weight.fill_(10.0)
        gate = modules["model.layers.0.mlp.gate_proj"].weight
        for layer in ("up_proj.weight", "gate_proj.weight"):
            model.get_parameter(f"model.layers.0.mlp.{layer}")[:2] = 0.0
        model.get_parameter("model.layers.0.mlp.down_proj.weight")[:, :2] = 0.0
        gate[0] = 0.5  # l1 16, l2 2.8
        gate[1, 0] = 8.0  # l1 8, l2 8
    kept = {
        norm: structure_masks([one], modules, 1 / 24, norm)["model.layers.0.mlp.gate_proj.weight"]
        for norm in ("l1", "l2")
    }
    assert (~kept["l1"][:, 0]).nonzero().flatten().tolist() == [1]
    assert (~kept["l2"][:, 0]).nonzero().flatten().tolist() == [0]


def test_one_unit_always_stays() -> None:
    """At 99 % one channel and one key-value group of each layer are left."""
    model = masked(models.llama(), 0.99)
    modules = dict(model.named_modules())
    alive = {s.kind: int((~dead_units(s, modules)).sum()) for s in find_structures(modules)}
    assert alive == {"mlp": 1, "attention": 1}


def test_held_masks_are_the_zeros_and_the_biases_of_dead_channels() -> None:
    """A bias that happens to be zero may still learn; one of a channel without weights may not."""
    model = masked(models.gpt2(), 0.5, "mlp")
    modules = dict(model.named_modules())
    bias = modules["transformer.h.0.mlp.c_fc"].bias
    dead = bias == 0
    with torch.no_grad():
        bias[(~dead).nonzero()[0]] = 0.0
    masks = held_masks(prunable(modules), find_structures(modules), modules)
    assert torch.equal(masks["transformer.h.0.mlp.c_fc.bias"], ~dead)
    assert torch.equal(masks["transformer.h.1.mlp.c_proj.weight"], modules["transformer.h.1.mlp.c_proj"].weight != 0)
    assert masks["transformer.h.0.attn.c_attn.weight"].all()


def test_which_layers_are_pruned() -> None:
    """Those of blocks; not embeddings, norms, the first convolution and the output layer."""
    assert len(prunable(dict(models.llama().named_modules()))) == 14
    assert len(prunable(dict(models.gpt2().named_modules()), "attention")) == 4
    found = prunable(dict(models.resnet().named_modules()))
    assert set(found) == {
        *(f"layer{stage}.0.conv{n}" for stage in (1, 2, 3, 4) for n in (1, 2)),
        *(f"layer{stage}.0.downsample.0" for stage in (2, 3, 4)),
    }


def test_patterns_name_layers_of_every_block_or_of_one() -> None:
    """A part of a name between dots, or a whole name with *; Composer's prefix and wrappers don't count."""
    name = "model.model.layers.10.mlp.down_proj"
    assert is_excluded(name, ["down_proj"])
    assert is_excluded(name, ["layers.10.mlp"])
    assert is_excluded(name, ["model.layers.1*.mlp.*"])
    assert not is_excluded(name, ["layers.1", "own_proj", "layers.1*"])
    assert clean_name("model._fsdp_wrapped_module.layers.0._checkpoint_wrapped_module.mlp") == "model.layers.0.mlp"


@pytest.mark.parametrize("build", [models.llama, models.gpt2])
def test_factors_have_no_channels_and_keep_their_zeros(build: Callable[[], nn.Module]) -> None:
    """Their layers are passed over by what takes channels out; single zeros in them are held like any."""
    model = build()
    for name, layer in prunable(dict(model.named_modules())).items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, Factorized(layer, 4))
    modules = dict(model.named_modules())
    assert find_structures(modules) == []
    layers = prunable(modules)
    held = held_masks(layers, find_structures(modules), modules)
    assert held.keys() == {f"{name}.weight" for name in layers}
    assert {name.rpartition(".")[2] for name in layers} == {"down", "up"}

"""A gpt2 without some of its heads: smaller matrices, the same logits, and a folder that transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from runtime.compression.factors import Factorized
from runtime.compression.rounded_layers import RoundedLayer, replace_layer
from runtime.compression.rounding import INT8, Rounding
from runtime.compression.sparsity.heads import has_fewer_heads, heads_left, with_all_heads
from runtime.compression.sparsity.layers import prunable
from runtime.compression.sparsity.removal import remove_dead
from runtime.compression.sparsity.structures import find_structures, structure_masks
from runtime.models.folders import COMPRESSED
from runtime.models.forward import logits_of
from runtime.models.model_files import write_loadable, write_smallest
from tests.factory import tiny_plan
from tests.runtime.compression.sparsity import models

BATCH = {"input_ids": models.tokens()}


def masked(*shares: float, targets: str = "attention") -> nn.Module:
    """A gpt2 of which each layer lost another share of its heads, or both the same share of all."""
    model = models.gpt2()
    modules = dict(model.named_modules())
    found = find_structures(modules, targets)
    with torch.no_grad():
        for number, structure in enumerate(found):
            for name, mask in structure_masks([structure], modules, shares[number % len(shares)], "l1").items():
                model.get_parameter(name).mul_(mask)
    return model


def test_each_layer_loses_what_it_can_and_the_logits_stay() -> None:
    """One head of four in the first layer, three in the second; 96 columns of queries, keys and values become 72 and 24."""
    whole = masked(0.25, 0.75)
    expected = logits_of(whole, BATCH)
    small = remove_dead(whole)
    blocks: Any = small.transformer.h  # type: ignore[union-attr]
    assert [tuple(block.attn.c_attn.weight.shape) for block in blocks] == [(32, 72), (32, 24)]
    assert [tuple(block.attn.c_proj.weight.shape) for block in blocks] == [(24, 32), (8, 32)]
    assert heads_left(small) == (3, 1)
    assert (logits_of(small, BATCH) - expected).abs().max() < 1e-5


def test_the_smaller_model_computes_less() -> None:
    """FLOPs as torch counts them: with half of the heads and channels the blocks have half of their products."""
    counts = []
    for model in (masked(0.5, targets="all"), remove_dead(masked(0.5, targets="all"))):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model.transformer.h[0](torch.randn(1, 20, 32))  # type: ignore[union-attr, operator, index]
        counts.append(counter.get_total_flops())
    assert counts[1] == pytest.approx(counts[0] / 2, rel=0.02)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_it_writes_text_with_a_cache(attention: str) -> None:
    """Whichever way attention is computed."""
    whole, small = masked(0.5), remove_dead(masked(0.5))
    texts = []
    for model in (whole, small):
        model.set_attn_implementation(attention)  # type: ignore[operator]
        texts.append(model.generate(models.tokens(), max_new_tokens=5, do_sample=False))  # type: ignore[operator]
    assert torch.equal(*texts)


def test_what_is_gone_twice_is_remembered_once() -> None:
    """Heads that a model lost before count among those that it has left."""
    model = remove_dead(masked(0.25))
    modules = dict(model.named_modules())
    assert {structure.size for structure in find_structures(modules, "attention")} == {3}
    with torch.no_grad():
        for name, mask in structure_masks(find_structures(modules, "attention"), modules, 1 / 3, "l1").items():
            model.get_parameter(name).mul_(mask)
    expected = logits_of(model, BATCH)
    small = remove_dead(model)
    assert heads_left(small) == (2, 2)
    whole = models.gpt2()
    whole.load_state_dict(with_all_heads(small, small.state_dict()))
    assert (logits_of(whole, BATCH) - expected).abs().max() < 1e-5


def test_the_folder_has_zeros_for_others_and_what_is_left_beside_them(tmp_path: Path) -> None:
    """transformers loads all heads, of which half are zero; channels are gone there too; the step `compress` writes the rest."""
    from transformers import AutoModelForCausalLM

    small = remove_dead(masked(0.5, targets="all"))
    (tmp_path / "small").mkdir()
    (tmp_path / "whole").mkdir()
    write_smallest(small, tmp_path / "small", tiny_plan())
    assert sorted(path.name for path in (tmp_path / "small").iterdir()) == [COMPRESSED, "config.json"]
    write_loadable(small, tmp_path / "whole", tiny_plan())
    loaded, said = AutoModelForCausalLM.from_pretrained(tmp_path / "whole", output_loading_info=True)
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    assert (loaded.config.n_head, loaded.config.n_inner) == (4, 12)
    assert (logits_of(loaded.eval(), BATCH) - logits_of(small, BATCH)).abs().max() < 1e-5
    whole = loaded.transformer.h[1].attn.c_attn.weight
    assert whole.shape == (32, 96)
    assert (whole == 0).float().mean() == 0.5
    kept = load_file(tmp_path / "whole" / COMPRESSED)
    assert kept["transformer.h.1.attn.c_attn.weight"].shape == (32, 48)
    assert sum(weight.numel() for weight in kept.values()) == sum(weight.numel() for weight in small.parameters())


@pytest.mark.parametrize("form", ["rounded", "factors"])
def test_fewer_heads_in_other_forms_load_too(tmp_path: Path, form: str) -> None:
    """Integers are unpacked and factors multiplied before zeros take the places of heads."""
    from transformers import AutoModelForCausalLM

    small = remove_dead(masked(0.5, targets="all"))
    for name, layer in prunable(dict(small.named_modules())).items():
        rounding = Rounding(INT8, "channel", None, activations=False) if form == "rounded" else None
        replace_layer(small, name, RoundedLayer(layer, rounding) if rounding else Factorized(layer, 4))
    if form == "factors":
        for parameter in small.parameters():
            nn.init.normal_(parameter, std=0.1)
    expected = logits_of(small, BATCH)
    write_loadable(small, tmp_path, tiny_plan())
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert (logits_of(loaded, BATCH) - expected).abs().max() < 1e-5


def test_other_models_never_have_fewer_heads_than_they_say() -> None:
    """A llama's configuration has the size of a head; a whole gpt2 lost none."""
    assert not has_fewer_heads(models.gpt2())
    assert not has_fewer_heads(remove_dead(models.llama()))
    whole = models.gpt2()
    assert with_all_heads(whole, whole.state_dict()).keys() == whole.state_dict().keys()

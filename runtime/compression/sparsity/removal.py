"""Takes channels and heads without weights out of a model, so that it is smaller, faster and computes the same.

A llama keeps equally wide MLPs and equally many heads in all of its layers, since its configuration has one number for each:
of every layer as many units go as the layer with the fewest dead ones has. The result is an ordinary model of its family
with a smaller `intermediate_size` and fewer heads. Blocks of a ResNet each lose what they can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from runtime.compression.sparsity.structures import Structure, dead_units, find_structures

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = ["remove_dead"]

_UNIFORM = ("mlp", "attention")


def remove_dead(model: nn.Module) -> nn.Module:
    """The same model, changed in place, without the dead units that its family can do without.

    Args:
        model: a causal LM or a ResNet; units are dead where all of their weights are zero.
    """
    modules = dict(model.named_modules())
    structures = find_structures(modules)
    dead = {structure.name: dead_units(structure, modules) for structure in structures}
    for kind in _UNIFORM:
        alike = [structure for structure in structures if structure.kind == kind]
        if kind == "attention" and _model_type(model) != "llama":
            continue  # gpt2's configuration has no size of heads
        count = min((_removable(structure, dead) for structure in alike), default=0)
        for structure in alike if count else ():
            _remove(structure, modules, _first(dead[structure.name], count))
        if count:
            _configure(model, kind, alike[0], count)
    for structure in structures:
        if structure.kind == "block" and (count := _removable(structure, dead)):
            _remove(structure, modules, _first(dead[structure.name], count))
    return model


def _model_type(model: nn.Module) -> str:
    return str(getattr(getattr(model, "config", None), "model_type", ""))


def _removable(structure: Structure, dead: Mapping[str, torch.Tensor]) -> int:
    """At least one unit stays: an empty layer can't be built."""
    return min(int(dead[structure.name].sum()), structure.size - 1)


def _first(dead: torch.Tensor, count: int) -> torch.Tensor:
    """True for all units but the first `count` dead ones."""
    stays = torch.ones_like(dead)
    stays[dead.nonzero().flatten()[:count]] = False
    return stays


def _remove(structure: Structure, modules: Mapping[str, nn.Module], stays: torch.Tensor) -> None:
    """Keep the units that stay, in every tensor of the structure, and in running statistics of its norms."""
    for member in structure.members:
        name, _, key = member.name.rpartition(".")
        _keep_along(modules[name], key, member.dim, stays.repeat_interleave(member.block))
    for name in structure.layers:
        layer = modules[name]
        for key, _ in list(layer.named_buffers(recurse=False)):
            if layer.get_buffer(key).ndim == 1:
                _keep_along(layer, key, 0, stays)
        _rename_sizes(layer)


def _keep_along(layer: nn.Module, key: str, dim: int, stays: torch.Tensor) -> None:
    tensor = cast("torch.Tensor", getattr(layer, key))
    kept = tensor.detach().index_select(dim, stays.nonzero().flatten().to(tensor.device)).contiguous()
    setattr(layer, key, nn.Parameter(kept, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else kept)


def _rename_sizes(layer: nn.Module) -> None:
    """What a layer says of its size, from its weight: its own arithmetic (Conv1D) and printing read it."""
    shape = cast("torch.Tensor", layer.weight).shape
    names = {
        "Linear": ("out_features", "in_features"),
        "Conv1D": ("nx", "nf"),
        "Conv2d": ("out_channels", "in_channels"),
    }
    # By `setattr`, since torch declares all attributes of a module as tensors or modules.
    for name, size in zip(names.get(type(layer).__name__, ("num_features",)), shape, strict=False):
        setattr(layer, name, size)


def _configure(model: nn.Module, kind: str, one: Structure, count: int) -> None:
    """Write the new sizes where `from_pretrained` reads them, and where the layers do."""
    config = cast("PretrainedConfig", model.config)
    left = one.size - count
    if kind == "mlp":
        key = "n_inner" if _model_type(model) == "gpt2" else "intermediate_size"
        setattr(config, key, left)
        for module in _having(model, "intermediate_size"):
            module.__dict__["intermediate_size"] = left
        return
    ratio = config.num_attention_heads // config.num_key_value_heads
    config.head_dim = config.head_dim or config.hidden_size // config.num_attention_heads
    config.num_key_value_heads, config.num_attention_heads = left, left * ratio


def _having(model: nn.Module, key: str) -> Sequence[nn.Module]:
    return [module for module in model.modules() if key in module.__dict__]

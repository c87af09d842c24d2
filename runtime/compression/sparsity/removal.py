"""Takes channels and heads without weights out of a model, so that it is smaller, faster and computes the same.

A llama keeps equally wide MLPs and equally many heads in all of its layers, since its configuration has one number for each:
of every layer as many units go as the layer with the fewest dead ones has. The result is an ordinary model of its family
with a smaller `intermediate_size` and fewer heads. Blocks of a ResNet and attentions of a GPT-2 each lose what they can. No
configuration says that a GPT-2 has fewer heads than its width divided by their size: see heads.py for what others load.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from runtime.compression.sparsity.heads import model_type, note_removed
from runtime.compression.sparsity.layers import INPUT_DIM
from runtime.compression.sparsity.structures import Structure, dead_units, find_structures

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = ["remove_dead", "remove_like"]


def remove_dead(model: nn.Module) -> nn.Module:
    """The same model, changed in place, without the dead units that its family can do without.

    Args:
        model: a causal LM or a ResNet; units are dead where all of their weights are zero.
    """
    modules = dict(model.named_modules())
    structures = find_structures(modules)
    dead = {structure.name: dead_units(structure, modules) for structure in structures}
    for alike in _alike(model, structures):
        count = min(_removable(structure, dead) for structure in alike)
        _take_out(model, modules, {structure: _first(dead[structure.name], count) for structure in alike})
    return model


def remove_like(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """The same model, changed in place, with as many units as a checkpoint has; which they are is of no meaning.

    Args:
        model: with all of its units.
        weights: that will be loaded next, by name; of layers that are factors there (`<layer>.up`, `<layer>.down`).
    """
    modules = dict(model.named_modules())
    for alike in _alike(model, find_structures(modules)):
        stays = {}
        for structure in alike:
            stays[structure] = torch.arange(structure.size) < _units_in(structure, modules, weights)
        _take_out(model, modules, stays)
    return model


def _alike(model: nn.Module, structures: Sequence[Structure]) -> Iterator[list[Structure]]:
    """Structures that must stay of one size: those that a number in the configuration is for; any other by itself."""
    one_size = {"llama": ("mlp", "attention"), "gpt2": ("mlp",)}.get(model_type(model), ())
    for kind in one_size:
        if found := [structure for structure in structures if structure.kind == kind]:
            yield found
    yield from ([structure] for structure in structures if structure.kind not in one_size)


def _removable(structure: Structure, dead: Mapping[str, torch.Tensor]) -> int:
    """At least one unit stays: an empty layer can't be built."""
    return min(int(dead[structure.name].sum()), structure.size - 1)


def _first(dead: torch.Tensor, count: int) -> torch.Tensor:
    """True for all units but the first `count` dead ones."""
    stays = torch.ones_like(dead)
    stays[dead.nonzero().flatten()[:count]] = False
    return stays


def _units_in(structure: Structure, modules: Mapping[str, nn.Module], weights: Mapping[str, torch.Tensor]) -> int:
    """How many units a checkpoint has; its last member lies alone in its tensor."""
    member = structure.members[-1]
    layer = member.name.removesuffix(".weight")
    whole, dim = weights.get(member.name), member.dim
    if whole is None:  # factors are kept as [outputs, inputs], whatever the layer was
        reads = INPUT_DIM[type(modules[layer]).__name__] == member.dim
        whole, dim = weights[f"{layer}.{'down' if reads else 'up'}.weight"], int(reads)
    return whole.shape[dim] // member.block


def _take_out(model: nn.Module, modules: Mapping[str, nn.Module], stays: Mapping[Structure, torch.Tensor]) -> None:
    """Keep the units that stay of structures that are alike, and say so where their sizes are written down."""
    for structure, kept in stays.items():
        if not bool(kept.all()):
            _remove(structure, modules, kept)
            note_removed(structure, modules, kept)
    one = next(iter(stays))
    if not bool(stays[one].all()):
        _configure(model, one, int(stays[one].sum()))


def _remove(structure: Structure, modules: Mapping[str, nn.Module], stays: torch.Tensor) -> None:
    """Keep the units that stay, in every tensor of the structure, and in running statistics of its norms."""
    along: dict[tuple[str, int], torch.Tensor] = {}
    for member in structure.members:  # several may lie side by side in one tensor
        name, _, key = member.name.rpartition(".")
        size = cast("torch.Tensor", getattr(modules[name], key)).shape[member.dim]
        kept = along.setdefault((member.name, member.dim), torch.ones(size, dtype=torch.bool))
        kept[member.span(structure.size)] = stays.cpu().repeat_interleave(member.block)
    for (tensor, dim), kept in along.items():
        name, _, key = tensor.rpartition(".")
        _keep_along(modules[name], key, dim, kept)
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
    """What a layer says of its size, from its weight: its own arithmetic (Conv1D, GroupNorm) and printing read it."""
    shape = cast("torch.Tensor", layer.weight).shape
    if isinstance(layer, nn.GroupNorm):  # whole groups go, and the others stay as wide as they are
        layer.num_groups, layer.num_channels = shape[0] * layer.num_groups // layer.num_channels, shape[0]
        return
    names = {
        "Linear": ("out_features", "in_features"),
        "Conv1D": ("nx", "nf"),
        "Conv2d": ("out_channels", "in_channels"),
    }
    # By `setattr`, since torch declares all attributes of a module as tensors or modules.
    for name, size in zip(names.get(type(layer).__name__, ("num_features",)), shape, strict=False):
        setattr(layer, name, size)


def _configure(model: nn.Module, one: Structure, left: int) -> None:
    """Write the new sizes where `from_pretrained` reads them, and where the layers do."""
    family = model_type(model)
    if one.kind == "block" or (one.kind, family) == ("attention", "gpt2"):
        return
    config = cast("PretrainedConfig", model.config)
    if one.kind == "mlp":
        setattr(config, "n_inner" if family == "gpt2" else "intermediate_size", left)
        for module in _having(model, "intermediate_size"):
            module.__dict__["intermediate_size"] = left
        return
    ratio = config.num_attention_heads // config.num_key_value_heads
    config.head_dim = config.head_dim or config.hidden_size // config.num_attention_heads
    config.num_key_value_heads, config.num_attention_heads = left, left * ratio


def _having(model: nn.Module, key: str) -> Sequence[nn.Module]:
    return [module for module in model.modules() if key in module.__dict__]

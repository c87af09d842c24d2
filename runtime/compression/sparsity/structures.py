"""Channels of MLPs, attention heads and inner channels of residual blocks: what belongs to each, its score, and its mask.

A llama's attention head goes with its whole key-value group, so that all groups keep equally many heads. Where a norm takes the
mean of a group of channels (Wu & He 2018, arXiv 1803.08494), a unit is such a group: the others keep their means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import nn

from runtime.compression.sparsity.layers import Modules, is_excluded
from runtime.compression.sparsity.ranking import keep_largest

__all__ = [
    "Member",
    "Structure",
    "dead_units",
    "find_structures",
    "held_masks",
    "structure_masks",
    "unit_scores",
]


@dataclass(frozen=True)
class Member:
    """Where the units of a structure lie in one tensor: unit i has [offset + i block, offset + (i + 1) block) of `dim`."""

    name: str
    dim: int
    block: int = 1
    offset: int = 0

    def span(self, size: int) -> slice:
        """All units, along `dim`."""
        return slice(self.offset, self.offset + size * self.block)


@dataclass(frozen=True)
class Structure:
    """`size` units that can be removed together from all of their tensors without changing what the others compute."""

    name: str
    kind: Literal["mlp", "attention", "block"]
    size: int
    members: tuple[Member, ...]

    @property
    def layers(self) -> list[str]:
        """Names of its layers and norms."""
        return list(dict.fromkeys(member.name.rpartition(".")[0] for member in self.members))


def find_structures(modules: Modules, targets: str = "all", exclude: Sequence[str] = ()) -> list[Structure]:
    """The structures of a model, or a part of it, by the names that llama, gpt2 and ResNet give their layers.

    Args:
        modules: by clean name, with whole weights.
        targets: all, mlp or attention.
        exclude: layers that stay whole; a structure with one of them does.
    """
    return [
        structure
        for name, module in modules.items()
        if any(part.isdigit() for part in name.split("."))
        for structure in _structures(name, module)
        if targets in ("all", structure.kind) and not any(is_excluded(layer, exclude) for layer in structure.layers)
    ]


def _structures(name: str, module: nn.Module) -> Iterator[Structure]:
    # Layers that are factors have no channels of their own, which could be taken out.
    own = {
        key: child for key, child in module.named_children() if isinstance(getattr(child, "weight", None), torch.Tensor)
    }
    if {"gate_proj", "up_proj", "down_proj"} <= own.keys():
        into = [m for key in ("gate_proj", "up_proj") for m in _rows(f"{name}.{key}", own[key])]
        yield Structure(name, "mlp", _width(own["down_proj"], 1), (*into, Member(f"{name}.down_proj.weight", 1)))
    elif {"q_proj", "k_proj", "v_proj", "o_proj"} <= own.keys():
        yield _llama_attention(name, module, own)
    elif {"c_attn", "c_proj"} <= own.keys():
        yield _gpt2_attention(name, module, own)
    elif {"c_fc", "c_proj"} <= own.keys():
        into = [Member(f"{name}.c_fc.weight", 1), Member(f"{name}.c_fc.bias", 0)]
        yield Structure(name, "mlp", _width(own["c_proj"], 0), (*into, Member(f"{name}.c_proj.weight", 0)))
    elif {"conv1", "bn1", "conv2", "bn2"} <= own.keys():
        yield from _residual(name, own)


def _width(layer: nn.Module, dim: int) -> int:
    return int(cast("torch.Tensor", layer.weight).shape[dim])


def _rows(name: str, layer: nn.Module, block: int = 1) -> list[Member]:
    """Units as outputs of a linear layer, with their biases."""
    return [Member(f"{name}.{key}", 0, block) for key, _ in layer.named_parameters(recurse=False)]


def _llama_attention(name: str, module: nn.Module, own: dict[str, nn.Module]) -> Structure:
    head = int(cast("int", module.head_dim))
    groups = _width(own["k_proj"], 0) // head
    block = _width(own["q_proj"], 0) // groups
    members = [
        *_rows(f"{name}.q_proj", own["q_proj"], block),
        *_rows(f"{name}.k_proj", own["k_proj"], head),
        *_rows(f"{name}.v_proj", own["v_proj"], head),
        Member(f"{name}.o_proj.weight", 1, block),
    ]
    return Structure(name, "attention", groups, tuple(members))


def _gpt2_attention(name: str, module: nn.Module, own: dict[str, nn.Module]) -> Structure:
    """Queries, keys and values of all heads lie side by side in one matrix, each as wide as all heads together."""
    head, width = int(cast("int", module.head_dim)), _width(own["c_proj"], 0)
    into = [
        Member(f"{name}.c_attn.{key}", dim, head, part * width)
        for key, dim in (("weight", 1), ("bias", 0))
        for part in range(3)
    ]
    return Structure(name, "attention", width // head, (*into, Member(f"{name}.c_proj.weight", 0, head)))


def _residual(name: str, own: dict[str, nn.Module]) -> Iterator[Structure]:
    """Channels between two convolutions of a block; what goes in and out of the block is added to, and stays."""
    for first, norm, second in (("conv1", "bn1", "conv2"), ("conv2", "bn2", "conv3")):
        if second in own:
            channels, size = _width(own[first], 0), _units(own[norm], _width(own[first], 0))
            block = channels // size
            members = [
                Member(f"{name}.{first}.weight", 0, block),
                *(Member(f"{name}.{norm}.{key}", 0, block) for key, _ in own[norm].named_parameters(recurse=False)),
                Member(f"{name}.{second}.weight", 1, block),
            ]
            yield Structure(f"{name}.{first}", "block", size, tuple(members))


def _units(norm: nn.Module, channels: int) -> int:
    """Parts of the channels that don't see each other in a norm."""
    return norm.num_groups if isinstance(norm, nn.GroupNorm) else channels


def _tensor(modules: Modules, name: str) -> torch.Tensor:
    layer, _, key = name.rpartition(".")
    return cast("torch.Tensor", getattr(modules[layer], key))


def unit_scores(structure: Structure, modules: Modules, norm: str = "l1") -> torch.Tensor:
    """Norm of all matrix entries of each unit, [size] fp32; biases and norms don't count (they are of another scale)."""
    total = torch.zeros(structure.size)
    for member in structure.members:
        tensor = _tensor(modules, member.name).detach()
        if tensor.ndim > 1:
            entries = tensor.float().movedim(member.dim, 0)[member.span(structure.size)].reshape(structure.size, -1)
            total = total.to(entries.device) + (entries.abs() if norm == "l1" else entries.square()).sum(dim=1)
    return total if norm == "l1" else total.sqrt()


def structure_masks(
    structures: Sequence[Structure], modules: Modules, sparsity: float, norm: str
) -> dict[str, torch.Tensor]:
    """True where a weight or bias stays: round(sparsity * size) units of each structure go, but never all of them."""
    masks: dict[str, torch.Tensor] = {}
    for structure in structures:
        removed = min(structure.size - 1, round(sparsity * structure.size))
        kept = keep_largest(unit_scores(structure, modules, norm), removed)
        _mark(structure, modules, kept, masks)
    return masks


def dead_units(structure: Structure, modules: Modules) -> torch.Tensor:
    """True for units without a single weight, [size]."""
    return unit_scores(structure, modules) == 0


def _mark(structure: Structure, modules: Modules, kept: torch.Tensor, masks: dict[str, torch.Tensor]) -> None:
    for member in structure.members:
        tensor = _tensor(modules, member.name)
        mask = masks.setdefault(member.name, torch.ones_like(tensor, dtype=torch.bool))
        along = kept.repeat_interleave(member.block).view(-1, *[1] * (tensor.ndim - 1))
        mask.movedim(member.dim, 0)[member.span(structure.size)] &= along


def held_masks(layers: Modules, structures: Sequence[Structure], modules: Modules) -> dict[str, torch.Tensor]:
    """True where a weight isn't zero now, and of units without a single weight False for their biases and norms too."""
    masks: dict[str, torch.Tensor] = {}
    for structure in structures:
        _mark(structure, modules, ~dead_units(structure, modules), masks)
    for name in layers:
        weight = _tensor(modules, f"{name}.weight")
        masks[f"{name}.weight"] = weight.detach() != 0
    return masks

"""Attentions of a GPT-2 that have lost heads: what they say of themselves, and the whole ones that others load.

GPT-2's configuration divides the width by the number of heads to get their size, so it can't say that some are gone
(transformers 4 could list them as `pruned_heads`; 5 no longer reads that). Other programs get zeros in the places of the heads
that are gone, which compute the same; the smaller matrices are in compressed.safetensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import torch
from torch import nn

from runtime.compression.sparsity.structures import Structure

__all__ = ["has_fewer_heads", "heads_left", "model_type", "note_removed", "with_all_heads"]

_KEPT: Final = "_recipec_kept_heads"
"""Attribute of an attention that has lost heads: True for each of its former heads that is still there."""


def model_type(model: nn.Module) -> str:
    """What a Hugging Face configuration calls its family; empty for other models."""
    return str(getattr(getattr(model, "config", None), "model_type", ""))


def note_removed(structure: Structure, modules: Mapping[str, nn.Module], stays: torch.Tensor) -> None:
    """Let a GPT-2's attention split what it computes into the heads that stay; others read that off their weights."""
    module = modules[structure.name] if structure.kind == "attention" else None
    if module is None or "split_size" not in module.__dict__:
        return
    before = cast("torch.Tensor | None", module.__dict__.get(_KEPT))
    kept = stays.cpu().clone()
    if before is not None:
        kept = before.clone()
        kept[before] = stays.cpu()
    left = int(kept.sum())
    module.__dict__ |= {_KEPT: kept, "num_heads": left, "split_size": left * int(cast("int", module.head_dim))}


def _attentions(model: nn.Module) -> Mapping[str, nn.Module]:
    return {name: module for name, module in model.named_modules() if _KEPT in module.__dict__}


def has_fewer_heads(model: nn.Module) -> bool:
    """Whether heads are gone that the configuration still counts."""
    return bool(_attentions(model))


def heads_left(model: nn.Module) -> tuple[int, ...]:
    """Heads of each attention that has lost some, in the model's order."""
    return tuple(int(module.__dict__[_KEPT].sum()) for module in _attentions(model).values())


def with_all_heads(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A model's weights with zeros in the places of the heads that are gone, in the shapes that its configuration says.

    Args:
        model: whose attentions know which heads they lost.
        weights: of plain layers, by name.
    """
    found = dict(weights)
    for name, module in _attentions(model).items():
        entries = module.__dict__[_KEPT].repeat_interleave(int(cast("int", module.head_dim)))
        # Queries, keys and values side by side; what comes out of a head is a row of the matrix that reads it.
        for key, dim, places in (
            ("c_attn.weight", 1, entries.repeat(3)),
            ("c_attn.bias", 0, entries.repeat(3)),
            ("c_proj.weight", 0, entries),
        ):
            found[f"{name}.{key}"] = _spread(found[f"{name}.{key}"], dim, places)
    return found


def _spread(tensor: torch.Tensor, dim: int, places: torch.Tensor) -> torch.Tensor:
    """A tensor with what it has at `places` along a dimension, and zeros between."""
    shape = [*tensor.shape]
    shape[dim] = len(places)
    return tensor.new_zeros(shape).index_copy_(dim, places.nonzero().flatten().to(tensor.device), tensor.detach())

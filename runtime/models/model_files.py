"""Files of the model that leaves the run: the smallest form of its weights, and one that everybody can load."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from runtime.compression.factors import factorized, multiplied
from runtime.compression.packed_files import packed_state, quantization_config
from runtime.compression.rounded_layers import plain_model, rounded_layers
from runtime.compression.sparsity.heads import has_fewer_heads, with_all_heads
from runtime.models.folders import COMPRESSED
from schemas.plan import RunPlan

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["write_loadable", "write_smallest"]


def write_smallest(model: nn.Module, folder: Path, plan: RunPlan) -> None:
    """Weights in the smallest form that they have, and config.json.

    Weights that are rounded are packed integers with scales (see packed_files.py): in model.safetensors where transformers
    reads them so, which are models of Linear layers; else, with factors, and without some of a gpt2's heads, in
    compressed.safetensors.
    """
    rounded = bool(rounded_layers(model))
    said = {"quantization_config": quantization_config(model)} if rounded else {}
    if not _stands_alone(model):
        _write_config(model, folder, plan)
        _write_tensors(packed_state(model), folder / COMPRESSED, said)
    elif rounded:
        cast("PreTrainedModel", model).config.quantization_config = said["quantization_config"]
        _write_state(model, packed_state(model), folder, plan)
    else:
        _write_state(model, model.state_dict(), folder, plan)
    _as_readable_as(folder / "config.json", folder)


def write_loadable(model: nn.Module, folder: Path, plan: RunPlan) -> None:
    """What `write_smallest` writes; where others can't read it the same numbers unpacked, multiplied, with zeros for heads."""
    write_smallest(model, folder, plan)
    if not _stands_alone(model):
        plain = plain_model(model)
        whole = with_all_heads(plain, multiplied(plain.state_dict(), dict(factorized(plain))))
        _write_state(plain, whole, folder, plan)
        _as_readable_as(folder / "config.json", folder)


def _stands_alone(model: nn.Module) -> bool:
    """Whether others load the smallest form: compressed-tensors takes Linear, not GPT-2's Conv1D, nor convolutions."""
    plain = all(layer.kind == "Linear" for layer in rounded_layers(model).values())
    return plain and not any(True for _ in factorized(model)) and not has_fewer_heads(model)


def _write_state(model: nn.Module, state: Mapping[str, torch.Tensor], folder: Path, plan: RunPlan) -> None:
    if plan.is_classifier:
        _write_config(model, folder, plan)
        _write_tensors(state, folder / "model.safetensors", {})
    else:
        cast("PreTrainedModel", model).save_pretrained(
            folder, state_dict=dict(state), max_shard_size=plan.checkpoints.max_shard_bytes
        )


def _write_config(model: nn.Module, folder: Path, plan: RunPlan) -> None:
    if plan.is_classifier:
        text = json.dumps(plan.model.model_dump(mode="json"), indent=2) + "\n"
        (folder / "config.json").write_text(text, encoding="utf-8")
    else:
        cast("PreTrainedModel", model).config.save_pretrained(folder)


def _write_tensors(state: Mapping[str, torch.Tensor], path: Path, said: Mapping[str, Any]) -> None:
    """Safetensors with JSON in its metadata; of tensors that are one (tied embeddings) the first name stays."""
    from safetensors.torch import save_file

    first: dict[int, str] = {}
    for name, tensor in state.items():
        first.setdefault(tensor.data_ptr(), name)
    once = {name: tensor.contiguous() for name, tensor in state.items() if first[tensor.data_ptr()] == name}
    # One entry at most: safetensors writes several in an order of chance, and equal models are to be equal files.
    save_file(once, path, {key: json.dumps(value) for key, value in said.items()} or {"format": "pt"})


def _as_readable_as(example: Path, folder: Path) -> None:
    """Safetensors writes for the owner alone; whoever may read the configuration may read the weights."""
    for weights in folder.glob("*.safetensors"):
        weights.chmod(example.stat().st_mode)

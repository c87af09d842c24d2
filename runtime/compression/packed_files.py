"""Files of quantised models in the layout of compressed-tensors, which transformers and vLLM read.

Of each rounded layer:
    <layer>.weight_packed   int32 [outputs, ceil(inputs / n)]: n = 8 of 4 bits or 4 of 8, the first lowest, each plus 8 or 128
    <layer>.weight_shape    int64 [2]: outputs, inputs
    <layer>.weight_scale    [1], [outputs, 1] or [outputs, groups], in the number format of the other weights
and where inputs are rounded too, and a weight takes 8 bits anyway:
    <layer>.weight          int8 [outputs, inputs] instead of the first two
A weight is (integer x scale of its block). All other tensors are as in the plain model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from runtime.compression.rounded_layers import RoundedLayer, rounded_layers
from runtime.compression.rounding import Rounding

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["load_packed", "pack", "packed_state", "quantization_config", "unpack", "unpacked_state"]


def pack(q: torch.Tensor, bits: int) -> torch.Tensor:
    """Integers [outputs, inputs] of 4 or 8 bits, side by side in int32 [outputs, ceil(inputs / (32 / bits))]."""
    each = 32 // bits
    unsigned = q.to(torch.int64) + (1 << (bits - 1))
    padded = nn.functional.pad(unsigned, (0, -q.shape[1] % each)).view(len(q), -1, each)
    # In 64 bits, since the highest of 32 is a sign.
    packed = (padded << (torch.arange(each) * bits)).sum(dim=2)
    return torch.where(packed >= 1 << 31, packed - (1 << 32), packed).to(torch.int32)


def unpack(packed: torch.Tensor, bits: int, inputs: int) -> torch.Tensor:
    """What `pack` was given, as int8."""
    each = 32 // bits
    parts = (packed.unsqueeze(2) >> (torch.arange(each, dtype=torch.int32) * bits)) & ((1 << bits) - 1)
    return (parts.flatten(1)[:, :inputs] - (1 << (bits - 1))).to(torch.int8)


def packed_state(model: nn.Module) -> dict[str, torch.Tensor]:
    """All tensors of a model that is shipped, under the names above."""
    layers = rounded_layers(model)
    own = {f"{name}.{part}" for name in layers for part in ("quantized", "scale")}
    state = {name: tensor for name, tensor in model.state_dict().items() if name not in own}
    for name, layer in layers.items():
        state |= {f"{name}.{part}": tensor for part, tensor in _packed_layer(layer).items()}
    return state


def unpacked_state(state: Mapping[str, torch.Tensor], bits: int) -> dict[str, torch.Tensor]:
    """The plain weights of `packed_state`, in the format of their scales."""
    found = dict(state)
    for name in [name for name in state if name.endswith(".weight_scale")]:
        layer = name.removesuffix(".weight_scale")
        scale, plain = found.pop(name), found.pop(f"{layer}.weight", None)
        if plain is None:
            inputs = int(found.pop(f"{layer}.weight_shape")[1])
            plain = unpack(found.pop(f"{layer}.weight_packed"), bits, inputs)
        blocks = plain.view(*scale.shape, -1) if scale.ndim > 1 else plain
        found[f"{layer}.weight"] = (blocks.to(scale.dtype) * scale.unsqueeze(-1)).view(plain.shape)
    return found


def load_packed(folder: Path) -> PreTrainedModel | None:
    """The plain model of a folder with rounded weights in model.safetensors, in fp32; None if the folder has none.

    transformers would load it as a quantised one, which can't be trained on nor moved to another number format. Rounding
    of inputs is left behind: it belongs to serving.

    Raises:
        ValueError: it is quantised otherwise than here.
    """
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    said = getattr(config, "quantization_config", None)
    if said is None:
        return None
    weights = said.get("config_groups", {}).get("group_0", {}).get("weights") if isinstance(said, dict) else None
    if weights is None or weights.get("type") != "int" or not weights.get("symmetric"):
        raise ValueError("its weights are quantised otherwise than in integers with one scale a block")
    state: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        state |= load_file(path)
    del config.quantization_config
    model = cast("nn.Module", AutoModelForCausalLM.from_config(config)).float()
    missing = model.load_state_dict(unpacked_state(state, weights["num_bits"]), strict=False).missing_keys
    if lost := [name for name in missing if not (config.tie_word_embeddings and name == "lm_head.weight")]:
        raise ValueError(f"its files lack {len(lost)} of the weights that config.json asks for: {lost[0]}")
    return cast("PreTrainedModel", model)


def _packed_layer(layer: RoundedLayer) -> dict[str, torch.Tensor]:
    scale = {"weight_scale": layer.scale.contiguous()}
    if _is_plain(layer.rounding):
        return {"weight": layer.quantized, **scale}
    packed = pack(layer.quantized, layer.rounding.grid.bits)
    return {"weight_packed": packed, "weight_shape": torch.tensor(layer.quantized.shape), **scale}


def _is_plain(rounding: Rounding) -> bool:
    """Whether integers are stored one a byte: what kernels for int8 inputs read."""
    return rounding.activations and rounding.grid.bits == 8


def quantization_config(model: nn.Module) -> dict[str, Any]:
    """The entry `quantization_config` of config.json."""
    layers = rounded_layers(model)
    rounding = next(iter(layers.values())).rounding
    kept = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    form = "int-quantized" if _is_plain(rounding) else "pack-quantized"
    scheme = {
        "targets": ["Linear"],
        "weights": _arguments(rounding.grid.bits, rounding.granularity, group_size=rounding.group_size, dynamic=False),
        "input_activations": _arguments(8, "token", group_size=None, dynamic=True) if rounding.activations else None,
        "output_activations": None,
        "format": form,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": form,
        "quantization_status": "compressed",
        "config_groups": {"group_0": scheme},
        "ignore": kept,
        "kv_cache_scheme": None,
        "global_compression_ratio": None,
    }


def _arguments(bits: int, strategy: str, *, group_size: int | None, dynamic: bool) -> Mapping[str, Any]:
    return {
        "num_bits": bits,
        "type": "int",
        "strategy": strategy,
        "group_size": group_size,
        "symmetric": True,
        "dynamic": dynamic,
    }

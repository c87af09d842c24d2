"""Low-rank adapters by peft: h = W0 x + s B A x with W0 frozen (Hu et al. 2021), over weights in nf4 too (QLoRA).

Adapters are added before the optimizer is built, which then sees nothing else, and are merged into plain layers after the
last step. A checkpoint holds the adapters alone: frozen weights come from the plan's start, whose content the lock pins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import nn

from runtime import checkpoint
from runtime.errors import RunFailed
from runtime.layout import Layout
from runtime.lineage import untrained
from runtime.loggers import quiet
from schemas.plan import RunPlan
from schemas.techniques.lora import LoraAlgorithm

if TYPE_CHECKING:
    from peft import LoraConfig

__all__ = ["adapter_config", "adapter_weights", "build", "export", "finish", "prepare", "scaling"]

_NAME: Final = "default"
"""Peft's name of an adapter that has none."""
_OUTPUT: Final = "lm_head"
_FORMATS: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp8": torch.bfloat16}

Weights = Mapping[str, torch.Tensor]


def scaling(spec: LoraAlgorithm) -> float:
    """Factor of the update: alpha / r, or alpha / sqrt(r) where it is rank-stabilised (Kalajdzievski 2023)."""
    return spec.alpha / (math.sqrt(spec.rank) if spec.rank_stabilized else spec.rank)


def adapter_config(spec: LoraAlgorithm, plan: RunPlan) -> LoraConfig:
    """Peft's configuration with every number said: its own defaults are alpha 8 and some of the layers."""
    with quiet():
        from peft import LoraConfig

    start = plan.start
    return LoraConfig(
        r=spec.rank,
        lora_alpha=cast("int", int(spec.alpha) if spec.alpha == int(spec.alpha) else spec.alpha),
        lora_dropout=spec.dropout,
        target_modules=list(spec.targets),
        use_rslora=spec.rank_stabilized,
        bias="none",
        # GPT-2's Conv1D keeps its weights as [inputs, outputs].
        fan_in_fan_out=plan.decoder.family == "gpt2",
        task_type="CAUSAL_LM",
        base_model_name_or_path=(start.hub or start.folder) if start else None,
        revision=start.revision if start else None,
        inference_mode=False,
    )


def prepare(spec: LoraAlgorithm, model: nn.Module, plan: RunPlan, weights: Weights | None = None) -> None:
    """Freeze all weights, round those of the blocks' layers if the plan says so, and add adapters; B is zero.

    The first output is the base's to the last bit. A is drawn from the plan's seed alone; adapters are in fp32.

    Raises:
        RunFailed: weights in nf4 need a package that isn't there (RC607).
    """
    with quiet():
        from peft import inject_adapter_in_model

    if spec.base == "nf4":
        _round_layers(model, _FORMATS[plan.precision.compute])
    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(plan.seed)
        inject_adapter_in_model(adapter_config(spec, plan), model, adapter_name=_NAME)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(_is_adapter(name))


def finish(spec: LoraAlgorithm, model: nn.Module, plan: RunPlan) -> nn.Module:
    """Plain layers with the updates merged; rounded weights become fp32 again first, so that nothing is rounded twice."""
    with quiet():
        from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            base = _plain(cast("nn.Module", module.get_base_layer()))
            with torch.no_grad():
                delta = module.get_delta_weight(_NAME).to(base.weight)
                cast("nn.Parameter", base.weight).add_(delta)
            _replace(model, name, base)
    for name, module in list(model.named_modules()):
        if (plain := _plain(module)) is not module:
            _replace(model, name, plain)
    if hasattr(model, "peft_config"):
        del model.peft_config
    return model.requires_grad_(True)


def build(spec: LoraAlgorithm, plan: RunPlan, layout: Layout) -> None:
    """Nothing acts during training: the optimizer has the adapters, and nothing else has gradients."""


def adapter_weights(weights: Weights) -> dict[str, torch.Tensor]:
    """The adapters among a model's weights, by the names that peft's own files give them."""
    return {
        f"base_model.model.{name.replace(f'.{_NAME}.', '.')}": weight.contiguous()
        for name, weight in weights.items()
        if _is_adapter(name)
    }


def export(spec: LoraAlgorithm, plan: RunPlan, layout: Layout, folder: Path) -> None:
    """Write `adapter/` into an exported model's folder: what `peft.PeftModel.from_pretrained` adds to the base.

    Raises:
        RunFailed: there is no checkpoint (RC606).
    """
    from safetensors.torch import save_file

    found = checkpoint.latest(layout.checkpoints, plan)
    if found is None:
        raise untrained(plan, layout)
    weights = {name.removeprefix("model."): value for name, value in checkpoint.final_weights(found).items()}
    target = folder / "adapter"
    config = adapter_config(spec, plan)
    config.inference_mode = True
    # Peft keeps a set, whose order differs from process to process; the file is the same each time.
    config.target_modules = sorted(spec.targets)
    config.save_pretrained(str(target))
    path = target / "adapter_model.safetensors"
    save_file(adapter_weights(weights), path, metadata={"format": "pt"})
    # safetensors writes for the owner alone.
    path.chmod((target / "adapter_config.json").stat().st_mode)


def _is_adapter(name: str) -> bool:
    return ".lora_A." in name or ".lora_B." in name


def _round_layers(model: nn.Module, compute: torch.dtype) -> None:
    """Linear layers of the blocks in nf4 with rounded scales (Dettmers et al. 2023), on the CPU: the same on all machines."""
    bitsandbytes = _bitsandbytes()
    for name, module in list(model.named_modules()):
        if type(module) is not nn.Linear or _OUTPUT in name.split("."):
            continue
        rounded = bitsandbytes.nn.Linear4bit(
            module.in_features, module.out_features, bias=module.bias is not None, compute_dtype=compute,
            compress_statistics=True, quant_type="nf4", device="meta",
        )  # fmt: skip
        rounded.weight = bitsandbytes.nn.Params4bit(
            module.weight.detach().contiguous(), requires_grad=False, quant_type="nf4", compress_statistics=True
        )
        rounded.bias = module.bias
        # Its kernels for newer CPUs round the scales once more, in place, the first time that a model is evaluated.
        rounded.support_avx512bf16_for_cpu = False
        _replace(model, name, rounded.to("cpu"))


def _plain(module: nn.Module) -> nn.Module:
    """A layer in nf4 as the Linear layer of its values in fp32; any other as it is."""
    if type(module).__name__ != "Linear4bit":
        return module
    weight = cast("Any", module.weight)
    values = _bitsandbytes().functional.dequantize_4bit(weight.data, weight.quant_state).float()
    outputs, inputs = values.shape
    plain = nn.Linear(inputs, outputs, bias=False, device="meta")
    plain.weight = nn.Parameter(values)
    plain.bias = cast("nn.Parameter", module.bias)
    return plain


def _bitsandbytes() -> Any:
    try:
        with quiet():
            import bitsandbytes
    except ImportError as error:
        message = "weights in nf4 (`training.adapter.base`) need the package bitsandbytes, and it is not installed"
        raise RunFailed("RC607", message, "install recipec with its extra `qlora`, or set `base: full`") from error
    return bitsandbytes


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)

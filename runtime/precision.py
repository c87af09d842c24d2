"""The plan's number formats: as Composer and FSDP name them, and as changes of the model that they need."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import RunFailed
from schemas.plan import PrecisionPlan, RunPlan

if TYPE_CHECKING:
    import torch
    from composer.core import Callback
    from composer.devices import Device

__all__ = [
    "composer_device",
    "composer_precision",
    "convert_model",
    "device_kind",
    "fsdp_mixed_precision",
    "loss_scaling",
    "measuring_device",
    "takes_fp8",
]

# torchao's fp8 is a change of the layers; what stays is in bf16. Composer's own amp_fp8 needs TransformerEngine.
_COMPOSER: Final = {"fp32": "fp32", "bf16": "amp_bf16", "fp16": "amp_fp16", "fp8": "amp_bf16"}
_TILE: Final = 16
_OUTPUT: Final = "lm_head"


def device_kind(plan: RunPlan) -> str:
    """Composer's name of the device to train on: a plan for CPUs trains on the CPU, also where there is a GPU."""
    import torch

    return "gpu" if plan.hardware.gpu != "cpu" and torch.cuda.is_available() else "cpu"


def composer_device(plan: RunPlan) -> str | Device:
    """What to give Composer's Trainer as `device`.

    Composer's default lets GPUs since Ampere round the inputs of fp32 products to the 11 bits of TF32: neither the format nor
    the peak that the plan says.
    """
    if device_kind(plan) != "gpu":
        return "cpu"
    from composer.devices import DeviceGPU

    gpu: Device = DeviceGPU(allow_tf32=False)
    return gpu


def measuring_device(plan: RunPlan) -> torch.device:
    """Where a model is measured after training, with the kernels of the training, though it may be another process."""
    import torch

    if device_kind(plan) != "gpu":
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = plan.training.deterministic
    return torch.device("cuda")


def composer_precision(precision: PrecisionPlan, *, on_gpu: bool) -> str:
    """Composer's name of the plan's compute format: matrix products are cast (autocast), whatever weights are kept in.

    Raises:
        RunFailed: a CPU computes in fp32 only, and older GPUs not in fp8 (RC503).
    """
    if not on_gpu and precision.compute != "fp32":
        raise RunFailed(
            "RC503",
            f"the plan computes in {precision.compute}, and torch sees no GPU to do so; on a CPU Composer trains in fp32",
            "run it where torch sees a GPU (`recipec doctor`), or set `precision: fp32` in the recipe",
        )
    if precision.compute == "fp8":
        _check_fp8()
    return _COMPOSER[precision.compute]


def _check_fp8() -> None:
    """Products in fp8 came with Ada and Hopper (compute capability 8.9), and with AMD's MI300."""
    import torch

    if torch.version.hip is None and torch.cuda.get_device_capability() < (8, 9):
        name = torch.cuda.get_device_name()
        message = f"the plan computes in fp8, and {name} has no products in it"
        raise RunFailed("RC503", message, "run it on the GPU of the plan, or set `precision: bf16` in the recipe")


def fsdp_mixed_precision(precision: PrecisionPlan) -> dict[str, str | None]:
    """FSDP's formats: weights are gathered in 16 bits (in fp32 where products are) and gradients summed in `reduce`.

    Buffers stay in fp32: in bf16 a rotary frequency is off by up to 0.2 %, which is 14 radians at position 8,192.
    """
    low = {"bf16": "bf16", "fp16": "fp16", "fp8": "bf16"}.get(precision.compute)
    return {"param_dtype": low, "buffer_dtype": "fp32", "reduce_dtype": precision.reduce}


def convert_model(model: torch.nn.Module, precision: PrecisionPlan, *, emulate: bool = False) -> None:
    """Change a model, in place, to the formats that autocast alone doesn't give; before the optimizer is built.

    Args:
        model: in fp32, on the CPU.
        precision: the plan's formats.
        emulate: compute fp8's rounding in fp32, on any device: for tests of its numbers.
    """
    if precision.norms == "low":
        _lower_norms(model)
    if precision.compute == "fp8":
        _to_fp8(model, emulate=emulate)
    if precision.param == "bf16":
        _keep_in_bf16(model)


def takes_fp8(module: torch.nn.Module, name: str) -> bool:
    """Whether a layer's products are in fp8: linear, of sizes in 16s, and not the output layer.

    Logits are the sum of all that was rounded before, and their softmax sees differences: torchao's own recipes leave them.
    """
    from torch import nn

    if not isinstance(module, nn.Linear) or _OUTPUT in name.split("."):
        return False
    return module.in_features % _TILE == 0 and module.out_features % _TILE == 0


def _to_fp8(model: torch.nn.Module, *, emulate: bool) -> None:
    """Torchao's Float8Linear: inputs, weights and gradients are scaled by their largest value each time (Micikevicius 2022)."""
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    if not any(takes_fp8(module, name) for name, module in model.named_modules()):
        raise RunFailed("RC503", "no layer of the model has a form and sizes that fp8 takes", "set `precision: bf16`")
    convert_to_float8_training(model, module_filter_fn=takes_fp8, config=Float8LinearConfig(emulate=emulate))


def _lower_norms(model: torch.nn.Module) -> None:
    """Composer's norms, which compute in autocast's format; they hold the weights that they replace.

    Raises:
        RunFailed: the model has none that this is made for (RC503).
    """
    from composer.algorithms.low_precision_groupnorm.low_precision_groupnorm import LPGroupNorm, _to_LPGroupNorm
    from composer.algorithms.low_precision_layernorm.low_precision_layernorm import LPLayerNorm, _to_LPLayerNorm
    from composer.utils import module_surgery
    from torch import nn

    kinds: dict[type[nn.Module], Any] = {nn.LayerNorm: _to_LPLayerNorm, nn.GroupNorm: _to_LPGroupNorm}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # there is no optimizer yet
        module_surgery.replace_module_classes(module=model, policies=kinds)
    if not any(isinstance(module, LPLayerNorm | LPGroupNorm) for module in model.modules()):
        raise RunFailed("RC503", "the model has no LayerNorm or GroupNorm to lower", "set `precision.norms: full`")


def _keep_in_bf16(model: torch.nn.Module) -> None:
    """All weights in bf16; beside frozen ones, those that train stay in fp32, since they are few. Buffers stay as they are."""
    import torch

    parameters = list(model.parameters())
    adapted = any(not parameter.requires_grad for parameter in parameters)
    for parameter in parameters:
        if parameter.is_floating_point() and not (adapted and parameter.requires_grad):
            parameter.data = parameter.data.to(torch.bfloat16)


def loss_scaling(precision: PrecisionPlan) -> list[Callback]:
    """Sets the scale of the loss where the plan has one; Composer unscales gradients before anything clips them."""
    if precision.loss_scale is None:
        return []
    from runtime.callbacks.loss_scale import LossScale

    return [LossScale(precision.loss_scale)]

"""The plan's number formats as Composer and FSDP name them."""

from __future__ import annotations

from runtime.errors import RunFailed
from schemas.plan import PrecisionPlan, RunPlan

__all__ = ["composer_precision", "device_kind", "fsdp_mixed_precision"]

_COMPOSER = {"fp32": "fp32", "bf16": "amp_bf16", "fp16": "amp_fp16", "fp8": "amp_fp8"}


def device_kind(plan: RunPlan) -> str:
    """Composer's name of the device to train on: a plan for CPUs trains on the CPU, also where there is a GPU."""
    import torch

    return "gpu" if plan.hardware.gpu != "cpu" and torch.cuda.is_available() else "cpu"


def composer_precision(precision: PrecisionPlan, *, on_gpu: bool) -> str:
    """Composer's name of the plan's compute format; parameters stay in fp32, matrix products are cast (autocast).

    Raises:
        RunFailed: a CPU computes in fp32 only (RC503).
    """
    if not on_gpu and precision.compute != "fp32":
        raise RunFailed(
            "RC503",
            f"the plan computes in {precision.compute}, and torch sees no GPU to do so; on a CPU Composer trains in fp32",
            "run it where torch sees a GPU (`recipec doctor`), or set `precision: fp32` in the recipe",
        )
    return _COMPOSER[precision.compute]


def fsdp_mixed_precision(precision: PrecisionPlan) -> dict[str, str | None]:
    """FSDP's formats: weights are gathered in 16 bits (in fp32 where products are) and gradients summed in `reduce`.

    Buffers stay in fp32: in bf16 a rotary frequency is off by up to 0.2 %, which is 14 radians at position 8,192.
    """
    low = {"bf16": "bf16", "fp16": "fp16"}.get(precision.compute)
    return {"param_dtype": low, "buffer_dtype": "fp32", "reduce_dtype": precision.reduce}

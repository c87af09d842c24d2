"""Tokens per second from a share of the device's peak, with the interval that the class of hardware has earned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["Speed", "speed"]

# Share of the dense bf16 peak that model FLOPs reach in published FSDP runs with Composer (llm-foundry's benchmark tables,
# 1B to 70B parameters: A100 0.50-0.64, H100 0.41-0.46); fp8 against the fp8 peak; consumer cards as A100, less certain.
_MFU: Final = {"v100": 0.35, "a100": 0.55, "h100": 0.42, "h200": 0.42, "b200": 0.38}
_MFU_OTHER: Final = 0.40
_MFU_CPU: Final = 0.50
# Recomputing the forward pass costs a third of forward and backward together.
_CHECKPOINTING: Final = 0.75
# Small matrices leave the device idle: full speed from a width of about 2048 (llm-foundry: 125M reaches 0.6 of 7B's MFU).
_FULL_WIDTH: Final = 2048
_SMALL_WIDTH_EXPONENT: Final = 0.25


@dataclass(frozen=True)
class Speed:
    """Tokens per second and device, with low and high bounds, and where it comes from."""

    mfu: float
    tokens_per_second: float
    low: float
    high: float
    method: str


def speed(
    gpu: str,
    peak_flops: float,
    flops_per_token: float,
    hidden_size: int,
    *,
    checkpointing: bool,
    measured_mfu: float | None,
) -> Speed:
    """Speed of one device.

    Args:
        gpu: name of the catalogue.
        peak_flops: dense peak of the compute format, FLOP/s.
        flops_per_token: model FLOPs of one trained token.
        hidden_size: width; narrow models leave a GPU idle.
        checkpointing: activations are recomputed.
        measured_mfu: the user's own figure; believed to within 10 %.
    """
    if measured_mfu is not None:
        mfu, spread, method = measured_mfu, 1.1, "hardware.mfu of the recipe"
    elif gpu == "cpu":
        mfu, spread, method = (
            _MFU_CPU,
            3.0,
            "order of magnitude for 2 to 4 cores; set hardware.mfu to what a run reports",
        )
    else:
        narrow = min(1.0, hidden_size / _FULL_WIDTH) ** _SMALL_WIDTH_EXPONENT
        mfu = _MFU.get(gpu.split("-", maxsplit=1)[0], _MFU_OTHER) * narrow * (_CHECKPOINTING if checkpointing else 1.0)
        spread, method = 1.3, "MFU of published Composer FSDP runs on this kind of device"
    tokens = mfu * peak_flops / flops_per_token
    return Speed(mfu, tokens, tokens / spread, tokens * spread, method)

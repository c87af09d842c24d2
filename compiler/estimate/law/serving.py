"""What it costs to serve a model beside training it: dollars per FLOP, and served tokens in units of training.

Sardana et al. 2024 (arXiv 2401.00448), section 3: with C the price of a FLOP at peak and U the share of the peak that is
reached, dollars = 6 N D C_tr/U_tr + 2 N T_in C_inf/U_in + 2 N T_out C_inf/U_out. Dividing by C_tr/U_tr leaves the FLOPs
objective with T replaced by K = (C_inf U_tr / C_tr) (T_in/U_in + T_out/U_out).
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.catalogue import Device
from schemas.budget import ServingFormat

__all__ = ["Rates", "peak_of", "usd_per_flop"]

# Turing and later multiply int8 at twice the rate of bf16; these are older, of another make, or no GPU at all.
_NO_INT8 = ("cpu", "v100", "mi250")


def usd_per_flop(usd_per_hour: float, peak_flops: float, utilization: float = 1.0) -> float:
    """Dollars per FLOP of a device that reaches a share of its peak (FLOP/s)."""
    return usd_per_hour / (3600.0 * peak_flops * utilization)


def peak_of(device: Device, precision: ServingFormat) -> float | None:
    """Dense peak in FLOP/s of a number format, or None if the device can't compute in it."""
    if precision != "int8":
        return device.peak_flops.get(precision)
    if device.name.startswith(_NO_INT8):
        return None
    half = device.peak_flops.get("bf16", device.peak_flops.get("fp16"))
    return device.peak_flops.get("fp8", 2 * half if half is not None else None)


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices of the two sides of a model's life.

    Args:
        training_usd_per_flop: of a training FLOP as 6 N D counts them, utilization included.
        serving_usd_per_flop: of a serving FLOP at peak.
        mfu_prefill, mfu_decode: share of the peak while reading and while writing.
        input_tokens, output_tokens: read and written over the model's life.
    """

    training_usd_per_flop: float
    serving_usd_per_flop: float
    mfu_prefill: float
    mfu_decode: float
    input_tokens: float
    output_tokens: float

    @property
    def served_per_flop(self) -> float:
        """T_in/U_in + T_out/U_out: tokens that would cost as much at full peak."""
        return self.input_tokens / self.mfu_prefill + self.output_tokens / self.mfu_decode

    @property
    def effective_tokens(self) -> float:
        """K: served tokens in units of training; infinite where training is free and serving is not."""
        if self.serving_usd_per_flop == 0 or self.served_per_flop == 0:
            return 0.0
        if self.training_usd_per_flop == 0:
            return float("inf")
        return self.serving_usd_per_flop / self.training_usd_per_flop * self.served_per_flop

    def training_usd(self, parameters: float, tokens: float) -> float:
        """Dollars of 6 N D."""
        return 6.0 * parameters * tokens * self.training_usd_per_flop

    def inference_usd(self, parameters: float) -> float:
        """Dollars of all requests over the model's life."""
        return 2.0 * parameters * self.serving_usd_per_flop * self.served_per_flop

    def lifetime_usd(self, parameters: float, tokens: float) -> float:
        """Dollars of training and inference."""
        return self.training_usd(parameters, tokens) + self.inference_usd(parameters)

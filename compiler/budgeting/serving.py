"""What serves the model over its life, and the prices of both sides: dollars per FLOP of training and of inference."""

from __future__ import annotations

from compiler.catalogue import Device, devices
from compiler.draft import Draft
from compiler.estimate.law.serving import Rates, peak_of, usd_per_flop
from compiler.frontend.suggest import closest
from schemas.budget import Inference, ServingFormat
from schemas.plan import ServingPlan

__all__ = ["rates", "serving"]

_FORMATS: tuple[ServingFormat, ...] = ("fp8", "int8", "bf16", "fp16", "fp4", "fp32")


def serving(draft: Draft) -> tuple[Draft, ServingPlan | None]:
    """The serving side of the budget's demand; None without one. After an error the training device serves."""
    said = draft.recipe.budget.inference
    if said is None:
        return draft, None
    draft, device = _device(draft, said)
    draft, precision = _precision(draft, said, device)
    if said.price is not None:
        price = said.price
    elif said.gpu is None:
        price = draft.hardware.usd_per_gpu_hour
    else:
        price = device.price.usd_per_hour if device.price else 0.0
    read, written = said.split_tokens
    return draft, ServingPlan(
        gpu=device.name,
        precision=precision,
        peak_flops=peak_of(device, precision) or draft.hardware.peak_flops,
        usd_per_gpu_hour=price,
        mfu_prefill=said.mfu_prefill,
        mfu_decode=said.mfu_decode,
        input_tokens=read,
        output_tokens=written,
    )


def rates(plan: ServingPlan | None, usd_per_gpu_hour: float, flops_per_s: float) -> Rates:
    """Prices per FLOP.

    Args:
        plan: what serves, if anything is asked of the model.
        usd_per_gpu_hour: of a training device.
        flops_per_s: 6 N D that a training device gets done in a second.
    """
    training = usd_per_flop(usd_per_gpu_hour, flops_per_s)
    if plan is None:
        return Rates(training, 0.0, 1.0, 1.0, 0.0, 0.0)
    return Rates(
        training,
        usd_per_flop(plan.usd_per_gpu_hour, plan.peak_flops),
        plan.mfu_prefill,
        plan.mfu_decode,
        plan.input_tokens,
        plan.output_tokens,
    )


def _device(draft: Draft, said: Inference) -> tuple[Draft, Device]:
    if said.gpu is None:
        return draft, draft.device
    known = devices().get(said.gpu)
    if known is not None:
        return draft, known
    wanted = said.gpu.lower()
    guess = next((name for name in devices() if name.startswith(wanted)), None) or closest(wanted, devices())
    finding = draft.diagnostic(
        "RC501",
        f"the catalogue has no device `{said.gpu}`",
        "budget", "inference", "gpu",
        help=f"gpu: {guess or 'h100-sxm-80gb'}",
        label=f"did you mean `{guess}`?" if guess else "",
        reason=f"known devices: {', '.join(devices())}",
    )  # fmt: skip
    return draft.find(finding), draft.device


def _precision(draft: Draft, said: Inference, device: Device) -> tuple[Draft, ServingFormat]:
    able = [name for name in _FORMATS if peak_of(device, name) is not None]
    usual = next(name for name in ("fp8", "bf16", "fp16", "fp32") if name in able)
    if said.precision is None or said.precision in able:
        return draft, said.precision or usual
    finding = draft.diagnostic(
        "RC503",
        f"{device.name} can't compute in {said.precision}",
        "budget", "inference", "precision",
        help=f"precision: {usual}",
        reason=f"it has {', '.join(able)}",
    )  # fmt: skip
    return draft.find(finding), usual

"""Number formats that the device has."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.provenance import From, Reason
from schemas.plan import PrecisionPlan
from schemas.training import PrecisionName

__all__ = ["precision"]


def precision(draft: Draft) -> Draft:
    """Fill `precision`: what the recipe says, or bf16, fp16, fp32, whichever the device has first."""
    said = draft.recipe.precision
    device = draft.device
    order: tuple[PrecisionName, ...] = ("bf16", "fp16", "fp32")
    best = next(name for name in order if name in device.peak_flops)
    compute = said.compute or best
    if compute not in device.peak_flops:
        has = ", ".join(device.peak_flops)
        draft = draft.find(
            draft.diagnostic(
                "RC503",
                f"{device.name} can't compute in {compute}",
                "precision",
                "compute",
                help=f"precision: {best}",
                reason=f"it has {has}" + ("; Composer accepts only fp32 on a CPU" if device.is_cpu else ""),
            )
        )
        compute = best
    why = From("precision.compute") if said.compute else Reason(f"the best that {device.name} has")
    section = PrecisionPlan(param="fp32", compute=compute, reduce=said.reduce)
    return draft.fill(
        "precision",
        section,
        {"compute": why, "param": Reason("weights are kept in fp32: bf16 would round small updates away")},
    )

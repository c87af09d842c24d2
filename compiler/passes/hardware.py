"""Devices, their figures and price, from the catalogue or the recipe."""

from __future__ import annotations

from compiler.catalogue import devices
from compiler.draft import Draft
from compiler.frontend.suggest import closest
from compiler.provenance import From, Reason
from schemas.plan import HardwarePlan

__all__ = ["hardware"]


def hardware(draft: Draft) -> Draft:
    """Fill `hardware`. `peak_flops` is the peak of bf16 (fp32 where there is none); precision may choose another one."""
    said = draft.recipe.hardware
    device = devices().get(said.gpu)
    if device is None:
        wanted = said.gpu.lower()
        guess = next((name for name in devices() if name.startswith(wanted)), None) or closest(wanted, devices())
        draft = draft.find(
            draft.diagnostic(
                "RC501",
                f"the catalogue has no device `{said.gpu}`",
                "hardware",
                "gpu",
                help=f"gpu: {guess or 'h100-sxm-80gb'}",
                label=f"did you mean `{guess}`?" if guess else "",
                reason=f"known devices: {', '.join(devices())}",
            )
        )
        device = devices()[guess or "cpu"]
    precision = draft.recipe.precision.compute
    formats = device.peak_flops
    peak = formats.get(precision or "bf16", formats.get("bf16", formats.get("fp16", formats["fp32"])))
    section = HardwarePlan(
        gpu=device.name,
        count=said.count,
        per_node=said.per_node or (device.per_node if not device.is_cpu else said.count),
        memory_bytes=device.memory_bytes,
        peak_flops=peak,
        usd_per_gpu_hour=said.price if said.price is not None else device.price.usd_per_hour if device.price else 0.0,
    )
    if section.count > section.per_node and section.count % section.per_node:
        whole = section.count // section.per_node * section.per_node
        draft = draft.find(
            draft.diagnostic(
                "RC205",
                f"{section.count} devices don't fill machines of {section.per_node}",
                "hardware",
                "count",
                help=f"count: {whole}",
                reason="every machine must run the same number of processes",
            )
        )
    from_catalogue = Reason(f"catalogue: {device.name}")
    return draft.fill(
        "hardware",
        section,
        {
            "per_node": From("hardware.per_node") if said.per_node else from_catalogue,
            "memory_bytes": from_catalogue,
            "peak_flops": from_catalogue,
            "usd_per_gpu_hour": From("hardware.price")
            if said.price is not None
            else Reason(f"catalogue: {device.price.source}" if device.price else "nobody quotes a price"),
        },
    )

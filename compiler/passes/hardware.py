"""Devices, their figures and price, from the catalogue or the recipe."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compiler.catalogue import Device, described, devices, missing_figures
from compiler.draft import Draft
from compiler.frontend.suggest import closest
from compiler.provenance import Because, From, Reason
from schemas.plan import HardwarePlan

__all__ = ["GPU_HOURS_PER_FAILURE", "hardware"]

GPU_HOURS_PER_FAILURE: Final = 50_700.0
"""419 unexpected interruptions in 54 days on 16,384 GPUs (The Llama 3 Herd of Models, 2024, section 3.3.4)."""
_USUAL: Final = "h100-sxm-80gb"
"""Stands in for a device that nothing is known of, so that only what is wrong with the rest of the recipe is said."""


def _device(draft: Draft) -> tuple[Draft, Device]:
    """The device of the recipe; after an error one that is close, to go on with."""
    said = draft.recipe.hardware.gpu
    known = devices().get(said.name)
    missing = missing_figures(said)
    if known is not None or not missing:
        return draft, described(said, known, draft.recipe.hardware.per_node)
    wanted = said.name.lower()
    guess = next((name for name in devices() if name.startswith(wanted)), None) or closest(wanted, devices())
    own = f"{{name: {said.name}, memory: 80GB, bandwidth: 2TB/s, peak: {{bf16: 312TFLOP/s}}}}"
    described_in_part = len(missing) < 3
    finding = draft.diagnostic(
        "RC501",
        f"the catalogue has no device `{said.name}`"
        + (
            f", and the recipe doesn't say its {' and '.join(f'`{key}`' for key in missing)}"
            if described_in_part
            else ""
        ),
        "hardware",
        "gpu",
        *(("name",) if described_in_part else ()),
        help=f"gpu: {own}   # a device of your own"
        if described_in_part or guess is None
        else f"gpu: {guess}   # or your own: {own}",
        label=f"did you mean `{guess}`?" if guess and not described_in_part else "",
        reason=f"known devices: {', '.join(devices())}",
    )
    # What is said of it stays, so that later findings are about this device and not about another.
    usual = devices()[guess or _USUAL]
    if described_in_part:  # said at the name, mended in the whole: a figure that was wrong is not missing, too
        finding = finding.model_copy(update={"path": "hardware.gpu"})
    return draft.find(finding), described(
        said.model_copy(update={"name": usual.name}), usual, draft.recipe.hardware.per_node
    )


def _check_machines(draft: Draft, count: int, per_node: int) -> Draft:
    """A finding where devices leave a machine half used."""
    if count <= per_node or count % per_node == 0:
        return draft
    return draft.find(
        draft.diagnostic(
            "RC205",
            f"{count} devices don't fill machines of {per_node}",
            "hardware",
            "count",
            help=f"count: {count // per_node * per_node}",
            reason="every machine must run the same number of processes",
        )
    )


def _price(draft: Draft, device: Device) -> tuple[tuple[float, float, float], str]:
    """Dollars per device and hour, low and high, and who says so."""
    said = draft.recipe.hardware.price
    if said is not None:
        return (said, said, said), "hardware.price of the recipe"
    if device.price is None:
        return (0.0, 0.0, 0.0), "nobody quotes a price"
    return (device.price.usd_per_hour, device.price.low, device.price.high), device.price.source


def _section(draft: Draft, device: Device) -> HardwarePlan:
    said = draft.recipe.hardware
    precision = draft.recipe.precision.compute
    formats = device.peak_flops
    (usd, low, high), source = _price(draft, device)
    per_node = said.per_node or (said.count if device.is_cpu else device.per_node)
    # Of a machine that is not full, fewer devices can fail.
    hours = said.mtbf / 3600 if said.mtbf is not None else GPU_HOURS_PER_FAILURE / min(per_node, said.count)
    return HardwarePlan(
        gpu=device.name,
        count=said.count,
        per_node=per_node,
        memory_bytes=device.memory_bytes,
        memory_bandwidth=device.memory_bandwidth,
        peak_flops=formats.get(precision or "bf16")
        or next(formats[name] for name in ("bf16", "fp16", "fp32", "fp8") if name in formats),
        link_bandwidth=device.link_bandwidth,
        link_devices=device.link_devices,
        network_bandwidth=device.network_bandwidth,
        tdp_watts=device.tdp_watts,
        usd_per_gpu_hour=usd,
        usd_per_gpu_hour_low=low,
        usd_per_gpu_hour_high=high,
        price_source=source,
        mtbf_hours=hours,
        pue=said.pue,
        co2e_kg_per_kwh=said.grid / 1000,
    )


# Figure of the plan -> key of `hardware.gpu` that may say it.
_FIGURES: Final = {
    "memory_bytes": "memory",
    "memory_bandwidth": "bandwidth",
    "peak_flops": "peak",
    "link_bandwidth": "link",
    "link_devices": "link",
    "tdp_watts": "tdp",
}


def _reasons(draft: Draft, device: Device) -> dict[str, Because]:
    said = draft.recipe.hardware
    known = devices().get(device.name)
    rest = Reason(
        f"catalogue: {device.name}" if known else "not said of this device: PCIe 4, 25 Gb/s, 400 W, machines of 8"
    )
    why: dict[str, Because] = {
        figure: From(f"hardware.gpu.{key}") if key in said.gpu.model_fields_set else rest
        for figure, key in _FIGURES.items()
    }
    price: Because = (
        From("hardware.price")
        if said.price is not None
        else Reason(f"catalogue: {device.price.source}" if device.price else "nobody quotes a price")
    )
    return why | {
        "gpu": From("hardware.gpu.name"),
        "per_node": From("hardware.per_node") if said.per_node else rest,
        "network_bandwidth": From("hardware.network") if said.network else rest,
        **dict.fromkeys(("usd_per_gpu_hour", "usd_per_gpu_hour_low", "usd_per_gpu_hour_high", "price_source"), price),
        "mtbf_hours": From("hardware.mtbf")
        if said.mtbf
        else Reason(
            f"{GPU_HOURS_PER_FAILURE:,.0f} GPU-hours a failure: 419 in 54 days on 16,384 GPUs (Llama 3, section 3.3.4)"
        ),
        "co2e_kg_per_kwh": From("hardware.grid"),
    }


def hardware(draft: Draft) -> Draft:
    """Fill `hardware`, and note the `device` that estimates calculate with."""
    draft, device = _device(draft)
    if draft.recipe.hardware.network is not None:
        device = replace(device, network_bandwidth=draft.recipe.hardware.network)
    section = _section(draft, device)
    device = replace(device, per_node=section.per_node)
    draft = _check_machines(draft, section.count, section.per_node)
    return draft.note("device", device).fill("hardware", section, _reasons(draft, device))

"""Devices that the compiler knows: memory, peaks, links and dated prices, from catalog/devices.csv and catalog/prices.csv."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import Final, Literal, get_args

from schemas.hardware import Gpu
from schemas.training import PrecisionName

__all__ = ["Device", "Price", "described", "devices", "missing_figures"]

PeakFormat = PrecisionName | Literal["fp4"]
_FORMATS: Final[tuple[PeakFormat, ...]] = ("fp32", "bf16", "fp16", "fp8", "fp4")
_FOLDER: Final = Path(__file__).parent / "catalog"


@dataclass(frozen=True, slots=True)
class Price:
    """What one device costs for an hour, and who says so.

    Args:
        usd_per_hour: the figure that plans use: the median of the dated on-demand quotes.
        low, high: cheapest and dearest of all quotes of the device, spot and reserved ones too.
        source: where the figure comes from, with its date.
    """

    usd_per_hour: float
    low: float
    high: float
    source: str


@dataclass(frozen=True, slots=True)
class Device:
    """One row of the catalogue, or a recipe's own device.

    Args:
        name: as a recipe writes it.
        per_node: devices of one machine.
        memory_bytes: of one device (a card sold as 80 GB has 80 GiB).
        memory_bandwidth: bytes per second of its memory.
        peak_flops: dense peak per format in FLOP/s; a format that is missing can't be computed in.
        matmul_flops: best measured rate of large matrix products per format, where somebody measured it.
        link_bandwidth: bytes per second, one direction, to other devices of `link_devices` (NVLink, or PCIe).
        link_devices: devices that the fast link joins; 1 where there is only PCIe.
        network_bandwidth: bytes per second and device between machines, one direction.
        tdp_watts: board power.
        price: None where nobody quotes one.
    """

    name: str
    per_node: int
    memory_bytes: int
    memory_bandwidth: float
    peak_flops: Mapping[PeakFormat, float]
    matmul_flops: Mapping[PeakFormat, float]
    link_bandwidth: float
    link_devices: int
    network_bandwidth: float
    tdp_watts: float
    price: Price | None

    @property
    def is_cpu(self) -> bool:
        """Whether there is no GPU."""
        return self.name == "cpu"


def _device(row: dict[str, str], price: Price | None) -> Device:
    measured: tuple[PeakFormat, ...] = ("bf16", "fp8")
    return Device(
        name=row["name"],
        per_node=int(row["per_node"]),
        memory_bytes=round(float(row["memory_gb"]) * 2**30),
        memory_bandwidth=float(row["memory_bandwidth_gb_s"]) * 1e9,
        peak_flops=_rates(row, "peak", _FORMATS),
        matmul_flops=_rates(row, "matmul", measured),
        link_bandwidth=float(row["link_gb_s"]) * 1e9,
        link_devices=int(row["link_devices"]),
        network_bandwidth=float(row["network_gb_s"]) * 1e9,
        tdp_watts=float(row["tdp_w"]),
        price=price,
    )


def _rates(row: dict[str, str], kind: str, formats: tuple[PeakFormat, ...]) -> Mapping[PeakFormat, float]:
    cells = {f: row[f"{kind}_{f}_tflops"] for f in formats}
    return MappingProxyType({f: float(cell) * 1e12 for f, cell in cells.items() if cell})


def _price(quotes: list[dict[str, str]]) -> Price | None:
    if not quotes:
        return None
    # A spot or reserved quote is taken only where nobody sells the device on demand.
    usual = [q for q in quotes if q["kind"].startswith("on-demand")] or quotes
    figure = median((float(q["usd_low"]) + float(q["usd_high"])) / 2 for q in usual)
    newest = max(q["date"] for q in usual)
    return Price(
        usd_per_hour=round(figure, 3),
        low=min(float(q["usd_low"]) for q in quotes),
        high=max(float(q["usd_high"]) for q in quotes),
        source=f"median of {len(usual)} quotes up to {newest} (compiler/catalog/prices.csv)",
    )


def _rows(name: str) -> list[dict[str, str]]:
    with (_FOLDER / name).open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@functools.cache
def devices() -> Mapping[str, Device]:
    """All devices by name, in the catalogue's order."""
    prices = _rows("prices.csv")
    return MappingProxyType(
        {
            row["name"]: _device(row, _price([q for q in prices if q["device"] == row["name"]]))
            for row in _rows("devices.csv")
        }
    )


# What is assumed of a device of one's own where the recipe doesn't say it: PCIe 4 x16, 25 Gb/s Ethernet, an A100's power.
_OWN: Final = Device("own", 8, 0, 0.0, MappingProxyType({}), MappingProxyType({}), 16e9, 1, 3.125e9, 400.0, None)


def missing_figures(said: Gpu) -> tuple[str, ...]:
    """Keys without which a device that the catalogue doesn't have can't be planned for."""
    has = {"memory": said.memory, "bandwidth": said.bandwidth, "peak": said.peak.model_dump(exclude_none=True)}
    return tuple(key for key, value in has.items() if not value)


def described(said: Gpu, known: Device | None, per_node: int | None = None) -> Device:
    """The catalogue's device with the figures that a recipe says of it, or a device of its own.

    Args:
        said: of the recipe; complete where `known` is None (`missing_figures`).
        known: the catalogue's device of that name.
        per_node: devices of one machine, where the recipe says it.
    """
    base = known or replace(_OWN, name=said.name)
    base = replace(base, per_node=per_node or base.per_node)
    peaks = dict(base.peak_flops)
    for name in get_args(PrecisionName):
        if (rate := getattr(said.peak, name)) is not None:
            peaks[name] = rate
    changes: dict[str, float | int | None] = {
        "memory_bytes": said.memory,
        "memory_bandwidth": said.bandwidth,
        "link_bandwidth": said.link,
        # A link that somebody names joins the machine, unless the catalogue knows better.
        "link_devices": base.per_node if said.link is not None and base.link_devices == 1 else None,
        "tdp_watts": said.tdp,
    }
    return replace(
        base,
        peak_flops=MappingProxyType(peaks),
        # Rates measured on the catalogue's device say nothing of one with another peak.
        matmul_flops=MappingProxyType({f: r for f, r in base.matmul_flops.items() if peaks[f] == base.peak_flops[f]}),
        **{name: value for name, value in changes.items() if value is not None},  # type: ignore[arg-type]  # by name
    )

"""Devices that the compiler knows: memory, peaks and a dated price, from catalog/devices.csv."""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from schemas.training import PrecisionName

__all__ = ["Device", "devices"]


@dataclass(frozen=True)
class Device:
    """One row of the catalogue.

    Args:
        name: as a recipe writes it.
        per_node: devices of one machine.
        memory_bytes: of one device (decimal gigabytes, as sold).
        peak_flops: dense peak per format in FLOP/s; a format that is missing can't be computed in.
        usd_per_hour: price of one device.
        price_source: where the price comes from, with its date.
    """

    name: str
    per_node: int
    memory_bytes: int
    peak_flops: Mapping[PrecisionName, float]
    usd_per_hour: float
    price_source: str

    @property
    def is_cpu(self) -> bool:
        """Whether there is no GPU."""
        return self.name == "cpu"


def _device(row: dict[str, str]) -> Device:
    formats: tuple[PrecisionName, ...] = ("fp32", "bf16", "fp16", "fp8")
    peaks = {f: float(row[f"peak_{f}_tflops"]) * 1e12 for f in formats if row[f"peak_{f}_tflops"]}
    return Device(
        name=row["name"],
        per_node=int(row["per_node"]),
        memory_bytes=round(float(row["memory_gb"]) * 1e9),
        peak_flops=MappingProxyType(peaks),
        usd_per_hour=float(row["usd_per_hour"]),
        price_source=f"{row['price_source']}, {row['price_date']}",
    )


@functools.cache
def devices() -> Mapping[str, Device]:
    """All devices by name, in the catalogue's order."""
    with (Path(__file__).parent / "catalog" / "devices.csv").open(encoding="utf-8", newline="") as handle:
        return MappingProxyType({row["name"]: _device(row) for row in csv.DictReader(handle)})

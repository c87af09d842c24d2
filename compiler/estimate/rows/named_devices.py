"""A device of the catalogue from the name that a table gives it, with the machine around it where the table says so."""

from __future__ import annotations

import functools
import re
from dataclasses import replace
from typing import Final

from compiler.catalogue import Device, devices

__all__ = ["device_of"]

_GIBIBYTES: Final = re.compile(r"(?<![a-z\d])(\d+)\s*g(?:i?b)?\b")
_CHIP: Final = re.compile(
    r"gh200|gb\d00(?!\d)|[abhv]\d00(?!\d)|mi\d{3}x?|gaudi\s?\d|l40s|l4|a10g|(?:rtx\s*)?(?:pro\s*)?(?:[3456]0[5-9]0|a?[56]000)(?:\s*ada)?|cpu"
)
_FORMS: Final = ("pcie", "sxm", "hbm2e")
# The memory of a chip that is sold in several sizes, where one of them is a special edition.
_USUAL_MEMORY: Final = {"h100": 80}
# A chip that is sold in one size is printed as 180, 183 or 192 GB by different sheets; the table's own figure is taken.
_ROUNDING: Final = 0.10
# GPUs of one machine ("8xA100") and its network ("4x100Gb", "1600Gbps/node", "400Gb/s RDMA per GPU").
_PER_NODE: Final = re.compile(r"\b(\d+)x(?=[A-Z]\w*\d{2})")
_CARDS: Final = re.compile(r"\b(\d+)\s*x\s*(\d+)\s*Gb")
_NODE: Final = re.compile(r"\b([\d.]+)\s*([GT])b(?:ps|/s|it/s)?\s*(?:\w+\s*)?(?:/|per )\s*node")
_EACH: Final = re.compile(r"\b(\d+)\s*Gb(?:ps|/s)?\b[^,/]*per GPU")
_BY_CHIP: Final = r"(\d+)\s*Gb\s*\({chip}\)[^,]*per node"


@functools.lru_cache(maxsize=4096)
def device_of(name: str, interconnect: str = "") -> Device | str:
    """The catalogue's device, or why there is none.

    Args:
        name: as a table spells it: `A100-80GB`, `RTX5090`, `H100-96GB-HBM2e-500W`.
        interconnect: words on links and network; GPUs per machine and bytes per second are taken from them.
    """
    catalogue = devices()
    if name.lower() in catalogue:
        return _surrounded(catalogue[name.lower()], name, interconnect)
    chip = _chip(name)
    same = [device for device in catalogue.values() if _chip(device.name) == chip] if chip else []
    if not same:
        return f"{name!r} is not in the catalogue of devices"
    stated = _GIBIBYTES.search(name.lower().replace("-", " "))
    memory = int(stated[1]) if stated else _USUAL_MEMORY.get(chip)
    sizes = {_gibibytes(device) for device in same}
    if memory is not None and len(same) == 1 and abs(memory / min(sizes) - 1) <= _ROUNDING:
        same = [replace(same[0], memory_bytes=memory * 2**30)]
        sizes = {memory}
    if memory is None and len(sizes) > 1:
        return f"{name!r} exists with {', '.join(map(str, sorted(sizes)))} GB"
    if memory is not None and memory not in sizes:
        return f"{name!r}: the catalogue has this device with {', '.join(map(str, sorted(sizes)))} GB"
    fitting = [device for device in same if memory is None or _gibibytes(device) == memory]
    wanted = [form for form in _FORMS if form in name.lower()] or ["sxm"]
    best = max(fitting, key=lambda device: sum(form in device.name for form in wanted))
    if "pcie" in wanted and "pcie" not in best.name and "sxm" in best.name:
        return f"{name!r}: the catalogue has this device as {best.name} only"
    return _surrounded(best, name, interconnect)


def _gibibytes(device: Device) -> int:
    return round(device.memory_bytes / 2**30)


def _number(text: str) -> float:
    """Digits as a number; 0 where points make none of them."""
    return float(text) if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text) else 0.0


def _chip(name: str) -> str:
    """The chip alone, in one spelling: `A6000Ada-48GB` and `rtx-6000-ada-48gb` are both `6000ada`."""
    found = _CHIP.search(name.lower().replace("-", " "))
    if not found:
        return ""
    plain = re.sub(r"\s|rtx|pro", "", found[0])
    if re.fullmatch(r"a[56]000ada", plain):
        return plain[1:]
    return plain


def _surrounded(device: Device, name: str, interconnect: str) -> Device:
    per_node, links = device.per_node, device.link_devices
    if (found := _PER_NODE.search(interconnect)) and 1 <= int(found[1]) <= 72:
        per_node = int(found[1])
        links = min(links, per_node)
    gigabits = 0.0
    by_chip = re.search(_BY_CHIP.format(chip=re.escape(name.split("-", maxsplit=1)[0])), interconnect)
    if by_chip:
        gigabits = int(by_chip[1]) / per_node
    elif found := _EACH.search(interconnect):
        gigabits = float(found[1])
    elif found := _CARDS.search(interconnect):
        gigabits = int(found[1]) * int(found[2]) / per_node
    elif found := _NODE.search(interconnect):
        gigabits = _number(found[1]) * (1000 if found[2] == "T" else 1) / per_node
    network = gigabits * 1e9 / 8 or device.network_bandwidth
    return replace(device, per_node=per_node, link_devices=links, network_bandwidth=network)

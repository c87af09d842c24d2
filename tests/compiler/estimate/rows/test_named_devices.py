"""Devices by the names of many tables, and the network around them."""

from __future__ import annotations

import pytest

from compiler.estimate.rows.named_devices import device_of


@pytest.mark.parametrize(
    ("name", "device", "gibibytes"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm-80gb", 80),
        ("NVIDIA H200", "h200-sxm-141gb", 141),
        ("A100-80G", "a100-sxm-80gb", 80),
        ("a100_40g", "a100-sxm-40gb", 40),
        ("B200-192GB", "b200-sxm-180gb", 192),
        ("B300-270GB", "b300-sxm-288gb", 270),
        ("GB200-192GB", "gb200-186gb", 192),
        ("GB300 NVL72", "gb300-288gb", 288),
        ("A10G", "a10g-24gb", 24),
        ("A10G-24GB", "a10g-24gb", 24),
        ("GeForce RTX 4090", "rtx-4090-24gb", 24),
        ("Gaudi 2", "gaudi2-96gb", 96),
    ],
)
def test_names(name: str, device: str, gibibytes: int) -> None:
    """Sheets print one chip's memory as 180, 183 or 192 GB: the table's own figure holds."""
    found = device_of(name)

    assert not isinstance(found, str)
    assert (found.name, found.memory_bytes) == (device, gibibytes * 2**30)


@pytest.mark.parametrize("name", ["GH200-96GB", "GH200", "TPU v5e", "T4", "H100-64GB", "A100-PCIE-40GB", "L40-48GB"])
def test_another_device_is_not_taken_for_a_known_one(name: str) -> None:
    """A Grace Hopper is no H200."""
    assert isinstance(device_of(name), str)


@pytest.mark.parametrize(
    ("words", "gigabits"),
    [
        ("1.6Tb/s per node", 200),
        ("0.8Tbps/node", 100),
        ("3200Gbps EFA/node", 400),
        ("8x400Gb IB", 400),
        ("1..2Tb/s per node", 200),
        ("single node", 200),
    ],
)
def test_networks(words: str, gigabits: float) -> None:
    """Bytes per second and device; the catalogue's 200 Gb/s of an A100 machine where the words give none."""
    found = device_of("A100-80GB", words)

    assert not isinstance(found, str)
    assert found.network_bandwidth == pytest.approx(gigabits / 8 * 1e9)

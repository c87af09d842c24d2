"""Devices of the catalogue, changed ones, one's own; prices, failures, power."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.catalogue import devices
from compiler.passes.hardware import GPU_HOURS_PER_FAILURE
from tests.recipes import MINIMAL, compile_text, plan_text

OWN = "{name: mine, memory: 40GB, bandwidth: 1.2TB/s, peak: {bf16: 200TFLOP/s, fp32: 50TFLOP/s}"


def test_the_catalogues_figures_reach_the_plan(tmp_path: Path) -> None:
    """Memory, bandwidths, power, price with its spread and its source."""
    plan = plan_text(MINIMAL, tmp_path, "hardware={gpu: h100-sxm-80gb, count: 8}").hardware
    device = devices()["h100-sxm-80gb"]
    assert device.price is not None
    assert (plan.memory_bytes, plan.memory_bandwidth) == (device.memory_bytes, 3350e9)
    assert (plan.link_bandwidth, plan.link_devices, plan.network_bandwidth) == (450e9, 8, 50e9)
    assert (plan.peak_flops, plan.tdp_watts) == (989.5e12, 700)
    assert plan.usd_per_gpu_hour_low < plan.usd_per_gpu_hour < plan.usd_per_gpu_hour_high
    assert (plan.usd_per_gpu_hour, plan.price_source) == (device.price.usd_per_hour, device.price.source)
    assert plan.mtbf_hours == GPU_HOURS_PER_FAILURE / 8
    assert (plan.pue, plan.co2e_kg_per_kwh) == (1.1, 0.473)


@pytest.mark.parametrize(("compute", "peak"), [("fp32", 50e12), ("bf16", 200e12), ("fp16", 210e12), ("fp8", 400e12)])
def test_the_peak_is_that_of_the_format(compute: str, peak: float, tmp_path: Path) -> None:
    """Each format that the recipe gives a peak for."""
    gpu = OWN.replace("}", ", fp16: 210TFLOP/s, fp8: 0.4PFLOP/s}}", 1)
    plan = plan_text(MINIMAL, tmp_path, f"hardware={{gpu: {gpu}}}", f"precision={compute}")
    assert (plan.hardware.peak_flops, plan.precision.compute) == (peak, compute)


def test_a_device_of_ones_own(tmp_path: Path) -> None:
    """Three figures are enough; the rest is assumed, and says so; nobody quotes a price."""
    plan = plan_text(MINIMAL, tmp_path, f"hardware={{gpu: {OWN}}}, count: 16}}")
    hardware = plan.hardware
    assert (hardware.gpu, hardware.memory_bytes, hardware.memory_bandwidth) == ("mine", 40 * 10**9, 1.2e12)
    assert (hardware.per_node, hardware.link_bandwidth, hardware.link_devices) == (8, 16e9, 1)
    assert hardware.usd_per_gpu_hour == plan.estimate.usd == plan.estimate.usd_high == 0
    assert plan.provenance["hardware.memory_bytes"].origin == "recipe"
    assert "PCIe 4" in plan.provenance["hardware.link_bandwidth"].reason
    assert plan.estimate.tokens_per_s_per_gpu > 0


def test_a_link_joins_the_machine(tmp_path: Path) -> None:
    """A link that is said is one between all devices of a machine; the network may be said in bits."""
    gpu = OWN + ", link: 300GB/s, tdp: 1.2kW}"
    plan = plan_text(MINIMAL, tmp_path, f"hardware={{gpu: {gpu}, count: 16, network: 200Gb/s}}").hardware
    assert (plan.link_bandwidth, plan.link_devices, plan.network_bandwidth, plan.tdp_watts) == (300e9, 8, 25e9, 1200)


def test_figures_of_a_known_device_can_be_changed(tmp_path: Path) -> None:
    """What is said wins, the rest is the catalogue's, its price too."""
    plan = plan_text(MINIMAL, tmp_path, "hardware={gpu: {name: h100-sxm-80gb, memory: 94GB}}").hardware
    known = plan_text(MINIMAL, tmp_path, "hardware={gpu: h100-sxm-80gb}").hardware
    assert plan == known.model_copy(update={"memory_bytes": 94 * 10**9})


def test_a_figure_that_is_wrong_is_not_missing_too(tmp_path: Path) -> None:
    """80 bytes of memory are one error, at the memory."""
    own = "hardware={gpu: {name: mine, memory: 80, bandwidth: 2TB/s, peak: {bf16: 300TFLOP/s}}}"
    (finding,) = compile_text(MINIMAL, tmp_path, own).findings
    assert finding.path == "hardware.gpu.memory"


def test_an_unknown_device_is_not_taken_for_a_cpu(tmp_path: Path) -> None:
    """A model for GPUs and a device of one's own with a figure missing: that figure is all there is to say."""
    (finding,) = compile_text(
        MINIMAL, tmp_path, "model.size=1B", "precision=bf16", "hardware={gpu: {name: mine, memory: 80GB}, count: 8}"
    ).findings
    assert finding.code == "RC501"


@pytest.mark.parametrize(
    ("gpu", "said", "line"),
    [
        ("h10", "no device `h10`", "gpu: h100-sxm-80gb"),
        (
            "quantum-9",
            "no device `quantum-9`",
            "gpu: {name: quantum-9, memory: 80GB, bandwidth: 2TB/s, peak: {bf16: 312TFLOP/s}}",
        ),
        ("{name: mine, memory: 4GB}", "doesn't say its `bandwidth` and `peak`", "gpu: {name: mine, memory: 80GB"),
    ],
)
def test_an_unknown_device_says_how_to_describe_it(gpu: str, said: str, line: str, tmp_path: Path) -> None:
    """The closest name, or the line with one's own figures, which works."""
    found = compile_text(MINIMAL, tmp_path, f"hardware={{gpu: {gpu}}}").findings
    assert [finding.code for finding in found] == ["RC501"]
    assert said in found[0].message
    assert found[0].help.startswith(line)
    fixed = found[0].help.split("   #")[0].replace("gpu: ", "hardware.gpu=", 1)
    assert compile_text(MINIMAL, tmp_path, fixed).plan is not None


def test_own_price_failures_and_power(tmp_path: Path) -> None:
    """A price has no spread; failures of a machine don't depend on how full it is; $0 is a price."""
    said = "hardware={gpu: a100-sxm-80gb, count: 16, price: $0/gpu-hour, mtbf: 100h, pue: 1.3, grid: 56g/kWh}"
    plan = plan_text(MINIMAL, tmp_path, said)
    h = plan.hardware
    assert (h.usd_per_gpu_hour, h.usd_per_gpu_hour_low, h.usd_per_gpu_hour_high) == (0, 0, 0)
    assert (h.mtbf_hours, h.pue, h.co2e_kg_per_kwh) == (100, 1.3, 0.056)
    assert plan.provenance["hardware.usd_per_gpu_hour"].origin == "recipe"
    assert plan.estimate.usd == 0
    assert plan.estimate.energy_kwh > 0


def test_a_device_without_a_wanted_format_is_refused(tmp_path: Path) -> None:
    """Own devices compute in what they have a peak for."""
    found = compile_text(MINIMAL, tmp_path, f"hardware={{gpu: {OWN}}}}}", "precision=fp8").findings
    assert [finding.code for finding in found] == ["RC503"]


def test_every_quote_of_the_catalogue_has_a_device_and_a_date() -> None:
    """No price stands alone, none is undated, and spreads enclose the figure that is used."""
    for device in devices().values():
        if device.price is not None:
            assert device.price.low <= device.price.usd_per_hour <= device.price.high, device.name
            assert "20" in device.price.source
    assert devices()["cpu"].price is None

"""Closed forms of residual networks against published counts; the built ones: tests/runtime/models/test_classifier.py."""

from __future__ import annotations

from typing import Any

import pytest

from compiler.catalogue import devices
from compiler.estimate.convnet import Architecture, StepOf, architecture, count, memory_of, speed_of


def standard(depth: Any) -> Architecture:
    """As He et al. 2016 for ImageNet."""
    block, blocks = architecture(depth)
    return Architecture(block, blocks, 64, "imagenet", 1000, 3, 224)


@pytest.mark.parametrize(
    ("depth", "parameters", "giga_macs"),
    [
        (18, 11_689_512, 1.81),
        (34, 21_797_672, 3.66),
        (50, 25_557_032, 4.09),
        (101, 44_549_160, 7.80),
        (152, 60_192_808, 11.51),
    ],
)
def test_torchvisions_table(depth: int, parameters: int, giga_macs: float) -> None:
    """Parameters to the last one, and the giga multiply-adds that torchvision's model pages print."""
    found = count(standard(depth))
    assert found.parameters == parameters
    assert found.macs / 1e9 == pytest.approx(giga_macs, abs=0.006)


@pytest.mark.parametrize(("depth", "blocks"), [(8, 1), (20, 3), (56, 9), (110, 18)])
def test_three_stages_have_6n_plus_2_layers(depth: Any, blocks: int) -> None:
    """He et al. 2016, section 4.2: 0.27M, 0.85M and 1.7M parameters at 20, 56 and 110; shortcuts add a little."""
    block, found = architecture(depth)
    assert (block, found) == ("basic", (blocks,) * 3)
    published = {20: 0.27e6, 56: 0.85e6, 110: 1.7e6}
    if depth in published:
        counts = count(Architecture(block, found, 16, "small", 10, 3, 32))
        assert counts.parameters == pytest.approx(published[depth], rel=0.03)
        assert counts.convolutions == depth - 1 + 2  # and two projections


def step(**changes: Any) -> StepOf:
    """ResNet-50 on one A100 in bf16."""
    said: dict[str, Any] = {
        "counts": count(standard(50)), "device": devices()["a100-sxm-80gb"], "compute": "bf16", "devices": 1, "nodes": 1,
        "samples": 256, "microbatch": 256, "state_bytes": 8.0, **changes,
    }  # fmt: skip
    return StepOf(**said)


def test_memory_is_states_and_activations() -> None:
    """16 bytes a weight with Adam, two numbers of two bytes for each output of a convolution; parts sum to the peak."""
    found = memory_of(step())
    assert found.parts["weights"] + found.parts["gradients"] + found.parts["optimizer"] == 16 * 25_557_032
    assert found.parts["activations"] == 2 * 2 * 11_113_984 * 256
    assert sum(found.parts.values()) == pytest.approx(found.peak_bytes)
    assert memory_of(step(compute="fp32")).parts["activations"] == 2 * found.parts["activations"]


def test_speed_is_of_the_right_order() -> None:
    """A ResNet-50 trains on 2,000 to 4,000 images a second of an A100 in bf16; parts sum to the step."""
    found = speed_of(step())
    assert 2000 < found.tokens_per_s_per_gpu < 4000
    assert sum(found.seconds.values()) == pytest.approx(256 / found.tokens_per_s_per_gpu)
    assert found.low < found.tokens_per_s_per_gpu < found.high
    assert "communication" not in found.seconds
    assert (
        speed_of(step(devices=8)).seconds["communication"]
        < speed_of(step(devices=16, nodes=2)).seconds["communication"]
    )
    assert speed_of(step(), 0.1).mfu == pytest.approx(0.1)


def test_a_teacher_takes_time_at_a_measured_mfu_too() -> None:
    """Its FLOPs count, so a third more of them takes a third more time."""
    own = 6.0 * count(standard(50)).macs
    plain, taught = (speed_of(step(extra_flops=extra), 0.1) for extra in (0.0, own / 3))
    assert taught.mfu == pytest.approx(plain.mfu) == pytest.approx(0.1)
    assert taught.tokens_per_s_per_gpu == pytest.approx(0.75 * plain.tokens_per_s_per_gpu)

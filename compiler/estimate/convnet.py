"""Residual networks in closed form: parameters and multiply-adds exactly, memory and speed to an order of magnitude."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from compiler.catalogue import Device
from compiler.estimate.memory.peak import MemoryEstimate
from compiler.estimate.speed.predict import Speed
from schemas.model import ResNetDepth
from schemas.plan import ResNetPlan
from schemas.training import PrecisionName

__all__ = ["Architecture", "Counts", "StepOf", "architecture", "count", "memory_of", "section_of", "speed_of"]

Block = Literal["basic", "bottleneck"]

# He et al. 2016, table 1.
_STAGES: Final[Mapping[int, tuple[Block, tuple[int, ...]]]] = MappingProxyType(
    {
        18: ("basic", (2, 2, 2, 2)),
        34: ("basic", (3, 4, 6, 3)),
        50: ("bottleneck", (3, 4, 6, 3)),
        101: ("bottleneck", (3, 4, 23, 3)),
        152: ("bottleneck", (3, 8, 36, 3)),
    }
)
_EXPANSION: Final[Mapping[Block, int]] = MappingProxyType({"basic": 1, "bottleneck": 4})

# Not fitted to anything: ResNet-50 comes out at 2,900 images/s on an A100 of 80 GB in bf16, where 2,000 to 3,000 are usual.
_MATMUL_SHARE: Final = 0.4
"""Of the device's peak that convolutions reach."""
_TRIPS: Final = 12
"""Times that each output of a convolution crosses the memory bus in a step: by itself, its norm and its ReLU, both ways."""
_GPU_KERNEL_SECONDS: Final = 10e-6
_CPU_KERNEL_SECONDS: Final = 75e-6
"""Least time of one layer's kernel. On one core of an AMD EPYC a step of ResNet-8 with 4, 16 and 64 channels took 6, 13 and
268 ms (32 and 64 images of 8 pixels, 16 of 32); with this it comes out at 7, 11 and 253."""
_KERNELS: Final = 9
"""Kernels of a convolution with its norm and ReLU, forward and backward."""
_SPREAD: Final = 2.0
_WORKSPACE_BYTES: Final = 512 * 2**20
METHOD: Final = (
    "convolutional network: multiply-adds at 40 % of the peak, activations 12 times over the memory bus, no calibration:"
    " an order of magnitude"
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """Shape of a residual network; `blocks` are those of each stage, each stage has twice the channels of the one before."""

    block: Block
    blocks: tuple[int, ...]
    width: int
    stem: Literal["imagenet", "small"]
    num_classes: int
    channels: int
    image_size: int


class Counts(NamedTuple):
    """What a network has: weights, multiply-adds of one image's forward pass, numbers that convolutions put out, convolutions.

    `last_size` is the height and width that the last stage leaves of an image.
    """

    parameters: int
    macs: int
    outputs: int
    convolutions: int
    last_size: int


class _Convolution(NamedTuple):
    kernel: int
    inputs: int
    outputs: int
    size: int
    """Height and width of what it puts out."""


def architecture(depth: ResNetDepth) -> tuple[Block, tuple[int, ...]]:
    """Kind of block and blocks of each stage: table 1 of He et al. 2016, or three stages of n at depth 6 n + 2 (section 4.2)."""
    return _STAGES[depth] if depth in _STAGES else ("basic", ((depth - 2) // 6,) * 3)


def _halved(size: int) -> int:
    """Height after a 3x3, stride 2, padding 1; also after 7x7 with padding 3, and 1x1 without."""
    return (size - 1) // 2 + 1


def _convolutions(a: Architecture) -> Iterator[_Convolution]:
    """All convolutions, in the order of torchvision's ResNet."""
    size = a.image_size
    if a.stem == "imagenet":
        size = _halved(size)
        yield _Convolution(7, a.channels, a.width, size)
        size = _halved(size)
    else:
        yield _Convolution(3, a.channels, a.width, size)
    inputs, expansion = a.width, _EXPANSION[a.block]
    for stage, blocks in enumerate(a.blocks):
        planes = a.width << stage
        for number in range(blocks):
            before, shrinks = size, stage > 0 and number == 0
            size = _halved(size) if shrinks else size
            if a.block == "basic":
                yield _Convolution(3, inputs, planes, size)
                yield _Convolution(3, planes, planes, size)
            else:  # torchvision strides in the 3x3 convolution (ResNet 1.5)
                yield _Convolution(1, inputs, planes, before)
                yield _Convolution(3, planes, planes, size)
                yield _Convolution(1, planes, planes * expansion, size)
            if shrinks or inputs != planes * expansion:
                yield _Convolution(1, inputs, planes * expansion, size)
            inputs = planes * expansion


def count(a: Architecture) -> Counts:
    """Exact counts; equal to the built model's (tests/runtime/models/). Each convolution has a norm, and no bias."""
    found = list(_convolutions(a))
    features = (a.width << (len(a.blocks) - 1)) * _EXPANSION[a.block]
    weights = [c.kernel**2 * c.inputs * c.outputs for c in found]
    return Counts(
        parameters=sum(weights) + sum(2 * c.outputs for c in found) + (features + 1) * a.num_classes,
        macs=sum(weight * c.size**2 for weight, c in zip(weights, found, strict=True)) + features * a.num_classes,
        outputs=sum(c.outputs * c.size**2 for c in found),
        convolutions=len(found),
        last_size=found[-1].size,
    )


def section_of(a: Architecture, depth: ResNetDepth, norm: Literal["batch", "group"], *, compiled: bool) -> ResNetPlan:
    """The section of the plan that says a network, with its counts."""
    counts = count(a)
    return ResNetPlan(
        family="resnet",
        num_parameters=counts.parameters,
        macs=counts.macs,
        depth=depth,
        block=a.block,
        blocks=a.blocks,
        width=a.width,
        stem=a.stem,
        norm=norm,
        num_classes=a.num_classes,
        channels=a.channels,
        image_size=a.image_size,
        compile=compiled,
    )


@dataclass(frozen=True, slots=True)
class StepOf:
    """One optimizer step of a network on its devices.

    Args:
        counts: of the network.
        device: with its figures.
        compute: format of products and activations.
        devices: copies of the network that share a batch.
        nodes: machines.
        samples: images that each device takes in a step.
        microbatch: of them in one forward pass.
        state_bytes: optimizer states of one weight.
        extra_parameters: fp32 weights that techniques hold beside the network.
        extra_flops: FLOPs that techniques add for each image.
    """

    counts: Counts
    device: Device
    compute: PrecisionName
    devices: int
    nodes: int
    samples: int
    microbatch: int
    state_bytes: float
    extra_parameters: float = 0.0
    extra_flops: float = 0.0

    @property
    def activation_bytes(self) -> float:
        """Of one number that a layer puts out."""
        return 4.0 if self.compute == "fp32" else 2.0


def memory_of(step: StepOf) -> MemoryEstimate:
    """Bytes of one device: fp32 states, what convolution and norm keep of each image, and workspace."""
    n = step.counts.parameters
    parts = {
        "weights": 4.0 * n,
        "gradients": 4.0 * n,
        "optimizer": step.state_bytes * n,
        "activations": 2.0 * step.counts.outputs * step.activation_bytes * step.microbatch,
        "extra": 4.0 * step.extra_parameters,
        "workspace": float(_WORKSPACE_BYTES),
    }
    total = sum(parts.values())
    return MemoryEstimate(
        parts={name: value for name, value in parts.items() if value},
        peak_bytes=round(total),
        low_bytes=round(total / _SPREAD),
        high_bytes=round(total * _SPREAD),
        instant="end of the forward pass",
    )


def speed_of(step: StepOf, measured_mfu: float | None = None) -> Speed:
    """Images per second of one device, at a share of its peak and of its memory's bandwidth.

    Args:
        step: one optimizer step.
        measured_mfu: share of the peak that the user has measured; then the parts are scaled to it.
    """
    c, device = step.counts, step.device
    peak = device.peak_flops.get(step.compute) or device.peak_flops["fp32"]
    flops = 6.0 * c.macs * step.samples
    passes = math.ceil(step.samples / step.microbatch)
    seconds = {
        "matmul": flops / (_MATMUL_SHARE * peak),
        "pointwise": _TRIPS * c.outputs * step.activation_bytes * step.samples / device.memory_bandwidth,
        "overhead": _KERNELS
        * (_CPU_KERNEL_SECONDS if device.is_cpu else _GPU_KERNEL_SECONDS)
        * c.convolutions
        * passes,
        "optimizer": (4.0 * 3 + 2 * step.state_bytes) * c.parameters / device.memory_bandwidth,
        "communication": _reduction_seconds(step),
    }
    if step.extra_flops:
        seconds["techniques"] = max(0.0, step.extra_flops) * step.samples / (_MATMUL_SHARE * peak)
    flops += max(0.0, step.extra_flops) * step.samples  # a teacher's count too: what the run really needs
    whole = sum(seconds.values())
    if measured_mfu:
        seconds = {name: value * flops / (measured_mfu * peak) / whole for name, value in seconds.items()}
        whole = sum(seconds.values())
    spread = 1.1 if measured_mfu else _SPREAD
    rate = step.samples / whole
    return Speed(
        tokens_per_s_per_gpu=rate,
        low=rate / spread,
        high=rate * spread,
        mfu=flops / whole / peak,
        seconds=MappingProxyType({name: value for name, value in seconds.items() if value}),
        method="the share of the peak that the recipe gives (hardware.mfu)" if measured_mfu else METHOD,
    )


def _reduction_seconds(step: StepOf) -> float:
    """A ring's sum of all gradients, half of it behind the backward pass."""
    if step.devices == 1:
        return 0.0
    bandwidth = step.device.network_bandwidth if step.nodes > 1 else step.device.link_bandwidth
    share = 2 * (step.devices - 1) / step.devices
    return 0.5 * share * 4.0 * step.counts.parameters / bandwidth if bandwidth else 0.0

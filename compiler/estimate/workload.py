"""What an estimate knows of one optimizer step: shape, numbers, layout, machine. Recipes and measured rows both become this.

Memory and speed are functions of a `Workload` and nothing else, so a plan is judged by the very formulas that were calibrated
on published runs (compiler/estimate/rows/table.py reads those).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from compiler.catalogue import Device
from schemas.training import OptimizerKind, PrecisionName

__all__ = [
    "OPTIMIZER_STATES",
    "AttentionKernel",
    "ComputeFormat",
    "Layout",
    "Numerics",
    "Recompute",
    "Shape",
    "Sharding",
    "Workload",
]

AttentionKernel = Literal["flash2", "flash1", "fused", "eager"]
"""flash2 also stands for torch's SDPA; fused is Megatron's fused softmax, which like eager writes the scores to memory."""
Recompute = Literal["none", "selective", "full"]
"""Activation checkpointing: nothing, attention or chosen operators only, every block."""
Sharding = Literal["none", "optimizer", "gradients", "full"]
"""ZeRO stages 0 to 3: what data-parallel devices share instead of copying. FSDP FULL_SHARD is full, SHARD_GRAD_OP gradients."""
ComputeFormat = PrecisionName | Literal["fp4"]
OPTIMIZER_STATES: Final[Mapping[OptimizerKind, int]] = MappingProxyType(
    {"adamw": 2, "decoupled_adamw": 2, "decoupled_lionw": 1, "sgd": 1}
)
"""Numbers that each optimizer keeps of a parameter: two moments, or one."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder's dimensions, whatever its family.

    Args:
        layers, hidden, heads, kv_heads, intermediate, vocabulary: usual meaning; `head_size` is the width of one head.
        gated: the MLP has three matrices (SwiGLU), not two.
        tied: the output layer is the embedding.
        positions: rows of a learned position table; 0 with rotary positions or ALiBi.
        biases: matrices have biases.
        parameters: all of them, shared ones once.
        active_parameters: those that one token passes through (fewer than `parameters` in a mixture of experts).
        experts, active_experts: of a mixture of experts; 1 and 1 is a dense model.
    """

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    gated: bool
    tied: bool
    positions: int
    biases: bool
    parameters: int
    active_parameters: int
    experts: int = 1
    active_experts: int = 1


@dataclass(frozen=True, slots=True)
class Numerics:
    """Formats and bytes.

    Args:
        compute: format of matrix products.
        weight_bytes: of one stored (sharded) weight.
        gathered_bytes: of one weight while it is used (FSDP's parameter dtype).
        gradient_bytes: of one stored gradient.
        optimizer_bytes: states of one parameter, a master copy of the weight included where there is one beside the weight.
        reduce_bytes: of one gradient while it is summed over devices.
        trainable: share of the parameters that have gradients and optimizer states (1 but for adapters).
    """

    compute: ComputeFormat
    weight_bytes: float
    gathered_bytes: float
    gradient_bytes: float
    optimizer_bytes: float
    reduce_bytes: float
    trainable: float = 1.0


@dataclass(frozen=True, slots=True)
class Layout:
    """How a model lies on devices: devices = data * tensor * pipeline * context (experts lie on the data axis).

    Args:
        devices: in all; per_node: of one machine.
        data, tensor, pipeline, context, expert: parallel degrees.
        sharding: what the data axis shares, over `shard_degree` devices (less than `data`: hybrid, replicated above it).
        virtual_stages: model chunks per pipeline stage (interleaved schedule); 1 is plain 1F1B.
        sequence_parallel: norms and residuals are split over the tensor axis.
    """

    devices: int
    per_node: int
    data: int
    tensor: int = 1
    pipeline: int = 1
    context: int = 1
    expert: int = 1
    sharding: Sharding = "none"
    shard_degree: int = 1
    virtual_stages: int = 1
    sequence_parallel: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """One optimizer step.

    Args:
        shape, numerics, layout, device: as above; the device is a row of the catalogue or the recipe's own.
        sequence_length: tokens of a sample.
        microbatch: samples of one forward pass of a data-parallel replica.
        accumulation: micro-batches of a step (with pipeline stages: those that fill the pipeline).
        attention: kernel of attention.
        recompute: activation checkpointing.
        stack: software whose behaviour the calibration knows (`composer`, `megatron`, ...; see compiler/estimate/rows/table.py).
        release: of the stack, where the calibration tells releases apart (`torch-1.12`); empty is the newest known.
        fused_norm: norms run in a kernel of their own, which reads and writes once and keeps its input only.
        compiled: torch.compile or an XLA-like whole-graph compiler fuses pointwise work.
        extra_parameters: further weights held on each device in fp32 (moving average, mask, teacher).
        extra_flops_per_token: model FLOPs that techniques add to a token (a teacher's forward pass); may be negative.
        dropout: residuals and attention have dropout, whose masks are kept.
        z_loss: the loss has a term in the logarithm of the softmax's sum, which keeps another copy of the logits.
        distilled: the loss has a term in a teacher's logits.
    """

    shape: Shape
    numerics: Numerics
    layout: Layout
    device: Device
    sequence_length: int
    microbatch: int
    accumulation: int
    attention: AttentionKernel = "flash2"
    recompute: Recompute = "none"
    stack: str = "composer"
    release: str = ""
    compiled: bool = False
    fused_norm: bool = False
    extra_parameters: int = 0
    extra_flops_per_token: float = 0.0
    dropout: bool = False
    z_loss: bool = False
    distilled: bool = False

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step over all devices."""
        return self.layout.data * self.microbatch * self.accumulation * self.sequence_length

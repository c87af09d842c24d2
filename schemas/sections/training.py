"""Sections of the plan on training: optimizer, schedule, number formats, layout on the devices."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Float, Fraction, Frozen, Integer
from schemas.training import NormFormat, OptimizerKind, ParamFormat, PrecisionName, ScheduleKind

__all__ = ["LossScalePlan", "OptimizerPlan", "ParallelismPlan", "PrecisionPlan", "SchedulePlan", "TrainingPlan"]


class OptimizerPlan(Frozen):
    """The optimizer with every number."""

    kind: OptimizerKind
    lr: Float
    betas: tuple[Float, Float]
    eps: Float
    weight_decay: Float


class SchedulePlan(Frozen):
    """Multiplier of the learning rate: 0 to 1 over warmup_steps, then the shape to final_fraction at the last step."""

    kind: ScheduleKind
    warmup_steps: Integer
    cooldown_steps: Integer
    final_fraction: Fraction


class TrainingPlan(Frozen):
    """`steps` optimizer steps of `global_batch_samples` samples each; `microbatch` samples per device and forward pass."""

    steps: Integer
    global_batch_samples: Integer
    global_batch_tokens: Integer
    microbatch: Integer
    optimizer: OptimizerPlan
    schedule: SchedulePlan
    deterministic: bool


class LossScalePlan(Frozen):
    """Scaling of the loss in fp16; gradients are divided by it before they are clipped."""

    initial: Float
    growth_interval: Integer


class PrecisionPlan(Frozen):
    """Number formats of parameters, matrix products, gradient sums and norms."""

    param: ParamFormat
    compute: PrecisionName
    reduce: Literal["fp32", "bf16", "fp16"]
    norms: NormFormat
    loss_scale: LossScalePlan | None = Field(description="Only where matrix products are in fp16.")


class ParallelismPlan(Frozen):
    """How the model lies on the devices: one copy each (none, ddp), or sharded (fsdp); devices = shard_degree x replicas."""

    strategy: Literal["none", "ddp", "fsdp"]
    sharding: Literal["none", "gradients", "full"] = Field(
        description="What devices share: gradients and optimizer states, or weights too."
    )
    shard_degree: Integer = Field(description="Devices that share one copy; fewer than all is hybrid sharding.")
    replicas: Integer = Field(description="Copies of the model states.")
    devices: Integer
    nodes: Integer
    activation_checkpointing: bool

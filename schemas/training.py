"""What a recipe says of training: batch, optimizer, schedule, precision, averaging."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from schemas.base import Float, Fraction, Frozen, Integer, short_for
from schemas.techniques.gradient_clipping import GradientClipping
from schemas.techniques.lora import Lora
from schemas.units import Time, Tokens, TrainingTime

__all__ = [
    "LossScale",
    "NormFormat",
    "Optimizer",
    "OptimizerKind",
    "ParamFormat",
    "Precision",
    "PrecisionName",
    "Schedule",
    "ScheduleKind",
    "Sharding",
    "ShardingKind",
    "Training",
]

OptimizerKind = Literal["adamw", "decoupled_adamw", "decoupled_lionw", "sgd"]
ScheduleKind = Literal["cosine", "linear", "constant", "inverse_sqrt"]
ShardingKind = Literal["auto", "none", "gradients", "full", "hybrid"]
PrecisionName = Literal["fp32", "bf16", "fp16", "fp8"]
ParamFormat = Literal["fp32", "bf16"]
NormFormat = Literal["full", "low"]
_Decay = Annotated[Fraction, Field(lt=1)]


class Optimizer(Frozen):
    """The optimizer; what is left out is set by the plan, which says why."""

    kind: OptimizerKind = Field(
        "adamw",
        description="adamw (torch; weight decay times learning rate), Composer's decoupled_adamw and decoupled_lionw "
        "(weight decay on its own scale), or sgd.",
    )
    lr: Float | None = Field(
        None, gt=0, le=10, description="Peak learning rate; default: by model size.", examples=[3e-4]
    )
    betas: tuple[_Decay, _Decay] = Field((0.9, 0.95), description="Decay of the moments; sgd: the first is momentum.")
    eps: Float = Field(1e-8, gt=0, le=1, description="Added to the denominator (adamw kinds).")
    weight_decay: Float | None = Field(
        None, ge=0, le=1, description="Default: 0.1, or 1e-5 where decay is decoupled.", examples=[0.1]
    )


class Schedule(Frozen):
    """Learning rate over the run: warmup, then the shape named."""

    kind: ScheduleKind = Field(
        "cosine", description="cosine, linear or constant after warmup; inverse_sqrt with a linear cooldown."
    )
    warmup: TrainingTime = Field(Time(0.01, "dur"), description="Length of the linear rise from 0.")
    cooldown: TrainingTime = Field(Time(0.0, "dur"), description="inverse_sqrt: length of the linear end.")
    final: Fraction = Field(
        0.1, description="Share of the peak at the end (inverse_sqrt: after its cooldown; constant: not used)."
    )


class Sharding(Frozen):
    """What devices share of a model instead of each having it whole (ZeRO, FSDP). `sharding: full` is short for a kind."""

    kind: ShardingKind = Field(
        "auto",
        description="auto: the fastest layout that fits; none: each device has all; gradients: gradients and optimizer states "
        "are shared; full: weights too; hybrid: full inside groups of devices, a copy in each group.",
    )
    degree: Integer | None = Field(
        None,
        ge=2,
        le=1_000_000,
        description="hybrid: devices of a group; it divides the devices in all. Default: those of a machine.",
        examples=[8],
    )

    @model_validator(mode="after")
    def _degree_is_of_groups(self) -> Sharding:
        if self.degree is not None and self.kind != "hybrid":
            raise PydanticCustomError(
                "conflict",
                "only hybrid sharding has groups of devices",
                {"key": "degree", "fix": "kind: hybrid"},
            )
        return self


class Training(Frozen):
    """How the model is trained."""

    batch: Tokens | None = Field(
        None,
        gt=0,
        le=10**10,
        description="Tokens of one optimizer step over all devices; default: by model size.",
        examples=["0.5M tok"],
    )
    microbatch: Integer | None = Field(
        None, ge=1, le=1 << 20, description="Samples in one forward pass of a device; default: the largest that fits."
    )
    optimizer: Optimizer = Field(Optimizer(), description="The optimizer.")
    schedule: Schedule = Field(Schedule(), description="Learning rate over the run.")
    duration: TrainingTime | None = Field(
        None, description="Length of the run, instead of a budget.", examples=["1e9tok", "2000ba"]
    )
    gradient_clipping: GradientClipping | None = Field(None, description="Limits gradients before each step.")
    adapter: Lora | None = Field(None, description="Train low-rank adapters, and keep the weights as they are.")
    sharding: Annotated[Sharding, short_for("kind")] = Field(
        Sharding(), description="What devices share of weights, gradients and optimizer states."
    )
    activation_checkpointing: bool | None = Field(
        None,
        strict=True,
        description="Recompute activations in the backward pass; default: only where memory needs it.",
    )
    compile: bool = Field(False, strict=True, description="torch.compile the model.")
    deterministic: bool = Field(True, strict=True, description="Deterministic kernels: the same run to the last bit.")

    @model_validator(mode="after")
    def _duration_is_absolute(self) -> Training:
        if self.duration is not None and (self.duration.unit == "dur" or self.duration.value == 0):
            raise PydanticCustomError(
                "conflict",
                "the length of the run can't be a share of itself, nor zero",
                {"key": "duration", "fix": "duration: 2000ba"},
            )
        return self


class LossScale(Frozen):
    """Scaling of the loss in fp16: halved when a gradient overflows, doubled after a while without (Micikevicius 2017)."""

    initial: Float = Field(65_536.0, ge=1, le=1 << 24, description="Scale of the first step.")
    growth_interval: Integer = Field(
        2_000, ge=1, le=1 << 30, description="Steps without overflow after which the scale is doubled."
    )


class Precision(Frozen):
    """Number formats. `precision: bf16` is short for `{compute: bf16}`."""

    compute: PrecisionName | None = Field(
        None,
        description="Format of matrix products; default: the best of bf16, fp16 and fp32 that the hardware has (fp32 on a CPU)."
        " fp8: products of the blocks' linear layers in fp8, the rest in bf16.",
    )
    param: ParamFormat = Field(
        "fp32",
        description="Format in which weights are kept. bf16 halves weights, gradients and optimizer states, and rounds updates"
        " away that are smaller than 1/256 of their weight.",
    )
    reduce: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Format in which gradients are summed over devices (FSDP)."
    )
    norms: NormFormat = Field(
        "full", description="low: layer norms in the format of matrix products, which is faster (gpt2; llama has none)."
    )
    loss_scale: LossScale | None = Field(None, description="fp16: scaling of the loss, which it always has.")

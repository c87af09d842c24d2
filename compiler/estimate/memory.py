"""Bytes that one device needs at its fullest moment.

Model states follow from the optimizer; activations from a trace of Hugging Face's decoders in bf16 (56 bytes per element
of a layer's input for llama with SDPA, 2 with activation checkpointing; the loss path holds the logits in bf16 and several
fp32 copies: 14 bytes per logit). fp32 doubles activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from schemas.plan import HardwarePlan, ModelPlan, PrecisionPlan
from schemas.training import OptimizerKind

__all__ = ["MARGIN", "Workload", "largest_microbatch", "peak_bytes"]

# Optimizer states per parameter, in fp32 numbers.
_STATES: Final[dict[OptimizerKind, int]] = {"adamw": 2, "decoupled_adamw": 2, "decoupled_lionw": 1, "sgd": 1}
# Bytes per element of a layer's input in bf16, without and with activation checkpointing.
_LAYER_BYTES: Final = {"llama": (56.0, 2.0), "gpt2": (60.0, 2.0)}
_LOGIT_BYTES: Final = 14.0
# CUDA context, library workspaces and communication buffers.
_FIXED_BYTES: Final = 1.5e9
MARGIN: Final = 0.90
"""Share of a device's memory that a plan uses at most; the rest is left to fragmentation."""


@dataclass(frozen=True)
class Workload:
    """What memory depends on besides the micro-batch.

    Args:
        model, precision, hardware: sections of the plan.
        optimizer: its states per parameter differ.
        shards: devices that share one copy of the model states (1: every device has its own).
        checkpointing: activations are recomputed.
        extra_parameters: further weights held in fp32 on each device (a moving average, a teacher).
    """

    model: ModelPlan
    precision: PrecisionPlan
    hardware: HardwarePlan
    optimizer: OptimizerKind
    shards: int
    checkpointing: bool
    extra_parameters: int = 0


def _state_bytes(w: Workload) -> float:
    """fp32 weights, gradients and optimizer states, plus the one-parameter temporary of a foreach optimizer's step."""
    per_parameter = 4.0 * (1 + 1 + _STATES[w.optimizer] + 1)
    gathered = 0.0 if w.shards == 1 else 4.0 * w.model.num_parameters / w.model.num_layers * 2
    return w.model.num_parameters * per_parameter / w.shards + gathered + 4.0 * w.extra_parameters


def _sample_bytes(w: Workload) -> float:
    """Activations and loss path of one sample."""
    m = w.model
    width = 2.0 if w.precision.compute == "fp32" else 1.0
    tokens = m.max_sequence_length
    full, light = _LAYER_BYTES[m.family]
    layers = m.num_layers * (light if w.checkpointing else full) + (full if w.checkpointing else 0.0)
    attention = 0.0 if m.attention != "eager" else 6.0 * m.num_heads * tokens * m.num_layers / m.hidden_size
    return tokens * (m.hidden_size * (layers + attention) * width + m.vocab_size * _LOGIT_BYTES)


def peak_bytes(w: Workload, microbatch: int) -> int:
    """Bytes at the fullest instant: states all along, activations at the end of the forward pass and in the loss."""
    fixed = 0.0 if w.hardware.gpu == "cpu" else _FIXED_BYTES
    return round(_state_bytes(w) + microbatch * _sample_bytes(w) + fixed)


def largest_microbatch(w: Workload, per_device_samples: int) -> int:
    """The largest divisor of a device's samples per step that fits; 0 if not even one sample does.

    Past 32k tokens a larger micro-batch no longer makes matrix products faster, so the search stops there.
    """
    limit = w.hardware.memory_bytes * MARGIN
    useful = max(1, 32_768 // w.model.max_sequence_length)
    fitting = [
        m
        for m in range(1, min(per_device_samples, useful) + 1)
        if per_device_samples % m == 0 and peak_bytes(w, m) <= limit
    ]
    return max(fitting, default=0)

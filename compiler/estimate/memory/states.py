"""Weights, gradients, optimizer states and gathered copies that one device of a pipeline stage holds.

Embeddings lie on the first stage, the output layer on the last (a tied one is a copy there); experts are spread over the expert
axis; what the data axis shares follows ZeRO (Rajbhandari et al. 2020) and FSDP (Zhao et al. 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from compiler.estimate.memory.activations import counted
from compiler.estimate.memory.habits import Habits
from compiler.estimate.workload import Workload

__all__ = ["States", "states"]


@dataclass(frozen=True, slots=True)
class States:
    """Bytes on one device.

    Args:
        parameters, gradients, optimizer: of the device's share.
        gathered: whole weights (and gradients on their way) that exist only while they are used.
        buckets: copies of the gradients that DDP keeps for its messages.
        step: temporaries of the optimizer step.
        whole: weights before they are shared, if the stack loads them so.
        layers: of the stage.
    """

    parameters: float
    gradients: float
    optimizer: float
    gathered: float
    buckets: float
    step: float
    whole: float
    layers: int


@dataclass(frozen=True, slots=True)
class _Weights:
    """Numbers of weights on one device before the data axis shares them: dense ones, experts, and those of one layer."""

    dense: float
    experts: float
    tables: float
    block: float
    layers: int
    expert_spread: int


def _weights(w: Workload, *, first: bool, last: bool) -> _Weights:
    shape, layout = w.shape, w.layout
    table = shape.vocabulary * shape.hidden
    positions = shape.positions * shape.hidden
    body = max(shape.parameters - table * (1 if shape.tied else 2) - positions, 0)
    experts = 0.0
    if shape.experts > 1:
        matrices = 3 if shape.gated else 2
        experts = min(0.98 * body, shape.layers * matrices * shape.hidden * shape.intermediate * shape.experts)
    layers = math.ceil(shape.layers / layout.pipeline)
    tables = (table + positions if first else 0) + (table if last and not (first and shape.tied) else 0)
    group = max(1, layout.devices // layout.pipeline)
    spread = max(1, min(layout.expert * layout.tensor, group)) if shape.experts > 1 else 1
    share = layers / shape.layers
    return _Weights(
        dense=((body - experts) * share + tables) / layout.tensor,
        experts=experts * share / spread,
        tables=tables / layout.tensor,
        block=((body - experts) / layout.tensor + experts / spread) / shape.layers,
        layers=layers,
        expert_spread=spread,
    )


def states(w: Workload, habits: Habits, *, first: bool, last: bool) -> States:
    """What a device of the first or last stage holds (both: there is one stage)."""
    numbers, layout, weights = w.numerics, w.layout, _weights(w, first=first, last=last)
    shards = 1 if layout.sharding == "none" else layout.shard_degree * layout.context
    # Experts have fewer copies to share among.
    copies = max(1, layout.devices // layout.pipeline // weights.expert_spread)
    shared = weights.dense / shards + weights.experts / min(shards, copies)
    alone = weights.dense + weights.experts
    slices = layout.sharding in ("full", "gradients")
    local = shared if slices else alone
    learning = numbers.trainable
    gathered = 0.0
    if layout.sharding == "full" and shards > 1:
        # The block in use and the one fetched ahead, the tables (FSDP's outermost unit), one block's whole gradients.
        in_use = 2 * weights.block + weights.tables
        gathered = in_use * numbers.gathered_bytes + weights.block * numbers.reduce_bytes * learning
    elif layout.sharding == "gradients":
        gathered = alone * numbers.gathered_bytes
    elif numbers.gathered_bytes < numbers.weight_bytes and not counted(w):
        gathered = alone * numbers.gathered_bytes  # autocast's copies of the weights live until the backward pass ends
    copied = layout.sharding == "none" and layout.data > 1 and not habits.gradients_stay
    # Ours update in one fused kernel, or one weight at a time.
    step = min(numbers.weight_bytes, 4.0) if habits.foreach and not counted(w) else 0.0
    return States(
        parameters=local * numbers.weight_bytes,
        gradients=local * numbers.gradient_bytes * learning,
        optimizer=(alone if layout.sharding == "none" else shared) * numbers.optimizer_bytes * learning,
        gathered=gathered,
        buckets=alone * numbers.gradient_bytes * learning if copied else 0.0,
        step=(alone if layout.sharding == "none" else shared) * step * learning,
        whole=(alone + shared) * numbers.weight_bytes if habits.loads_whole and shards > 1 else 0.0,
        layers=weights.layers,
    )

"""From ideal seconds and calibrated rates to the seconds of one optimizer step, part by part.

Computing and the traffic that may hide behind it are joined by a p-norm: (a^p + b^p)^(1/p) is b or a where one dominates and
a little more than the longer where they are alike, which is what overlapped streams on one device show. Only `+ * / **` are
used, so that benchmarks/calibrate/fit.py can pass whole tables as arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from compiler.estimate.speed.calibration import Rates
from compiler.estimate.speed.work import Work

__all__ = ["Parts", "step_parts"]

# FLOPs of a backward pass against the forward pass: 2 for products; 2.5 for attention that recomputes its scores (Dao 2022).
_BACKWARD: Final = 2.0
_BACKWARD_ATTENTION: Final = 2.5
# Gradients of a step are summed while the last micro-batch's backward pass runs, roughly this share of a micro-batch.
_BACKWARD_SHARE: Final = 0.6
# Host and device run in parallel: the longer wins.
_SHARP: Final = 4.0


@dataclass(frozen=True, slots=True)
class Parts:
    """Seconds of one optimizer step; the parts sum to its length."""

    matmul: float
    attention: float
    pointwise: float
    loss: float
    recompute: float
    communication: float
    bubble: float
    optimizer: float
    overhead: float

    @property
    def total(self) -> float:
        """The step's length."""
        return (
            self.matmul
            + self.attention
            + self.pointwise
            + self.loss
            + self.recompute
            + self.communication
            + self.bubble
            + self.optimizer
            + self.overhead
        )

    def as_dict(self) -> dict[str, float]:
        """Part by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _norm(a: float, b: float, p: float) -> float:
    joined: float = (a**p + b**p) ** (1 / p)
    return joined


def _beyond(a: float, b: float, p: float) -> float:
    """By how much `b` lengthens `a`: exactly 0 where b is 0."""
    longer: float = a * ((1 + (b / a) ** p) ** (1 / p) - 1)
    return longer


def _inside(work: Work, r: Rates, passes: float) -> float:
    """Seconds of a micro-batch's traffic between devices that hold parts of one model."""
    tensor = (passes - 1) * (
        work.tensor_link / r.tensor + work.tensor_network / r.network + r.message_seconds * work.tensor_messages
    )
    # Backward passes send as much as forward passes: half of the ring's and of the experts' traffic hides behind attention
    # and shared products; activations and their gradients cross a stage's border once each.
    return (
        tensor
        + (work.context_link / r.link + work.context_network / r.network) * 1.5
        + (work.expert_link / r.link + work.expert_network / r.network) * (1 + _BACKWARD / 2)
        + 2 * (work.pipeline_link / r.link + work.pipeline_network / r.network)
    )


def _gather(work: Work, r: Rates) -> float:
    """Seconds of FSDP's traffic for a micro-batch, were nothing computed meanwhile."""
    return (
        _norm(work.gather_link / r.link, work.gather_network / r.network, _SHARP)
        + r.message_seconds * work.gather_messages
    )


def _sync(work: Work, r: Rates, busy: float) -> float:
    """Seconds by which summing gradients lengthens a step, `busy` being those of a micro-batch."""
    sync = (
        r.sync * _norm(work.sync_link / r.link, work.sync_network / r.network, _SHARP)
        + r.message_seconds * work.sync_messages
    )
    hidden = _beyond(_BACKWARD_SHARE * busy, sync, r.overlap)
    return r.sync_exposed * sync + (1 - r.sync_exposed) * hidden


def step_parts(work: Work, r: Rates) -> Parts:
    """Seconds of each part of one step."""
    forward = (work.linear + r.waves * work.linear_waves) / r.matmul + r.operands * work.linear_bytes
    attend = work.attention / r.attention + r.scores * work.scores
    around = r.pointwise * work.pointwise + r.unfused * work.unfused
    backward = 1 + work.weight_gradients
    matmul = forward * (1 + backward)
    attention = attend * (1 + _BACKWARD_ATTENTION)
    pointwise = around * (1 + _BACKWARD)
    loss = work.head / r.head * (1 + backward) + r.logits * work.logits
    # Selective checkpointing repeats attention in Megatron and every second product in torchtitan: half of attention on average.
    again = work.recompute_full * (forward + attend + around) + work.recompute_selective * (
        r.selective * (forward + around) + 0.5 * attend
    )
    device = matmul + attention + pointwise + loss + again
    passes = 3 + work.recompute_full + 0.5 * work.recompute_selective
    host = r.launch_seconds * work.layers * passes
    waiting = _beyond(device, host, _SHARP)
    inside = _inside(work, r, passes)
    busy = device + waiting + inside
    exposed = _beyond(busy, _gather(work, r), r.overlap)
    microbatch = busy + exposed + r.microbatch_seconds
    synced = _sync(work, r, busy)
    n = work.microbatches
    return Parts(
        matmul=n * matmul,
        attention=n * attention,
        pointwise=n * pointwise,
        loss=n * loss,
        recompute=n * again,
        communication=n * (inside + exposed) + synced,
        bubble=r.bubble * work.bubble * microbatch,
        optimizer=r.optimizer * work.optimizer,
        overhead=n * (waiting + r.microbatch_seconds) + r.step_seconds,
    )

"""What the forward pass keeps for the backward pass on one pipeline stage, and what the loss holds.

Composer's models are counted operator by operator (activations.py). Other stacks are counted as Korthikanti
et al. 2022 (arXiv 2205.05198, section 4) do: each matrix keeps its input, each non-linearity its own; a tensor axis divides what
lies between its matrices, sequence parallelism the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

from compiler.estimate.memory.activations import activations, counted
from compiler.estimate.memory.habits import Habits
from compiler.estimate.workload import Workload

__all__ = ["Kept", "kept"]


@dataclass(frozen=True, slots=True)
class Kept:
    """Bytes on one device.

    Args:
        saved: of all layers of the stage and all micro-batches in flight.
        ending, ending_loss: while the first layer's backward pass runs, the last to come, and the embedding's after it.
        working: more during the backward pass of one layer.
        forward_casts, casts: 16-bit copies of weights that autocast makes: during the forward pass, and kept after it.
        forward_loss, loss, backward_loss: logits and their copies at the end of the forward pass, at the fullest moment of
            the loss, and during the backward pass.
    """

    saved: float
    ending: float
    working: float
    forward_casts: float
    casts: float
    forward_loss: float
    loss: float
    backward_loss: float
    ending_loss: float


def kept(w: Workload, habits: Habits, *, layers: int, in_flight: float, last: bool) -> Kept:
    """What a stage holds.

    Args:
        w: one optimizer step.
        habits: of its stack.
        layers: of the stage.
        in_flight: micro-batches whose activations wait for their backward pass.
        last: the stage computes the loss.
    """
    if counted(w):
        return _composer(w)
    tokens = w.microbatch * w.sequence_length / w.layout.context
    scores = tokens * _scores(w)
    each = habits.score_bytes if w.attention == "eager" else habits.fused_score_bytes
    matrices = tokens * _layer_bytes(w, habits)
    layer = matrices + scores * each
    checkpoint = min(layer, tokens * _width(w) * w.shape.hidden / _sequence_parts(w))
    held = {
        "none": layer,
        # Selective checkpointing drops the scores first.
        "selective": checkpoint + (matrices - checkpoint) * habits.selective_share,
        "full": checkpoint,
    }[w.recompute]
    again = 0.0 if w.recompute == "none" else layer - held
    loss = tokens * _logit_bytes(w, habits) * w.shape.vocabulary if last else 0.0
    return Kept(
        saved=held * layers * in_flight,
        ending=layer,
        working=again + matrices * habits.working + scores * habits.score_working,
        forward_casts=0.0,
        casts=0.0,
        forward_loss=0.0,
        loss=loss,
        backward_loss=loss * habits.logits_stay,
        ending_loss=0.0,
    )


def _composer(w: Workload) -> Kept:
    ours = activations(w)
    return Kept(
        saved=ours.saved,
        ending=max(ours.saved / w.shape.layers + ours.working, ours.embedding),
        working=ours.working,
        forward_casts=ours.forward_casts,
        casts=ours.casts,
        forward_loss=2 * ours.outputs,
        loss=ours.loss,
        backward_loss=ours.outputs,
        ending_loss=ours.outputs,
    )


def _width(w: Workload) -> float:
    """Bytes of an activation; fp8 and fp4 runs keep most of theirs in 16 bits."""
    return 4.0 if w.numerics.compute == "fp32" else 2.0


def _sequence_parts(w: Workload) -> int:
    return w.layout.tensor if w.layout.sequence_parallel else 1


def _layer_bytes(w: Workload, habits: Habits) -> float:
    """Per token, with no recomputation, attention scores apart."""
    shape, width = w.shape, _width(w)
    inner, grouped = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    attention = width * (2 * inner + 2 * grouped)
    if w.attention == "flash1":
        attention += habits.flash1_bytes * (inner + 2 * grouped)
    # gate, up, activation and product, or the activation's input and output; a frozen matrix needs no input.
    tensors = (4 if shape.gated else 2) - (1 if w.numerics.trainable < 1 else 0)
    mlp = width * tensors * shape.intermediate * shape.active_experts
    # Tokens are copied to their experts and back.
    routed = 2 * width * shape.hidden * shape.active_experts if shape.experts > 1 else 0.0
    return _norm_bytes(w, habits) + (attention + mlp) / w.layout.tensor + routed


def _scores(w: Workload) -> float:
    """Attention scores per token and layer that a softmax writes to memory, in numbers of two bytes each."""
    if w.attention not in ("eager", "fused"):
        return 0.0
    return _width(w) / 2 * w.shape.heads * w.sequence_length / (w.layout.context * w.layout.tensor)


def _norm_bytes(w: Workload, habits: Habits) -> float:
    """Of both norms of a layer, per token: their inputs and copies, and their outputs, which are inputs of matrices."""
    width = _width(w)
    each = habits.norm_bytes
    # torch's LayerNorm (the one with biases) is one kernel when the weights are 16-bit; autocast runs it in fp32.
    native = w.shape.biases and w.numerics.weight_bytes <= 2
    if w.fused_norm or w.compiled or native or w.numerics.compute == "fp32":
        each = habits.fused_norm_bytes * width / 2
    output = 0.0 if w.numerics.trainable < 1 else width
    parts = _sequence_parts(w)
    return 2 * w.shape.hidden * ((each - width) / parts + output / (1 if habits.whole_inputs else parts))


def _logit_bytes(w: Workload, habits: Habits) -> float:
    """Per token and row of the vocabulary: logits and their copies at the fullest moment of the loss."""
    # llm-foundry's fused cross-entropy writes the gradient over the 16-bit logits.
    each = 5.0 if w.stack == "composer" and w.fused_norm else habits.logit_bytes
    if w.numerics.compute == "fp32":
        each = max(each, 16.0)  # logits, log-softmax and the gradients of both
    return each / (1 if habits.whole_logits else w.layout.tensor)

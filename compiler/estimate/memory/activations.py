"""Bytes that one micro-batch leaves on a device until its backward pass: blocks and loss, as runtime/models/ builds them.

Each coefficient is a sum over the tensors that autograd keeps, operator by operator, in Hugging Face's llama and gpt2
(transformers 4.57) under Composer's autocast and torch 2.7. `recipec plan --trace` runs the same model on fake tensors and
shows both; tests/runtime/tracing/test_trace.py holds them to 5 %. Widths below: h of the residual stream, k of all
keys (= h without grouped queries), f inside the MLP, a heads, s positions, V rows of the vocabulary.

Three ways to compute, since the width of what is kept depends on it:

    plain     fp32 all through
    autocast  fp32 weights, products cast to bf16 (one copy a device, DDP): the residual stream stays fp32
    gathered  weights arrive in bf16 (FSDP): the residual stream is bf16, norms still compute in fp32
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

from compiler.estimate.workload import Shape, Workload

__all__ = ["Activations", "activations", "counted", "layer_bytes", "loss_bytes"]

Way = Literal["plain", "autocast", "gathered"]


@dataclass(frozen=True, slots=True)
class _Block:
    """Bytes per token of one block, in units of the widths.

    Args:
        residual: of the stream between blocks, x h; all that activation checkpointing keeps.
        keeps_residual: the block keeps that very tensor (else a copy in another format, counted in `kept`).
        kept: x h; keys: x k; inner: x f: what waits for the backward pass, attention's scores apart.
        working_h, working_f: more at the fullest moment of the MLP's backward pass.
        rerun_f: the same for a block that was recomputed, whose last product is not made again.
        attention_h: all of the block that is there while attention's own backward pass runs, scores apart, x h.
        last: the norm after the last block, x h.
        rows: bytes a token in norms' statistics.
    """

    residual: float
    keeps_residual: bool
    kept: float
    keys: float
    inner: float
    working_h: float
    working_f: float
    rerun_f: float
    attention_h: float
    last: float
    rows: float


_BLOCKS: Final[dict[tuple[str, Way], _Block]] = {
    # llama, kept: two norms, each its input in fp32 (4 h, for the first the stream itself), the normed input (4 h, gathered
    # 2 h) and its product with the weight, copied to bf16 once for each matrix that reads it (q, k, v and gate, up: 10 h;
    # plain 8 h, gathered 4 h as one tensor serves all). Attention: rotated queries and output (2 x 2 h), rotated keys and
    # values (2 x 2 k). MLP: gate, silu(gate), up and their product (4 x 2 f). What is rotated isn't kept unrotated.
    # Backward of the MLP: gradient of the stream, and of the product's two factors.
    ("llama", "plain"): _Block(4, True, 32, 8, 16, 4, 8, 8, 28, 12, 8),
    ("llama", "autocast"): _Block(4, True, 30, 4, 8, 4, 4, 4, 24, 10, 8),
    ("llama", "gathered"): _Block(2, False, 20, 4, 8, 2, 4, 4, 16, 8, 8),
    # gpt2, kept: two norms, each its input in fp32 and its output in the compute format (2 x 6 h; plain 2 x 8 h); query,
    # key and value as one tensor, and the output (6 h + 2 h). The MLP's gelu is written out in Hugging Face's gpt2, and
    # autocast takes its power in fp32: half the input (2 f), the input in fp32, tanh and 1 + tanh (3 x 4 f), and the product
    # in bf16 for the next matrix (2 f). Backward of the MLP: fp32 gradients through tanh and the power.
    ("gpt2", "plain"): _Block(4, True, 32, 0, 20, 4, 8, 8, 24, 8, 16),
    ("gpt2", "autocast"): _Block(4, True, 20, 0, 16, 4, 12, 10, 16, 6, 16),
    ("gpt2", "gathered"): _Block(2, False, 20, 0, 16, 2, 12, 10, 14, 6, 16),
}


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes on one device for one micro-batch.

    Args:
        saved: what all blocks and the last norm keep from forward to backward pass.
        casts: bf16 copies of weights that autocast made, kept with them (0 under FSDP); `forward_casts` while the forward
            pass runs: with activation checkpointing they are dropped at its end.
        outputs: the logits, which Composer keeps until the next micro-batch's take their place.
        loss: logits, their fp32 copies and gradients at the fullest moment of the loss (`outputs` included).
        working: more at the fullest moment of a block's backward pass: gradients inside it, and with activation
            checkpointing what it recomputes.
        embedding: more while the embedding's gradient is made: tied weights have two gradients that become a third.
    """

    saved: float
    casts: float
    forward_casts: float
    outputs: float
    loss: float
    working: float
    embedding: float

    @property
    def at_forward(self) -> float:
        """At the end of the forward pass; the logits of the micro-batch before are still there."""
        return self.saved + self.forward_casts + 2 * self.outputs

    @property
    def at_loss(self) -> float:
        """At the fullest moment of loss and its gradient."""
        return self.saved + self.casts + self.loss

    @property
    def at_backward(self) -> float:
        """At the fullest moment of the last block's backward pass, which comes first."""
        return self.saved + self.casts + self.outputs + self.working

    @property
    def peak(self) -> float:
        """The largest of the three."""
        return max(self.at_forward, self.at_loss, self.at_backward)


def counted(w: Workload) -> bool:
    """Whether a workload's model is the one of runtime/models/planned.py, on devices that each hold all of its layers."""
    layout = w.layout
    return w.stack == "composer" and not w.fused_norm and layout.tensor == layout.pipeline == layout.context == 1


def _way(w: Workload) -> Way:
    """How matrix products get their operands."""
    if w.numerics.compute == "fp32":
        return "plain"
    return "autocast" if w.layout.sharding == "none" and w.numerics.weight_bytes >= 4 else "gathered"


def _block(w: Workload) -> _Block:
    return _BLOCKS["llama" if w.shape.gated else "gpt2", _way(w)]


def _keeps_scores(w: Workload) -> bool:
    """Whether attention writes its scores to memory: eager does; torch has no fp32 kernel for grouped queries.

    Nor does it have one with dropout for the CPU.
    """
    if w.attention in ("eager", "fused") or (w.dropout and _on_cpu(w)):
        return True
    return w.numerics.compute == "fp32" and w.shape.kv_heads < w.shape.heads


def _on_cpu(w: Workload) -> bool:
    return w.device.name == "cpu"


def _mask_bytes(w: Workload) -> float:
    """Bytes that dropout keeps for each value: a GPU's kernel a byte; on a CPU the fp32 factors themselves."""
    return 4.0 if _on_cpu(w) else 1.0


def _score_bytes(w: Workload) -> float:
    """Bytes kept for each of the a s scores of a token: softmax in fp32 and its copy for the product with the values."""
    low = 0.0 if w.numerics.compute == "fp32" else 2.0
    if not w.dropout:
        return 4.0 + low
    return 4.0 + _mask_bytes(w) + (low or 4.0)  # the product takes what was dropped out


def layer_bytes(w: Workload) -> float:
    """Bytes that one block keeps for each token between its forward and its backward pass."""
    shape, block = w.shape, _block(w)
    if w.recompute == "full":
        return block.residual * shape.hidden
    wide, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    if _keeps_scores(w):
        keys = wide  # expanded to all heads
        scores = _score_bytes(w) * shape.heads * w.sequence_length
    else:
        scores = 4.0 * shape.heads  # the logarithm of each row's sum
    masks = 2.0 * _mask_bytes(w) * shape.hidden if w.dropout else 0.0
    # gpt2 keeps query, key and value in one tensor, counted in `kept`.
    return (
        block.kept * shape.hidden + block.keys * keys + block.inner * shape.intermediate + scores + masks + block.rows
    )


def loss_bytes(w: Workload) -> float:
    """Bytes a token at the fullest moment of the loss: when the gradient of the log-softmax is made.

    For each entry of the vocabulary: the logits (bf16: 2, fp32: 4), and in fp32 the log-softmax, its gradient and the
    gradient of its input (3 x 4). The fp32 copy of bf16 logits is gone by then, unless a z-loss kept it (4) and made a
    gradient of its own (4; in fp32 the logits themselves are what is kept).
    """
    low = w.numerics.compute != "fp32"
    if w.distilled:
        # The fullest moment is then the divergence itself: beside what the loss keeps, the teacher's logits, both sides in
        # fp32, divided by the temperature, as log-softmax, and the terms of their sum. A z-loss keeps 4 more of bf16 logits.
        entry = 28.0 + (4.0 if w.z_loss or not low else 0.0)
    else:
        entry = (14.0 if low else 16.0) + (0.0 if not w.z_loss else 8.0 if low else 4.0)
    return entry * w.shape.vocabulary


def _working_bytes(w: Workload) -> float:
    """Bytes a token that a block's backward pass needs beside what all blocks keep."""
    shape, block = w.shape, _block(w)
    again = w.recompute == "full"
    mlp = block.working_h * shape.hidden + (block.rerun_f if again else block.working_f) * shape.intermediate
    kept = 0.0 if again else layer_bytes(w)
    if again:
        mlp += layer_bytes(replace(w, recompute="none"))
        mlp -= block.residual * shape.hidden if block.keeps_residual else 0.0  # there already: it is the checkpoint
    if not _keeps_scores(w):
        return mlp
    # Softmax's backward: gradient in the format of the products, in fp32, and its result: 12 bytes a score with what is kept.
    scores = (13.0 if w.dropout and w.numerics.compute == "fp32" else 12.0) * shape.heads * w.sequence_length
    return max(mlp, scores + block.attention_h * shape.hidden - kept)


def activations(w: Workload) -> Activations:
    """Activations, logits and loss of one micro-batch on one device that holds all layers."""
    shape, block, way = w.shape, _block(w), _way(w)
    tokens = w.microbatch * w.sequence_length
    width = 4.0 if way == "plain" else 2.0
    again = w.recompute == "full"
    head = 2.0 * shape.vocabulary * shape.hidden
    matrices = 0.0 if way != "autocast" else 2.0 * shape.layers * _matrix_parameters(shape) + head
    casts = matrices if not again else min(matrices, head)
    return Activations(
        saved=tokens * (shape.layers * layer_bytes(w) + block.last * shape.hidden),
        casts=casts,
        forward_casts=matrices,
        outputs=width * tokens * shape.vocabulary,
        loss=tokens * loss_bytes(w),
        working=tokens * _working_bytes(w),
        embedding=2.0 * (2.0 if way == "gathered" else 4.0) * shape.vocabulary * shape.hidden if shape.tied else 0.0,
    )


def _matrix_parameters(shape: Shape) -> float:
    """Weights of one block's matrices, which autocast copies."""
    wide, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    mlp = (3 if shape.gated else 2) * shape.hidden * shape.intermediate
    return 2.0 * shape.hidden * wide + 2.0 * shape.hidden * keys + mlp

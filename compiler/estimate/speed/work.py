"""What one device does in one optimizer step, in seconds at its printed peaks: the physics, free of calibration.

Every figure is FLOPs over the dense peak, bytes over the memory's bandwidth, or bytes over a link's bandwidth; the calibrated
efficiencies (compiler/estimate/speed/calibration.py) turn them into real seconds. FLOPs of a decoder: Narayanan et al. 2021
(arXiv 2104.04473, appendix); tensor, pipeline and context traffic: Korthikanti et al. 2022 (arXiv 2205.05198).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from compiler.estimate.speed.traffic import gathers, group_of, local_parameters, sync
from compiler.estimate.workload import ComputeFormat, Workload

__all__ = ["Work", "model_flops_per_token", "peak_rate", "work_of"]

# A matrix product is cut into tiles of 128 x 256; its last wave keeps the device busy for one tile on every processor.
_TILE: Final = 128 * 256
# Streaming multiprocessors of a large GPU (A100 108, H100 132, B200 148): sets the length of a last wave.
_PROCESSORS: Final = 128
_SIXTEEN_BITS: Final = 2.0
# Software whose RMS norms and rotations are kernels of its own.
_FUSED: Final = frozenset(
    {"nemo", "megatron", "megatron-deepspeed", "internevo", "automodel", "ml-dataflow", "xla", "maxtext"}
)


@dataclass(frozen=True, slots=True)
class Work:
    """Ideal seconds of one device; per forward pass of one micro-batch where nothing else is said.

    Args:
        linear: matrix products of the blocks; linear_waves: their unfinished last waves; linear_bytes: their operands.
        head: output layer; logits: one pass over the logits in fp32.
        attention: causal half of the scores; scores: one pass over the score matrix, where the kernel writes it.
        pointwise: norms, residuals, activations and rotations, each in one kernel; unfused: one more pass over the inputs of
            RMS norms and over queries and keys, where neither a kernel nor a compiler joins their many small steps.
        layers: blocks of the fullest pipeline stage, an integer.
        microbatches: of a step; bubble: idle micro-batches of the pipeline's ends.
        recompute_full, recompute_selective: 1 if so.
        tensor_link, tensor_network, tensor_messages: one all-reduce in each half block, over the tensor axis.
        context_link, context_network: keys and values around the ring.
        expert_link, expert_network: dispatch and combination of tokens.
        pipeline_network, pipeline_link: activations handed to the next stage.
        gather_link, gather_network, gather_messages: FSDP's all-gather of a stage's weights (one of two where they are
            freed after the forward pass) and reduce-scatter, together per micro-batch.
        sync_link, sync_network, sync_messages: reduction of gradients and gathering of weights once per step.
        optimizer: bytes of weights, gradients and states that the update reads and writes.
        weight_gradients: share of the weights that learn; frozen ones need no gradient of their own.
    """

    linear: float
    linear_waves: float
    linear_bytes: float
    head: float
    logits: float
    attention: float
    scores: float
    pointwise: float
    unfused: float
    layers: float
    microbatches: float
    bubble: float
    recompute_full: float
    recompute_selective: float
    tensor_link: float
    tensor_network: float
    tensor_messages: float
    context_link: float
    context_network: float
    expert_link: float
    expert_network: float
    pipeline_link: float
    pipeline_network: float
    gather_link: float
    gather_network: float
    gather_messages: float
    sync_link: float
    sync_network: float
    sync_messages: float
    optimizer: float
    weight_gradients: float


def peak_rate(w: Workload, *, sixteen_bits: bool = False) -> float:
    """Dense peak in FLOP/s of the compute format (or of its 16-bit partner: attention and output layer stay in it).

    A format that the device lacks runs at the next wider one that it has.
    """
    peaks = w.device.peak_flops
    compute = w.numerics.compute
    half = peaks.get("bf16") or peaks.get("fp16")
    if compute == "fp32":
        return peaks.get("fp32") or half or max(peaks.values())
    order: tuple[ComputeFormat, ...] = (compute, "fp8") if compute == "fp4" else (compute,)
    wanted = None if sixteen_bits else next((peaks[f] for f in order if f in peaks), None)
    return wanted or half or peaks.get("fp32") or max(peaks.values())


def model_flops_per_token(w: Workload) -> float:
    """Training FLOPs of a token by the convention of PaLM and llm-foundry: 6 N + 12 L h s, N without idle experts."""
    s = w.shape
    return 6.0 * s.active_parameters + 12.0 * s.layers * s.heads * s.head_size * w.sequence_length


@dataclass(frozen=True, slots=True)
class _Product:
    """A matrix product of a block on one tensor rank: rows per token, outputs, inputs, and copies of its weights (experts)."""

    rows: float
    outputs: float
    inputs: float
    copies: float


def _products(w: Workload) -> tuple[_Product, ...]:
    s, tensor = w.shape, w.layout.tensor
    inner = s.heads * s.head_size
    grouped = s.kv_heads * s.head_size
    width = s.intermediate / tensor
    experts = max(1.0, s.experts / w.layout.expert)
    return (
        _Product(1, (inner + 2 * grouped) / tensor, s.hidden, 1),
        _Product(1, s.hidden, inner / tensor, 1),
        _Product(s.active_experts, width * (2 if s.gated else 1), s.hidden, experts),
        _Product(s.active_experts, s.hidden, width, experts),
    )


def _linear(w: Workload, tokens: float, layers: float) -> tuple[float, float, float]:
    """Ideal seconds of a forward pass: FLOPs, last waves, operands."""
    s, wide = w.shape, peak_rate(w)
    flops = waves = elements = 0.0
    for p in _products(w):
        flops += 2 * tokens * p.rows * p.outputs * p.inputs
        # Products of all experts run as one group, whose last waves overlap but for a few.
        waves += _TILE * p.inputs * _PROCESSORS * min(p.copies, 4.0)
        elements += tokens * p.rows * (p.outputs + p.inputs) + p.outputs * p.inputs * p.copies
    if s.experts > 1:
        # Shared experts and unequal layers are in the count of active parameters, not in the dimensions.
        stated = s.active_parameters - s.vocabulary * s.hidden * (1 if s.tied else 2)
        counted = flops / (2 * tokens) * s.layers * w.layout.tensor
        flops *= min(4.0, max(0.25, stated / counted))
    bandwidth = w.device.memory_bandwidth
    return flops * layers / wide, waves * layers / wide, _SIXTEEN_BITS * elements * layers / bandwidth


def _attention(w: Workload, tokens: float, layers: float) -> tuple[float, float]:
    s, lay = w.shape, w.layout
    inner = s.heads * s.head_size / lay.tensor
    causal = 2 * tokens * w.sequence_length * inner
    scores = tokens * w.sequence_length * s.heads / lay.tensor * _SIXTEEN_BITS
    written = w.attention in ("fused", "eager")
    flops = 2 * causal if written else causal
    return (
        flops * layers / peak_rate(w, sixteen_bits=True),
        scores * layers / w.device.memory_bandwidth if written else 0.0,
    )


def _pointwise(w: Workload, tokens: float, layers: float) -> float:
    """Bytes of a block besides its matrices: norms and residuals (10 h), heads (6), activation (2 or 3 inner widths)."""
    s, lay = w.shape, w.layout
    spread = lay.tensor if lay.sequence_parallel else 1
    norms = 10.0 * s.hidden / spread
    heads = 3.0 * (s.heads + s.kv_heads) * s.head_size / lay.tensor
    wide = (3.0 if s.gated else 2.0) * s.intermediate * s.active_experts / lay.tensor
    moved = 6.0 * s.hidden * (s.active_experts if s.experts > 1 else 0)
    return _SIXTEEN_BITS * tokens * (norms + heads + wide + moved) * layers / w.device.memory_bandwidth


def _unfused(w: Workload, tokens: float, layers: float) -> float:
    """RMS norms and rotations written in plain PyTorch; layer norms have always been one kernel."""
    s, lay = w.shape, w.layout
    if not s.gated or w.compiled or w.fused_norm or w.stack in _FUSED:
        return 0.0
    norms = 2.0 * s.hidden / (lay.tensor if lay.sequence_parallel else 1)
    turned = (s.heads + s.kv_heads) * s.head_size / lay.tensor
    return _SIXTEEN_BITS * tokens * (norms + turned) * layers / w.device.memory_bandwidth


def _optimizer(w: Workload) -> float:
    lay, n = w.layout, w.numerics
    local = local_parameters(w) * n.trainable
    shards = 1 if lay.sharding == "none" else max(1, lay.shard_degree)
    moved = 2 * (n.weight_bytes + n.optimizer_bytes) + 2 * n.gradient_bytes
    return local / shards * moved / w.device.memory_bandwidth


def work_of(w: Workload) -> Work:
    """The step's work on the busiest device."""
    s, lay = w.shape, w.layout
    tokens = w.microbatch * w.sequence_length / lay.context
    layers = s.layers / lay.pipeline
    linear, waves, operands = _linear(w, tokens, layers)
    attention, scores = _attention(w, tokens, layers)
    head = 2 * tokens * s.hidden * s.vocabulary / lay.tensor / peak_rate(w, sixteen_bits=True)
    residual = tokens * s.hidden * _SIXTEEN_BITS
    tensor = group_of(w, lay.tensor, 1).gather(2 * residual)
    ring = group_of(w, lay.context, lay.tensor)
    around = 2 * s.kv_heads * s.head_size / lay.tensor * tokens * _SIXTEEN_BITS * lay.context
    context = ring.gather(around * layers)
    routed = group_of(w, lay.expert, lay.tensor).gather(2 * residual * s.active_experts)
    stage = group_of(w, 2, lay.tensor * lay.context * lay.data) if lay.pipeline > 1 else group_of(w, 1, 1)
    handed = residual / (lay.tensor if lay.sequence_parallel else 1)
    gather = gathers(w, layers)
    summed = sync(w, layers)
    return Work(
        linear=linear,
        linear_waves=waves,
        linear_bytes=operands,
        head=head,
        logits=4.0 * tokens * s.vocabulary / lay.tensor / w.device.memory_bandwidth,
        attention=attention,
        scores=scores,
        pointwise=_pointwise(w, tokens, layers),
        unfused=_unfused(w, tokens, layers),
        layers=layers,
        microbatches=float(max(1, w.accumulation)),
        bubble=(lay.pipeline - 1) / max(1, lay.virtual_stages),
        recompute_full=float(w.recompute == "full"),
        recompute_selective=float(w.recompute == "selective"),
        tensor_link=2 * tensor[0] * layers,
        tensor_network=2 * tensor[1] * layers,
        tensor_messages=2 * layers * group_of(w, lay.tensor, 1).hops,
        context_link=context[0],
        context_network=context[1],
        expert_link=routed[0] * layers if s.experts > 1 else 0.0,
        expert_network=routed[1] * layers if s.experts > 1 else 0.0,
        pipeline_link=handed / stage.link if stage.near > 1 else 0.0,
        pipeline_network=handed / stage.network if stage.size > stage.near else 0.0,
        gather_link=gather[0],
        gather_network=gather[1],
        gather_messages=gather[2],
        sync_link=summed[0],
        sync_network=summed[1],
        sync_messages=summed[2],
        optimizer=_optimizer(w),
        weight_gradients=w.numerics.trainable,
    )

"""How much memory each training software spends where neither a recipe nor a row says so: few physical constants per stack.

Most follow from what autograd saves (the comments count bytes per element); the rest is calibrated by
benchmarks/calibrate/memory.py on published peaks and out-of-memory runs; RESULTS.md there shows held-out errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

__all__ = ["Habits", "habits_of"]


@dataclass(frozen=True, slots=True)
class Habits:
    """What a stack does with memory.

    Args:
        norm_bytes: kept around one norm per element of the width. An eager RMSNorm in 16-bit training keeps its input
            (2), the fp32 copy (4), the normalised fp32 copy (4) and its output, the input of the next matrix (2).
        fused_norm_bytes: the same with a norm kernel or a compiler: input and output.
        logit_bytes: per logit in the loss: the 16-bit logits, their fp32 copy, the log-softmax, its gradient.
        score_bytes, fused_score_bytes: per attention score of an eager and of a fused softmax.
        score_working: per attention score, more during the backward pass of an eager or fused softmax (its gradient and the
            scores', in fp32 and in 16 bits).
        flash1_bytes: per element of q, k and v: FlashAttention 1 packs them into one more tensor.
        selective_share: of a layer's kept bytes, with selective activation checkpointing.
        working: share of a layer's kept bytes that its backward pass needs on top of them.
        logits_stay: share of the loss's bytes that live on during the backward pass (the graph still holds the logits).
        whole_logits: every tensor-parallel rank holds all logits, not its part of the vocabulary.
        whole_inputs: sequence parallelism keeps the gathered inputs of the matrices, not the parts.
        gradients_stay: gradients lie in a buffer that is never freed.
        foreach: the optimizer step makes one temporary per weight.
        loads_whole: each device reads all the weights before they are shared.
        fragmentation: bytes that the allocator reserves for one that is used, of what is allocated in a step.
        fixed_bytes: CUDA context, library workspaces, communication buffers.
        spread: half-width, in logarithms, of the interval that nine in ten printed peaks fell in (RESULTS.md).
    """

    norm_bytes: float = 12.0
    fused_norm_bytes: float = 4.0
    logit_bytes: float = 14.0
    score_bytes: float = 8.0
    fused_score_bytes: float = 5.0
    score_working: float = 12.0
    flash1_bytes: float = 0.0
    selective_share: float = 0.5
    working: float = 0.5
    logits_stay: float = 0.5
    whole_logits: bool = False
    whole_inputs: bool = False
    gradients_stay: bool = False
    foreach: bool = True
    loads_whole: bool = False
    fragmentation: float = 1.05
    fixed_bytes: float = 1.5e9
    spread: float = 0.25


_TORCH: Final = Habits()
# Megatron-LM: fused norms and softmax (Korthikanti et al. 2022, eq. 2: 5 bytes per score), contiguous gradient buffers,
# Apex's optimizer works in place, cross-entropy over parts of the vocabulary.
_MEGATRON: Final = replace(
    _TORCH, norm_bytes=4.0, logit_bytes=10.0, selective_share=1.0, gradients_stay=True, foreach=False
)
_HABITS: Final = MappingProxyType(
    {
        # llm-foundry runs norms in 16 bits and cross-entropy in a fused kernel that overwrites the logits.
        "composer": replace(_TORCH, spread=0.15),
        # Aleph Alpha's scaling runs (Hagemann et al. 2023): calibrated on 503 runs, 304 of them out of memory.
        "scaling": Habits(
            norm_bytes=11.7,
            fused_norm_bytes=5.4,
            logit_bytes=22.0,
            score_bytes=7.3,
            fused_score_bytes=4.9,
            score_working=10.4,
            flash1_bytes=1.9,
            working=0.5,
            logits_stay=0.55,
            whole_logits=True,
            whole_inputs=True,
            gradients_stay=True,
            foreach=False,
            fragmentation=1.073,
            fixed_bytes=1.6e9,
            spread=0.10,
        ),
        "megatron": _MEGATRON,
        "nanotron": _MEGATRON,
        # Recomputing norms and activation functions (`recompute_modules`) leaves the inputs of the matrices: 55 %.
        "nemo": replace(_MEGATRON, selective_share=0.55),
        # Peaks as nvidia-smi shows them: context and NCCL buffers of three groups are in them.
        "megatron-deepspeed": replace(_MEGATRON, fixed_bytes=9e9),
        "internevo": replace(_MEGATRON, logit_bytes=14.0, foreach=True, fixed_bytes=14e9, spread=0.30),
        "automodel": replace(_TORCH, norm_bytes=4.0),
        "torchtitan": replace(_TORCH, norm_bytes=4.0, selective_share=0.42, spread=0.20),
        "fms-fsdp": replace(_TORCH, norm_bytes=6.0, selective_share=0.25),
        "olmo-core": replace(_TORCH, norm_bytes=4.0),
        "xla": replace(_TORCH, norm_bytes=4.0, foreach=False),
        "maxtext": replace(_TORCH, norm_bytes=4.0, foreach=False),
        # torch's own count of memory: no context in it.
        "litgpt": replace(
            _TORCH, logit_bytes=10.0, loads_whole=True, fragmentation=1.08, fixed_bytes=0.9e9, spread=0.15
        ),
        "fsdp-qlora": replace(_TORCH, fragmentation=1.08, fixed_bytes=2.3e9),
        "torchtune": replace(_TORCH, logit_bytes=8.0, fixed_bytes=1.0e9, spread=0.50),
        "vectorlm": _TORCH,
    }
)


def habits_of(stack: str) -> Habits:
    """The habits of a stack; plain PyTorch's for one that is not known."""
    return _HABITS.get(stack, _TORCH)

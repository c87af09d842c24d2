"""Training software by the name that a table gives it: formats, bytes and habits that its rows do not spell out."""

from __future__ import annotations

import re
from typing import Final

from compiler.estimate.workload import AttentionKernel, ComputeFormat, Numerics, Recompute, Sharding

__all__ = [
    "ADAPTING",
    "compute_format",
    "habitual_recompute",
    "habitual_sharding",
    "is_silent",
    "kernel_of",
    "numerics_of",
    "recompute_of",
    "release_of",
    "stack_of",
]

# First match wins; the words are looked for in software, family and sharding, in this order of columns.
_STACKS: Final = (
    ("ml_dataflow|host offload engine", "ml-dataflow"),
    ("llm-foundry|llm foundry|mosaicml|composer", "composer"),
    ("aa-scaling|aleph", "scaling"),
    ("automodel", "automodel"),
    ("megatron-deepspeed|bigscience|gpt-?neox", "megatron-deepspeed"),
    ("megatron-bridge|nemo", "nemo"),
    ("megatron", "megatron"),
    ("internevo|internlm", "internevo"),
    ("torchtitan", "torchtitan"),
    ("fsdp_qlora|fsdp-qlora", "fsdp-qlora"),
    ("fms-fsdp|(?:py)?torch fsdp", "fms-fsdp"),
    ("litgpt|lit-gpt", "litgpt"),
    ("vectorlm", "vectorlm"),
    ("torchtune", "torchtune"),
    ("olmo-core", "olmo-core"),
    ("maxtext", "maxtext"),
    (r"\bpax(?:ml)?\b|jax|xla|levanter|easylm|t5x|\bflax", "xla"),
    ("nanotron", "nanotron"),
    ("nanogpt", "nanogpt"),
    ("deepspeed", "deepspeed"),
)
_PARALLEL: Final = frozenset({"scaling", "nemo", "megatron", "megatron-deepspeed", "internevo", "nanotron"})
ADAPTING: Final = frozenset({"nemo", "megatron", "nanotron", "automodel", "olmo-core", "xla", "maxtext"})
"""Software whose published recipes choose activation checkpointing, so that a silent row says nothing about it."""
_RELEASE: Final = re.compile(r"torch[ :][01]\.\d+(?:/1\.\d+ mix)?|\b2\d\.\d\d\b|\b20[12]\d(?:-\d\d)?\b", re.IGNORECASE)
_SILENT: Final = re.compile(
    r"|n/?a|nan|-+|\?|unknown|unspecified|not (?:stated|given|recorded|specified)|default", re.IGNORECASE
)
# Words on activation checkpointing, the first that match; "auto 10%" is ml_dataflow's, which keeps what fits.
_KEPT: Final[tuple[tuple[str, Recompute], ...]] = (
    (r"^(?:none|no|off|false|0|disabled|auto \d+ ?%)$|^no\b|without|^w/o", "none"),
    (
        r"selective|\bsac\b|minimal|partial|every \d|every_n|\d ?/ ?\d|\d+ (?:of \d+ )?(?:layers|blocks)|\d ?%",
        "selective",
    ),
    (r"attention only|core_?attn|^attn|^attention$|mlp|moe|norm|save_|dots|^op$|^layer$", "selective"),
    (r"full|^(?:true|yes|on|1|all|enabled|block|ac|remat|unsloth)$|^uniform|per[- ]layer", "full"),
    (r"every (?:layer|block)|checkpointing", "full"),
)
_FP8: Final = re.compile(r"fp8|float8", re.IGNORECASE)
# bitsandbytes' fp4 is a format of stored weights: products are in 16 bits.
_FP4: Final = re.compile(r"nvfp4|mxfp4|(?<!bnb\.)\bfp4", re.IGNORECASE)
_HALF: Final = re.compile(r"fp16|float16|half|(?<!\w)16-(?:mixed|true)", re.IGNORECASE)
_BRAIN: Final = re.compile(r"bf16|bfloat16|nf4|bnb\.|\b4-?bit", re.IGNORECASE)
_SINGLE: Final = re.compile(r"fp32|tf32|float32|^32(?:-true)?$", re.IGNORECASE)
_QUANTISED: Final = re.compile(r"nf4|int4|fp4 weights|bnb\.fp4|4-?bit|qlora", re.IGNORECASE)
_BYTES: Final = re.compile(r"int8|8-?bit", re.IGNORECASE)


def stack_of(software: str, family: str, sharding: str, *, model_parallel: bool) -> str:
    """The software whose behaviour the calibration knows; `other` (or `megatron` with tensor or pipeline stages) if none."""
    for words in (software, family, sharding):
        for pattern, stack in _STACKS:
            if re.search(pattern, words, re.IGNORECASE):
                return stack
    return "megatron" if model_parallel else "other"


def release_of(software: str, precision: str, sharding: str) -> str:
    """The release that the words name (`torch-1.12`, `25.09`, `2021`), then traits that change a speed, where they are said:
    `rowwise` (fp8 with a scale for each row, which costs more), `async` (tensor-parallel traffic overlapped with products).
    """
    found = _RELEASE.search(software)
    named = found[0].lower().replace(" ", "-").replace(":", "-") if found else ""
    traits = (
        "rowwise" if "rowwise" in precision else "",
        "async" if re.search(r"async", sharding, re.IGNORECASE) else "",
    )
    return " ".join(filter(None, (named, *traits)))


def compute_format(precision: str) -> ComputeFormat | None:
    """Format of the matrix products; None where the words name none."""
    table: tuple[tuple[re.Pattern[str], ComputeFormat], ...] = (
        (_FP4, "fp4"),
        (_FP8, "fp8"),
        (_BRAIN, "bf16"),
        (_HALF, "fp16"),
        (_SINGLE, "fp32"),
    )
    return next((name for pattern, name in table if pattern.search(precision)), None)


def numerics_of(
    stack: str, precision: str, sharding: str, compute: ComputeFormat, *, trainable: float, embedding_share: float
) -> Numerics:
    """Bytes of weights, gradients and optimizer states.

    Args:
        stack: of `stack_of`.
        precision: as the table writes it, with the task.
        sharding: as the table writes it.
        compute: format of the matrix products.
        trainable: share of the weights that learn.
        embedding_share: share of the weights in embeddings and output layer, which 4-bit formats leave in 16 bits.
    """
    pure = re.search(r"pure|true", precision, re.IGNORECASE) is not None or stack in (
        "torchtune",
        "vectorlm",
        "automodel",
    )
    if trainable < 1:
        weight = 2.0
        if _QUANTISED.search(precision):
            # 4 bits and an fp32 scale for 64 weights; double quantisation stores that scale in 8 bits.
            weight = (0.516 if "dq" in precision else 0.5625) * (1 - embedding_share) + 2.0 * embedding_share
        elif _BYTES.search(precision):
            weight = 1.0 * (1 - embedding_share) + 2.0 * embedding_share
        return Numerics(compute, weight, weight, 2.0, 4.0 if stack == "litgpt" else 8.0, 2.0, trainable)
    if pure:
        return Numerics(compute, 2.0, 2.0, 2.0, 4.0, 2.0)
    if stack in _PARALLEL:
        # 16-bit weights; fp32 master copy and Adam's two states are the optimizer's.
        single = stack in ("megatron", "nanotron")
        return Numerics(compute, 2.0, 2.0, 4.0 if single else 2.0, 12.0, 4.0 if single else 2.0)
    if compute == "fp32":
        return Numerics(compute, 4.0, 4.0, 4.0, 8.0, 4.0)
    low = "PURE" in sharding or stack in ("fms-fsdp", "olmo-core")
    return Numerics(compute, 4.0, 2.0, 4.0, 8.0, 2.0 if low else 4.0)


def kernel_of(stack: str, precision: str, software: str, notes: str) -> AttentionKernel:
    """Kernel of attention, from the words if they name one, else the one that the software was published with."""
    words = f"{software} {notes}"
    if re.search(r"flash[_ -]?attention ?v?1|flashattention-1|flash1", words, re.IGNORECASE):
        return "flash1"
    if re.search(r"no flash|without flash|kernel=fused|torch fused", words, re.IGNORECASE):
        eager = stack == "xla" and not precision.startswith("te ")
        return "eager" if eager else "flash2" if stack == "xla" else "fused"
    if re.search(r"kernel=torch|\btorch attention|eager", words, re.IGNORECASE):
        return "eager"
    if re.search(r"flash", words, re.IGNORECASE):
        return "flash2"
    older = re.search(r"20(?:19|20|21|22)\b|bigscience", words) is not None
    if stack in ("megatron", "megatron-deepspeed") and (older or stack == "megatron-deepspeed"):
        return "fused"
    return "flash1" if stack == "composer" and "torch 1." in software else "flash2"


def is_silent(text: str) -> bool:
    """Whether a cell says nothing: empty, or that it is not stated."""
    return _SILENT.fullmatch(text.strip()) is not None


def recompute_of(text: str) -> Recompute | None:
    """Activation checkpointing by its words; None where they name none that is known."""
    return next((kind for pattern, kind in _KEPT if re.search(pattern, text.strip(), re.IGNORECASE)), None)


def habitual_recompute(stack: str, *, sharded: bool) -> Recompute:
    """What the software does when a row is silent: lit-gpt checkpoints blocks under FSDP, the others keep everything."""
    return "full" if stack == "litgpt" and sharded else "none"


def habitual_sharding(stack: str) -> Sharding:
    """What the software shares over the data axis when a row is silent: NeMo its distributed optimizer, torchtitan all."""
    if stack in ("torchtitan", "fms-fsdp", "olmo-core"):
        return "full"
    return "optimizer" if stack in ("nemo", "scaling", "nanotron") else "none"

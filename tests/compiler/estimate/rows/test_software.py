"""Software, number formats and activation checkpointing by the words of many tables."""

from __future__ import annotations

import pytest

from compiler.estimate.rows import software
from compiler.estimate.rows.table import Row, Unjudged, workload_of
from compiler.estimate.workload import Workload

PLAIN = {
    "hardware": "H100-80GB",
    "n_gpus": "8",
    "model": "llama2-7b",
    "seq_len": "4096",
    "precision": "bf16",
    "sharding": "FSDP",
    "microbatch": "2",
}


def found(**changes: str) -> Workload | Unjudged:
    """The plain row with some cells changed."""
    return workload_of(Row(2, PLAIN | changes))


@pytest.mark.parametrize(
    ("words", "stack"),
    [
        ("HF Accelerate + DeepSpeed", "deepspeed"),
        ("levanter", "xla"),
        ("EasyLM", "xla"),
        ("PaxML", "xla"),
        ("paxos", "other"),
        ("GPT-NeoX 2.0", "megatron-deepspeed"),
        ("torch FSDP", "fms-fsdp"),
        ("axolotl", "other"),
        ("NeMo container 25.07 Megatron-Bridge", "nemo"),
        ("lit-gpt", "litgpt"),
    ],
)
def test_stacks(words: str, stack: str) -> None:
    assert software.stack_of(words, "", "", model_parallel=False) == stack


@pytest.mark.parametrize(
    ("words", "compute"),
    [
        ("16-mixed", "fp16"),
        ("16-true", "fp16"),
        ("bf16-mixed", "bf16"),
        ("32-true", "fp32"),
        ("fp8-delayed", "fp8"),
        ("MXFP8", "fp8"),
        ("NVFP4", "fp4"),
        ("bnb.fp4-dq", "bf16"),
        ("bnb.int8", "bf16"),
        ("4-bit", "bf16"),
        ("mixed", None),
        ("", None),
    ],
)
def test_formats_of_products(words: str, compute: str | None) -> None:
    """What bitsandbytes stores in few bits is multiplied in 16."""
    assert software.compute_format(words) == compute


def test_quantised_weights_by_their_bits() -> None:
    """Of an adapter's frozen weights: 4 bits and a scale, 8 bits, 16 bits; embeddings stay in 16."""
    bytes_of = []
    for words in ("bnb.fp4", "bnb.int8", "bf16"):
        w = found(precision=words, task="lora")
        assert isinstance(w, Workload)
        bytes_of.append(w.numerics.weight_bytes)

    assert 0.56 < bytes_of[0] < 0.7
    assert 1.0 < bytes_of[1] < 1.1
    assert bytes_of[2] == 2.0


@pytest.mark.parametrize(
    ("hardware", "precision", "format_"),
    [
        ("V100-32GB", "bf16", "bf16"),
        ("A100-80GB", "fp8", "fp8"),
        ("H100-80GB", "NVFP4", "fp4"),
        ("MI250X", "fp8", "fp8"),
    ],
)
def test_a_format_that_a_device_lacks_is_refused(hardware: str, precision: str, format_: str) -> None:
    refused = found(hardware=hardware, precision=precision)

    assert isinstance(refused, Unjudged)
    assert f"does not compute in {format_}" in refused.reason


def test_tf32_is_not_fp32() -> None:
    """Tensor cores multiply TF32 at half of their bf16 rate: 156 TFLOP/s on an A100, whose fp32 rate is 19.5."""
    w, plain = found(hardware="A100-80GB", precision="tf32"), found(hardware="A100-80GB", precision="fp32")

    assert isinstance(w, Workload)
    assert isinstance(plain, Workload)
    assert (w.device.peak_flops["fp32"], plain.device.peak_flops["fp32"]) == (156e12, 19.5e12)


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("off", "none"),
        ("no recompute", "none"),
        ("auto 10%", "none"),
        ("enabled", "full"),
        ("gradient checkpointing", "full"),
        ("every layer", "full"),
        ("uniform 1", "full"),
        ("full+offload", "full"),
        ("selective+SP", "selective"),
        ("every 2 layers", "selective"),
        ("recompute 21/96 layers", "selective"),
        ("mlp,layernorm", "selective"),
        ("minimal_flash", "selective"),
        ("save_dot_only", "selective"),
    ],
)
def test_activation_checkpointing(words: str, kept: str) -> None:
    assert software.recompute_of(words) == kept


def test_unknown_checkpointing_is_refused_and_silence_is_a_habit() -> None:
    """Lit-GPT checkpoints blocks under FSDP when nothing is said, and "not stated" says nothing."""
    refused = found(act_ckpt="custom policy 7b")
    silent = found(act_ckpt="not stated", software="litgpt")

    assert isinstance(refused, Unjudged)
    assert "custom policy 7b" in refused.reason
    assert isinstance(silent, Workload)
    assert silent.recompute == "full"

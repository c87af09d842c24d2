"""Activations by closed form: numbers by hand, and how they move. tests/runtime/tracing/test_trace.py holds them to a trace."""

from __future__ import annotations

from dataclasses import replace

import pytest

from compiler.catalogue import devices
from compiler.estimate.memory.activations import activations, counted, layer_bytes, loss_bytes
from compiler.estimate.workload import AttentionKernel, ComputeFormat, Layout, Numerics, Recompute, Shape, Workload

GIB = 2**30
LLAMA_8B = Shape(
    layers=32,
    hidden=4096,
    heads=32,
    kv_heads=8,
    head_size=128,
    intermediate=14_336,
    vocabulary=128_256,
    gated=True,
    tied=False,
    positions=0,
    biases=False,
    parameters=8_030_261_248,
    active_parameters=8_030_261_248,
)
STEP = Workload(
    shape=LLAMA_8B,
    numerics=Numerics("bf16", 4.0, 2.0, 4.0, 8.0, 4.0),
    layout=Layout(devices=8, per_node=8, data=8, sharding="full", shard_degree=8),
    device=devices()["h100-sxm-80gb"],
    sequence_length=8192,
    microbatch=2,
    accumulation=1,
)


def test_the_logits_of_llama_8b_take_27_gib() -> None:
    """2 x 8192 tokens x 128,256 entries x 14 bytes; a trace of the Hugging Face model showed about 28 GiB in all."""
    assert loss_bytes(STEP) == 14 * 128_256
    assert activations(STEP).loss / GIB == pytest.approx(27.4, abs=0.05)


def test_a_block_of_equal_heads_keeps_56_bytes_an_element() -> None:
    """20 h + 4 k + 8 f with k = h and f = 4 h, weights gathered in bf16; the rows' statistics are beside it."""
    shape = replace(LLAMA_8B, kv_heads=32, intermediate=4 * 4096)
    assert layer_bytes(replace(STEP, shape=shape)) == 56 * 4096 + 4 * 32 + 8


def test_a_recomputed_block_keeps_its_input() -> None:
    """2 bytes an element where the residual stream is bf16, 4 under autocast, whose stream is fp32."""
    again = replace(STEP, recompute="full")
    assert layer_bytes(again) == 2 * 4096
    assert layer_bytes(replace(again, layout=Layout(devices=8, per_node=8, data=8))) == 4 * 4096


def test_eager_attention_keeps_six_bytes_a_score() -> None:
    """Softmax in fp32 and its bf16 copy, for each head and pair of positions; keys and values are expanded to all heads."""
    plain, eager = layer_bytes(STEP), layer_bytes(replace(STEP, attention="eager"))
    assert eager - plain == 6 * 32 * 8192 - 4 * 32 + 4 * (4096 - 1024)


def test_grouped_queries_in_fp32_have_no_kernel_that_spares_the_scores() -> None:
    """torch's memory-efficient kernel wants as many keys as queries."""
    fp32 = replace(STEP, numerics=Numerics("fp32", 4.0, 4.0, 4.0, 8.0, 4.0))
    equal = replace(fp32, shape=replace(LLAMA_8B, kv_heads=32))
    assert layer_bytes(fp32) > 4 * 32 * 8192 > layer_bytes(equal) / 4


def test_dropout_and_z_loss_cost_what_they_keep() -> None:
    """A byte for each element that may be dropped; another fp32 copy of the logits and its gradient."""
    assert layer_bytes(replace(STEP, dropout=True)) - layer_bytes(STEP) == 2 * 4096
    assert loss_bytes(replace(STEP, z_loss=True)) - loss_bytes(STEP) == 8 * 128_256
    assert loss_bytes(replace(STEP, distilled=True)) == 2 * loss_bytes(STEP)


def test_autocast_copies_the_matrices_once_and_keeps_them() -> None:
    """2 bytes for each weight of a matrix: 8.03 B less the embedding and the norms. With recomputation only the last stays."""
    whole = replace(STEP, layout=Layout(devices=8, per_node=8, data=8))
    matrices = 8_030_261_248 - 128_256 * 4096 - (2 * 32 + 1) * 4096
    assert activations(whole).casts == 2 * matrices
    assert activations(STEP).casts == 0
    again = activations(replace(whole, recompute="full"))
    assert (again.casts, again.forward_casts) == (2 * 128_256 * 4096, 2 * matrices)


@pytest.mark.parametrize("recompute", ["none", "full"])
@pytest.mark.parametrize("attention", ["flash2", "eager"])
@pytest.mark.parametrize("compute", ["bf16", "fp32"])
def test_more_of_anything_never_takes_less(
    recompute: Recompute, attention: AttentionKernel, compute: ComputeFormat
) -> None:
    """Micro-batch, length, width, depth, vocabulary."""
    width = 2.0 if compute == "bf16" else 4.0
    w = replace(
        STEP,
        recompute=recompute,
        attention=attention,
        numerics=replace(STEP.numerics, compute=compute, gathered_bytes=width),
    )
    larger = (
        replace(w, microbatch=3),
        replace(w, sequence_length=8200),
        replace(w, shape=replace(LLAMA_8B, hidden=4224, heads=33)),
        replace(w, shape=replace(LLAMA_8B, intermediate=15_000)),
        replace(w, shape=replace(LLAMA_8B, layers=33)),
        replace(w, shape=replace(LLAMA_8B, vocabulary=130_000)),
    )
    for more in larger:
        assert activations(more).peak >= activations(w).peak
    assert activations(larger[0]).peak == pytest.approx(1.5 * activations(w).peak)
    assert activations(larger[1]).peak > activations(w).peak


def test_recomputation_saves_and_fp32_costs() -> None:
    """In every layout; the logits take what they take."""
    for sharding in ("none", "full"):
        w = replace(STEP, layout=replace(STEP.layout, sharding=sharding))
        assert activations(replace(w, recompute="full")).saved < activations(w).saved / 10
        fp32 = replace(w, numerics=Numerics("fp32", 4.0, 4.0, 4.0, 8.0, 4.0), shape=replace(LLAMA_8B, kv_heads=32))
        assert activations(fp32).saved > activations(w).saved


def test_only_our_own_model_is_counted() -> None:
    """Other stacks, fused norms and split layers are estimated otherwise (compiler/estimate/memory/kept.py)."""
    assert counted(STEP)
    assert not counted(replace(STEP, stack="megatron"))
    assert not counted(replace(STEP, fused_norm=True))
    assert not counted(replace(STEP, layout=replace(STEP.layout, tensor=2)))

"""Memory against arithmetic that can be done by hand, its order under every change, and published peaks."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.catalogue import devices
from compiler.estimate.memory.habits import habits_of
from compiler.estimate.memory.peak import budget_bytes, fits, largest_microbatch, peak
from compiler.estimate.rows.shapes import known_shapes
from compiler.estimate.rows.table import Row, read_rows, workload_of
from compiler.estimate.workload import Layout, Numerics, Recompute, Shape, Sharding, Workload

RUNS = Path(__file__).parents[3] / "data" / "measured_runs.csv"
GIB = 2**30
MIXED = Numerics("bf16", 4.0, 2.0, 4.0, 8.0, 4.0)
SINGLE = Numerics("fp32", 4.0, 4.0, 4.0, 8.0, 4.0)
MEGATRON = Numerics("bf16", 2.0, 2.0, 4.0, 12.0, 4.0)
LLAMA = known_shapes()["llama38b"]
GPT175 = known_shapes()["gpt3175b"]
H100 = devices()["h100-sxm-80gb"]


def step(shape: Shape = LLAMA, numerics: Numerics = MIXED, **changes: object) -> Workload:
    """Eight GPUs that share everything, one sample of 8192 tokens."""
    layout = Layout(devices=8, per_node=8, data=8, sharding="full", shard_degree=8)
    w = Workload(shape, numerics, layout, H100, sequence_length=8192, microbatch=1, accumulation=1)
    return replace(w, **changes)  # type: ignore[arg-type]


def laid(w: Workload, sharding: Sharding, degree: int, devices_: int = 8) -> Workload:
    """The same step with other sharing."""
    return replace(w, layout=Layout(devices_, 8, devices_, sharding=sharding, shard_degree=degree))


def test_adamw_in_fp32_is_sixteen_bytes_a_weight() -> None:
    """One device, tiny samples: weights 4, gradients 4, two states 8; plain PyTorch adds a temporary of 4 as it steps."""
    w = step(numerics=SINGLE, sequence_length=1, accumulation=2, layout=Layout(1, 8, 1))
    n = LLAMA.parameters

    for stack, states in (("composer", 8), ("other", 12)):
        parts = peak(replace(w, stack=stack)).parts
        assert parts["parameters"] == 4 * n
        assert parts["gradients"] == 4 * n
        assert parts["optimizer"] == states * n
        assert parts["gathered"] == 0
    assert peak(replace(w, stack="other")).instant == "optimizer step"


def test_ddp_keeps_a_second_copy_of_the_gradients() -> None:
    """Composer's DDP sends buckets that are not views of the gradients."""
    found = peak(step(numerics=SINGLE, sequence_length=1, layout=Layout(8, 8, 8)))

    assert found.parts["gathered"] == 4 * LLAMA.parameters


def test_full_sharding_divides_all_states() -> None:
    """Eight devices: each part is an eighth."""
    found = peak(step(sequence_length=1, accumulation=2, shape=replace(LLAMA, vocabulary=8)))

    n = LLAMA.parameters
    states = found.parts["parameters"] + found.parts["gradients"] + found.parts["optimizer"]
    assert states == pytest.approx(16 * n / 8)


@pytest.mark.parametrize(
    ("sharding", "expected"), [("none", 18), ("optimizer", 6 + 12 / 8), ("gradients", 2 / 8 + 2 + 4 / 8 + 12 / 8)]
)
def test_zero_stages_in_megatron(sharding: Sharding, expected: float) -> None:
    """18 bytes a weight; ZeRO-1 leaves 6 + 12/d (Megatron-LM's own figure); ZeRO-2 gathers the weights that it splits."""
    w = laid(step(numerics=MEGATRON, sequence_length=1, stack="megatron"), sharding, 8)

    parts = peak(w).parts
    total = sum(parts[name] for name in ("parameters", "gradients", "optimizer")) + parts["gathered"] / 1.05
    assert total == pytest.approx(expected * LLAMA.parameters, rel=1e-3)


def test_the_loss_of_llama_8b_is_what_a_trace_shows() -> None:
    """16,384 tokens, 128,256 words: 28 GiB of logits and copies, where published tools count 0 to 8."""
    parts = peak(step(microbatch=2)).parts

    assert peak(step(microbatch=2)).instant == "loss"
    assert parts["loss"] / habits_of("composer").fragmentation / GIB == pytest.approx(27.4, abs=0.3)


def test_megatron_splits_the_vocabulary() -> None:
    """A tensor axis of eight leaves an eighth of the logits, except where all ranks gather them."""
    whole = step(stack="megatron", numerics=MEGATRON, layout=Layout(8, 8, 1, tensor=8))
    alone = step(stack="megatron", numerics=MEGATRON, layout=Layout(1, 8, 1))
    gathered = step(stack="scaling", numerics=MEGATRON, layout=Layout(8, 8, 1, tensor=8))

    assert _loss(whole) == pytest.approx(_loss(alone) / 8)
    assert _loss(gathered) > 8 * _loss(whole)


def _loss(w: Workload) -> float:
    """The logits' share at its largest, one sample after another until the loss is the fullest moment."""
    found = peak(replace(w, recompute="full", shape=replace(w.shape, vocabulary=50 * w.shape.vocabulary)))
    assert found.instant == "loss"
    return found.parts["loss"]


def test_korthikanti_layers() -> None:
    """GPT-3's layer keeps 34 s b h bytes (their eq. 1 without scores: 34, of which dropout's masks are 2) and 5 a s a head."""
    w = step(GPT175, MEGATRON, sequence_length=2048, stack="megatron", layout=Layout(1, 8, 1), attention="flash2")
    plain = _saved(w) / (2048 * 12288 * 96)
    fused = _saved(replace(w, attention="fused")) / (2048 * 12288 * 96)

    assert plain == pytest.approx(32, rel=0.01)
    assert fused - plain == pytest.approx(5 * 96 * 2048 / 12288, rel=0.01)


def _saved(w: Workload) -> float:
    """Activations at the end of the forward pass: the working set of the backward pass taken out."""
    habits = replace(habits_of(w.stack), fragmentation=1.0, working=0.0, score_working=0.0)
    return peak(w, habits).parts["activations"]


def test_tensor_and_sequence_parallelism_divide_a_layer() -> None:
    """10 of the 34 stay whole on a tensor axis of eight (here 8: no dropout), none with sequence parallelism."""
    unit = 2048 * 12288 * 96
    base = step(GPT175, MEGATRON, sequence_length=2048, stack="megatron")
    tensor = replace(base, layout=Layout(8, 8, 1, tensor=8))
    sequence = replace(base, layout=Layout(8, 8, 1, tensor=8, sequence_parallel=True))

    assert _saved(tensor) / unit == pytest.approx(8 + 24 / 8, rel=0.01)
    assert _saved(sequence) / unit == pytest.approx(32 / 8, rel=0.01)


def test_the_first_stage_holds_a_pipeline_of_micro_batches() -> None:
    """1F1B: as many as there are stages, so that stages don't help; interleaving holds (p - 1) / (p v) more."""
    base = step(GPT175, MEGATRON, sequence_length=2048, stack="megatron", accumulation=64)
    one = replace(base, layout=Layout(1, 8, 1))
    eight = replace(base, layout=Layout(8, 8, 1, pipeline=8))
    chunks = replace(base, layout=Layout(8, 8, 1, pipeline=8, virtual_stages=3))
    few = replace(eight, accumulation=2)

    assert peak(eight).instant.endswith("first pipeline stage")
    assert _saved(eight) == pytest.approx(_saved(one))
    assert _saved(chunks) == pytest.approx(_saved(one) * (1 + 7 / 24))
    assert _saved(few) == pytest.approx(_saved(one) / 4)


def test_experts_lie_on_the_expert_axis() -> None:
    """128 experts over eight devices: the dense part stays whole."""
    shape = known_shapes()["qwen330ba3b"]
    alone = step(shape, MEGATRON, stack="nemo", layout=Layout(8, 8, 8), sequence_length=1)
    spread = replace(alone, layout=replace(alone.layout, expert=8))

    dense = shape.parameters - 48 * 3 * 2048 * 768 * 128
    assert peak(alone).parts["parameters"] == pytest.approx(2 * shape.parameters)
    assert peak(spread).parts["parameters"] == pytest.approx(2 * (dense + (shape.parameters - dense) / 8))


def test_techniques_and_offload() -> None:
    """A teacher costs four bytes a weight; weights on the host cost nothing."""
    w = step(extra_parameters=10**9)
    away = step(numerics=replace(MIXED, weight_bytes=0.0, gradient_bytes=0.0, optimizer_bytes=0.0))

    assert peak(w).parts["techniques"] == 4e9
    assert peak(w).peak_bytes - peak(step()).peak_bytes == 4 * 10**9
    assert peak(away).parts["parameters"] == 0


@given(
    micro=st.integers(1, 64),
    length=st.integers(1, 65536),
    recompute=st.sampled_from(["none", "selective", "full"]),
    stack=st.sampled_from(["composer", "scaling", "nemo", "torchtitan", "megatron-deepspeed", "litgpt", "unheard-of"]),
    tensor=st.sampled_from([1, 2, 8]),
    pipeline=st.sampled_from([1, 2, 4]),
    attention=st.sampled_from(["flash2", "flash1", "fused", "eager"]),
)
def test_more_of_anything_needs_more(
    micro: int, length: int, recompute: Recompute, stack: str, tensor: int, pipeline: int, attention: str
) -> None:
    """The parts sum to the peak; larger samples need more, sharing and recomputing need less."""
    layout = Layout(8 * tensor * pipeline, 8, 8, tensor, pipeline)
    w = step(sequence_length=length, microbatch=micro, recompute=recompute, stack=stack, layout=layout, accumulation=4)
    w = replace(w, attention=attention)  # type: ignore[arg-type]
    found = peak(w)

    assert sum(found.parts.values()) == pytest.approx(found.peak_bytes, abs=1)
    assert min(found.parts.values()) >= 0
    assert found.low_bytes < found.peak_bytes < found.high_bytes
    assert peak(replace(w, microbatch=micro + 1)).peak_bytes >= found.peak_bytes
    assert peak(replace(w, sequence_length=length + 64)).peak_bytes >= found.peak_bytes
    if stack != "litgpt":  # that one loads all weights before it shares them
        order: tuple[Sharding, ...] = ("none", "optimizer", "full")
        needs = [peak(replace(w, layout=replace(layout, sharding=s, shard_degree=8))).parts for s in order]
        states = [sum(parts[k] for k in ("parameters", "gradients")) for parts in needs]
        assert states == sorted(states, reverse=True)


@pytest.mark.parametrize("stack", ["composer", "scaling", "nemo", "torchtitan"])
def test_recomputing_needs_less(stack: str) -> None:
    """From nothing over some operators to everything."""
    kinds: tuple[Recompute, ...] = ("none", "full") if stack == "composer" else ("none", "selective", "full")
    needs = [peak(step(stack=stack, microbatch=4, recompute=kind)).peak_bytes for kind in kinds]

    assert needs == sorted(needs, reverse=True)
    assert needs[-1] < needs[0]


@pytest.mark.parametrize("parameters", [10**7, 10**9, 10**11, 10**13])
@pytest.mark.parametrize("count", [1, 8, 10_000])
def test_edges(parameters: int, count: int) -> None:
    """Ten million to ten trillion weights on one to ten thousand GPUs: finite, and more weights never need less."""
    shape = replace(LLAMA, parameters=parameters, active_parameters=parameters, vocabulary=64)
    w = laid(step(shape), "full" if count > 1 else "none", count, count)
    larger = laid(step(replace(shape, parameters=2 * parameters)), "full" if count > 1 else "none", count, count)

    assert 0 < peak(w).peak_bytes < 10**15
    assert peak(larger).peak_bytes > peak(w).peak_bytes


def test_the_budget_leaves_what_the_driver_keeps() -> None:
    """torch sees 79.1 of an A100's 80 GiB; a CPU is shared with the rest of the machine."""
    assert 0.97 * 80 * GIB < budget_bytes(devices()["a100-sxm-80gb"]) < 79.15 * GIB
    assert budget_bytes(devices()["cpu"]) < 0.9 * devices()["cpu"].memory_bytes


def test_the_largest_micro_batch_fits_and_the_next_does_not() -> None:
    """It divides the replica's samples, and doubling it is too much (or no use)."""
    w = step(sequence_length=1024)
    size = largest_microbatch(w, 96)

    divisors = [m for m in range(1, 33) if 96 % m == 0]
    fitting = [m for m in divisors if fits(replace(w, microbatch=m, accumulation=96 // m))]
    assert size == max(fitting)
    assert len(fitting) < len(divisors)
    assert largest_microbatch(replace(w, shape=GPT175), 96) == 0
    assert largest_microbatch(replace(w, shape=known_shapes()["gpt2124m"], sequence_length=8192), 96) == 4


def test_a_call_takes_no_time() -> None:
    """A table of two thousand rows is asked for both stages of each (measured: 0.04 ms)."""
    w = step(GPT175, MEGATRON, stack="nemo", layout=Layout(64, 8, 2, 4, 8, sharding="optimizer", shard_degree=2))
    start = time.perf_counter()
    for _ in range(200):
        peak(w)

    assert (time.perf_counter() - start) / 200 < 1e-3


@pytest.mark.parametrize(
    ("changes", "fitting"),
    [
        ({"dp": "64", "sharding": "3D: DP64 ZeRO-1 TP1 PP1 SP=off", "act_ckpt": "none"}, False),
        ({"dp": "64", "sharding": "3D: DP64 ZeRO-1 TP1 PP1 SP=off", "act_ckpt": "full"}, True),
        ({"dp": "16", "sharding": "3D: DP16 ZeRO-1 TP2 PP2 SP=off", "act_ckpt": "none"}, True),
        ({"dp": "16", "sharding": "3D: DP16 ZeRO-1 TP2 PP2 SP=off", "act_ckpt": "none", "microbatch": "8"}, False),
    ],
)
def test_published_runs_fit_or_not(changes: dict[str, str], fitting: bool) -> None:
    """Llama 13B at 2048 tokens, FlashAttention 2, as Aleph Alpha's runs ended."""
    cells = next(row.cells for row in read_rows(RUNS) if row.cells["family"] == "aleph-alpha")
    plain = {"n_gpus": "64", "model": "llama-13b", "seq_len": "2048", "microbatch": "2", "grad_accum": ""}
    sizes = {"d_model": "5120", "n_layers": "40", "n_heads": "40", "n_kv_heads": "40", "d_ff": "13824"}
    reset = {"tp": "", "pp": "", "n_params": "13998904320", "global_batch_seqs": "2048"}
    words = {"software": "AA-Scaling flash_attention2", "notes": "kernel=flash_attention2"}
    found = workload_of(Row(2, dict(cells) | plain | sizes | reset | words | changes))

    assert isinstance(found, Workload)
    assert fits(found) is fitting


def test_published_peaks() -> None:
    """Half of the printed peaks of the committed sample are within 15 %; bounds hold three in four."""
    errors, inside = [], 0
    for row in read_rows(RUNS):
        found = workload_of(row)
        if not row.cells["peak_mem_gb"] or not isinstance(found, Workload):
            continue
        measured = float(row.cells["peak_mem_gb"]) * 1e9
        estimate = peak(found)
        errors.append(abs(math.log(estimate.peak_bytes / measured)))
        inside += estimate.low_bytes <= measured <= estimate.high_bytes

    errors.sort()
    assert len(errors) >= 12
    assert errors[len(errors) // 2] < 0.15
    assert inside >= 0.75 * len(errors)

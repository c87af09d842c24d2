"""Tables of measured runs: every spelling becomes the same facts, measured columns are never read, garbage has a reason."""

from __future__ import annotations

import csv
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler.estimate.rows.named_devices import device_of
from compiler.estimate.rows.shapes import count_parameters, known_shapes
from compiler.estimate.rows.table import INPUTS, Row, Unjudged, read_rows, workload_of
from compiler.estimate.workload import Workload

RUNS = Path(__file__).parents[3] / "data" / "measured_runs.csv"
ROWS = {row.cells["row_id"]: row for row in read_rows(RUNS)}
PLAIN = {
    "hardware": "A100-80GB",
    "n_gpus": "8",
    "model": "llama2-7b",
    "seq_len": "4096",
    "precision": "amp_bf16",
    "sharding": "FSDP FULL_SHARD",
    "act_ckpt": "full",
    "microbatch": "2",
    "global_batch_seqs": "64",
    "software": "llm-foundry",
}


def judged(**changes: str) -> Workload:
    """The plain row with some cells changed, as a workload."""
    found = workload_of(Row(2, PLAIN | changes))
    assert isinstance(found, Workload), found
    return found


def refused(**changes: str) -> str:
    """Why the plain row with some cells changed is not judged."""
    found = workload_of(Row(2, PLAIN | changes))
    assert isinstance(found, Unjudged), found
    return found.reason


def published(row_id: str) -> Workload:
    """One of the committed published rows."""
    found = workload_of(ROWS[row_id])
    assert isinstance(found, Workload), found
    return found


@pytest.mark.parametrize(
    ("row_id", "stack", "sharding", "degree", "recompute", "attention", "compute"),
    [
        ("m0975", "composer", "full", 8, "full", "flash2", "bf16"),
        ("m0076", "composer", "full", 8, "none", "flash2", "fp8"),
        ("m0564", "composer", "full", 8, "full", "flash1", "bf16"),
        ("m1404", "scaling", "optimizer", 32, "full", "eager", "bf16"),
        ("m1789", "scaling", "optimizer", 64, "full", "fused", "bf16"),
        ("m2233", "megatron-deepspeed", "optimizer", 16, "full", "fused", "bf16"),
        ("m2372", "megatron", "none", 1, "selective", "fused", "fp16"),
        ("m2505", "nemo", "optimizer", 8, "none", "flash2", "fp4"),
        ("m2888", "xla", "full", 256, "none", "flash2", "fp8"),
        ("m2890", "maxtext", "full", 8, "selective", "flash2", "bf16"),
        ("m2915", "torchtitan", "full", 8, "selective", "flash2", "bf16"),
        ("m2944", "fms-fsdp", "full", 8, "none", "flash2", "bf16"),
        ("m2991", "internevo", "optimizer", 8, "full", "flash2", "bf16"),
        ("m3140", "fsdp-qlora", "none", 1, "full", "flash2", "bf16"),
        ("m3117", "litgpt", "none", 1, "none", "flash2", "bf16"),
        ("m3203", "ml-dataflow", "none", 1, "none", "flash2", "bf16"),
    ],
)
def test_words_of_each_source_are_understood(
    row_id: str, stack: str, sharding: str, degree: int, recompute: str, attention: str, compute: str
) -> None:
    """One row of each source, its words read as the sources mean them."""
    w = published(row_id)

    assert (w.stack, w.layout.sharding, w.layout.shard_degree) == (stack, sharding, degree)
    assert (w.recompute, w.attention, w.numerics.compute) == (recompute, attention, compute)


def test_degrees_multiply_to_the_devices() -> None:
    """Whatever a row says, devices are data x tensor x pipeline x context."""
    found = [w for w in map(workload_of, ROWS.values()) if isinstance(w, Workload)]

    assert len(found) >= 60
    for w in found:
        assert w.layout.data * w.layout.tensor * w.layout.pipeline * w.layout.context == w.layout.devices
        assert w.layout.shard_degree <= w.layout.data


@dataclass
class Watched(dict[str, str]):
    """Cells that remember which of them were asked for."""

    asked: set[str] = field(default_factory=set)

    def get(self, key: str, default: object = None) -> str:
        """Notes the column."""
        self.asked.add(key)
        return super().get(key, "") or str(default or "")

    def __getitem__(self, key: str) -> str:
        self.asked.add(key)
        return super().__getitem__(key)


def test_measured_columns_are_never_read() -> None:
    """Neither asked for, nor of any influence when they are changed."""
    for row in ROWS.values():
        cells = Watched()
        cells.update(row.cells)
        first = workload_of(Row(row.line, cells))
        assert cells.asked <= set(INPUTS)

        changed = {name: cell if name in INPUTS else "17" for name, cell in row.cells.items()}
        assert workload_of(Row(row.line, changed)) == first
    measured = {"tokens_per_s_per_gpu", "mfu", "hfu", "peak_mem_gb", "status", "step_time_s", "tier", "weight", "group"}
    assert measured.isdisjoint(INPUTS)


@pytest.mark.parametrize(
    ("changes", "microbatch", "accumulation", "data"),
    [
        ({}, 2, 4, 8),
        ({"microbatch": "", "grad_accum": "4"}, 2, 4, 8),
        ({"global_batch_seqs": ""}, 2, 1, 8),
        ({"global_batch_seqs": "", "grad_accum": "3"}, 2, 3, 8),
        ({"tp": "2", "dp": ""}, 2, 8, 4),
        ({"n_gpus": "", "dp": "16"}, 2, 2, 16),
        ({"sharding": "3D: DP2 ZeRO-1 TP2 PP2"}, 2, 16, 2),
        ({"n_gpus": "8.0", "global_batch_seqs": "1,024"}, 2, 64, 8),
    ],
)
def test_what_is_determined_is_derived(changes: dict[str, str], microbatch: int, accumulation: int, data: int) -> None:
    """Batch, accumulation and data degree follow from one another."""
    w = judged(**changes)

    assert (w.microbatch, w.accumulation, w.layout.data) == (microbatch, accumulation, data)


@pytest.mark.parametrize(
    ("sharding", "expected"),
    [
        ("FSDP2 64", ("full", 64, 1, False)),
        ("FSDP256", ("full", 64, 1, False)),
        ("FSDP=16", ("full", 16, 1, False)),
        ("HSDP 64 +compile", ("full", 8, 1, False)),
        ("FSDP SHARD_GRAD_OP mp=DEFAULT", ("gradients", 64, 1, False)),
        ("ZeRO-3 opt_offl=N par_offl=N", ("full", 64, 1, False)),
        ("InternEvo tp=1 zero1=8", ("optimizer", 8, 1, False)),
        ("DDP", ("none", 1, 1, False)),
        ("3D: DP4 ZeRO-1 TP4 PP4 SP=on", ("optimizer", 4, 1, True)),
        ("TP4 PP4 CP1 VP5 DP4 dist-opt", ("optimizer", 4, 5, False)),
    ],
)
def test_layouts_by_their_words(sharding: str, expected: tuple[str, int, int, bool]) -> None:
    """Stage of sharing and its degree, chunks of a pipeline stage, sequence parallelism."""
    layout = judged(sharding=sharding, n_gpus="64").layout

    found = (layout.sharding, layout.shard_degree, layout.virtual_stages, layout.sequence_parallel)
    assert found == expected


def test_a_capped_engine_fills_its_cap() -> None:
    """ml_dataflow offloads to the host and is told how much of the device it may use."""
    w = judged(
        sharding="single GPU, host offload engine, dev_mem cap 24GB host 65GB", n_gpus="1", software="ml_dataflow"
    )

    assert w.device.memory_bytes == 24 * 2**30
    assert w.stack == "ml-dataflow"


@pytest.mark.parametrize(
    ("name", "interconnect", "device", "per_node", "gigabits"),
    [
        ("A100-80GB", "", "a100-sxm-80gb", 8, 200),
        ("A100-80GB-PCIe", "", "a100-pcie-80gb", 8, 100),
        ("H100-96GB-HBM2e-500W", "8xH100 NVLink, 400Gb/s RDMA per GPU, 500 W cap", "h100-hbm2e-96gb", 8, 400),
        ("A100-80GB", "Jean Zay 8xA100-80 NVLink, 4x100Gb OPA/node", "a100-sxm-80gb", 8, 50),
        ("V100-32GB", "Jean Zay 4xV100 NVLink, OPA", "v100-sxm2-32gb", 4, 50),
        ("A100-40GB", "RoCE 1600Gbps/node", "a100-sxm-40gb", 8, 200),
        ("H100-80GB", "400Gb (A100) / 800Gb (H100) per node", "h100-sxm-80gb", 8, 100),
        ("RTX5090", "", "rtx-5090-32gb", 8, 25),
        ("A6000Ada-48GB", "", "rtx-6000-ada-48gb", 8, 25),
        ("A5000-24GB", "", "rtx-a5000-24gb", 8, 25),
        ("GB200", "DGX-GB200", "gb200-186gb", 4, 400),
    ],
)
def test_devices_by_their_names(name: str, interconnect: str, device: str, per_node: int, gigabits: int) -> None:
    """Spellings of published tables, and the network around the device."""
    found = device_of(name, interconnect)

    assert not isinstance(found, str)
    assert (found.name, found.per_node) == (device, per_node)
    assert found.network_bandwidth == pytest.approx(gigabits / 8 * 1e9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hardware": "TPU v4"}, "not in the catalogue"),
        ({"hardware": "A100-unspecified"}, "exists with 40, 80 GB"),
        ({"hardware": "H100-NVL-94GB"}, "has this device with 80, 96 GB"),
        ({"n_gpus": ""}, "number of GPUs"),
        ({"n_gpus": "8", "dp": "3"}, "multiply to 3, not to 8"),
        ({"n_gpus": "-8"}, "n_gpus is '-8'"),
        ({"microbatch": "1e99"}, "microbatch is '1e99'"),
        ({"microbatch": "two"}, "microbatch is 'two'"),
        ({"microbatch": "2.5"}, "microbatch is '2.5'"),
        ({"microbatch": "", "global_batch_seqs": ""}, "micro-batch is not given"),
        ({"seq_len": ""}, "seq_len is not given"),
        ({"seq_len": "inf"}, "seq_len is 'inf'"),
        ({"precision": "int3"}, "precision 'int3'"),
        ({"model": "nobody-knows-9b"}, "neither given nor known"),
        ({"model": "mystery-moe", "n_params": "3e10", "n_params_active": "3e9"}, "experts"),
        ({"sharding": "TP+SP (paper)"}, "names TP without its degree"),
        ({"sharding": "best config (not stated)"}, "not stated"),
        ({"tp": "64", "n_gpus": "64"}, "do not fill the layout"),
        ({"model": "x", "d_model": "100", "n_heads": "7", "n_layers": "2", "vocab": "9"}, "do not divide"),
    ],
)
def test_a_row_that_cannot_be_judged_says_why(changes: dict[str, str], words: str) -> None:
    """Never a guess, never an exception."""
    assert words in refused(**changes)


def test_an_empty_row_is_refused() -> None:
    """Columns may be missing altogether."""
    assert isinstance(workload_of(Row(2, {})), Unjudged)


@given(
    st.dictionaries(
        st.sampled_from(INPUTS),
        st.one_of(
            st.text(max_size=20),
            st.floats().map(str),
            st.integers().map(str),
            st.sampled_from(["FSDP0", "TP0 PP0", "VP0", "zero1=0"]),
        ),
        max_size=8,
    )
)
def test_garbage_never_raises(garbage: dict[str, str]) -> None:
    """Words, negative numbers, infinities: a workload or a reason."""
    assert isinstance(workload_of(Row(2, PLAIN | garbage)), Workload | Unjudged)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mpt-125m", 125311488),
        ("mpt-7b", 6658859008),
        ("mpt-70b", 64862437376),
        ("llama2-7b", 6738415616),
        ("llama3-8b", 8030261248),
        ("llama3-70b", 70553706496),
        ("llama3.1-405b", 405853388800),
        ("llama3.2-3b", 3212749824),
        ("mistral-7b", 7241732096),
        ("gpt2-124m", 124439808),
        ("tinyllama-1.1b", 1100048384),
        ("internlm-20b", 20088714240),
        ("bloom-176b", 176247271424),
    ],
)
def test_parameters_of_known_models(name: str, parameters: int) -> None:
    """Counted from the dimensions, to within the details that families differ in (an embedding's norm, a query's bias)."""
    shape = judged(model=name, seq_len="1024" if name.startswith("gpt2") else "2048").shape

    assert shape.parameters == pytest.approx(parameters, rel=2e-3)
    assert count_parameters(shape) == pytest.approx(parameters, rel=2e-3)


@pytest.mark.parametrize("spelling", ["llama3.1-405b", "LLAMA3.1_405B", "Llama3 405B", "LLAMA3-405B (w/o dropout)"])
def test_one_model_has_many_spellings(spelling: str) -> None:
    """Case, separators, minor versions and remarks in brackets do not matter."""
    assert judged(model=spelling).shape == known_shapes()["llama3405b"]


def test_a_family_is_recognised_by_its_parameters() -> None:
    """Same width and depth: the number of weights tells a gated untied model from a classic tied one."""
    dimensions = {"d_model": "4096", "n_layers": "32", "n_heads": "32", "vocab": "32000", "model": "mine"}

    gated = judged(**dimensions, d_ff="11008", n_params="6738415616").shape
    classic = judged(**dimensions, d_ff="16384", n_params="6.6e9").shape

    assert (gated.gated, gated.tied, gated.biases) == (True, False, False)
    assert (classic.gated, classic.tied, classic.biases) == (False, True, True)


def test_missing_layers_follow_from_the_parameters() -> None:
    """A GPT of 183 billion weights and width 14,400 has 72 layers."""
    w = judged(model="proto-183B", n_params="183000000000", d_model="14400", n_heads="96", d_ff="57600", vocab="250880")

    assert w.shape.layers == 72


def test_adapters_train_few_weights() -> None:
    """The share that learns is read where it is stated; four bits a weight and its scale where the weights are quantised."""
    w = judged(task="qlora", precision="bnb.nf4", notes="longest sample 1304 tokens; trainable 4,194,304", seq_len="")

    assert w.sequence_length == 1304
    assert w.numerics.trainable == pytest.approx(4194304 / 6738415616)
    assert 0.5625 < w.numerics.weight_bytes < 0.7
    assert judged(task="lora").numerics.trainable == 0.003


def test_a_recipe_that_states_no_checkpointing_is_tuned_to_fit() -> None:
    """NeMo's published runs fit by construction, Composer's default is none."""
    tight = {"model": "llama3-70b", "n_gpus": "64", "hardware": "GB200", "act_ckpt": "", "microbatch": "2"}

    assert judged(**tight, software="NeMo 25.04").recompute != "none"
    assert judged(**tight, software="llm-foundry").recompute == "none"
    assert judged(**tight | {"model": "llama2-7b"}, software="NeMo 25.04").recompute == "none"


def test_every_line_of_a_file_is_a_row(tmp_path: Path) -> None:
    """Short lines have empty cells, long ones lose what has no header; line numbers are those of the file."""
    path = tmp_path / "runs.csv"
    path.write_text("hardware,n_gpus\nA100-80GB\nH100-80GB,8,surplus\n", encoding="utf-8")

    rows = list(read_rows(path))

    assert [row.line for row in rows] == [2, 3]
    assert rows[0].cells == {"hardware": "A100-80GB", "n_gpus": ""}
    assert rows[1].cells == {"hardware": "H100-80GB", "n_gpus": "8"}


def test_every_catalogued_model_is_consistent() -> None:
    """Names are unique, and stated totals of mixtures agree with their dimensions (latent attention apart)."""
    with (Path(__file__).parents[4] / "compiler" / "catalog" / "models.csv").open(
        encoding="utf-8", newline=""
    ) as handle:
        names = [row["name"] for row in csv.DictReader(handle)]

    assert len(known_shapes()) == len(names)
    for shape in known_shapes().values():
        assert 0 < shape.active_parameters <= shape.parameters
        assert shape.intermediate > 0
        assert count_parameters(shape) == pytest.approx(shape.parameters, rel=0.08)


@pytest.mark.parametrize("unit", ["1", "1.", "tp", "8 x ", "a/", "dp_shard=1 "])
def test_a_huge_cell_costs_no_time(unit: str) -> None:
    """60,000 digits in one cell took 36 s before cells were cut."""
    started = time.perf_counter()
    for column in INPUTS:
        workload_of(Row(2, PLAIN | {column: unit * (60_000 // len(unit))}))

    assert time.perf_counter() - started < 10

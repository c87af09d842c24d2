"""Layouts in the words of many tables: degrees, what is shared over how many devices, and what is too little to judge."""

from __future__ import annotations

import pytest

from compiler.estimate.rows.table import Row, Unjudged, workload_of
from compiler.estimate.workload import Layout

PLAIN = {
    "hardware": "H100-80GB",
    "n_gpus": "64",
    "model": "llama2-7b",
    "seq_len": "4096",
    "precision": "bf16",
    "microbatch": "2",
    "software": "torchtitan",
}


def layout(sharding: str, **changes: str) -> Layout:
    """The layout of a row of 64 devices with these words on it."""
    found = workload_of(Row(2, PLAIN | {"sharding": sharding} | changes))
    assert not isinstance(found, Unjudged), found
    return found.layout


@pytest.mark.parametrize(
    ("sharding", "data", "tensor", "pipeline", "context"),
    [
        ("FSDP8 TP8", 8, 8, 1, 1),
        ("FSDP2 (8) + TP (8)", 8, 8, 1, 1),
        ("FSDP8 CP8", 8, 1, 1, 8),
        ("tp8pp4", 2, 8, 4, 1),
        ("TP8PP4DP2", 2, 8, 4, 1),
        ("TP8xPP4xDP2", 2, 8, 4, 1),
        ("4D: DP2 CP2 TP4 PP4", 2, 4, 4, 2),
        ("tensor parallel 8, pipeline_parallel_size=4", 2, 8, 4, 1),
        ("data=1 fsdp=8 tensor=8", 8, 8, 1, 1),
        ("dp_replicate=2 dp_shard=4 tp=8", 8, 8, 1, 1),
        ("TP1 PP1 CP1 EP8 ETP1 VPn/a FSDP=0", 64, 1, 1, 1),
        ("FSDP8 TP8 async TP +compile", 8, 8, 1, 1),
    ],
)
def test_degrees(sharding: str, data: int, tensor: int, pipeline: int, context: int) -> None:
    """However they are strung together; the TP of ETP, the DP of FSDP and of HSDP are no degrees."""
    found = layout(sharding)

    assert (found.data, found.tensor, found.pipeline, found.context) == (data, tensor, pipeline, context)


@pytest.mark.parametrize(
    ("sharding", "stage", "degree"),
    [
        ("FSDP1", "full", 64),
        ("FSDP2", "full", 64),
        ("FSDP 2 nodes", "full", 64),
        ("FSDP=1", "full", 64),
        ("FSDP2 8", "full", 8),
        ("HSDP 8x8", "full", 8),
        ("HSDP shard=16", "full", 16),
        ("HSDP (16 shard x 4 replicate)", "full", 16),
        ("FSDP HYBRID_SHARD", "full", 8),
        ("FSDP _HYBRID_SHARD_ZERO2", "gradients", 8),
        ("FSDP NO_SHARD", "none", 1),
        ("ZeRO 3", "full", 64),
        ("DeepSpeed stage 2", "gradients", 64),
        ("ZeRO++", "full", 64),
        ("MiCS 8", "full", 8),
        ("data parallel", "none", 1),
        ("DP only", "none", 1),
        ("", "full", 64),
    ],
)
def test_what_is_shared(sharding: str, stage: str, degree: int) -> None:
    """FSDP1 and FSDP2 are versions, not degrees; torchtitan shares everything when a row is silent."""
    found = layout(sharding)

    assert (found.sharding, found.shard_degree) == (stage, degree)


@pytest.mark.parametrize("words", ["VP5", "VPP5", "VP=5", "vpp 5"])
def test_chunks_of_a_stage(words: str) -> None:
    assert layout(f"TP4 PP4 DP4 {words}").virtual_stages == 5


@pytest.mark.parametrize(("sharding", "copies"), [("HSDP 8", "8"), ("FSDP64", "1"), ("FSDP8 TP8", "1")])
def test_a_data_column_that_counts_copies(sharding: str, copies: str) -> None:
    """Copies x devices that share one x tensor ranks are all the devices."""
    found = layout(sharding, dp=copies)

    assert found.data * found.tensor == 64


@pytest.mark.parametrize("sharding", ["FSDP + TP", "FSDP+PP", "FSDP + CP (script)", "MP8", "unknown"])
def test_a_split_without_its_degree_is_not_guessed(sharding: str) -> None:
    found = workload_of(Row(2, PLAIN | {"sharding": sharding}))

    assert isinstance(found, Unjudged)
    assert sharding in found.reason

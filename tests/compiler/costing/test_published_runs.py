"""Whole runs that their makers printed GPU-hours of, planned from model, tokens and hardware alone.

Nothing was calibrated on them: they show that speed, checkpoints and failures add up to what people paid for. Their software
differs from ours, and some overheads are theirs alone, so single runs may be far off.
"""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.recipes import MINIMAL, plan_text


class Run(NamedTuple):
    """A published run: dimensions in the recipe's words, what it trained on, and the GPU-hours that were printed."""

    name: str
    model: str
    vocabulary: int
    tokens: str
    sequence: int
    batch: int
    gpu: str
    devices: int
    gpu_hours: float


LLAMA_7B = "{hidden_size: 4096, num_layers: 32, num_heads: 32, intermediate_size: 11008, tie_embeddings: false}"
LLAMA_13B = "{hidden_size: 5120, num_layers: 40, num_heads: 40, intermediate_size: 13824, tie_embeddings: false}"
LLAMA_70B = "{hidden_size: 8192, num_layers: 80, num_heads: 64, num_kv_heads: 8, intermediate_size: 28672, tie_embeddings: false}"
RUNS = [
    # MosaicML's table of training costs, 2022 (days x 24 x 256), and the model card of MPT-7B.
    Run("mosaic-1.3b", "{family: gpt2, hidden_size: 2048, num_layers: 24, num_heads: 16}", 50_304, "26B", 2048, 1 << 20,
        "a100-sxm-40gb", 256, 860),
    Run("mosaic-13b", "{family: gpt2, hidden_size: 5120, num_layers: 40, num_heads: 40}", 50_304, "260B", 2048, 1 << 21,
        "a100-sxm-40gb", 256, 45_650),
    Run("mpt-7b", "{family: gpt2, hidden_size: 4096, num_layers: 32, num_heads: 32}", 50_304, "1000B", 2048, 440 << 13,
        "a100-sxm-40gb", 440, 100_320),
    # READMEs of fms-fsdp and nanoGPT.
    Run("ibm-7b", LLAMA_7B, 32_000, "2200B", 4096, 1 << 22, "a100-sxm-80gb", 128, 162_000),
    Run("nanogpt", "{family: gpt2, hidden_size: 768, num_layers: 12, num_heads: 12}", 50_304, "295B", 1024, 480 << 10,
        "a100-sxm-40gb", 8, 768),
    # Model cards of Llama 2 and Llama 3, table 15 of LLaMA.
    Run("llama-2-7b", LLAMA_7B, 32_000, "2000B", 4096, 1 << 22, "a100-sxm-80gb", 512, 184_320),
    Run("llama-2-13b", LLAMA_13B, 32_000, "2000B", 4096, 1 << 22, "a100-sxm-80gb", 512, 368_640),
    Run("llama-13b", LLAMA_13B, 32_000, "1000B", 2048, 1 << 22, "a100-sxm-80gb", 2048, 135_168),
    Run("llama-3-70b", LLAMA_70B, 128_256, "15000B", 8192, 1 << 24, "h100-sxm-80gb", 2048, 6_400_000),
]  # fmt: skip


def planned(run: Run, folder: Path) -> float:
    """GPU-hours of the plan."""
    plan = plan_text(
        MINIMAL,
        folder,
        "data.sources={web: {mds: s3://corpus/web, tokens: 100T tok}}",
        f"data.sequence_length={run.sequence}",
        f"tokenizer={{vocab_size: {run.vocabulary}}}",
        f"model={run.model}",
        f"budget={{tokens: {run.tokens} tok}}",
        f"training.batch={run.batch} tok",
        f"hardware={{gpu: {run.gpu}, count: {run.devices}}}",
    )
    return plan.estimate.hours * run.devices


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_gpu_hours_of_a_published_run(run: Run, tmp_path: Path) -> None:
    """Within a factor of 2 of what was printed: LLaMA-13B, one sequence a GPU on 2,048, is furthest off (1.84)."""
    assert abs(math.log(planned(run, tmp_path) / run.gpu_hours)) < math.log(2)


def test_half_of_the_runs_are_within_a_fifth(tmp_path: Path) -> None:
    """The median of |log(planned/printed)|."""
    errors = [abs(math.log(planned(run, tmp_path) / run.gpu_hours)) for run in RUNS]
    assert statistics.median(errors) < math.log(1.2)

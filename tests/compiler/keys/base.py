"""The recipe whose keys are changed one by one, and what several rows need."""

from __future__ import annotations

from pathlib import Path

__all__ = ["BASE", "RUNS", "SITE", "STARTED", "TWO_RUNS", "Overrides"]

RUNS = Path(__file__).parent.parent / "runs.csv"
SITE = Path(__file__).parent.parent / "site.json"

Overrides = dict[str, tuple[str, ...]]
"""Path of a key -> what the command line says."""

BASE = """\
name: base
seed: 17
objective: {kind: causal_lm}
model: {family: llama, hidden_size: 64, num_layers: 2, num_heads: 4}
tokenizer: {vocab_size: 2048}
data:
  sequence_length: 128
  sources:
    code: {builtin: cpython-library}
    prose: {builtin: cpython-docs}
  mixture:
    - {from: 0dur, weights: {code: 0.5, prose: 0.5}}
    - {from: 0.5dur, weights: {code: 0.2, prose: 0.8}}
  curriculum: {kind: sequence_length_warmup}
budget: {tokens: 1M tok, inference: {requests: 1M}}
hardware: {gpu: h100-sxm-80gb, count: 2}
training: {batch: 8192 tok, gradient_clipping: {}}
compression: [{kind: pruning}]
distillation: {teacher: big}
averaging: {}
launch: {slurm: {}}
"""

# Of a run, and one that learns from it.
TWO_RUNS = "sequence=[{name: one, distillation: null}, {name: two}]"

# Factors are made of trained weights.
STARTED = (
    "model={start: {hub: some/model}, hidden_size: 64, num_layers: 2, num_heads: 4, intermediate_size: 192, vocab_size: 2048}",
    "tokenizer={kind: pretrained, hub: some/model, vocab_size: 2048}",
)

"""No dead knobs: for every key of the recipe, a change of it changes the plan, and the fingerprint iff it has meaning."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from schemas.curriculum import Curriculum
from schemas.recipe import Recipe
from tests.recipes import plan_text

RUNS = Path(__file__).parent / "runs.csv"
SITE = Path(__file__).parent / "site.json"

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

# Key of a curriculum of difficulty -> what it is compared with, and the change; over the mix and of a source.
DIFFICULTY: dict[str, tuple[str, str]] = {
    "by": ("{by: length}", "{by: mtld}"),
    "order": ("{by: length}", "{by: length, order: hard_to_easy}"),
    "pacing": ("{by: length}", "{by: length, pacing: linear}"),
    "start": ("{by: length}", "{by: length, start: 0.1}"),
    "duration": ("{by: length}", "{by: length, duration: 0.25dur}"),
    "power": ("{by: length, pacing: root}", "{by: length, pacing: root, power: 4}"),
    "growth": ("{by: length, pacing: exponential}", "{by: length, pacing: exponential, growth: 2}"),
    "stages": ("{by: length, pacing: step}", "{by: length, pacing: step, stages: 7}"),
    "buckets": ("{by: length}", "{by: length, buckets: 20}"),
    "model": ("{by: loss, model: a}", "{by: loss, model: b}"),
}

# Of a run, and one that learns from it.
TWO_RUNS = "sequence=[{name: one, distillation: null}, {name: two}]"

# What the recipe says of weights that can't be seen from here: all dimensions, and whose tokenizer they know.
SIZES = (
    "model.intermediate_size=192",
    "model.vocab_size=2048",
    "tokenizer={kind: pretrained, path: /base, vocab_size: 2048}",
)

# Factors are made of trained weights.
STARTED = (
    "model={start: {hub: some/model}, hidden_size: 64, num_layers: 2, num_heads: 4, intermediate_size: 192, vocab_size: 2048}",
    "tokenizer={kind: pretrained, hub: some/model, vocab_size: 2048}",
)

# What makes a classifier of BASE: none of its text is left.
CLASSIFIER = (
    "objective=classification", "model={depth: 8}", "tokenizer=null", "data={sources: {digits: {builtin: digits}}}", "budget={}",
    "training={duration: 9ba}", "compression=[]", "distillation=null",
)  # fmt: skip
IMAGES: dict[str, str] = {
    "objective.label_smoothing": "objective={kind: classification, label_smoothing: 0.1}", "model.depth": "model.depth=20",
    "model.width": "model.width=8", "model.stem": "model.stem=imagenet", "model.norm": "model.norm=group",
    "model.num_classes": "model.num_classes=12", "data.image.size": "data.image.size=40",
    "data.image.channels": "data.image.channels=1",
}  # fmt: skip

# Path -> overrides that change it. A key that another one excludes comes with what makes room for it.
CHANGES: dict[str, tuple[str, ...]] = {
    "name": ("name=other",),
    "seed": ("seed=18",),
    "objective.z_loss": ("objective.z_loss=1e-4",),
    "model.start.run": (TWO_RUNS, "sequence.two.model={start: {run: one}}"),
    "model.start.folder": ("model.start={folder: /base}", *SIZES),
    "model.start.hub": ("model.start={hub: org/base}", *SIZES),
    "model.start.revision": ("model.start={hub: org/base, revision: abc}", *SIZES),
    "objective.kind": CLASSIFIER,
    **{key: (*CLASSIFIER, said) for key, said in IMAGES.items()},
    "model.family": ("model.family=gpt2",),
    "model.size": ("model={size: 2M}",),
    "model.hidden_size": ("model.hidden_size=128",),
    "model.num_layers": ("model.num_layers=3",),
    "model.num_heads": ("model.num_heads=2",),
    "model.num_kv_heads": ("model.num_kv_heads=2",),
    "model.intermediate_size": ("model.intermediate_size=256",),
    "model.vocab_size": ("model.vocab_size=4096",),
    "model.tie_embeddings": ("model.tie_embeddings=false",),
    "model.dropout": ("model.family=gpt2", "model.dropout=0.1"),
    "model.rope_theta": ("model.rope_theta=5e5",),
    "model.init_std": ("model.init_std=0.01",),
    "model.attention": ("model.attention=eager",),
    "tokenizer.kind": ("tokenizer={kind: pretrained, hub: gpt2, vocab_size: 50257}",),
    "tokenizer.vocab_size": ("tokenizer.vocab_size=1024",),
    "tokenizer.max_bytes": ("tokenizer.max_bytes=1MB",),
    "tokenizer.path": ("tokenizer={kind: pretrained, path: a, vocab_size: 2048}",),
    "tokenizer.hub": ("tokenizer={kind: pretrained, hub: b, vocab_size: 2048}",),
    "tokenizer.revision": ("tokenizer={kind: pretrained, hub: b, vocab_size: 2048, revision: abc}",),
    "data.sequence_length": ("data.sequence_length=64",),
    "data.sources": ("data.sources.code.tokens=9M",),
    "data.mixture[].from": ("data.mixture[1].from=0.25dur",),
    "data.mixture[].weights": ("data.mixture[1].weights={code: 0.4, prose: 0.6}",),
    "data.mixture[].transition": ("data.mixture[1].transition=linear",),
    "data.domain_upsampling.fraction": ("data.domain_upsampling={weights: {code: 1}, fraction: 0.1}",),
    "data.domain_upsampling.weights": ("data.domain_upsampling={weights: {prose: 1}}",),
    "data.domain_upsampling.keep": ("data.domain_upsampling={weights: {code: 1}, keep: 0.4}",),
    "data.domain_upsampling.keep_sources": ("data.domain_upsampling={weights: {code: 1}, keep_sources: [code]}",),
    "data.curriculum[].start_length": ("data.curriculum.start_length=32",),
    "data.curriculum[].step_size": ("data.curriculum.step_size=16",),
    "data.curriculum[].truncate": ("data.curriculum.truncate=false",),
    **{f"data.curriculum[].{key}": (f"data.curriculum={after}",) for key, (_, after) in DIFFICULTY.items()},
    "data.shuffle_block": ("data.shuffle_block=4096",),
    "data.selection.min_bytes": ("data.selection.min_bytes=100",),
    "data.selection.max_bytes": ("data.selection.max_bytes=1MB",),
    "data.selection.deduplicate": ("data.selection.deduplicate=exact",),
    "budget.tokens": ("budget.tokens=2M",),
    "budget.tokens_per_parameter": ("budget={tokens_per_parameter: 20}",),
    "budget.flops": ("budget={flops: 1e12}",),
    "budget.target_loss": ("model={size: auto}", "budget={target_loss: 3.4}", "training={}"),
    "budget.match_chinchilla": ("model={size: auto}", "budget={match_chinchilla: 50M}", "training={}"),
    "budget.match_model.parameters": (
        "model={size: auto}",
        "budget={match_model: {parameters: 200M, tokens: 2B}}",
        "training={}",
    ),
    "budget.match_model.tokens": (
        "model={size: auto}",
        "budget={match_model: {parameters: 100M, tokens: 4B}}",
        "training={}",
    ),
    "budget.cost": ("budget={cost: $9}",),
    "budget.gpu_time": ("budget={gpu_time: 3h}",),
    "budget.time": ("budget={time: 2h}",),
    "budget.lifetime_cost": ("budget={lifetime_cost: $50, inference: {requests: 1M}}",),
    "budget.objective": ("budget.objective=dollars",),
    "budget.inference.tokens": ("budget.inference={tokens: 1B}",),
    "budget.inference.requests": ("budget.inference.requests=2M",),
    "budget.inference.input_tokens": ("budget.inference.input_tokens=71",),
    "budget.inference.output_tokens": ("budget.inference.output_tokens=216",),
    "budget.inference.gpu": ("budget.inference.gpu=a100-sxm-80gb",),
    "budget.inference.precision": ("budget.inference.precision=bf16",),
    "budget.inference.price": ("budget.inference.price=$1/gpu-hour",),
    "budget.inference.mfu_prefill": ("budget.inference.mfu_prefill=0.4",),
    "budget.inference.mfu_decode": ("budget.inference.mfu_decode=0.02",),
    "budget.scaling_law.name": ("budget.scaling_law=sardana",),
    "budget.scaling_law.e": ("budget.scaling_law={e: 1.7, a: 400, b: 410, alpha: 0.34, beta: 0.28}",),
    "budget.scaling_law.a": ("budget.scaling_law={e: 1.6, a: 406, b: 410, alpha: 0.34, beta: 0.28}",),
    "budget.scaling_law.b": ("budget.scaling_law={e: 1.6, a: 400, b: 420, alpha: 0.34, beta: 0.28}",),
    "budget.scaling_law.alpha": ("budget.scaling_law={e: 1.6, a: 400, b: 410, alpha: 0.35, beta: 0.28}",),
    "budget.scaling_law.beta": ("budget.scaling_law={e: 1.6, a: 400, b: 410, alpha: 0.34, beta: 0.29}",),
    "budget.scaling_law.fit": (f"budget.scaling_law={{fit: {RUNS}}}",),
    "budget.scaling_law.max_tokens_per_parameter": (
        f"budget.scaling_law={{fit: {RUNS}, max_tokens_per_parameter: 100}}",
    ),
    "budget.constraints.min_parameters": ("budget.constraints={min_parameters: 150M}",),
    "budget.constraints.max_parameters": ("budget.constraints={max_parameters: 80M}",),
    "budget.constraints.unique_tokens": ("budget.constraints={unique_tokens: 500M}",),
    "budget.constraints.max_epochs": ("budget.constraints={unique_tokens: 500M, max_epochs: 3}",),
    "budget.constraints.max_tokens_per_parameter": ("budget.constraints={max_tokens_per_parameter: 10}",),
    "budget.max_cost": ("budget.max_cost=$10k",),
    "budget.max_hours": ("budget.max_hours=9h",),
    "budget.max_gpus": ("budget.max_gpus=8",),
    "hardware.gpu.name": ("hardware.gpu=a100-sxm-80gb",),
    "hardware.gpu.memory": ("hardware.gpu={name: h100-sxm-80gb, memory: 96GB}",),
    "hardware.gpu.bandwidth": ("hardware.gpu={name: h100-sxm-80gb, bandwidth: 2TB/s}",),
    "hardware.gpu.peak.fp32": ("hardware.gpu={name: h100-sxm-80gb, peak: {fp32: 60TFLOP/s}}", "precision=fp32"),
    "hardware.gpu.peak.bf16": ("hardware.gpu={name: h100-sxm-80gb, peak: {bf16: 800TFLOP/s}}",),
    "hardware.gpu.peak.fp16": ("hardware.gpu={name: h100-sxm-80gb, peak: {fp16: 800TFLOP/s}}", "precision=fp16"),
    "hardware.gpu.peak.fp8": (
        "hardware.gpu={name: h100-sxm-80gb, peak: {fp8: 1500TFLOP/s}}",
        "precision=fp8",
        "compression=[]",
    ),
    "hardware.gpu.link": ("hardware.gpu={name: h100-sxm-80gb, link: 200GB/s}",),
    "hardware.gpu.tdp": ("hardware.gpu={name: h100-sxm-80gb, tdp: 350W}",),
    "hardware.count": ("hardware.count=4",),
    "hardware.per_node": ("hardware.per_node=1",),
    "hardware.price": ("hardware.price=$9/gpu-hour",),
    "hardware.mfu": ("hardware.mfu=0.3",),
    "hardware.calibration": (f"hardware.calibration={SITE}",),
    "hardware.network": ("hardware.network=100Gb/s",),
    "hardware.mtbf": ("hardware.mtbf=100h",),
    "hardware.pue": ("hardware.pue=1.5",),
    "hardware.grid": ("hardware.grid=56g/kWh",),
    "training.batch": ("training.batch=16384 tok",),
    "training.microbatch": ("training.microbatch=2",),
    "training.optimizer.kind": ("training.optimizer.kind=sgd",),
    "training.optimizer.lr": ("training.optimizer.lr=1e-5",),
    "training.optimizer.betas": ("training.optimizer.betas=[0.8, 0.9]",),
    "training.optimizer.eps": ("training.optimizer.eps=1e-6",),
    "training.optimizer.weight_decay": ("training.optimizer.weight_decay=0.05",),
    "training.schedule.kind": ("training.schedule.kind=linear",),
    "training.schedule.warmup": ("training.schedule.warmup=9ba",),
    "training.schedule.cooldown": ("training.schedule={kind: inverse_sqrt, cooldown: 9ba}",),
    "training.schedule.final": ("training.schedule.final=0.2",),
    "training.duration": ("budget={}", "training.duration=77ba"),
    "training.gradient_clipping.kind": ("training.gradient_clipping.kind=value",),
    "training.gradient_clipping.threshold": ("training.gradient_clipping.threshold=0.5",),
    "training.sharding.kind": ("compression=[]", "training.sharding=full"),
    "training.sharding.degree": (
        "compression=[]",
        "hardware.count=16",
        "training.batch=64k tok",
        "training.sharding={kind: hybrid, degree: 4}",
    ),
    "training.activation_checkpointing": ("training.activation_checkpointing=true",),
    "training.compile": ("training.compile=true",),
    "training.deterministic": ("training.deterministic=false",),
    "precision.compute": ("precision=fp16",),
    "precision.reduce": ("precision.reduce=bf16",),
    "precision.param": ("averaging=null", "precision.param=bf16"),
    "precision.norms": ("model.family=gpt2", "precision.norms=low"),
    "precision.loss_scale.initial": ("precision={compute: fp16, loss_scale: {initial: 1024}}",),
    "precision.loss_scale.growth_interval": ("precision={compute: fp16, loss_scale: {growth_interval: 99}}",),
    **{
        f"training.adapter.{key}": (*STARTED, "compression=[]", f"training.adapter={change}")
        for key, change in {
            "rank": "{rank: 9}",
            "alpha": "{alpha: 9}",
            "dropout": "{dropout: 0.2}",
            "targets": "{targets: mlp}",
            "rank_stabilized": "{rank_stabilized: true}",
            "base": "{base: nf4}",
        }.items()
    },
    "compression[].sparsity": ("compression[0].sparsity=0.3",),
    "compression[].scope": ("compression=[{kind: pruning, scope: global}]", "hardware.count=1"),
    "compression[].method": ("compression[0].method=2:4",),
    "compression[].norm": ("compression=[{kind: pruning, method: structured, norm: l2}]",),
    "compression[].initial": ("compression[0].initial=0.1",),
    "compression[].schedule": ("compression[0].schedule=linear",),
    "compression[].targets": ("compression[0].targets=mlp",),
    "compression[].exclude": ("compression[0].exclude=[down_proj]",),
    "compression[].rank": (*STARTED, "compression=[{kind: low_rank, rank: 9}]"),
    "compression[].energy": (*STARTED, "compression=[{kind: low_rank, energy: 0.8}]"),
    "compression[].parameters": (*STARTED, "compression=[{kind: low_rank, parameters: 0.4}]"),
    **{
        f"compression[].{key}": (f"compression=[{{kind: quantization, {change}}}]",)
        for key, change in {
            "mode": "mode: qat",
            "weights": "weights: int4",
            "granularity": "granularity: tensor",
            "group_size": "granularity: group, group_size: 16",
            "activations": "activations: int8",
        }.items()
    },
    "compression[].start": ("compression[0].start=0.1dur",),
    "compression[].end": ("compression[0].end=0.9dur",),
    "compression[].interval": ("compression[0].interval=5ba",),
    "distillation.teacher.run": (TWO_RUNS, "distillation.teacher={run: previous}"),
    "distillation.teacher.folder": ("distillation.teacher=bigger",),
    "distillation.teacher.hub": ("distillation.teacher={hub: org/big}",),
    "distillation.teacher.revision": ("distillation.teacher={hub: org/big, revision: abc}",),
    "distillation.teacher.checkpoint": ("distillation.teacher={checkpoint: runs/big-1a2b3c4d}",),
    "distillation.teachers[].run": (TWO_RUNS, "distillation={teachers: [{run: one}, big]}"),
    "distillation.teachers[].folder": ("distillation={teachers: [big, bigger]}",),
    "distillation.teachers[].hub": ("distillation={teachers: [{hub: org/big}, big]}",),
    "distillation.teachers[].revision": ("distillation={teachers: [{hub: org/big, revision: abc}, big]}",),
    "distillation.teachers[].checkpoint": ("distillation={teachers: [{checkpoint: runs/big-1a2b3c4d}, big]}",),
    "distillation.sampling": ("distillation={teachers: [big, bigger], sampling: one}",),
    "distillation.loss": ("distillation.loss=mse",),
    "distillation.temperature": ("distillation.temperature=2",),
    "distillation.weight": ("distillation.weight=0.9",),
    "distillation.start": ("distillation.start=0.1dur",),
    "distillation.end": ("distillation.end=0.4dur",),
    "distillation.every": ("distillation.every=2",),
    "distillation.probability": ("distillation.probability=0.5",),
    "distillation.cache.top_k": ("distillation.cache={top_k: 32}",),
    "averaging.half_life": ("averaging.half_life=9ba",),
    "averaging.update_interval": ("averaging.update_interval=3ba",),
    "averaging.start": ("averaging.start=0.5dur",),
    "evaluation.holdout": ("evaluation.holdout=0.02",),
    "evaluation.interval": ("evaluation.interval=9ba",),
    "evaluation.max_tokens": ("evaluation.max_tokens=9k",),
    "evaluation.prompts": ("evaluation.prompts=[hello]",),
    "evaluation.max_new_tokens": ("evaluation.max_new_tokens=9",),
    "evaluation.retention": ("evaluation.retention=[code]",),
    "evaluation.bias.against": ("evaluation.bias=b/x",),
    "evaluation.bias.classes": ("evaluation.bias={against: a/x, classes: sources}",),
    "evaluation.bias.buckets": ("evaluation.bias={against: a/x, buckets: 7}",),
    "evaluation.bias.convention": ("evaluation.bias={against: a/x, convention: repo}",),
    "evaluation.bias.zero_rate": ("evaluation.bias={against: a/x, zero_rate: error}",),
    "evaluation.bias.epsilon": ("evaluation.bias={against: a/x, zero_rate: epsilon, epsilon: 1e-6}",),
    "evaluation.bias.replicates": (
        "sequence=[{name: a}, {name: b, evaluation: {bias: {against: a/x, replicates: [a]}}}]",
    ),
    "evaluation.bias.max_cev": ("evaluation.bias={against: a/x, max_cev: 0.5}",),
    "evaluation.bias.max_sde": ("evaluation.bias={against: a/x, max_sde: 0.5}",),
    "checkpoints.interval": ("checkpoints.interval=9ba",),
    "checkpoints.keep": ("checkpoints.keep=3",),
    "checkpoints.export": ("checkpoints.export=false",),
    "checkpoints.export_dtype": ("checkpoints.export_dtype=bf16",),
    "checkpoints.max_shard": ("checkpoints.max_shard=1GB",),
    "logging.interval": ("logging.interval=9ba",),
    "logging.console": ("logging.console=false",),
    "logging.jsonl": ("logging.jsonl=false",),
    "logging.tensorboard": ("logging.tensorboard={}",),
    "logging.mlflow.experiment": ("logging.mlflow={experiment: mine}",),
    "logging.mlflow.tracking_uri": ("logging.mlflow={tracking_uri: sqlite:///x.db}",),
    "logging.wandb.project": ("logging.wandb={project: mine}",),
    "logging.wandb.entity": ("logging.wandb={entity: team}",),
    "logging.wandb.mode": ("logging.wandb={mode: online}",),
    "launch.workers": ("launch.workers=2",),
    "launch.cache": ("launch.cache=/scratch/cache",),
    "launch.cache_limit": ("launch.cache_limit=500GB",),
    "launch.slurm.partition": ("launch.slurm.partition=big",),
    "launch.slurm.account": ("launch.slurm.account=lab",),
    "launch.slurm.qos": ("launch.slurm.qos=high",),
    "launch.slurm.time": ("launch.slurm.time=9h",),
    "launch.threads": ("launch.threads=3",),
    "launch.offline": ("launch.offline=true",),
    "launch.scoring.engine": ("launch.scoring=datatrove",),
    "launch.scoring.tasks": ("launch.scoring={tasks: 8}",),
}

# What a change is compared with, where BASE itself would hide it: limits that bind, a law of the same kind.
AUTO = ("model={size: auto}", "budget={match_chinchilla: 100M, inference: {requests: 1M}}", "training={}")
BEFORE: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(IMAGES, CLASSIFIER),
    "budget.target_loss": AUTO,
    "budget.match_chinchilla": AUTO,
    "budget.match_model.parameters": (*AUTO, "budget={match_model: {parameters: 100M, tokens: 2B}}"),
    "budget.match_model.tokens": (*AUTO, "budget={match_model: {parameters: 100M, tokens: 2B}}"),
    "budget.objective": AUTO,
    "budget.constraints.max_epochs": (*AUTO, "budget.constraints={unique_tokens: 500M}"),
    **{f"budget.constraints.{key}": AUTO for key in ("min_parameters", "max_parameters", "unique_tokens")},
    "budget.constraints.max_tokens_per_parameter": AUTO,
    **{
        f"budget.scaling_law.{key}": ("budget.scaling_law={e: 1.6, a: 400, b: 410, alpha: 0.34, beta: 0.28}",)
        for key in ("e", "a", "b", "alpha", "beta")
    },
    "budget.scaling_law.max_tokens_per_parameter": (f"budget.scaling_law={{fit: {RUNS}}}",),
    **{f"data.curriculum[].{key}": (f"data.curriculum={before}",) for key, (before, _) in DIFFICULTY.items()},
    **{
        f"data.domain_upsampling.{key}": ("data.domain_upsampling={weights: {code: 1}}",)
        for key in ("fraction", "weights", "keep", "keep_sources")
    },
    **{
        f"evaluation.bias.{key}": ("evaluation.bias=a/x",)
        for key in ("against", "classes", "buckets", "convention", "zero_rate", "max_cev", "max_sde")
    },
    "evaluation.bias.epsilon": ("evaluation.bias={against: a/x, zero_rate: epsilon}",),
    "evaluation.bias.replicates": ("sequence=[{name: a}, {name: b, evaluation: {bias: a/x}}]",),
    "model.start.run": (TWO_RUNS,),
    "model.start.folder": SIZES,
    "model.start.hub": SIZES,
    "model.start.revision": ("model.start={hub: org/base}", *SIZES),
    "distillation.teacher.run": (TWO_RUNS,),
    "distillation.teacher.revision": ("distillation.teacher={hub: org/big}",),
    "distillation.teachers[].run": (TWO_RUNS, "distillation={teachers: [big, bigger]}"),
    "distillation.teachers[].revision": ("distillation={teachers: [{hub: org/big}, big]}",),
    "distillation.sampling": ("distillation={teachers: [big, bigger]}",),
    "distillation.cache.top_k": ("distillation.cache={}",),
    "precision.param": ("averaging=null",),
    "precision.norms": ("model.family=gpt2",),
    **{f"precision.loss_scale.{key}": ("precision=fp16",) for key in ("initial", "growth_interval")},
    **{
        f"training.adapter.{key}": (*STARTED, "compression=[]", "training.adapter={}")
        for key in ("rank", "alpha", "dropout", "targets", "rank_stabilized", "base")
    },
    "hardware.gpu.peak.fp8": ("precision=fp8", "compression=[]"),
    "compression[].norm": ("compression=[{kind: pruning, method: structured}]",),
    **{
        f"compression[].{key}": ("compression=[{kind: quantization}]",)
        for key in ("mode", "weights", "granularity", "activations")
    },
    "compression[].group_size": ("compression=[{kind: quantization, granularity: group}]",),
    "compression[].rank": (*STARTED, "compression=[{kind: low_rank, rank: 8}]"),
    "compression[].energy": (*STARTED, "compression=[{kind: low_rank, energy: 0.9}]"),
    "compression[].parameters": (*STARTED, "compression=[{kind: low_rank, parameters: 0.5}]"),
    # Clipping by the norm, and pruning over all layers, see whole weights; a plan of two devices shares them by itself.
    "training.sharding.kind": ("compression=[]",),
    "training.sharding.degree": (
        "compression=[]",
        "hardware.count=16",
        "training.batch=64k tok",
        "training.sharding=hybrid",
    ),
}
ON_TOP = ("budget.objective", "budget.constraints.")
"""Changes that are made to what they are compared with, not to BASE."""

# One word is the only choice today; a change is refused, which tests/errors/ shows.
SINGLE = {
    "data.curriculum[].kind",
    "compression[].kind",
    "distillation.kind",
    "training.adapter.kind",
    "averaging.kind",
    "launch.kind",
}
# Where and how it runs, and what it costs: in the plan, outside of the fingerprint.
PLACE = ("logging.", "launch.", "checkpoints.interval", "checkpoints.keep")
MONEY = {
    "budget.inference.tokens",
    "budget.inference.requests",
    "budget.inference.input_tokens",
    "budget.inference.output_tokens",
    "budget.inference.gpu",
    "budget.inference.precision",
    "budget.inference.price",
    "budget.inference.mfu_prefill",
    "budget.inference.mfu_decode",
    *(
        f"budget.scaling_law.{key}"
        for key in ("name", "e", "a", "b", "alpha", "beta", "fit", "max_tokens_per_parameter")
    ),
    "budget.max_cost",
    "budget.max_hours",
    "budget.max_gpus",
    "evaluation.bias.max_cev",
    "evaluation.bias.max_sde",
    "hardware.gpu.memory",
    "hardware.gpu.bandwidth",
    "hardware.gpu.peak.bf16",
    "hardware.gpu.peak.fp8",
    "hardware.gpu.link",
    "hardware.gpu.tdp",
    "hardware.price",
    "hardware.mfu",
    "hardware.calibration",
    "hardware.network",
    "hardware.mtbf",
    "hardware.pue",
    "hardware.grid",
}
"""What only predicts, prices or limits, as long as it leaves model, steps and layout of BASE as they are."""


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        path = f"{prefix}{info.alias or name}"
        inner = _models(info.annotation)
        if path == "data.sources" or not inner or not inner[0].model_fields:
            yield path
        else:
            for one in dict.fromkeys(inner):
                yield from _keys(one, f"{path}[]." if "tuple" in str(info.annotation) else f"{path}.")


def test_every_key_of_the_language_is_listed() -> None:
    """A new key needs a row here."""
    assert set(_keys(Recipe)) - SINGLE == set(CHANGES)


@pytest.mark.parametrize("key", CHANGES)
def test_changing_a_key_changes_the_plan(key: str, tmp_path: Path) -> None:
    """The change reaches the plan, in more than provenance; only place and money leave the fingerprint alone."""
    without = BEFORE.get(key, ())
    start = without if key.startswith(ON_TOP) else ()
    before, after = plan_text(BASE, tmp_path, *without), plan_text(BASE, tmp_path, *start, *CHANGES[key])
    meaning = {"provenance", "fingerprint", "resume_key"}

    assert before.model_dump(exclude=meaning) != after.model_dump(exclude=meaning)
    expect_same = key.startswith(PLACE) or key in MONEY
    assert (before.fingerprint == after.fingerprint) == expect_same


@pytest.mark.parametrize("key", ["duration", "start_length", "step_size", "truncate"])
def test_the_length_of_sequences_warms_up_beside_an_order_of_difficulty(key: str, tmp_path: Path) -> None:
    """In a list of both, each key changes the same algorithm as alone."""
    said = {"duration": "0.5dur", "start_length": "32", "step_size": "16", "truncate": "false"}[key]
    alone, both = (
        plan_text(BASE, tmp_path, f"data.curriculum={form % f'{{kind: sequence_length_warmup, {key}: {said}}}'}")
        for form in ("%s", "[{by: length}, %s]")
    )
    assert alone.algorithms == both.algorithms != plan_text(BASE, tmp_path).algorithms
    assert not alone.data.curricula
    assert set(both.data.curricula) == {"code", "prose"}


def test_a_curriculum_of_difficulty_has_no_other_keys() -> None:
    """What its rows are."""
    assert set(DIFFICULTY) == set(Curriculum.model_fields) - {"kind"}


@pytest.mark.parametrize("key", DIFFICULTY)
def test_a_source_has_every_key_of_a_curriculum(key: str, tmp_path: Path) -> None:
    """A source's own curriculum changes its plan alone."""
    before, after = (
        plan_text(BASE, tmp_path, f"data.sources.code.curriculum={said}").data.curricula for said in DIFFICULTY[key]
    )
    assert before.keys() == after.keys() == {"code"}
    assert before["code"] != after["code"]
    assert after["code"].scope == "source"

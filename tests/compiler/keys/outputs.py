"""What is measured and kept, and where it runs: evaluation, checkpoints, logging, launch."""

from __future__ import annotations

from tests.compiler.keys.base import Overrides

__all__ = ["BEFORE", "CHANGES"]


# Path -> overrides that change it. A key that another one excludes comes with what makes room for it.
CHANGES: Overrides = {
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

# What a change is compared with, where BASE itself would hide it.
BEFORE: Overrides = {
    **{
        f"evaluation.bias.{key}": ("evaluation.bias=a/x",)
        for key in ("against", "classes", "buckets", "convention", "zero_rate", "max_cev", "max_sde")
    },
    "evaluation.bias.epsilon": ("evaluation.bias={against: a/x, zero_rate: epsilon}",),
    "evaluation.bias.replicates": ("sequence=[{name: a}, {name: b, evaluation: {bias: a/x}}]",),
}

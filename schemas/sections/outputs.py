"""Sections of the plan on what a run measures, saves and logs, and where it is executed."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Float, Fraction, Frozen, Integer, Name, Text
from schemas.evaluation import BiasPlan, MLflow, TensorBoard, WandB

__all__ = ["CheckpointsPlan", "EvaluationPlan", "ExecutionPlan", "LoggingPlan", "ScoringPlan", "SlurmPlan"]


class EvaluationPlan(Frozen):
    """Held-out loss per source every `interval_steps`; prompts are continued by the finished model."""

    holdout: Fraction
    interval_steps: Integer
    max_tokens: Integer
    prompts: tuple[Text, ...]
    max_new_tokens: Integer
    retention: tuple[Name, ...] = Field(description="Sources of which is measured what the training forgot.")
    bias: BiasPlan | None


class CheckpointsPlan(Frozen):
    """Saved every `interval_steps` and at the end; the newest `keep` stay."""

    interval_steps: Integer
    keep: Integer
    export: bool
    export_dtype: Literal["fp32", "bf16", "fp16"]
    max_shard_bytes: Integer


class LoggingPlan(Frozen):
    """Where metrics go."""

    interval_steps: Integer
    console: bool
    jsonl: bool
    tensorboard: TensorBoard | None
    mlflow: MLflow | None
    wandb: WandB | None


class SlurmPlan(Frozen):
    """Lines of the batch script for Slurm; those that are left out aren't written."""

    partition: Name | None = None
    account: Name | None = None
    qos: Name | None = None
    time: Float | None = Field(None, ge=0, description="Seconds.")


class ScoringPlan(Frozen):
    """Where documents are scored."""

    engine: Literal["local", "datatrove", "slurm"] = "local"
    tasks: Integer | None = Field(
        None, description="Processes or jobs; by default one a core of the machine that scores."
    )


class ExecutionPlan(Frozen):
    """Where and how the job runs; left out of the fingerprint."""

    workers: Integer
    cache: Text | None
    cache_limit: Integer | None = Field(description="Bytes on each machine for copies of remote shards.")
    threads: Integer | None
    offline: bool
    slurm: SlurmPlan
    scoring: ScoringPlan = ScoringPlan()

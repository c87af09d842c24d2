"""Evaluation, checkpoints, logging and execution: the recipe's times in steps, the rest as said."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.provenance import From
from schemas.plan import CheckpointsPlan, EvaluationPlan, ExecutionPlan, LoggingPlan
from schemas.units import Time

__all__ = ["checkpoints", "evaluation", "execution", "logging"]


def _interval(draft: Draft, time: Time, section: str) -> tuple[Draft, int]:
    """An interval in steps, at least one."""
    draft, steps = draft.steps_of(time, section, "interval")
    return draft, max(1, steps)


def evaluation(draft: Draft) -> Draft:
    """Fill `evaluation`."""
    said = draft.recipe.evaluation
    draft, steps = _interval(draft, said.interval, "evaluation")
    section = EvaluationPlan(
        holdout=said.holdout,
        interval_steps=steps,
        max_tokens=said.max_tokens,
        prompts=said.prompts,
        max_new_tokens=said.max_new_tokens,
    )
    return draft.fill("evaluation", section, {"interval_steps": From("evaluation.interval", str(said.interval))})


def checkpoints(draft: Draft) -> Draft:
    """Fill `checkpoints`."""
    said = draft.recipe.checkpoints
    draft, steps = _interval(draft, said.interval, "checkpoints")
    section = CheckpointsPlan(
        interval_steps=steps,
        keep=said.keep,
        export=said.export,
        export_dtype=said.export_dtype,
        max_shard_bytes=said.max_shard,
    )
    return draft.fill(
        "checkpoints",
        section,
        {
            "interval_steps": From("checkpoints.interval", str(said.interval)),
            "max_shard_bytes": From("checkpoints.max_shard"),
        },
    )


def logging(draft: Draft) -> Draft:
    """Fill `logging`."""
    said = draft.recipe.logging
    draft, steps = _interval(draft, said.interval, "logging")
    section = LoggingPlan(
        interval_steps=steps,
        console=said.console,
        jsonl=said.jsonl,
        tensorboard=said.tensorboard,
        mlflow=said.mlflow,
        wandb=said.wandb,
    )
    return draft.fill("logging", section, {"interval_steps": From("logging.interval", str(said.interval))})


def execution(draft: Draft) -> Draft:
    """Fill `execution`."""
    said = draft.recipe.launch
    section = ExecutionPlan(
        workers=said.workers, cache=said.cache, threads=said.threads, offline=said.offline, slurm=said.slurm
    )
    keys = ("workers", "cache", "threads", "offline")
    return draft.fill(
        "execution",
        section,
        {key: From(f"launch.{key}") for key in keys}
        | {f"slurm.{key}": From(f"launch.slurm.{key}") for key in type(said.slurm).model_fields},
    )

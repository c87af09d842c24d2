"""Evaluation, checkpoints, logging and execution: the recipe's times in steps, the rest as said."""

from __future__ import annotations

import math
from typing import Final

from compiler.bias import bias_plan
from compiler.costing.times import saving_of
from compiler.draft import Draft
from compiler.estimate.cost import best_interval_seconds
from compiler.estimate.speed.predict import speed
from compiler.passes.images import step_seconds_of
from compiler.passes.parallelism import workload
from compiler.provenance import Because, From, Reason
from schemas.plan import CheckpointsPlan, EvaluationPlan, ExecutionPlan, LoggingPlan, ScoringPlan, SlurmPlan
from schemas.units import Time, format_seconds

__all__ = ["checkpoints", "evaluation", "execution", "logging"]

# Of the training, by default; a short run of a large model is saved less often than ten times.
_MOST_SAVING: Final = 0.05


def _interval(draft: Draft, time: Time, section: str) -> tuple[Draft, int]:
    """An interval in steps, at least one."""
    draft, steps = draft.steps_of(time, section, "interval")
    return draft, max(1, steps)


def evaluation(draft: Draft) -> Draft:
    """Fill `evaluation`."""
    said = draft.recipe.evaluation
    draft, steps = _interval(draft, said.interval, "evaluation")
    draft, bias, why = bias_plan(draft)
    section = EvaluationPlan(
        holdout=said.holdout,
        interval_steps=steps,
        max_tokens=said.max_tokens,
        prompts=said.prompts,
        max_new_tokens=said.max_new_tokens,
        retention=tuple(dict.fromkeys(said.retention)),
        bias=bias,
    )
    if draft.is_classifier and draft.spans.key("evaluation", "holdout") is None:
        why = {"holdout": Reason("a tenth of the images: accuracy on few of them says little"), **why}
    return draft.fill("evaluation", section, {"interval_steps": From("evaluation.interval", str(said.interval)), **why})


def _usual_saves(draft: Draft) -> tuple[int, Because]:
    """Steps between checkpoints where the recipe doesn't say: a tenth of the run, unless saving or failures cost too much."""
    training = draft.training
    tenth = max(1, round(training.steps / 10))
    if draft.is_classifier:
        step_seconds = step_seconds_of(draft)
    else:
        w = workload(draft, layout=draft.parallelism, microbatch=training.microbatch)
        step_seconds = sum(speed(w, measured_mfu=draft.recipe.hardware.mfu).seconds.values())
    saving = saving_of(draft, step_seconds, tenth)
    cheap = min(training.steps, math.ceil(saving.save / step_seconds / _MOST_SAVING))
    best = best_interval_seconds(saving.save, saving.mtbf) / step_seconds
    if best < max(tenth, cheap):
        return _rounded_down(best), Reason(
            f"loses least (Young 1974): a failure every {format_seconds(saving.mtbf)}, {format_seconds(saving.save)} to save"
        )
    if tenth < cheap:
        return cheap, Reason(
            f"{format_seconds(saving.save)} to save are to be {_MOST_SAVING:.0%} of the training at most"
        )
    return tenth, Reason("a tenth of the run")


def _rounded_down(steps: float) -> int:
    """1, 2 or 5 times a power of ten, so that an estimate that moves a little leaves the plan as it is."""
    power = 10 ** math.floor(math.log10(max(1.0, steps)))
    return int(next((m * power for m in (5, 2, 1) if m * power <= steps), 1))


def checkpoints(draft: Draft) -> Draft:
    """Fill `checkpoints`."""
    said = draft.recipe.checkpoints
    why: Because
    if said.interval is None:
        steps, why = _usual_saves(draft)
    else:
        draft, steps = _interval(draft, said.interval, "checkpoints")
        why = From("checkpoints.interval", str(said.interval))
    section = CheckpointsPlan(
        interval_steps=steps,
        keep=said.keep,
        export=said.export,
        export_dtype=said.export_dtype,
        max_shard_bytes=said.max_shard,
    )
    return draft.fill("checkpoints", section, {"interval_steps": why, "max_shard_bytes": From("checkpoints.max_shard")})


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
        workers=said.workers,
        cache=said.cache,
        cache_limit=said.cache_limit,
        threads=said.threads,
        offline=said.offline,
        slurm=SlurmPlan(**said.slurm.model_dump()),
        scoring=ScoringPlan(**said.scoring.model_dump()),
    )
    keys = ("workers", "cache", "cache_limit", "threads", "offline")
    return draft.fill(
        "execution",
        section,
        {key: From(f"launch.{key}") for key in keys}
        | {f"slurm.{key}": From(f"launch.slurm.{key}") for key in type(said.slurm).model_fields}
        | {f"scoring.{key}": From(f"launch.scoring.{key}") for key in type(said.scoring).model_fields},
    )

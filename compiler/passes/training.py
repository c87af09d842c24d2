"""Steps, batch, micro-batch, optimizer and schedule, every number decided."""

from __future__ import annotations

import math
from typing import Final

from compiler.draft import Draft
from compiler.passes.precision import check_precision
from compiler.provenance import Because, From, Reason
from schemas.plan import OptimizerPlan, SchedulePlan, TrainingPlan
from schemas.training import OptimizerKind

__all__ = ["training"]

_TUNING_LR: Final = 5e-5
"""Highest rate of full fine-tuning that was best for a task (Biderman et al. 2024, appendix B; LoRA's is ten times as high)."""
_HIGH_RANK: Final = 256


def _usual_lr(parameters: int) -> float:
    """6e-4 (N / 125M)^(-1/3), a power law through GPT-3's table 2.1 (Brown et al. 2020), at most 3e-3, to two digits."""
    return float(f"{min(3e-3, 6e-4 * (parameters / 125e6) ** (-1 / 3)):.1e}")


def _default_lr(draft: Draft) -> tuple[float, Reason]:
    """The peak rate where the recipe doesn't say it: for random weights, for trained ones, or for adapters beside them."""
    said = draft.recipe.training
    usual = _usual_lr(draft.model.num_parameters)
    if draft.recipe.model.start is None or (draft.recipe.model.start.run == "previous" and not draft.earlier):
        # Lion's update has the size of a sign, so its rate is 3 to 10 times smaller (Chen et al. 2023, section 5).
        return usual / (5 if said.optimizer.kind == "decoupled_lionw" else 1), Reason(
            "6e-4 (N/125M)^(-1/3), through GPT-3's table 2.1, at most 3e-3; a fifth of it for lion"
        )
    tuning = float(f"{min(_TUNING_LR, usual / 10):.1e}")
    if said.adapter is None:
        return tuning, Reason(
            "a tenth of the rate of pre-training, at most 5e-5: trained weights move little (1e-5 to 5e-5 were best for 7B in"
            " Biderman et al. 2024, appendix A)"
        )
    halved = said.adapter.rank >= _HIGH_RANK
    return 10 * tuning / (2 if halved else 1), Reason(
        "10 times that of full fine-tuning (Biderman et al. 2024, section 4.7)"
        + (f", halved at rank {said.adapter.rank}, where losses spike" if halved else "")
    )


def _of_images(kind: OptimizerKind, samples: int) -> tuple[float, float, Reason]:
    """Rate and decay of a residual network: He et al. 2016 with SGD, Liu et al. 2022 with Adam, both scaled with the batch.

    SGD: 0.1 at 256 images and a decay of 1e-4 (section 3.4 of He et al.), in proportion to the batch (Goyal et al. 2017).
    AdamW: 4e-3 at 4096 images and 0.05 (Liu et al. 2022, table 5), with the square root, at least 1e-3. Decoupled decay, which
    isn't multiplied by the rate, is rate x decay; lion takes a fifth of the rate.
    """
    if kind == "sgd":
        rate = float(f"{0.1 * samples / 256:.2g}")
        return (
            rate,
            1e-4,
            Reason("0.1 at 256 images, decay 1e-4 (He et al. 2016), in proportion to the batch (Goyal et al. 2017)"),
        )
    rate = max(1e-3, 4e-3 * math.sqrt(samples / 4096)) / (5 if kind == "decoupled_lionw" else 1)
    decay = 0.05 if kind == "adamw" else rate * 0.05
    return (
        float(f"{rate:.2g}"),
        float(f"{decay:.2g}"),
        Reason("4e-3 at 4096 images, decay 0.05 (Liu et al. 2022), with the root of the batch"),
    )


def _optimizer(draft: Draft) -> tuple[OptimizerPlan, dict[str, Because]]:
    said = draft.recipe.training.optimizer
    decoupled = said.kind in ("decoupled_adamw", "decoupled_lionw")
    why: dict[str, Because] = {}
    lr, decay = said.lr, said.weight_decay
    if draft.is_classifier:
        rate, usual, reason = _of_images(said.kind, draft.batch.samples)
        if lr is None:
            lr, why["optimizer.lr"] = rate, reason
        if decay is None:
            decay, why["optimizer.weight_decay"] = usual, reason
    if lr is None:
        lr, why["optimizer.lr"] = _default_lr(draft)
    if decay is None:
        decay = 0.0 if said.kind == "sgd" else 1e-5 if decoupled else 0.1
        why["optimizer.weight_decay"] = Reason("usual for the optimizer: decoupled decay is not multiplied by the rate")
    return OptimizerPlan(kind=said.kind, lr=lr, betas=said.betas, eps=said.eps, weight_decay=decay), why


def _schedule(draft: Draft) -> tuple[Draft, SchedulePlan]:
    said, batch = draft.recipe.training.schedule, draft.batch
    draft, warmup = draft.steps_of(said.warmup, "training", "schedule", "warmup")
    draft, cooldown = draft.steps_of(said.cooldown, "training", "schedule", "cooldown")
    if said.kind != "inverse_sqrt" and cooldown:
        draft = draft.find(
            draft.diagnostic(
                "RC203",
                f"a {said.kind} schedule has no cooldown",
                "training",
                "schedule",
                "cooldown",
                help="kind: inverse_sqrt   # or delete this line",
            )
        )
        cooldown = 0
    if warmup + cooldown > batch.steps:
        key, length = ("cooldown", "0.2dur") if cooldown > warmup else ("warmup", "0.01dur")
        draft = draft.find(
            draft.diagnostic(
                "RC104",
                f"warmup and cooldown take {warmup + cooldown} steps, the run has {batch.steps}",
                "training",
                "schedule",
                key,
                help=f"{key}: {length}",
            )
        )
        warmup, cooldown = 0, 0
    return draft, SchedulePlan(kind=said.kind, warmup_steps=warmup, cooldown_steps=cooldown, final_fraction=said.final)


def _microbatch_reason(draft: Draft) -> Because:
    if draft.recipe.training.microbatch is not None:
        return From("training.microbatch")
    return Reason(
        "the largest divisor of a device's batch that fits memory, with 6 % of it to spare where any layout has that"
    )


def training(draft: Draft) -> Draft:
    """Fill `training`."""
    said, batch = draft.recipe.training, draft.batch
    optimizer, why = _optimizer(draft)
    draft, schedule = _schedule(draft)
    section = TrainingPlan(
        steps=batch.steps,
        global_batch_samples=batch.samples,
        global_batch_tokens=batch.tokens,
        microbatch=draft.microbatch,
        optimizer=optimizer,
        schedule=schedule,
        deterministic=said.deterministic,
    )
    size: Because = Reason("grows with N^(2/3) as in OLMo-core's ladder, in at least 500 steps")
    if draft.is_classifier:
        size = Reason("256 images with four stages, 128 with three (He et al. 2016), in at least 100 steps")
    if said.batch is not None:
        size = From("training.batch", f"{said.batch} tokens asked, whole sequences on every device give {batch.tokens}")
    draft = draft.fill(
        "training",
        section,
        {
            **why,
            "steps": From("training.duration")
            if draft.is_classifier
            else Reason("tokens of the budget / tokens of a batch"),
            "global_batch_samples": size,
            "global_batch_tokens": size,
            "microbatch": _microbatch_reason(draft),
            "schedule.warmup_steps": From("training.schedule.warmup"),
            "schedule.cooldown_steps": From("training.schedule.cooldown"),
            "schedule.final_fraction": From("training.schedule.final"),
        },
    )
    return check_precision(draft)

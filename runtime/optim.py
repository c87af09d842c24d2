"""Optimizers with every number from the plan, and the learning-rate schedules as pure functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from schemas.plan import OptimizerPlan, SchedulePlan

if TYPE_CHECKING:
    import torch
    from torch.optim.lr_scheduler import LambdaLR

__all__ = ["build_optimizer", "build_schedule", "multiplier", "parameter_groups"]


def parameter_groups(model: torch.nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices with weight decay; norms, biases and embeddings (tied output layers too) without.

    Decay pulls rarely used embedding rows to zero, and scales of norms away from one, without making the model simpler
    (GPT-2 and Llama training do the same).
    """
    import torch

    spared = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, torch.nn.Embedding)
        for parameter in module.parameters(recurse=False)
    }
    decayed: list[torch.nn.Parameter] = []
    plain: list[torch.nn.Parameter] = []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (plain if parameter.ndim < 2 or id(parameter) in spared else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def build_optimizer(model: torch.nn.Module, plan: OptimizerPlan) -> torch.optim.Optimizer:
    """The optimizer of a plan. `decoupled_*` multiply weight decay by lr / peak lr, not by lr (Composer)."""
    import torch

    groups = parameter_groups(model, plan.weight_decay)
    match plan.kind:
        case "adamw":
            # One kernel for all parameters; the default loops over them in Python on a CPU.
            return torch.optim.AdamW(groups, lr=plan.lr, betas=plan.betas, eps=plan.eps, fused=True)
        case "decoupled_adamw":
            from composer.optim import DecoupledAdamW

            adamw: torch.optim.Optimizer = DecoupledAdamW(groups, lr=plan.lr, betas=plan.betas, eps=plan.eps)
            return adamw
        case "decoupled_lionw":
            from runtime.lion import DecoupledLionW

            return DecoupledLionW(groups, lr=plan.lr, betas=plan.betas)
        case "sgd":
            return torch.optim.SGD(groups, lr=plan.lr, momentum=plan.betas[0])


def multiplier(schedule: SchedulePlan, steps: int, step: int) -> float:
    """Share of the peak learning rate at a step (0 is the first) of a run of `steps`.

    The formulas of Composer's schedulers with warmup (their code, which divides by T - w, not their docstrings): 0 to 1
    over `warmup_steps` = w, then

        cosine       f + (1 - f) (1 + cos(pi x)) / 2,  x = (t - w) / (T - w)
        linear       1 + (f - 1) x
        constant     1
        inverse_sqrt 1 / sqrt(t / w), then linearly to f over the last `cooldown_steps`
    """
    warmup, final = schedule.warmup_steps, schedule.final_fraction
    if step < warmup:
        return step / warmup
    if schedule.kind == "constant":
        return 1.0
    if schedule.kind == "inverse_sqrt":
        return _inverse_sqrt(schedule, steps, step)
    passed = min(1.0, (step - warmup) / max(1, steps - warmup))
    if schedule.kind == "cosine":
        return final + (1 - final) * (1 + math.cos(math.pi * passed)) / 2
    return 1 + (final - 1) * passed


def _inverse_sqrt(schedule: SchedulePlan, steps: int, step: int) -> float:
    # The square root starts where warmup ended; without warmup it starts at step 1.
    scale = max(1, schedule.warmup_steps)
    bend = max(schedule.warmup_steps, steps - schedule.cooldown_steps)

    def decayed(at: int) -> float:
        return 1 / math.sqrt((at - schedule.warmup_steps + scale) / scale)

    if step < bend:
        return decayed(step)
    passed = min(1.0, (step - bend) / max(1, steps - bend))
    return decayed(bend) + (min(schedule.final_fraction, decayed(bend)) - decayed(bend)) * passed


def build_schedule(optimizer: torch.optim.Optimizer, schedule: SchedulePlan, steps: int) -> LambdaLR:
    """`multiplier` on an optimizer; step t of the run (from 0) is made with multiplier(t).

    torch's own LambdaLR counts steps itself. Composer's schedulers read its clock before it is moved on, so that their
    second step repeats the first one's rate, and all others come one step late.
    """
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, lambda step: multiplier(schedule, steps, step))

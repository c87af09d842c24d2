"""How a run ends at its cap: what was spent, what is saved, and the line that lets it go on."""

from __future__ import annotations

import math

from runtime.errors import RunFailed
from runtime.spend import Cap, Spend, caps_of, shared_caps, spent
from schemas.plan import RunPlan
from schemas.units import format_seconds, format_usd

__all__ = ["cap_error"]


def cap_error(
    plan: RunPlan, spend: Spend, steps: int, training_seconds: float = 0.0, carried: Spend | None = None
) -> RunFailed:
    """How a run ends at its cap: what was spent, what is saved, and the line that lets it go on.

    Args:
        plan: with the cap.
        spend: up to now; says which cap it was.
        steps: optimizer steps done.
        training_seconds: that these took, without starts, evaluations and saving.
        carried: what earlier runs of the sequence have spent.
    """
    cap: Cap = spend.stopped_by or "max_cost"
    show = format_usd if cap == "max_cost" else format_seconds
    before = carried or Spend()
    own = plan.budget.max_cost_usd if cap == "max_cost" else plan.budget.max_seconds
    limit = caps_of(plan, before).get(cap, spend.cap)
    # What binds may be the cap of all runs together: then it is told with what these have spent together.
    together = cap in shared_caps(plan) and (own is None or limit < own)
    whose = f"; the runs before it {show(spent(before, cap))} of that" if together and spent(before, cap) else ""
    base = spent(before, cap) if together else 0.0
    so_far, limit = base + spent(spend, cap), shared_caps(plan)[cap] if together else limit
    total = plan.training.steps
    done = f"at batch {steps:,} of {total:,}, which is saved" if steps else "before a batch was done"
    ahead = _seconds_ahead(plan, spend, steps, training_seconds)
    devices = spend.device_seconds / spend.seconds if spend.seconds else plan.parallelism.devices
    # Never below what is spent already and the cap that was too low, whatever the pace.
    after = base + spent(spend.plus(ahead, round(devices), plan.hardware.usd_per_gpu_hour), cap)
    need = max(after, limit) * 1.05
    enough = f"${_rounded_up(need):g}" if cap == "max_cost" else _time(need)
    return RunFailed(
        "RC608",
        f"training has spent {show(so_far)} of the {show(limit)} of `{cap}`{whose}; it stopped {done}",
        f"`{cap}: {enough}` under `budget` would be enough at this pace; then run the recipe again, and it goes on from there",
    )


def _seconds_ahead(plan: RunPlan, spend: Spend, steps: int, training_seconds: float) -> float:
    """Seconds of the training that is left: batches at the pace so far, and once more all that was not batches.

    That is starting, above all: counted by the batch, a run that stopped after its first would need a hundredfold.
    """
    if not steps:
        return sum(step.seconds for step in plan.steps if step.kind == "train")
    batches = min(training_seconds, spend.seconds) if training_seconds > 0 else spend.seconds
    return batches / steps * (plan.training.steps - steps) + spend.seconds - batches


def _time(seconds: float) -> str:
    return f"{_rounded_up(seconds / 3600):g}h" if seconds > 7200 else f"{_rounded_up(seconds):g}s"


def _rounded_up(value: float) -> float:
    """To two digits, never down."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step) * step

"""What the run will take: speed, memory, hours, dollars, energy, with the intervals that the methods have earned."""

from __future__ import annotations

from typing import Final

from compiler.costing.site import known_site
from compiler.costing.times import Costs, costs_of
from compiler.draft import Draft
from compiler.estimate.convnet import memory_of, speed_of
from compiler.estimate.cost import OVERHEAD_SPREAD, Times, best_interval_seconds, co2e_kg, energy_kwh, restarts
from compiler.estimate.memory.peak import MemoryEstimate, budget_bytes, peak
from compiler.estimate.speed.predict import Speed, speed
from compiler.mixing.exposure import exposure
from compiler.passes.images import step_of
from compiler.passes.parallelism import workload
from compiler.provenance import Because, From, Reason
from schemas.diagnostics import Severity
from schemas.plan import Estimate, HardwarePlan
from schemas.units import format_seconds

__all__ = ["estimate"]

# What costs more than this share of the training, and this long, is worth a word where other checkpoints would halve it.
_MANY_RESTARTS: Final = 0.1
_FEW_SECONDS: Final = 300.0
_NEVER: Final = 10.0
"""Losing this many times the training is hardly ever coming to an end."""
_ENDLESS: Final = 1000.0
"""Losing this many times the training has no end: hours and dollars would be numbers without meaning."""


def _usd(times: Times, hardware: HardwarePlan) -> dict[str, float]:
    """Dollars of each part: hours in which the devices are held x devices x price."""
    per_second = hardware.count * hardware.usd_per_gpu_hour / 3600
    return {name: seconds * per_second for name, seconds in times.held.items()}


def _integers(parts: dict[str, float], total: int) -> dict[str, int]:
    """Whole bytes that sum to `total`: what rounding leaves goes to the largest part."""
    whole = {name: round(value) for name, value in parts.items()}
    largest = max(whole, key=lambda name: whole[name])
    return whole | {largest: whole[largest] + total - sum(whole.values())}


def _section(draft: Draft, memory: MemoryEstimate, fast: Speed, costs: Costs) -> Estimate:
    hardware, times = draft.hardware, costs.times
    quick = times.at(fast.high / fast.tokens_per_s_per_gpu, 1 / OVERHEAD_SPREAD)
    slow = times.at(fast.low / fast.tokens_per_s_per_gpu, OVERHEAD_SPREAD)
    usd = _usd(times, hardware)
    kwh = energy_kwh(sum(times.held.values()) / 3600 * hardware.count, hardware.tdp_watts, hardware.pue)
    return Estimate(
        tokens_per_s_per_gpu=fast.tokens_per_s_per_gpu,
        tokens_per_s_per_gpu_low=fast.low,
        tokens_per_s_per_gpu_high=fast.high,
        mfu=fast.mfu,
        peak_memory_bytes=memory.peak_bytes,
        peak_memory_bytes_low=memory.low_bytes,
        peak_memory_bytes_high=memory.high_bytes,
        memory_limit_bytes=budget_bytes(draft.device),
        memory_parts=_integers(dict(memory.parts), memory.peak_bytes),
        memory_instant=memory.instant,
        step_parts=dict(fast.seconds),
        time_parts=times.parts,
        hours=times.total / 3600,
        hours_low=quick.total / 3600,
        hours_high=slow.total / 3600,
        usd_parts=usd,
        usd=sum(usd.values()),
        usd_low=sum(_usd(quick, hardware).values()),
        usd_high=sum(_usd(slow, hardware).values()),
        energy_kwh=kwh,
        co2e_kg=co2e_kg(kwh, hardware.co2e_kg_per_kwh),
        inference_usd=draft.budget.inference_usd,
        lifetime_usd=sum(usd.values()) + draft.budget.inference_usd,
        exposure=exposure(draft),
        method=fast.method,
    )


def _check_saving(draft: Draft, costs: Costs, step_seconds: float) -> Draft:
    """A finding where machines fail so often that other checkpoints would halve what is lost (Young 1974), or nothing helps."""
    s, work = costs.saving, costs.times.training
    best = min(work, max(step_seconds, best_interval_seconds(s.save, s.mtbf)))
    lost = costs.times.restarts + costs.times.checkpoints
    less = restarts(work, best, s.save, s.restart, s.mtbf) + work / best * s.save
    failed = any(finding.severity is Severity.ERROR for finding in draft.findings)
    helps, endless = less <= min(lost / 2, _ENDLESS * work), lost > _ENDLESS * work
    if failed or lost < max(_MANY_RESTARTS * work, _FEW_SECONDS) or not (helps or endless):
        return draft
    what = f"checkpoints and restarts take {format_seconds(lost)} beside {format_seconds(work)} of training"
    if lost > _NEVER * work:
        what = "machines fail so often that the run hardly ever gets from one checkpoint to the next"
    then = (
        f": {format_seconds(less)}" if less < _NEVER * work else ", the best there is; fewer machines fail less often"
    )
    return draft.find(
        draft.diagnostic(
            "RC305",
            what,
            *(("checkpoints", "interval") if helps else ("hardware", "count")),
            help=f"interval: {max(1, round(best / step_seconds))}ba   # every {format_seconds(best)}{then}"
            if helps
            else "",
            reason=f"a failure every {format_seconds(s.mtbf)}, {format_seconds(s.save)} to save, and a checkpoint every "
            f"{format_seconds(s.interval)}",
            severity=Severity.ERROR if endless else Severity.WARNING,
        )
    )


def _reasons(fast: Speed) -> dict[str, Because]:
    money = Reason("hours in which devices are held x devices x price; preparing needs none: `--steps before-train`")
    time = Reason("measured and published constants, checkpoints and failures by Daly 2006 (compiler/estimate/cost.py)")
    memory = Reason("the fullest instant of one device, part by part (compiler/estimate/memory/peak.py)")
    named = {"usd": money, "time": time, "hours": time, "peak_memory_bytes": memory, "memory": memory}
    found: dict[str, Because] = {"": Reason(f"speed of one optimizer step: {fast.method}")}
    for field in Estimate.model_fields:
        why = next((reason for start, reason in named.items() if field.startswith(start)), None)
        if why is not None:
            found[field] = why
    return found | {
        "energy_kwh": Reason(
            "board power while devices are held x PUE, as LLaMA's report counts (Touvron et al. 2023)"
        ),
        "co2e_kg": Reason("energy x hardware.grid"),
        "inference_usd": From("budget.inference", "2 N T on the devices that serve"),
        "lifetime_usd": Reason("usd + inference_usd"),
        "exposure": Reason("sums of the phases' draws, over `tokens` of the sources without what is held out"),
    }


def estimate(draft: Draft) -> Draft:
    """Fill `estimate`, and note the `costs` that the graph of steps takes its seconds from."""
    draft, site = known_site(draft)
    measured_mfu = draft.recipe.hardware.mfu
    if draft.is_classifier:
        step = step_of(draft, draft.training.microbatch)
        fast, memory = speed_of(step, measured_mfu), memory_of(step)
    else:
        w = workload(draft, layout=draft.parallelism, microbatch=draft.training.microbatch)
        fast, memory = speed(w, measured_mfu=measured_mfu, site=site), peak(w)
    step_seconds = sum(fast.seconds.values())
    costs = costs_of(draft, step_seconds)
    draft = _check_saving(draft, costs, step_seconds)
    return draft.note("costs", costs).fill("estimate", _section(draft, memory, fast, costs), _reasons(fast))

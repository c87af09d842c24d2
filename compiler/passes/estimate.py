"""What the run will take: speed, memory, hours, dollars, with the interval that the method has earned; limits checked."""

from __future__ import annotations

from collections.abc import Callable

from compiler.draft import Draft
from compiler.estimate.architecture import flops_per_token
from compiler.estimate.memory import peak_bytes
from compiler.estimate.throughput import Speed, speed
from compiler.passes.parallelism import workload
from compiler.provenance import Reason
from schemas.diagnostics import Severity
from schemas.plan import Estimate
from schemas.units import format_seconds, format_tokens, format_usd

__all__ = ["estimate"]


def _speed(draft: Draft) -> Speed:
    model, hardware = draft.model, draft.hardware
    plain = flops_per_token(
        model.num_parameters, model.num_layers, model.hidden_size, draft.recipe.data.sequence_length
    )
    added = sum(fragment.flops_per_token for fragment in draft.fragments)
    return speed(
        hardware.gpu,
        hardware.peak_flops,
        max(plain + added, plain * 0.1),
        model.hidden_size,
        checkpointing=draft.parallelism.activation_checkpointing,
        measured_mfu=draft.recipe.hardware.mfu,
    )


def _limit(draft: Draft, key: str, value: float, limit: float | None, show: Callable[[float], str]) -> Draft:
    """A finding if a limit is exceeded, with the tokens that would meet it."""
    if limit is None or value <= limit:
        return draft
    # What is printed is rounded, to 3 digits at least, and runs are whole batches: the line to write keeps clear of both.
    enough, meeting = show(max(value * 1.01, 0.01)), draft.budget.tokens * limit / value * 0.98
    return draft.find(
        draft.diagnostic(
            "RC302",
            f"training takes {show(value)}, the limit is {show(limit)}",
            "budget",
            key,
            help=f"{key}: {enough.replace(' ', '')}   # or train on {format_tokens(meeting)}, which meets the limit",
            severity=Severity.ERROR,
        )
    )


def estimate(draft: Draft) -> Draft:
    """Fill `estimate`."""
    fast, hardware, layout = _speed(draft), draft.hardware, draft.parallelism
    w = workload(
        draft,
        shards=hardware.count if layout.strategy == "fsdp" else 1,
        checkpointing=layout.activation_checkpointing,
    )
    tokens = draft.budget.tokens

    def hours(tokens_per_second: float) -> float:
        return tokens / (tokens_per_second * hardware.count) / 3600

    def usd(hours: float) -> float:
        return hours * hardware.count * hardware.usd_per_gpu_hour

    middle, low, high = hours(fast.tokens_per_second), hours(fast.high), hours(fast.low)
    section = Estimate(
        tokens_per_s_per_gpu=fast.tokens_per_second,
        tokens_per_s_per_gpu_low=fast.low,
        tokens_per_s_per_gpu_high=fast.high,
        mfu=fast.mfu,
        peak_memory_bytes=peak_bytes(w, draft.training.microbatch),
        hours=middle,
        hours_low=low,
        hours_high=high,
        usd=usd(middle),
        usd_low=usd(low),
        usd_high=usd(high),
        method=fast.method,
    )
    limits = draft.recipe.budget
    draft = _limit(draft, "max_hours", middle * 3600, limits.max_hours, format_seconds)
    draft = _limit(draft, "max_cost", section.usd, limits.max_cost, format_usd)
    money = Reason("hours x devices x price")
    return draft.fill(
        "estimate",
        section,
        {
            "": Reason(f"FLOPs per token 6 N + 12 L h s (PaLM, appendix B), share of peak: {fast.method}"),
            "peak_memory_bytes": Reason("model states + activations + loss path (compiler/estimate/memory.py)"),
            "usd": money,
            "usd_low": money,
            "usd_high": money,
        },
    )

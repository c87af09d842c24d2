"""A plan as one screen of text: what is trained, on what, for how long, at what cost. Fits 80 columns; no colour needed."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.plan import RunPlan
from schemas.units import (
    format_bytes,
    format_count,
    format_flops,
    format_seconds,
    format_tokens,
    format_usd,
)

__all__ = ["render_plan"]

_LABEL = 12
# A screen has room for so many; the rest is in the plan.
_MOST_SOURCES = 24


def _line(label: str, *parts: str) -> str:
    return f"  {label:<{_LABEL}}{'   '.join(part for part in parts if part)}".rstrip()


def _model(plan: RunPlan) -> Iterator[str]:
    m = plan.model
    yield _line(
        "model",
        f"{m.family} {format_count(m.num_parameters)}",
        f"{m.num_layers} layers x {m.hidden_size}, {m.num_heads} heads"
        + (f" ({m.num_kv_heads} kv)" if m.num_kv_heads != m.num_heads else ""),
        f"mlp {m.intermediate_size}, vocabulary {m.vocab_size}",
    )
    b = plan.budget
    yield _line(
        "budget",
        f"{format_tokens(b.tokens)} ({b.tokens_per_parameter:.3g} per parameter)",
        f"{format_flops(b.train_flops)} to train",
    )
    yield _line(
        "",
        f"the law `{b.scaling_law}` says nothing of this size"
        if b.extrapolated
        else f"loss {b.loss:.3f} expected by the law `{b.scaling_law}`",
        "" if b.extrapolated else f"optimum {format_count(b.optimal_parameters)} on {format_tokens(b.optimal_tokens)}",
    )
    if b.inference_tokens:
        yield _line("", f"serving {format_tokens(b.inference_tokens)}: {format_flops(b.inference_flops)}")


def _training(plan: RunPlan) -> Iterator[str]:
    t, p = plan.training, plan.parallelism
    o, s = t.optimizer, t.schedule
    yield _line(
        "training",
        f"{t.steps} steps of {t.global_batch_samples} x {plan.data.sequence_length} = {t.global_batch_tokens} tok",
        f"micro-batch {t.microbatch}",
    )
    yield _line(
        "",
        f"{o.kind} lr {o.lr:g}, decay {o.weight_decay:g}",
        f"{s.kind} after {s.warmup_steps} warmup steps",
        plan.precision.compute,
    )
    for a in plan.algorithms:
        yield _line("", f"+ {a.kind}  {format_tokens(a.window.start_token)} .. {format_tokens(a.window.end_token)}")
    layout = {"none": "one copy", "ddp": "a copy on each", "fsdp": "sharded (FSDP)"}[p.strategy]
    yield _line(
        "hardware",
        f"{plan.hardware.count} x {plan.hardware.gpu}" + (f" on {p.nodes} nodes" if p.nodes > 1 else ""),
        layout,
        "activation checkpointing" if p.activation_checkpointing else "",
    )


def _data(plan: RunPlan, width: int) -> Iterator[str]:
    names = list(plan.data.sources)
    pad = max(6, min(24, max(len(name) for name in names)))
    phases = plan.data.phases
    shown = phases if len(phases) <= 4 else (*phases[:2], *phases[-2:])
    head = "".join(f"{('from ' + format_count(p.start_token)):>14}" for p in shown)
    yield _line("data", f"{'source':<{pad}}{'tokens':>10}{'share':>8}{head}")
    for name in names[:_MOST_SOURCES]:
        drawn = sum(p.sources[name].tokens for p in phases if name in p.sources)
        shares = "".join(
            f"{(p.sources[name].tokens / (p.end_token - p.start_token) if name in p.sources else 0):>14.1%}"
            for p in shown
        )
        clipped = name if len(name) <= pad else f"{name[: pad - 1]}~"
        row = _line("", f"{clipped:<{pad}}{format_count(drawn):>10}{drawn / plan.budget.tokens:>8.1%}{shares}")
        yield row if len(row) <= width else row[:width]
    if len(names) > _MOST_SOURCES:
        yield _line("", f"and {len(names) - _MOST_SOURCES:,} sources more: --format json shows all")


def _cost(plan: RunPlan) -> Iterator[str]:
    e, h = plan.estimate, plan.hardware
    yield _line(
        "time",
        f"{format_seconds(e.hours * 3600)} ({format_seconds(e.hours_low * 3600)} to {format_seconds(e.hours_high * 3600)})",
        f"{format_count(e.tokens_per_s_per_gpu)} tok/s per device, MFU {e.mfu:.0%}",
    )
    price = f"at ${h.usd_per_gpu_hour:.2f} per device and hour" if h.usd_per_gpu_hour else "no price set"
    yield _line("cost", f"{format_usd(e.usd)} ({format_usd(e.usd_low)} to {format_usd(e.usd_high)})", price)
    yield _line("memory", f"{format_bytes(e.peak_memory_bytes)} of {format_bytes(h.memory_bytes)} on each device")
    yield _line("", f"estimate: {e.method}")


def render_plan(plan: RunPlan, width: int = 80) -> str:
    """Text of `recipec plan`; stable, with no time stamps, so that two of them can be compared."""
    names = list(plan.data.sources)
    prepared = f"{len(names)} x prepare" if len(names) > 1 else "prepare"
    last = [step.id for step in plan.steps if step.kind in ("train", "evaluate", "export")]
    lines = [
        f"{plan.name}  plan {plan.short_fingerprint}",
        *_model(plan),
        *_training(plan),
        *_data(plan, width),
        *_cost(plan),
        _line("steps", " -> ".join(["tokenizer", prepared, *last])),
    ]
    return "\n".join(lines)

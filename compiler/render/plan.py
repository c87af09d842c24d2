"""A plan as one screen of text: what is trained, on what, where it fits, how long it takes, what it costs over its life."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from compiler.render import figures, words
from compiler.render.accounting import ships_block, techniques_block
from compiler.render.canvas import Canvas, Cell, Column, Line, Look, Piece, Style, dim, strong
from compiler.render.chosen import choice_rows, model_rows
from compiler.render.curricula import curricula
from compiler.render.draws import data_block
from compiler.render.sequence import sequence_block
from compiler.render.visible import cells, clean
from schemas.counted import several
from schemas.plan import RunPlan

__all__ = ["render_plan"]

_LONGEST_BAR: Final = 20
# Lines longer than this are hard to read, however wide the terminal is.
_WIDEST: Final = 110


def render_plan(plan: RunPlan, look: Look | None = None) -> str:
    """Text of `recipec plan`; stable, with no time stamps, so that two of them can be compared."""
    look = look or Look()
    canvas = Canvas(look._replace(width=min(look.width, _WIDEST)))
    canvas.head(plan.name, f"plan {plan.short_fingerprint}")
    canvas.gap()
    if plan.totals is not None:
        canvas.block("Runs", sequence_block(canvas, plan))
        canvas.gap()
        canvas.row("Run", strong(str(plan.run), "", ", the last one"), dim("--run NAME shows another"))
    model_rows(canvas, plan)
    choice_rows(canvas, plan)
    _training(canvas, plan)
    canvas.gap()
    canvas.block("Data", data_block(canvas, plan))
    for said in curricula(plan):
        canvas.row("", f"{said.sources} {said.order}", said.pacing)
    canvas.gap()
    _machine(canvas, plan)
    canvas.gap()
    _money(canvas, plan)
    canvas.gap()
    if plan.techniques:
        canvas.block("Adds", techniques_block(canvas, plan))
        canvas.block("Ships", ships_block(canvas, plan))
        canvas.gap()
    canvas.row("Steps", _steps(plan))
    canvas.block("Method", canvas.wrap(clean(plan.estimate.method), canvas.room, "dim"))
    return canvas.text()


def _training(canvas: Canvas, plan: RunPlan) -> None:
    training = plan.training
    optimizer, schedule = training.optimizer, training.schedule
    canvas.row(
        "Training",
        f"{several(training.steps, 'step')} of {_batch(plan)}",
        f"{optimizer.kind} lr {optimizer.lr:g}, decay {optimizer.weight_decay:g}",
        f"{schedule.kind} {words.warmup(schedule.warmup_steps)}",
        plan.precision.compute,
    )
    for algorithm in plan.algorithms:
        span = words.when(algorithm.window, plan.budget.tokens, figures.figure, plan.counted)
        said = "" if span == "throughout" else f"  {span}"
        canvas.row("", (Piece(f"+ {algorithm.kind.replace('_', ' ')}"), Piece(said, "dim")))


def _batch(plan: RunPlan) -> str:
    """`64 images`, `8 × 128 tokens`."""
    samples = plan.training.global_batch_samples
    return plan.counted.number(samples) if plan.is_classifier else f"{samples:,} × {plan.data.sequence_length:,} tokens"


def _machine(canvas: Canvas, plan: RunPlan) -> None:
    """Layout, then memory and the step side by side."""
    hardware, parallel, estimate = plan.hardware, plan.parallelism, plan.estimate
    canvas.row(
        "Machine",
        strong(f"{hardware.count:,} × {hardware.gpu}"),
        f"{parallel.nodes:,} nodes" if parallel.nodes > 1 else "",
        words.layout(plan),
        f"micro-batch {plan.training.microbatch}",
        "activation checkpointing" if parallel.activation_checkpointing else "",
    )
    used = estimate.peak_memory_bytes / max(hardware.memory_bytes, 1)
    memory = strong(
        f"{figures.gigabytes(estimate.peak_memory_bytes)}",
        f" of {figures.gigabytes(hardware.memory_bytes)}",
        f" ({figures.between(estimate.peak_memory_bytes_low, estimate.peak_memory_bytes_high, figures.gigabytes)})",
    )
    unit = words.unit_word(plan)
    speed = strong(
        f"{figures.figure(estimate.tokens_per_s_per_gpu)} {plan.counted.many}/s",
        f" per {unit}",
        f" ({figures.between(estimate.tokens_per_s_per_gpu_low, estimate.tokens_per_s_per_gpu_high, figures.figure)})",
    )
    style: Style = "bar" if estimate.peak_memory_bytes <= estimate.memory_limit_bytes else "bad"
    step = sum(estimate.step_parts.values())
    notes = (
        dim(f"memory of one {unit}, {figures.percent(used)} full"),
        dim(f"step {figures.hours(step / 3600)}, MFU {figures.percent(estimate.mfu)}"),
    )
    canvas.block(
        "",
        canvas.beside(
            lambda room: [
                *canvas.fit(memory, room),
                notes[0],
                *_bars(canvas, estimate.memory_parts, figures.gigabytes, room, style),
            ],
            lambda room: [*canvas.fit(speed, room), notes[1], *_bars(canvas, estimate.step_parts, _seconds, room)],
        ),
    )


def _seconds(value: float) -> str:
    return figures.hours(value / 3600)


def _bars(
    canvas: Canvas, parts: Mapping[str, float], show: Callable[[float], str], room: int, style: Style = "bar"
) -> list[Line]:
    """A row a part, largest first: a bar against the largest one, the value, its share of the sum."""
    total = sum(parts.values())
    ranked = figures.largest_parts(parts)
    if not ranked:
        return []
    longest = ranked[0][1]
    columns = (Column(""), Column("", rank=2), Column("", right=True), Column("", right=True, rank=1))
    taken = [(words.part_word(name), show(part), figures.percent(part / total)) for name, part in ranked]
    length = room - 6 - sum(max(cells(row[index]) for row in taken) for index in range(3))
    rows: list[list[Cell]] = [
        [word, canvas.bar(part / longest, min(max(length, 4), _LONGEST_BAR), style), value, dim(share)]
        for (word, value, share), (_, part) in zip(taken, ranked, strict=True)
    ]
    return canvas.table(columns, rows, room)


def _money(canvas: Canvas, plan: RunPlan) -> None:
    """Wall-clock and dollars by part, then the whole life."""
    estimate, budget = plan.estimate, plan.budget
    time = strong(
        figures.hours(estimate.hours),
        "",
        f" ({figures.between(estimate.hours_low, estimate.hours_high, figures.hours)})",
    )
    money = strong(
        figures.usd(estimate.usd),
        "",
        f" ({figures.between(estimate.usd_low, estimate.usd_high, figures.usd)})" if estimate.usd else "",
    )
    canvas.row("Time", time, money, words.price(plan), *words.limits(plan))
    canvas.block("", _hours_and_dollars(canvas, plan))
    life: list[Cell] = [f"{figures.work(estimate.energy_kwh)}, {figures.mass(estimate.co2e_kg)} CO₂e to train"]
    if budget.inference_tokens:
        served = f"{figures.figure(budget.inference_tokens)} tokens served for {figures.usd(estimate.inference_usd)}"
        life = [strong(figures.usd(estimate.lifetime_usd), " in all"), served, *life]
    canvas.row("Life", *life)


def _hours_and_dollars(canvas: Canvas, plan: RunPlan) -> list[Line]:
    """A row a part of the wall-clock; parts in which no device is held cost nothing."""
    estimate = plan.estimate
    ranked = figures.largest_parts(estimate.time_parts, most=8, least_share=0.0005)
    total, longest = sum(estimate.time_parts.values()), max(estimate.time_parts.values(), default=0.0)
    rows: list[list[Cell]] = []
    for name, part in ranked:
        dollars = words.usd_of(name, ranked, estimate.usd_parts)
        rows.append(
            [
                words.part_word(name),
                canvas.bar(part / longest, _LONGEST_BAR),
                _seconds(part),
                dim(figures.percent(part / total)),
                figures.usd(dollars) if dollars else dim("-") if estimate.usd else "",
            ]
        )
    right = Column("", right=True)
    return canvas.table((Column(""), Column("", rank=2), right, Column("", right=True, rank=1), right), rows)


def _steps(plan: RunPlan) -> str:
    kinds = [step.kind for step in plan.steps]
    names = [f"{kinds.count(kind)} × {kind}" if kinds.count(kind) > 1 else kind for kind in dict.fromkeys(kinds)]
    return " → ".join(names)

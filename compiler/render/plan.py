"""A plan as one screen of text: what is trained, on what, where it fits, how long it takes, what it costs over its life."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from compiler.render import figures, words
from compiler.render.accounting import ships_block, techniques_block
from compiler.render.canvas import Canvas, Cell, Column, Line, Look, Piece, Style
from compiler.render.choices import choices
from compiler.render.curricula import curricula
from compiler.render.draws import data_block
from compiler.render.sequence import sequence_block
from compiler.render.visible import cells, clean
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
        canvas.row("Run", _strong(str(plan.run), "", ", the last one"), _dim("--run NAME shows another"))
    _model(canvas, plan)
    _choice(canvas, plan)
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


def _dim(text: str) -> Line:
    return (Piece(text, "dim"),)


def _strong(text: str, rest: str = "", note: str = "") -> Line:
    return Piece(text, "strong"), Piece(rest), Piece(note, "dim")


def _classifier(canvas: Canvas, plan: RunPlan) -> None:
    model, budget = plan.resnet, plan.budget
    canvas.row(
        "Model",
        _strong(f"{model.family}-{model.depth} {figures.figure(model.num_parameters)}"),
        f"{sum(model.blocks)} {model.block} blocks from {model.width} channels",
        f"{model.num_classes:,} classes",
        f"images {model.channels}×{model.image_size}×{model.image_size}",
    )
    canvas.row(
        "",
        _strong(f"{figures.figure(budget.tokens)} images"),
        f"{figures.flops(6.0 * model.macs)} an image",
        figures.flops(budget.train_flops),
        *([f"{budget.epochs:.2g} epochs"] if budget.epochs > 1 else []),
    )


def _model(canvas: Canvas, plan: RunPlan) -> None:
    if plan.is_classifier:
        _classifier(canvas, plan)
        return
    model, budget = plan.decoder, plan.law_budget
    shared = f" ({model.num_kv_heads} kv)" if model.num_kv_heads != model.num_heads else ""
    canvas.row(
        "Model",
        _strong(f"{model.family} {figures.figure(model.num_parameters)}"),
        f"{model.num_layers} layers × {model.hidden_size}",
        f"{model.num_heads} heads{shared}",
        f"mlp {model.intermediate_size}",
        f"vocabulary {model.vocab_size:,}",
    )
    canvas.row(
        "",
        _strong(f"{figures.figure(budget.tokens)} tokens"),
        f"{figures.figure(budget.tokens_per_parameter)} per parameter",
        figures.flops(budget.train_flops),
        *([f"{budget.epochs:.2g} epochs"] if budget.epochs > 1 else []),
    )
    canvas.row("", *_loss(plan))


def _loss(plan: RunPlan) -> Iterator[Cell]:
    budget = plan.law_budget
    law = f"law {budget.scaling_law}"
    if words.is_law_silent(plan):
        what = "this size" if plan.start is None else "runs that start from trained weights"
        yield _dim(f"the {law} says nothing of {what}")
        return
    spread = ""
    if budget.loss_low is not None and budget.loss_high is not None:
        spread = f" ({budget.loss_low:.3f} to {budget.loss_high:.3f})"
    yield _strong(f"loss {budget.loss:.3f}", spread, f" by the {law}")
    if budget.extrapolated:
        yield (Piece("outside of its data", "warn"),)
    if budget.snapped_loss_delta >= 0.00005:
        yield f"{budget.snapped_loss_delta:.4f} above the best for its cost"
    if budget.repetition_loss >= 0.0005:
        yield f"{budget.repetition_loss:.3f} of it from repeated data"


def _choice(canvas: Canvas, plan: RunPlan) -> None:
    """Optimum and naive choice beside what was chosen, where they differ by something."""
    if words.is_law_silent(plan):
        return
    budget, found = plan.law_budget, choices(plan)
    if len(found) > 1:
        priced = found[0].life.usd > 0
        columns = (
            Column(""),
            Column("model", right=True),
            Column("tokens", right=True),
            Column("life FLOPs", right=True, rank=3),
            Column("life cost" if priced else "", right=True, rank=1),
            Column("", rank=2),
        )
        rows: list[list[Cell]] = [
            [
                choice.name,
                figures.figure(choice.parameters),
                figures.figure(choice.tokens),
                figures.flops(choice.life.flops).removesuffix(" FLOP"),
                figures.usd(choice.life.usd) if priced else "",
                _dim(choice.note),
            ]
            for choice in found
        ]
        canvas.block("Choice", canvas.table(columns, rows))
    aim = "dollars" if budget.objective == "dollars" else "FLOPs"
    served = f", {figures.figure(budget.inference_tokens)} tokens served" if budget.inference_tokens else ""
    bound = (Piece(f"bound by {clean(budget.binding)}", "warn"),) if budget.binding else ""
    if len(found) > 1 or budget.binding:
        canvas.row("" if len(found) > 1 else "Choice", _dim(f"least {aim} over its life{served}"), bound)


def _training(canvas: Canvas, plan: RunPlan) -> None:
    training = plan.training
    optimizer, schedule = training.optimizer, training.schedule
    canvas.row(
        "Training",
        f"{training.steps:,} steps of {training.global_batch_samples:,} × "
        + ("1 image" if plan.is_classifier else f"{plan.data.sequence_length:,} tokens"),
        f"{optimizer.kind} lr {optimizer.lr:g}, decay {optimizer.weight_decay:g}",
        f"{schedule.kind} after {schedule.warmup_steps:,} warmup steps",
        plan.precision.compute,
    )
    for algorithm in plan.algorithms:
        window = algorithm.window
        whole = window.start_token == 0 and window.end_token >= plan.budget.tokens
        span = f"tokens {figures.figure(window.start_token)} to {figures.figure(window.end_token)}"
        if window.end_token == 0:
            span = "kept as the start left it"
        canvas.row("", (Piece(f"+ {algorithm.kind.replace('_', ' ')}"), Piece("" if whole else f"  {span}", "dim")))


def _machine(canvas: Canvas, plan: RunPlan) -> None:
    """Layout, then memory and the step side by side."""
    hardware, parallel, estimate = plan.hardware, plan.parallelism, plan.estimate
    canvas.row(
        "Machine",
        _strong(f"{hardware.count:,} × {hardware.gpu}"),
        f"{parallel.nodes:,} nodes" if parallel.nodes > 1 else "",
        words.layout(plan),
        f"micro-batch {plan.training.microbatch}",
        "activation checkpointing" if parallel.activation_checkpointing else "",
    )
    used = estimate.peak_memory_bytes / max(hardware.memory_bytes, 1)
    memory = _strong(
        f"{figures.gigabytes(estimate.peak_memory_bytes)}",
        f" of {figures.gigabytes(hardware.memory_bytes)}",
        f" ({figures.between(estimate.peak_memory_bytes_low, estimate.peak_memory_bytes_high, figures.gigabytes)})",
    )
    unit = words.unit_word(plan)
    speed = _strong(
        f"{figures.figure(estimate.tokens_per_s_per_gpu)} {'images' if plan.is_classifier else 'tokens'}/s",
        f" per {unit}",
        f" ({figures.between(estimate.tokens_per_s_per_gpu_low, estimate.tokens_per_s_per_gpu_high, figures.figure)})",
    )
    style: Style = "bar" if estimate.peak_memory_bytes <= estimate.memory_limit_bytes else "bad"
    step = sum(estimate.step_parts.values())
    notes = (
        _dim(f"memory of one {unit}, {figures.percent(used)} full"),
        _dim(f"step {figures.hours(step / 3600)}, MFU {figures.percent(estimate.mfu)}"),
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
        [word, canvas.bar(part / longest, min(max(length, 4), _LONGEST_BAR), style), value, _dim(share)]
        for (word, value, share), (_, part) in zip(taken, ranked, strict=True)
    ]
    return canvas.table(columns, rows, room)


def _money(canvas: Canvas, plan: RunPlan) -> None:
    """Wall-clock and dollars by part, then the whole life."""
    estimate, budget = plan.estimate, plan.budget
    time = _strong(
        figures.hours(estimate.hours),
        "",
        f" ({figures.between(estimate.hours_low, estimate.hours_high, figures.hours)})",
    )
    money = _strong(
        figures.usd(estimate.usd),
        "",
        f" ({figures.between(estimate.usd_low, estimate.usd_high, figures.usd)})" if estimate.usd else "",
    )
    canvas.row("Time", time, money, words.price(plan), *words.limits(plan))
    canvas.block("", _hours_and_dollars(canvas, plan))
    life: list[Cell] = [f"{figures.work(estimate.energy_kwh)}, {figures.mass(estimate.co2e_kg)} CO₂e to train"]
    if budget.inference_tokens:
        served = f"{figures.figure(budget.inference_tokens)} tokens served for {figures.usd(estimate.inference_usd)}"
        life = [_strong(figures.usd(estimate.lifetime_usd), " in all"), served, *life]
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
                _dim(figures.percent(part / total)),
                figures.usd(dollars) if dollars else _dim("-") if estimate.usd else "",
            ]
        )
    right = Column("", right=True)
    return canvas.table((Column(""), Column("", rank=2), right, Column("", right=True, rank=1), right), rows)


def _steps(plan: RunPlan) -> str:
    kinds = [step.kind for step in plan.steps]
    names = [f"{kinds.count(kind)} × {kind}" if kinds.count(kind) > 1 else kind for kind in dict.fromkeys(kinds)]
    return " → ".join(names)

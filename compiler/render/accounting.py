"""What techniques add to a run and what the shipped model saves, in words for screen and page."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from compiler.render import figures
from compiler.render.canvas import Canvas, Cell, Column, Line, Piece
from schemas.plan import ChoicePlan, RunPlan, TechniqueCost

__all__ = ["Added", "Saved", "added", "assumption", "saved", "ships_block", "techniques_block"]

_NOTHING: Final = "–"
_VISIBLE: Final = 0.005
"""Of what all techniques add, what an interaction must come to in order to be shown apart."""


class Added(NamedTuple):
    """A technique's row; what it doesn't change is a dash."""

    name: str
    flops: str
    memory: str
    time: str
    usd: str


class Saved(NamedTuple):
    """A line about the shipped model: what, trained and shipped."""

    name: str
    dense: str
    shipped: str
    change: str


def _flops(value: float) -> str:
    """Operations, where the column says that they are."""
    return figures.flops(value).removesuffix(" FLOP")


def _signed(value: float, show: Callable[[float], str]) -> str:
    """What is added or saved, with its sign."""
    return f"{'+' if value > 0 else '-'}{show(abs(value))}" if value else _NOTHING


def added(plan: RunPlan) -> list[Added]:
    """A row each, and what they add together where there are several."""
    rows = plan.techniques
    several = sum(row.kind != "interaction" for row in rows) > 1
    shown = [row for row in rows if row.kind != "interaction" or _matters(row, rows)]
    return [_row(plan, row) for row in [*shown, *([_together(rows)] if several else [])]]


def _together(rows: tuple[TechniqueCost, ...]) -> TechniqueCost:
    return TechniqueCost(
        kind="together",
        train_flops=math.fsum(row.train_flops for row in rows),
        once_flops=math.fsum(row.once_flops for row in rows),
        memory_bytes=sum(row.memory_bytes for row in rows),
        hours=math.fsum(row.hours for row in rows),
        usd=math.fsum(row.usd for row in rows),
    )


def _matters(row: TechniqueCost, rows: tuple[TechniqueCost, ...]) -> bool:
    """Whether an interaction is more than the last digit of a sum."""
    hours, memory = sum(abs(one.hours) for one in rows), sum(abs(one.memory_bytes) for one in rows)
    return abs(row.hours) > _VISIBLE * hours or abs(row.memory_bytes) > _VISIBLE * memory


def _row(plan: RunPlan, row: TechniqueCost) -> Added:
    flops = row.train_flops + row.once_flops
    share = f" ({_signed(flops / plan.budget.train_flops, figures.percent)})" if flops else ""
    return Added(
        row.kind.replace("_", " "),
        _signed(flops, _flops) + share,
        _signed(row.memory_bytes, figures.gigabytes),
        _signed(row.hours, figures.hours),
        _signed(row.usd, figures.usd),
    )


def saved(plan: RunPlan) -> Iterator[Saved]:
    """The shipped model beside the trained one; nothing where they are the same."""
    shipped = plan.shipped
    if shipped is None:
        return
    n, left = plan.model.num_parameters, shipped.num_parameters
    zero = f", {figures.percent(shipped.nonzero)} not zero" if shipped.nonzero < 1 else ""
    dense_bits = shipped.dense_bytes * 8 / n
    yield Saved("parameters", figures.figure(n), figures.figure(left) + zero, figures.change(n, left))
    yield Saved(
        "bits a weight",
        f"{dense_bits:.3g}",
        f"{shipped.bits_per_weight:.3g}",
        figures.change(dense_bits, shipped.bits_per_weight),
    )
    yield Saved(
        "on disk",
        figures.gigabytes(shipped.dense_bytes),
        figures.gigabytes(shipped.bytes),
        figures.change(shipped.dense_bytes, shipped.bytes),
    )
    old, new = shipped.dense_inference_flops_per_token, shipped.inference_flops_per_token
    yield Saved(f"FLOP a {plan.counted.one}", _flops(old), _flops(new), figures.change(old, new))
    if not plan.budget.inference_tokens:
        return
    if shipped.dense_inference_usd:
        old, new = shipped.dense_inference_usd, shipped.inference_usd
        yield Saved("serving its life", figures.usd(old), figures.usd(new), figures.change(old, new))
    if shipped.dense_optimum is not None and shipped.optimum is not None:
        before, after = shipped.dense_optimum, shipped.optimum
        yield Saved(
            "best model to train",
            _choice(before),
            _choice(after),
            figures.change(before.lifetime_usd or before.lifetime_flops, after.lifetime_usd or after.lifetime_flops),
        )


def _choice(choice: ChoicePlan) -> str:
    return f"{figures.figure(choice.parameters)} on {figures.figure(choice.tokens)}"


def techniques_block(canvas: Canvas, plan: RunPlan) -> list[Line]:
    """The table of what techniques add; empty without any."""
    rows = added(plan)
    priced = bool(plan.estimate.usd)
    columns = (
        Column("technique"),
        Column("FLOPs (of training)", right=True, rank=1),
        Column("memory", right=True),
        Column("time", right=True),
        Column("cost" if priced else "", right=True),
    )
    cells: list[list[Cell]] = []
    for row in rows:
        texts = [row.name, row.flops, row.memory, row.time, row.usd if priced else ""]
        together = row.name == "together"
        cells.append([(Piece(text, "strong"),) for text in texts] if together else list(texts))
    return canvas.table(columns, cells) if rows else []


def ships_block(canvas: Canvas, plan: RunPlan) -> list[Line]:
    """The table of what the shipped model saves, with what it assumes; empty where nothing is made smaller."""
    rows = list(saved(plan))
    if not rows or plan.shipped is None:
        return []
    columns = (Column(""), Column("trained", right=True), Column("shipped", right=True), Column("", rank=1))
    lines = canvas.table(columns, [[row.name, row.dense, row.shipped, (Piece(row.change, "dim"),)] for row in rows])
    note = assumption(plan)
    return [*lines, *(canvas.wrap(note, canvas.room, "dim") if note else [])]


def assumption(plan: RunPlan) -> str:
    """What the saving at inference rests on; empty without a demand."""
    shipped, serving = plan.shipped, None if plan.is_classifier else plan.law_budget.serving
    if shipped is None or serving is None or not plan.budget.inference_tokens:
        return ""
    return (
        f"reading goes with the FLOPs, writing with the bytes of the weights: {figures.percent(shipped.written_share)} of those"
        f" in {serving.precision}, in which it is served; single zeros save neither, and what the loss pays is not in it"
    )

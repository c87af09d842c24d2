"""What is drawn of each source, in words for screen and page: shares over the run, epochs, and when it has been read once."""

from __future__ import annotations

from typing import Final

from compiler.mixing.stretches import Stretch, stretches
from compiler.render import figures
from compiler.render.canvas import Canvas, Cell, Column, Line, dim
from schemas.plan import RunPlan

__all__ = ["data_block", "epochs_word", "read_up", "share_word"]

# A screen has room for so many; the rest is in the plan.
_MOST_SOURCES: Final = 12
_MOST_STRETCHES: Final = 4


def data_block(canvas: Canvas, plan: RunPlan) -> list[Line]:
    """A row a source in alphabetical order; the first and last stretches of the mixture where there are many."""
    found, half = stretches(plan), _MOST_STRETCHES // 2
    shown = found if len(found) <= _MOST_STRETCHES else (*found[:half], *found[-half:])
    shown = shown if len(found) > 1 or found[0].rule else ()
    known = any(one.epochs is not None for one in plan.estimate.exposure.values())
    columns = [Column("source"), Column(plan.counted.many, right=True), Column("share", right=True)]
    columns += [Column("epochs", right=True, rank=1)] if known else []
    columns += [
        Column(f"from {figures.figure(stretch.start_token)}", right=True, rank=2 + index)
        for index, stretch in enumerate(shown)
    ]
    rows: list[list[Cell]] = []
    for name in list(plan.data.sources)[:_MOST_SOURCES]:
        drawn = sum(stretch.tokens(name) for stretch in found)
        share = figures.percent(drawn / plan.budget.tokens) if drawn else dim("measured alone")
        row: list[Cell] = [name, figures.figure(drawn), share]
        row += [epochs_word(plan, name) or dim("-")] if known else []
        row += [share_word(stretch, name) or dim("-") for stretch in shown]
        rows.append(row)
    left = len(plan.data.sources) - len(rows)
    more = [f"{left} more sources"] if left > 0 else []
    between = len(found) - len(shown) if shown else 0
    more += [f"{between} phase{'s' * (between > 1)} between"] if between else []
    rules = [f"from {figures.figure(stretch.start_token)} {stretch.rule}" for stretch in shown if stretch.rule]
    return [
        *canvas.table(columns, rows),
        *canvas.flow(*map(dim, more), dim("--html and --format json show all") if more else ""),
        *canvas.flow(*map(dim, rules)),
        *canvas.flow(*map(dim, read_up(plan)[:_MOST_SOURCES])),
    ]


def share_word(stretch: Stretch, name: str) -> str:
    """`30 %` of a stretch, `70 to 20 %` where it moves; empty if the source has no share in it."""
    first, last = (figures.percent(share) for share in stretch.ends(name))
    if not stretch.tokens(name):
        return ""
    return first if first == last else f"{first.removesuffix(' %')} to {last}"


def epochs_word(plan: RunPlan, name: str) -> str:
    """`1.2`: times a source's unique tokens are drawn; empty where the recipe doesn't say how many it has."""
    found = plan.estimate.exposure.get(name)
    return "" if found is None or found.epochs is None else f"{found.epochs:.2g}"


def read_up(plan: RunPlan) -> list[str]:
    """`code is read once by step 812 (0.83dur)` of each source that the run comes to the end of, in order of time."""
    ends = [(one.read_up_token, name) for name, one in plan.estimate.exposure.items() if one.read_up_token is not None]
    return [
        f"{name} is read once by step {token // plan.training.global_batch_tokens:,} ({token / plan.budget.tokens:.2f}dur)"
        for token, name in sorted(ends)
    ]

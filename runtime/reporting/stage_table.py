"""The table of a sequence: a column for each run, a row for each thing that was measured; for the screen and the page."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

from runtime.reporting.stages import BeforeAfter, Form, SequenceReport, Stage
from schemas.counted import COUNTED, Counted
from schemas.units import format_bytes, format_count, format_seconds, format_usd

__all__ = ["NONE", "Row", "as_text", "rows"]

NONE: Final = "-"
"""What was not measured."""
_LABEL: Final = 24
_NARROWEST: Final = 14
_WIDEST: Final = 22

Show = Callable[[float], str]


class Row(NamedTuple):
    """A line of the table; rows of one group stand together."""

    group: str
    label: str
    cells: tuple[str, ...]


def rows(report: SequenceReport) -> list[Row]:
    """All rows of which at least one run has a value."""
    stages, counted = report.stages, COUNTED[report.counts]
    found = (*_runs(stages, counted), *_sizes(stages, counted), *_losses(stages, counted), *_bias(stages))
    return [row for row in found if any(cell != NONE for cell in row.cells)]


def as_text(report: SequenceReport, width: int) -> str:
    """The table in aligned text, at most `width` columns wide (80 or more): as many runs beside each other as fit."""
    beside = (width - _LABEL) // _NARROWEST
    column = min(_WIDEST, (width - _LABEL) // min(beside, len(report.stages)))
    blocks = []
    for start in range(0, len(report.stages), beside):
        part = slice(start, start + beside)
        lines = _lines(report.name if start == 0 else "", [stage.run for stage in report.stages[part]], column)
        for group, members in itertools.groupby(rows(report), key=lambda row: row.group):
            lines += ["", group]
            for row in members:
                lines += _lines(f"  {row.label}", row.cells[part], column)
        blocks.append("\n".join(lines))
    spent = f"{format_count(report.tokens)} {report.counts}, {format_seconds(report.seconds)}, {format_usd(report.usd)}"
    return "\n\n".join([*blocks, f"together  {spent}"])


def _lines(label: str, cells: Sequence[str], column: int) -> list[str]:
    """A row; a cell that is too long for its column goes on below."""
    wrapped = [[_fit(label, _LABEL)], *(_wrapped(cell, column - 1) for cell in cells)]
    return [
        f"{name:<{_LABEL}}{''.join(f'{cell:>{column}}' for cell in found)}".rstrip()
        for name, *found in itertools.zip_longest(*wrapped, fillvalue="")
    ]


def _wrapped(cell: str, width: int) -> list[str]:
    """A cell in lines; a change breaks at its arrow, never between a number and its unit."""
    before, arrow, after = cell.partition(" > ")
    if len(cell) <= width or not arrow:
        return textwrap.wrap(cell, width) or [""]
    return [f"{before} >", after]


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _row(group: str, label: str, stages: Sequence[Stage], cell: Callable[[Stage], str | None]) -> Row:
    return Row(group, label, tuple(cell(stage) or NONE for stage in stages))


def _number(value: float | None, show: Show) -> str | None:
    return None if value is None else show(value)


def _runs(stages: Sequence[Stage], counted: Counted) -> Iterator[Row]:
    """What each run was, and what it cost."""
    group = "run"
    yield _row(group, "starts from", stages, lambda stage: stage.starts_from or "random weights")
    yield _row(group, "taught by", stages, lambda stage: ", ".join(stage.teachers))
    yield _row(group, "techniques", stages, lambda stage: ", ".join(stage.techniques).replace("_", " "))
    yield _row(group, "steps", stages, lambda stage: _number(stage.steps, "{:,}".format))
    yield _row(group, counted.many, stages, lambda stage: _number(stage.tokens, format_count))
    yield _row(group, "time", stages, lambda stage: _number(stage.seconds, format_seconds))
    yield _row(group, "cost", stages, lambda stage: _number(stage.usd, format_usd))
    speed = f"{counted.many}/s in training"
    yield _row(group, speed, stages, lambda stage: _number(stage.training_tokens_per_s, format_count))


def _sizes(stages: Sequence[Stage], counted: Counted) -> Iterator[Row]:
    """The finished model, as trained and as shipped."""
    group = "model, trained > shipped"
    yield _row(group, "parameters", stages, lambda stage: _change(stage.parameters, format_count))
    yield _row(group, "not zero", stages, lambda stage: _change(stage.nonzero, format_count))
    yield _row(group, "size", stages, lambda stage: _change(stage.bytes, format_bytes))
    yield _row(group, "adapter", stages, lambda stage: _number(stage.adapter_bytes, format_bytes))
    yield _row(group, f"{counted.many}/s, inference", stages, lambda stage: _change(stage.tokens_per_s, format_count))


def _change(pair: BeforeAfter, show: Show) -> str | None:
    """`1.2M > 0.6M`, or one of the two where they are the same or the other isn't known."""
    said = [show(value) for value in (pair.before, pair.after) if value is not None]
    return " > ".join(dict.fromkeys(said)) or None


def _losses(stages: Sequence[Stage], counted: Counted) -> Iterator[Row]:
    """Held-out loss of all sources together and of each, accuracy where there is one."""
    group = f"held-out, {counted.loss}"
    names = sorted({name for stage in stages for name in stage.sources})

    def mean(form: Form, what: Literal["loss", "accuracy"], show: Show) -> Callable[[Stage], str | None]:
        return lambda stage: _number(stage.mean(form, what), show)

    def of_source(name: str) -> Callable[[Stage], str | None]:
        return lambda stage: _last_loss(stage, name)

    yield _row(group, "loss at the start", stages, mean("start", "loss", "{:.4f}".format))
    yield _row(group, "loss, trained", stages, mean("trained", "loss", "{:.4f}".format))
    yield _row(group, "loss, shipped", stages, mean("shipped", "loss", "{:.4f}".format))
    for name in names if len(names) > 1 else ():
        yield _row(group, f"  {name}", stages, of_source(name))
    yield _row(group, "forgotten", stages, lambda stage: _number(stage.forgotten_nats, "{:+.4f}".format))
    yield _row(group, "accuracy, trained", stages, mean("trained", "accuracy", "{:.2%}".format))
    yield _row(group, "accuracy, shipped", stages, mean("shipped", "accuracy", "{:.2%}".format))


def _last_loss(stage: Stage, source: str) -> str | None:
    """Loss of one source by the form that leaves the run."""
    held = stage.sources.get(source)
    if held is None:
        return None
    return _number(held.loss.get("shipped", held.loss.get("trained")), "{:.4f}".format)


def _bias(stages: Sequence[Stage]) -> Iterator[Row]:
    """What single classes paid; a model that is uniformly worse scores 0, so accuracy stands beside."""
    group = "bias by class"

    def of(name: str, show: Show) -> Callable[[Stage], str | None]:
        return lambda stage: None if stage.bias is None else _number(getattr(stage.bias, name), show)

    yield _row(group, "compared with", stages, lambda stage: None if stage.bias is None else stage.bias.against)
    yield _row(group, "CEV", stages, of("cev", "{:.4g}".format))
    yield _row(group, "SDE", stages, of("sde", "{:.4g}".format))
    yield _row(group, "changed samples (PIE)", stages, of("pie", "{:,}".format))
    yield _row(group, "accuracy, reference", stages, of("reference_accuracy", "{:.2%}".format))
    yield _row(group, "accuracy, model", stages, of("accuracy", "{:.2%}".format))

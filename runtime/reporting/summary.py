"""The end of a run, for people: planned against actual, held-out text before and after, a sample, the files."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Final

from runtime.bias.picture import PICTURE
from runtime.bias.text import table as classes_table
from runtime.layout import Layout
from runtime.reporting.data_report import Amount, SourceReport
from runtime.reporting.run_report import EvaluationReport, Report, SourceEvaluation
from schemas.counted import COUNTED
from schemas.units import format_seconds, format_usd

__all__ = ["evaluation_table", "files", "samples", "summary", "table"]

_COLUMN: Final = 14
_NOTE: Final = 26
_WEAKEST: Final = 3

Row = tuple[str, str, str, str]
"""Name, planned, actual, note."""


def summary(report: Report, layout: Layout, width: int) -> str:
    """All that is printed when a run has ended."""
    parts = [table(report, width)]
    if report.evaluation is not None:
        heldout = evaluation_table(report.evaluation, width) if report.evaluation.sources else ""
        parts += [heldout, samples(report.evaluation, width)]
    if report.bias is not None and "cev" in report.bias:
        parts.append(classes_table(report.bias, width))
    return "\n\n".join(part for part in [*parts, files(layout)] if part)


def table(report: Report, width: int) -> str:
    """Planned against actual in aligned text, at most `width` columns wide (80 or more)."""
    label = width - 2 * _COLUMN - _NOTE
    lines = [_line(f"{report.plan.name} {report.plan.fingerprint[:8]}", "planned", "actual", "", label)]
    sections = (("training", _training), (f"{report.counts} drawn", _sources), ("time", _steps))
    for title, section in sections:
        rows = [_line(f"  {row[0]}", *row[1:], label) for row in section(report)]
        lines += ["", title, *rows] if rows else []
    return "\n".join(line.rstrip() for line in lines)


def evaluation_table(evaluation: EvaluationReport, width: int) -> str:
    """Perplexity and bits per byte of held-out text, or accuracy and loss of images, untrained -> trained."""
    if any(source.trained.accuracy is not None for source in evaluation.sources.values()):
        return "\n".join(line.rstrip() for line in _images(evaluation, width))
    label = width - 2 * _COLUMN - _NOTE
    lines = [_line("held-out text", "tokens", "perplexity", "    bits per byte", label)]
    for name, source in evaluation.sources.items():
        before, after = source.untrained, source.trained
        lines.append(
            _line(
                f"  {name}",
                f"{source.tokens:,}",
                f"{_short(before.perplexity or 0.0)} -> {_short(after.perplexity or 0.0)}",
                f"    {before.bits_per_byte or 0.0:.3f} -> {after.bits_per_byte or 0.0:.3f}",
                label,
            )
        )
    lines += _forgotten(evaluation, label)
    return "\n".join(line.rstrip() for line in lines)


def _forgotten(evaluation: EvaluationReport, label: int) -> list[str]:
    """What the training forgot of the sources that the recipe names for it."""
    lost = evaluation.retention
    if lost is None:
        return []
    rows = [*lost.nats.items(), *([("mean", lost.mean_nats)] if len(lost.nats) > 1 else [])]
    lines = [_line(f"  {name}", "", f"{nats:+.4f}", "", label) for name, nats in rows]
    return ["", _line("forgotten", "", "nats/token", "    below 0: learnt", label), *lines]


def _images(evaluation: EvaluationReport, width: int) -> Iterator[str]:
    """Accuracy and loss of each source, and the classes that are taken for others most often."""
    label = width - 2 * _COLUMN - _NOTE
    yield _line("held-out images", "images", "accuracy", "    loss", label)
    for name, source in evaluation.sources.items():
        before, after = source.untrained, source.trained
        right = f"{before.accuracy or 0.0:.0%} -> {after.accuracy or 0.0:.1%}"
        yield _line(f"  {name}", f"{source.tokens:,}", right, f"    {before.loss:.3f} -> {after.loss:.3f}", label)
        for wrong, images, total in _weakest(source):
            yield _line(f"    class {wrong}", f"{total:,}", f"{images / total:.1%}", "", label)


def _weakest(source: SourceEvaluation) -> list[tuple[str, int, int]]:
    """(class, images right, images) of up to three classes with the smallest share of right ones, of those with errors."""
    rows = zip(source.classes or (), source.confusion or (), strict=True)
    found = [(name, row[number], sum(row)) for number, (name, row) in enumerate(rows)]
    wrong = [one for one in found if one[1] < one[2]]
    return sorted(wrong, key=lambda one: one[1] / one[2])[:_WEAKEST]


def samples(evaluation: EvaluationReport, width: int) -> str:
    """Prompts with what the model wrote, set off by a bar; at most twelve lines each."""
    blocks = []
    for sample in evaluation.samples:
        text = (sample.prompt + sample.text).expandtabs(4).split("\n")
        lines = [part for line in text for part in (textwrap.wrap(line, width - 4, drop_whitespace=False) or [""])]
        shown = lines[:12] + (["..."] if len(lines) > 12 else [])
        blocks.append("\n".join([f"the model continues {sample.prompt!r:.50}", *(f"  | {line}" for line in shown)]))
    return "\n\n".join(blocks)


def files(layout: Layout) -> str:
    """Where the results are; only what is there."""
    rows = (
        ("model", layout.export),
        ("report", layout.report),
        ("loss curve", layout.run / "loss.png"),
        ("mixture", layout.mixture),
        ("classes", layout.run / PICTURE),
        ("metrics", layout.metrics),
        ("checkpoints", layout.checkpoints),
    )
    return "\n".join(["files", *(f"  {name:<12}{path}" for name, path in rows if path.exists())])


def _line(name: str, planned: str, actual: str, note: str, label: int) -> str:
    shown = name if len(name) <= label else name[: label - 3] + "..."
    return f"{shown:<{label}}{planned:>{_COLUMN}}{actual:>{_COLUMN}}{note:.{_NOTE}}"


def _cells(amount: Amount, text: Callable[[float], str], note: str = "") -> tuple[str, str, str]:
    planned, actual = (("-" if value is None else text(value)) for value in (amount.planned, amount.actual))
    return planned, actual, f"   {note}" if note else ""


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _short(value: float) -> str:
    """Three digits that matter, never in scientific notation below a million."""
    return f"{value:,.0f}" if 100 <= value < 1e6 else f"{value:.3g}"


def _times(epochs: float) -> str:
    return f"{epochs:.2f}" if epochs >= 0.01 else "<0.01"


def _training(report: Report) -> Iterator[Row]:
    training = report.training
    if training is None:
        return
    counted = COUNTED[report.counts]
    start = "" if training.initial_loss is None else f"from {training.initial_loss:.3f}"
    yield ("batches", *_cells(training.steps, _whole))
    yield (counted.many, *_cells(training.tokens, _whole))
    yield (f"{counted.many}/s", *_cells(training.tokens_per_s, _whole))
    yield ("MFU", *_cells(training.mfu, lambda value: f"{value:.1%}"))
    yield (f"loss, nats/{counted.one}", *_cells(training.loss, lambda value: f"{value:.3f}", start))
    yield ("cost", *_cells(report.cost_usd, format_usd))


def _sources(report: Report) -> Iterator[Row]:
    for name, source in report.data.sources.items():
        size = None if source.unique_samples is None or not source.samples.planned or not source.tokens.planned else (
            source.unique_samples * source.tokens.planned / source.samples.planned
        )  # fmt: skip
        note = (
            ""
            if size is None or source.epochs is None
            else f"{_times(source.epochs)} x {COUNTED[report.counts].amount(size)}"
        )
        yield (name, *_cells(source.tokens, _whole, "NOT AS PLANNED" if source.equal is False else note))
        yield from _apart(source)


def _apart(source: SourceReport) -> Iterator[Row]:
    """Tokens that were drawn, and are no text or never reached the model."""
    for tokens, what in ((source.padding_tokens, "padding"), (source.truncated_tokens, "cut off")):
        if tokens:
            yield (f"  of it {what}", *_cells(Amount(planned=None, actual=tokens), _whole))


def _steps(report: Report) -> Iterator[Row]:
    for name, step in report.steps.items():
        note = "reused" if step.reused else "" if step.status == "finished" else step.status
        yield (name, *_cells(step.seconds, format_seconds, note))

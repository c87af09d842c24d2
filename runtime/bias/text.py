"""A comparison in words: half a line for the log, a table for the end of a run, lines for the model card."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["card_lines", "facts", "table"]

_MOST_ROWS: Final = 20
_COLUMNS: Final = "{:<{label}}{:>10}{:>20}{:>20}"


def facts(values: Mapping[str, Any]) -> str:
    """What is worth knowing, in half a line; the accuracies always stand beside the metrics, which don't see them."""
    right = values["accuracy"]
    return (
        f"against {values['against']}: CEV {_metric(values['cev'])}, SDE {_metric(values['sde'])}, "
        f"{values['pie']:,} of {values['samples']:,} predictions changed class, "
        f"accuracy {right['reference']:.2%} -> {right['model']:.2%}"
    )


def table(values: Mapping[str, Any], width: int) -> str:
    """Metrics of each stage and error rates of each class, reference -> model, at most `width` columns wide (80 or more)."""
    label = min(30, width - 50)
    lines = [
        f"classes of the {values['judged']} model, against {values['against']} ({values['convention']} convention)"
    ]
    for stage, found in values["stages"].items():
        right = found["accuracy"]
        lines.append(
            f"  {stage:<9} CEV {_metric(found['cev'])}, SDE {_metric(found['sde'])}, {found['pie']:,} changed, "
            f"accuracy {right['reference']:.2%} -> {right['model']:.2%}"
        )
    lines.append(_COLUMNS.format("  class", "samples", "false positives", "false negatives", label=label))
    for one in values["classes"][:_MOST_ROWS]:
        name = one["name"] if len(one["name"]) <= label - 3 else one["name"][: label - 6] + "..."
        lines.append(
            _COLUMNS.format(
                f"  {name}", f"{one['samples']:,}", _rates(one["fpr"]), _rates(one["fnr"]), label=label
            ).rstrip()
        )
    if len(values["classes"]) > _MOST_ROWS:
        lines.append(f"  and {len(values['classes']) - _MOST_ROWS} more")
    if values["left_out"]:
        without = ", ".join(values["left_out"][:5]) + (", ..." if len(values["left_out"]) > 5 else "")
        lines.append(f"  without a relative change, so left out of CEV and SDE: {without}"[:width])
    return "\n".join(lines)


def card_lines(values: Mapping[str, Any]) -> Iterator[str]:
    """Markdown for the model card: the metrics, what they mean, and the classes."""
    yield f"Compared class by class with {_code(values['against'])} on {values['samples']:,} held-out predictions:"
    yield ""
    yield "| model | CEV | SDE | changed class | accuracy |"
    yield "|---|---:|---:|---:|---:|"
    yield f"| reference | | | | {values['accuracy']['reference']:.2%} |"
    for stage, found in values["stages"].items():
        yield (
            f"| {stage} | {_metric(found['cev'])} | {_metric(found['sde'])} | {found['pie']:,} ({found['pie_share']:.2%})"
            f" | {found['accuracy']['model']:.2%} |"
        )
    yield ""
    yield (
        "CEV is the spread, SDE the imbalance of the classes' relative changes in false positives and false negatives "
        f"(arXiv 2106.07849, {values['convention']} convention); 0 means that all classes changed alike, not that none got worse."
    )
    yield ""
    yield "| class | samples | false positives | false negatives |"
    yield "|---|---:|---:|---:|"
    for one in values["classes"]:
        yield f"| {_code(one['name'])} | {one['samples']:,} | {_rates(one['fpr'])} | {_rates(one['fnr'])} |"


def _metric(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.4g}"


def _rates(rate: Mapping[str, float | None]) -> str:
    old, new = (("-" if rate[who] is None else f"{rate[who]:.2%}") for who in ("reference", "model"))
    return f"{old} -> {new}"


def _code(text: str) -> str:
    """A name as code, so that nothing in it is markup."""
    return "`" + text.replace("`", "'").replace("|", "/") + "`"

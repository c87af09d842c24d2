"""How a difference between plans looks: Terraform's signs for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, NamedTuple, cast

from compiler.diff import ABSENT, Change, PlanDiff, RunDiff
from compiler.job.yaml_out import Value, one_line
from compiler.render import figures
from schemas.counted import several
from schemas.plan import RunPlan

__all__ = ["diff_json", "render_diff"]

FORMAT_VERSION: Final = "1.2"

_BETTER: Final = "32"
_WORSE: Final = "31"
_COLORS: Final = {"+": "32", "~": "33", "-": "31", "-/+": "1;31"}
_DIM: Final = "2"


class _Measure(NamedTuple):
    """How an outcome is printed, and whether less of it is better."""

    show: Callable[[float], str]
    less_is_better: bool = True


_MEASURES: Final[dict[str, _Measure]] = {
    "budget.loss": _Measure(lambda value: f"{value:.3f}"),
    "estimate.tokens_per_s_per_gpu": _Measure(figures.figure, less_is_better=False),
    "estimate.mfu": _Measure(figures.percent, less_is_better=False),
    "estimate.peak_memory_bytes": _Measure(figures.gigabytes),
    "estimate.hours": _Measure(figures.hours),
    "estimate.usd": _Measure(figures.usd),
    "estimate.inference_usd": _Measure(figures.usd),
    "estimate.lifetime_usd": _Measure(figures.usd),
    "estimate.energy_kwh": _Measure(figures.work),
}
"""Outcomes worth a line of their own, by their place in the plan."""

# A value longer than this says nothing more to the eye.
_LONGEST_VALUE: Final = 60
_LONGEST_PATH: Final = 56
_MOST_REASONS: Final = 2
_MOST_OF_PHASES: Final = 16
_PHASES: Final = "data.phases"


def render_diff(found: PlanDiff, format: Literal["text", "json"], *, color: bool = False, width: int = 100) -> str:
    """The differences as text of at most `width` columns (reasons and long places may run over), or as JSON."""
    if format == "json":
        return json.dumps(diff_json(found), indent=2, allow_nan=False) + "\n"
    if found.is_same:
        return "No differences.\n"
    lines = _of_run(found, width, color)
    for run in found.runs:
        lines += ["", *_other_run(run, width, color)]
    return "\n".join(lines) + "\n"


def _of_run(found: PlanDiff, width: int, color: bool) -> list[str]:
    """What differs in one run."""
    decided = _folded(found, [change for change in found.changes if not change.is_derived])
    derived = [change for change in found.changes if change.is_derived]
    return [_headline(found), *_table(decided, width, color), *_outcome(derived, color), *_verdict(found)]


def _other_run(run: RunDiff, width: int, color: bool) -> list[str]:
    if run.found is None:
        words = "is new" if run.kind == "+" else "is gone"
        return [_paint(f"{run.kind} run {run.name} {words}", _COLORS[run.kind], color) + _plan_word(run)]
    if run.is_same:
        return [f"run {run.name} is the same{_plan_word(run)}"]
    return [f"run {run.name}", *_of_run(run.found, width, color)]


def _plan_word(run: RunDiff) -> str:
    return f" (plan {run.plan.short_fingerprint})"


def diff_json(found: PlanDiff) -> dict[str, Any]:
    """The differences as plain values; a value that a plan doesn't have is left out."""
    added, changed, removed = found.counts
    return {
        "format_version": FORMAT_VERSION,
        "old": found.old.fingerprint,
        "new": found.new.fingerprint,
        "added": added,
        "changed": changed,
        "removed": removed,
        "resume": {"is_legal": not found.reasons, "last_step": found.last_step, "reasons": list(found.reasons)},
        "changes": [_change_json(change) for change in found.changes],
        "runs": [_run_json(run) for run in found.runs],
    }


def _run_json(run: RunDiff) -> dict[str, Any]:
    more = diff_json(run.found) if run.found is not None else {"plan": run.plan.fingerprint}
    return {"run": run.name, "kind": run.kind, "is_same": run.is_same} | more


def _change_json(change: Change) -> dict[str, Any]:
    values = {key: value for key, value in (("old", change.old), ("new", change.new)) if value is not ABSENT}
    rest = {"place": change.place, "reason": change.reason, "is_derived": change.is_derived}
    return {"kind": change.kind, "path": change.path, **values, **rest}


def _folded(found: PlanDiff, changes: Sequence[Change]) -> list[Change]:
    """The changes, those of phases as one where they are many: a transition has up to a hundred pieces."""
    inside = [change for change in changes if change.path.startswith(_PHASES)]
    if len(inside) <= _MOST_OF_PHASES:
        return list(changes)
    old, new = f"{len(found.old.data.phases)} phases", f"{len(found.new.data.phases)} phases, {len(inside)} differences"
    one = Change(max((c.kind for c in inside), key=len), _PHASES, old, new, inside[0].place, inside[0].reason, False)
    return [
        one if change is inside[0] else change
        for change in changes
        if change is inside[0] or not change.path.startswith(_PHASES)
    ]


def _headline(found: PlanDiff) -> str:
    old, new = found.old, found.new
    was = "unchanged" if old.fingerprint == new.fingerprint else f"was {_label(old, new)}"
    training, counted = new.training, new.counted
    batch = counted.amount(training.global_batch_tokens)
    length = f"{counted.amount(new.budget.tokens)} = {several(training.steps, 'step')} x {batch}"
    return f"{new.name}  plan {new.short_fingerprint} ({was})   {length}"


def _label(old: RunPlan, new: RunPlan) -> str:
    return old.short_fingerprint if old.name == new.name else f"{old.name} {old.short_fingerprint}"


def _verdict(found: PlanDiff) -> list[str]:
    added, changed, removed = found.counts
    if len(found.reasons) > _MOST_REASONS:  # each stands with its change
        resume = f"cannot resume, for {len(found.reasons)} reasons."
    elif found.reasons:
        resume = "cannot resume: " + "; ".join(found.reasons) + "."
    elif found.last_step < found.old.training.steps:
        resume = f"checkpoints up to step {found.last_step:,} of {found.old.training.steps:,} can be continued."
    else:
        resume = "a resume is legal."
    lines = [f"Plan: {added} to add, {changed} to change, {removed} to remove; {resume}"]
    if not found.reasons and found.has_another_schedule:
        lines.insert(0, "      A resumed run takes the new schedule of the learning rate from its first step on.")
    return lines


def _table(changes: Sequence[Change], width: int, color: bool) -> list[str]:
    """Sign, path, old -> new, place: in columns as wide as they need to be and the terminal allows."""
    if not changes:
        return []
    paths = min(_LONGEST_PATH, max(len(change.path) for change in changes))
    values = min(max(len(_values(change)) for change in changes), max(20, width - 8 - paths))
    lines = []
    for index, change in enumerate(changes):
        sign = _paint(f"{change.kind:>5}", _COLORS[change.kind], color)
        text = f" {change.path:<{paths}}  {_clip(_values(change), values):<{values}}  {change.place}"
        lines.append(sign + text.rstrip())
        # Once for neighbours with one reason, such as the shares of a phase.
        if change.reason and (index + 1 == len(changes) or changes[index + 1].reason != change.reason):
            lines.append(f"{'':5} {'':{paths}}  cannot resume: {change.reason}")
    return lines


def _outcome(changes: Sequence[Change], color: bool) -> list[str]:
    """What becomes of speed, memory, time and money; intervals and parts follow them and are only counted."""
    shown = [(change, measure) for change in changes if (measure := _MEASURES.get(change.path)) is not None]
    rows = [(change.path, *_before_after(change, measure)) for change, measure in shown]
    paths, values = max((len(row[0]) for row in rows), default=0), max((len(row[1]) for row in rows), default=0)
    lines = []
    for (path, value, delta), (_, measure) in zip(rows, shown, strict=True):
        is_better = delta.startswith("-") is measure.less_is_better
        text = f"    ~ {path:<{paths}}  {value:<{values}}"
        painted = _paint(delta, _BETTER if is_better else _WORSE, color) if delta else ""
        lines.append(f"{_paint(text, _DIM, color)}  {painted}" if painted else _paint(text.rstrip(), _DIM, color))
    if more := len(changes) - len(rows):
        words = f"and {more} more" if rows else f"{more} estimates"
        lines.append(
            _paint(f"      {words} that follow, such as parts and intervals: --format json shows all", _DIM, color)
        )
    return lines


def _before_after(change: Change, measure: _Measure) -> tuple[str, str]:
    """`16.2 h -> 14.1 h` and `-13 %`."""
    old, new = change.old, change.new
    if not isinstance(old, int | float) or not isinstance(new, int | float):
        return _values(change), ""
    before, after = measure.show(old), measure.show(new)
    # Digits that people read can be equal; then all of them are shown.
    return (f"{before} -> {after}" if before != after else _values(change)), figures.change(old, new)


def _values(change: Change) -> str:
    if change.old is ABSENT:
        return _shown(change.new)
    if change.new is ABSENT:
        return _shown(change.old)
    old, new = _shown(change.old), _shown(change.new)
    return f"{old} -> {new}" if old != new else f"{change.old} -> {change.new}"


def _shown(value: object) -> str:
    """A plain value in short: `9 536`, `0.00163455`, `[0.9, 0.95]`, `{kind: ema, …`."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return f"{value:,}".replace(",", " ")
    return _clip(one_line(cast("Value", value)), _LONGEST_VALUE)


def _clip(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _paint(text: str, code: str, color: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if color else text

"""What differs between two plans, who set it, and which checkpoints of the old one may be continued."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from compiler.frontend.spans import PathKey, format_path, parse_path
from compiler.provenance import lookup
from schemas.plan import Provenance, RunPlan
from schemas.resume import last_step, resume_conflicts

__all__ = ["ABSENT", "Change", "Kind", "PlanDiff", "RunDiff", "diff"]

Kind = Literal["+", "~", "-", "-/+"]
"""Added, changed, removed; `-/+` is any of them that forbids to resume."""


class Absent(enum.Enum):
    """The value of what one of the plans doesn't have; None is a value."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT

# Not compared: they sum up the other values, or tell where those came from. Other runs are compared by themselves.
_SUMS: Final = frozenset({"fingerprint", "resume_key", "provenance", "earlier", "totals"})

# What somebody said; the rest of a budget is what follows from it.
_SAID_OF_BUDGETS: Final = frozenset(
    {"tokens", "objective", "scaling_law", "inference_tokens", "serving", "max_cost_usd", "max_seconds", "max_gpus"}
)


@dataclass(frozen=True)
class Change:
    """One difference.

    Args:
        kind: what happens to the value.
        path: place in the plan; entries of lists by their id or kind: `data.phases.phase0.end_token`.
        old: plain value, or ABSENT.
        new: plain value, or ABSENT.
        place: line of the recipe, default or pass that set the new value (the old one, where it is removed).
        reason: why a checkpoint can't be continued across this change; empty if it can.
        is_derived: the value follows from others and decides nothing (estimates).
    """

    kind: Kind
    path: str
    old: object
    new: object
    place: str
    reason: str
    is_derived: bool


@dataclass(frozen=True)
class PlanDiff:
    """All differences, those that decide something first."""

    old: RunPlan
    new: RunPlan
    changes: tuple[Change, ...]
    runs: tuple[RunDiff, ...] = ()
    """The other runs, where both plans are sequences."""

    @property
    def is_same(self) -> bool:
        """Whether nothing differs, in this run or another one."""
        return (
            not self.changes and self.old.fingerprint == self.new.fingerprint and all(run.is_same for run in self.runs)
        )

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why no checkpoint of the old plan can be continued under the new one; empty if those up to `last_step` can."""
        return tuple(f"{path}: {reason}" for path, reason in resume_conflicts(self.old, self.new))

    @property
    def last_step(self) -> int:
        """Last step of the old plan whose checkpoint may be continued under the new one; 0 if none may."""
        return last_step(self.old, self.new)

    @property
    def has_another_schedule(self) -> bool:
        """Whether the learning rate goes on along another curve, which is allowed and may be a jump."""
        old, new = self.old.training, self.new.training
        return (old.schedule, old.steps, old.optimizer.lr) != (new.schedule, new.steps, new.optimizer.lr)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Values added, changed and removed, without what is derived."""
        decided = [change for change in self.changes if not change.is_derived]
        added = sum(change.old is ABSENT for change in decided)
        removed = sum(change.new is ABSENT for change in decided)
        return added, len(decided) - added - removed, removed


@dataclass(frozen=True)
class RunDiff:
    """Another run of a sequence.

    Args:
        name: in the sequence.
        kind: added, removed, or in both plans.
        plan: the new one; of a run that was removed, the old one.
        found: what differs in it; None where only one of the plans has it.
    """

    name: str
    kind: Kind
    plan: RunPlan
    found: PlanDiff | None

    @property
    def is_same(self) -> bool:
        """Whether nothing differs."""
        return self.found is not None and self.found.is_same


def diff(old: RunPlan, new: RunPlan) -> PlanDiff:
    """Compare two plans, value by value, in the plan's order; runs of sequences by their names."""
    before, after = _counterparts(old, new)
    others = [] if old.run is None or new.run is None else _others(old, new, str(after.run))
    return replace(_diff(before, after), runs=tuple(others))


def _counterparts(old: RunPlan, new: RunPlan) -> tuple[RunPlan, RunPlan]:
    """The runs to compare first: the last ones, or the last one of either plan with the run of that name in the other."""
    if old.run == new.run:
        return old, new
    for run in new.runs:
        if run.run == old.run:
            return old, run
    return next((run for run in old.runs if run.run == new.run), old), new


def _others(old: RunPlan, new: RunPlan, shown: str) -> Iterator[RunDiff]:
    """All runs but the one that is shown first: those of the new plan in its order, then what it doesn't have any more."""
    before, after = ({str(run.run): run for run in plan.runs} for plan in (old, new))
    for name, run in after.items():
        if name != shown:
            was = before.get(name)
            found = _diff(was, run) if was is not None else None
            yield RunDiff(name, "+" if found is None else "~", run, found)
    for name, run in before.items():
        if name not in after and name != shown:
            yield RunDiff(name, "-", run, None)


def _diff(old: RunPlan, new: RunPlan) -> PlanDiff:
    """Compare one run with one run."""
    conflicts = [(parse_path(path), reason) for path, reason in resume_conflicts(old, new)]
    left, right = (plan.model_dump(mode="json", by_alias=True, exclude=set(_SUMS)) for plan in (old, new))
    changes = []
    for found in _compare((), left, (), right, ()):
        removed = found.new is ABSENT
        source = lookup((old if removed else new).provenance, found.old_path if removed else found.new_path)
        reason = next((why for path, why in conflicts if found.new_path[: len(path)] == path), "")
        kind: Kind = "-/+" if reason else "+" if found.old is ABSENT else "-" if removed else "~"
        path = format_path(found.shown)
        changes.append(Change(kind, path, found.old, found.new, _place(source), reason, _is_derived(found.new_path)))
    return PlanDiff(old, new, tuple(sorted(changes, key=lambda change: change.is_derived)))


@dataclass(frozen=True)
class _Difference:
    """A difference with its path in either plan (lists by index), and as it is shown (lists by id)."""

    shown: PathKey
    old_path: PathKey
    old: object
    new_path: PathKey
    new: object


def _compare(shown: PathKey, old: Any, old_path: PathKey, new: Any, new_path: PathKey) -> Iterator[_Difference]:
    """Differences below one place of the two plans."""
    if old == new and type(old) is type(new):
        return
    before, after = _entries(old), _entries(new)
    if before is None or after is None or _is_replaced(shown, old, new):
        yield _Difference(shown, old_path, old, new_path, new)
        return
    missing = (None, ABSENT)
    for key in dict.fromkeys([*before, *after]):
        old_key, old_item = before.get(key, missing)
        new_key, new_item = after.get(key, missing)
        paths = (
            (*old_path, old_key if old_key is not None else key),
            (*new_path, new_key if new_key is not None else key),
        )
        yield from _compare((*shown, key), old_item, paths[0], new_item, paths[1])


def _entries(value: Any) -> dict[str, tuple[str | int, Any]] | None:
    """Name -> (key or index, value) of a section, or of a list whose entries have ids or kinds; else None."""
    if isinstance(value, Mapping):
        return {key: (key, item) for key, item in value.items()}
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    named: dict[str, tuple[str | int, Any]] = {}
    seen: Counter[str] = Counter()
    for index, item in enumerate(value):
        name = item.get("id", item.get("kind")) if isinstance(item, Mapping) else None
        if name is None:
            return None
        seen[name] += 1  # a second entry of one kind is told apart by its number
        named[name if seen[name] == 1 else f"{name}-{seen[name]}"] = (index, item)
    return named


def _is_replaced(shown: PathKey, old: Any, new: Any) -> bool:
    """Whether a source is of another kind now, so that its keys have nothing to do with each other."""
    return shown[:2] == ("data", "sources") and len(shown) == 3 and set(old) != set(new)


def _place(source: Provenance | None) -> str:
    if source is None:
        return ""
    return {"recipe": source.where, "default": "default", "pass": f"pass {source.where}"}[source.origin]


def _is_derived(path: PathKey) -> bool:
    if path[0] == "budget":
        return path[1] not in _SAID_OF_BUDGETS
    return path[0] == "estimate" or (path[0] == "steps" and path[-1] == "seconds")

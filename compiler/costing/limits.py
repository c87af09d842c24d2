"""Limits of money, hours and devices: what exceeds them, and the cheapest changes that would meet them, found by trying."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from compiler.draft import Draft
from schemas.diagnostics import Severity
from schemas.units import format_seconds, format_usd

if TYPE_CHECKING:
    from compiler.costing.remedies import Remedy, Replan

__all__ = ["Limit", "limits_of", "within_limits"]

# Two changes are enough to choose from.
_SHOWN: Final = 2
_STAND_INS: Final = ("RC102", "RC204", "RC3", "RC5")


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit of the recipe and what the plan takes of it.

    Args:
        key: of `budget`.
        value, limit: dollars, seconds or devices.
        show: how such a number is printed.
    """

    key: str
    value: float
    limit: float
    show: Callable[[float], str]

    @property
    def ratio(self) -> float:
        """Above 1 the limit is exceeded."""
        return self.value / self.limit

    def enough(self) -> str:
        """What to write instead: what is printed is rounded, to 3 digits at least, so it keeps clear of that."""
        more = self.value if self.key == "max_gpus" else max(self.value * 1.01, 0.01)
        return self.show(more).replace(" ", "")


def limits_of(draft: Draft) -> tuple[Limit, ...]:
    """The recipe's limits against a draft that has its estimate."""
    said, estimate = draft.recipe.budget, draft.sections["estimate"]
    rows: tuple[tuple[str, float, float | None, Callable[[float], str]], ...] = (
        ("max_cost", estimate.usd, said.max_cost, format_usd),
        ("max_hours", estimate.hours * 3600, said.max_hours, format_seconds),
        ("max_gpus", float(draft.hardware.count), said.max_gpus, lambda count: f"{count:,.0f}"),
    )
    return tuple(Limit(key, value, limit, show) for key, value, limit, show in rows if limit is not None)


def within_limits(draft: Draft, start: Draft, replan: Replan) -> Draft:
    """A finding for each limit that is exceeded, with the changes that meet all of them.

    Args:
        draft: after all passes.
        start: before them.
        replan: runs them on a changed recipe.
    """
    errors = [finding.code for finding in draft.findings if finding.severity is Severity.ERROR]
    # After an error about budget or hardware the draft goes on with a stand-in, whose hours and dollars are nobody's.
    is_stand_in = any(code.startswith(_STAND_INS) for code in errors)
    exceeded = [limit for limit in limits_of(draft) if limit.ratio > 1 and (limit.key == "max_gpus" or not is_stand_in)]
    if not exceeded:
        return draft
    from compiler.costing.remedies import remedies  # most recipes never need it

    found = () if errors else remedies(draft, start, replan, worst)[:_SHOWN]
    for limit in exceeded:
        what = "the run uses {} devices" if limit.key == "max_gpus" else "the run takes {}"
        draft = draft.find(
            draft.diagnostic(
                "RC302",
                f"{what.format(limit.show(limit.value))}, the limit is {limit.show(limit.limit)}",
                "budget",
                limit.key,
                help=f"{limit.key}: {limit.enough()}{_in_words(found)}",
                reason=_floor(draft, limit),
                severity=Severity.ERROR,
            )
        )
    return draft


def worst(draft: Draft) -> float:
    """The largest ratio of what a draft takes to what its recipe allows; 0 without limits, and of devices that are few enough."""
    counted = (limit.ratio for limit in limits_of(draft) if limit.key != "max_gpus" or limit.ratio > 1)
    return max(counted, default=0.0)


def _floor(draft: Draft, limit: Limit) -> str:
    """Why no shorter run meets a limit, where none does: what it takes before and after its steps."""
    estimate = draft.sections["estimate"]
    parts = {"max_cost": estimate.usd_parts, "max_hours": estimate.time_parts}.get(limit.key)
    if parts is None:
        return ""
    fixed = {name: parts[name] for name in ("startup", "prepare", "evaluation") if parts[name] > 0}
    least = sum(fixed.values())
    if least <= limit.limit:
        return ""
    return f"{', '.join(fixed)} alone take {limit.show(least)}, whatever is trained"


def _in_words(found: tuple[Remedy, ...]) -> str:
    if not found:
        return ""
    return "   # or, within all limits: " + "; or ".join(remedy.text for remedy in found)

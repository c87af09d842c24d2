"""The runs of a recipe as one: their findings together, what they take in all, and the limits that hold for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from compiler.frontend.spans import format_path, parse_path
from compiler.lineage.teaching import taught
from schemas.budget import Budget
from schemas.diagnostics import Diagnostic, Severity
from schemas.forecast import SequenceTotals
from schemas.plan import Provenance, RunPlan
from schemas.units import format_seconds, format_usd

if TYPE_CHECKING:
    from compiler.draft import Draft
    from compiler.frontend.resolve import Resolved
    from compiler.frontend.sequence import Run
    from compiler.frontend.validate import Checked

__all__ = ["Planned", "lineage", "over_limits", "together", "totals_of", "with_earlier"]

_CAPS: Final = ("max_cost", "max_hours")
"""Limits that a recipe's top level sets for all of its runs together."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What became of one run.

    Args:
        run: as the recipe says it.
        checked: its values.
        findings: of values and passes, with paths of the run's own recipe.
        plan: None where errors left none; with other errors a stand-in, which is nobody's plan.
    """

    run: Run
    checked: Checked
    findings: tuple[Diagnostic, ...]
    plan: RunPlan | None

    @property
    def has_errors(self) -> bool:
        """Whether the plan is a stand-in at best."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


def together(runs: Sequence[Planned]) -> tuple[Diagnostic, ...]:
    """Findings of all runs: what all of them have is told once, the rest names its runs and stands at their own paths."""
    if len(runs) == 1:
        return tuple(_at_home(finding, runs[0].run) for finding in runs[0].findings)
    holders: dict[Diagnostic, list[Run]] = {}
    for one in runs:
        for finding in one.findings:
            if not _is_of_all(finding, one.run):
                holders.setdefault(finding, []).append(one.run)
    found = []
    for finding, those in holders.items():
        inside = any(run.said(finding.span) for run in those)
        if len(those) < len(runs) or inside:
            names = ", ".join(f"`{run.name}`" for run in those)
            message = f"run{'s' if len(those) > 1 else ''} {names}: {finding.message}"
            finding = _at_home(finding.model_copy(update={"message": message}), those[0])  # noqa: PLW2901
        found.append(finding)
    return tuple(found)


def _at_home(finding: Diagnostic, run: Run) -> Diagnostic:
    """The finding with its path in the whole recipe."""
    try:
        path = parse_path(finding.path) if finding.path else ()
    except ValueError:
        return finding
    return finding.model_copy(update={"path": format_path(run.place(path))})


def _is_of_all(finding: Diagnostic, run: Run) -> bool:
    """Whether a run's own finding is about a limit that holds for all runs together; `over_limits` speaks of those."""
    is_cap = finding.code == "RC302" and finding.path in {f"budget.{key}" for key in _CAPS}
    return is_cap and not run.said(finding.span)


def _caps(resolved: Resolved) -> dict[str, float]:
    """Limits of the recipe's top level, in dollars and seconds; wrong ones are left out, which have their own findings."""
    found = {}
    for key in _CAPS:
        root = resolved.spans.root
        section = root.child("budget") if root is not None else None
        node = section.child(key) if section is not None else None
        try:
            value = getattr(Budget.model_validate({key: node.plain()}), key) if node is not None else None
        except ValidationError:
            value = None
        if value is not None:
            found[key] = float(value)
    return found


def over_limits(resolved: Resolved, runs: Sequence[Planned]) -> tuple[Diagnostic, ...]:
    """A finding for each limit of the top level that the runs exceed together, with what each of them takes.

    After other errors a plan is a stand-in, whose hours and dollars are nobody's.
    """
    plans = [one.plan for one in runs if one.plan is not None]
    wrong = [f for one in runs for f in one.findings if f.severity is Severity.ERROR and not _is_of_all(f, one.run)]
    if len(runs) == 1 or len(plans) < len(runs) or wrong:
        return ()
    found = []
    for key, limit in _caps(resolved).items():
        parts = {str(p.run): p.estimate.usd if key == "max_cost" else p.estimate.hours * 3600 for p in plans}
        show = format_usd if key == "max_cost" else format_seconds
        whole = sum(parts.values())
        if whole > limit:
            each = ", ".join(f"`{name}` {show(value)}" for name, value in parts.items())
            found.append(
                Diagnostic(
                    code="RC302",
                    message=f"the {len(plans)} runs take {show(whole)} together, the limit is {show(limit)}",
                    span=resolved.spans.nearest("budget", key),
                    path=f"budget.{key}",
                    reason=f"{each}; a limit of the top level holds for all runs",
                    help=f"{key}: {show(max(whole * 1.01, 0.01)).replace(' ', '')}",
                )
            )
    return tuple(found)


def lineage(draft: Draft) -> dict[str, Provenance]:
    """Where the plan's place in the sequence comes from."""
    if draft.run is None:
        alone = Provenance(origin="default", where="sequence", reason="the recipe has no `sequence`")
        return dict.fromkeys(("run", "earlier", "totals"), alone)
    here = Provenance(origin="pass", where="sequence", reason="the recipe's `sequence` says it")
    before = "plans of the runs before this one, each of which says where its own values come from"
    sums = "sums over all runs of the sequence; what teachers take by Liu et al. 2023 (arXiv 2303.06480)"
    return {
        "run": here,
        "earlier": Provenance(origin="pass", where="sequence", reason=before),
        "totals": Provenance(origin="pass", where="sequence", reason=sums),
    }


def with_earlier(resolved: Resolved, runs: Sequence[Planned]) -> RunPlan:
    """The last run's plan with the others and the sums, not sealed yet; every run has a plan."""
    plans = [one.plan for one in runs if one.plan is not None]
    if plans[-1].run is None:
        return plans[-1]
    totals = totals_of(plans, _caps(resolved))
    return plans[-1].model_copy(update={"earlier": tuple(plans[:-1]), "totals": totals})


def totals_of(plans: Sequence[RunPlan], caps: dict[str, float]) -> SequenceTotals:
    """Sums over runs that follow each other.

    Args:
        plans: in their order.
        caps: `max_cost` in dollars and `max_hours` in seconds, where the recipe's top level has them.
    """
    estimates = [plan.estimate for plan in plans]
    usd, served = sum(one.usd for one in estimates), estimates[-1].inference_usd
    return SequenceTotals(
        runs=len(plans),
        tokens=sum(plan.budget.tokens for plan in plans),
        train_flops=sum(plan.budget.train_flops for plan in plans),
        hours=sum(one.hours for one in estimates),
        hours_low=sum(one.hours_low for one in estimates),
        hours_high=sum(one.hours_high for one in estimates),
        usd=usd,
        usd_low=sum(one.usd_low for one in estimates),
        usd_high=sum(one.usd_high for one in estimates),
        energy_kwh=sum(one.energy_kwh for one in estimates),
        co2e_kg=sum(one.co2e_kg for one in estimates),
        inference_usd=served,
        lifetime_usd=usd + served,
        max_cost_usd=caps.get("max_cost"),
        max_seconds=caps.get("max_hours"),
        taught=taught(plans),
    )

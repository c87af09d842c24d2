"""Recipe to plan: the passes in one tuple, verified after each, then frozen. Read this file first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError

from compiler.costing.enough import with_enough
from compiler.costing.limits import within_limits
from compiler.draft import Draft
from compiler.frontend.echoes import follows
from compiler.frontend.resolve import resolve
from compiler.frontend.sequence import Run, runs_of
from compiler.frontend.spans import RecipeError, SpanIndex
from compiler.frontend.validate import Checked, validate
from compiler.lineage.sequence import Planned, lineage, over_limits, together, with_earlier
from compiler.passes.accounting import accounting
from compiler.passes.batch import batch
from compiler.passes.budget import budget
from compiler.passes.data import data
from compiler.passes.estimate import estimate
from compiler.passes.hardware import hardware
from compiler.passes.lifetime import lifetime
from compiler.passes.model import model
from compiler.passes.outputs import checkpoints, evaluation, execution, logging
from compiler.passes.parallelism import parallelism
from compiler.passes.plain import objective
from compiler.passes.precision import precision
from compiler.passes.start import start
from compiler.passes.steps import steps
from compiler.passes.targets import targets
from compiler.passes.techniques import techniques
from compiler.passes.tokenizer import tokenizer
from compiler.passes.training import training
from compiler.settle import settle
from compiler.verify import verify
from schemas.diagnostics import Diagnostic, DiagnosticsError, Severity
from schemas.fingerprint import fingerprint, resume_key
from schemas.plan import FORMAT_VERSION, Provenance, RunPlan
from schemas.recipe import Recipe

__all__ = ["PASSES", "Compiled", "compile_recipe"]

Pass = Callable[[Draft], Draft]
"""Pure: returns a copy of the draft with one more section."""

PASSES: Final[tuple[Pass, ...]] = (
    hardware,
    precision,
    objective,
    start,
    tokenizer,
    targets,
    model,
    batch,
    budget,
    techniques,
    parallelism,
    training,
    data,
    evaluation,
    checkpoints,
    logging,
    execution,
    estimate,
    lifetime,
    accounting,
    steps,
)


class Compiled(NamedTuple):
    """What became of a recipe: a plan unless there are errors, all findings sorted, and the places they point to.

    Of a sequence, `plan` and `recipe` are those of the last run; the plan holds the others.
    """

    plan: RunPlan | None
    findings: tuple[Diagnostic, ...]
    spans: SpanIndex
    recipe: Recipe | None = None
    runs: tuple[Planned, ...] = ()
    """Each run of the recipe, in order."""

    def expect(self) -> RunPlan:
        """The plan.

        Raises:
            DiagnosticsError: the recipe has errors.
        """
        if self.plan is None:
            raise DiagnosticsError(self.findings)
        return self.plan


def compile_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Compiled:
    """Read, check and plan a recipe. Errors of the text, of single values and of their combination come together."""
    try:
        resolved = resolve(path, overrides)
    except RecipeError as error:
        return Compiled(None, error.diagnostics, error.spans)
    runs, findings = runs_of(resolved)
    planned: list[Planned] = []
    for run in runs:
        planned.append(plan_run(run, path, tuple(planned), tuple(one.name for one in runs if one.name is not None)))
    findings = (*resolved.diagnostics, *findings, *together(planned), *over_limits(resolved, planned))
    last = planned[-1]
    wrong = any(finding.severity is Severity.ERROR for finding in findings)
    return Compiled(
        plan=None if wrong else sealed(with_earlier(resolved, planned)),
        findings=tuple(sorted(set(findings), key=Diagnostic.sort_key)),
        spans=resolved.spans,
        recipe=last.checked.recipe,
        runs=tuple(planned),
    )


def run_passes(draft: Draft) -> Draft:
    """All passes in turn, each verified."""
    for step in PASSES:
        draft = step(draft)
        verify(draft, step.__name__)
    return draft


def plan_run(run: Run, path: Path, before: tuple[Planned, ...], order: tuple[str, ...]) -> Planned:
    """Check a run's values and run the passes, also over a repaired recipe, so that all findings come at once.

    Args:
        run: a whole recipe, or one run of its sequence.
        path: the recipe's file.
        before: the runs before it. After one that errors left out or without any plan, only values are checked: what depends
            on it can't be judged.
        order: names of all runs.
    """
    checked = validate(run.resolved)
    earlier = tuple(one.plan for one in before if one.plan is not None)
    if checked.recipe is None or len(earlier) < run.number:
        return Planned(run, checked, checked.diagnostics, None)
    start = Draft(
        checked.recipe,
        checked.resolved.spans,
        (path.parent, Path()),
        earlier=earlier,
        run=run.name,
        order=order,
        item=run.item,
    )

    def replan(draft: Draft) -> Draft:
        return settle(draft, run_passes)

    try:
        draft = within_limits(with_enough(replan(start), start, replan), start, replan)
    except DiagnosticsError as error:
        return Planned(run, checked, _together(checked, before, error.diagnostics), None)
    findings = _together(checked, before, draft.findings)
    is_wrong = any(finding.severity is Severity.ERROR for finding in findings)
    return Planned(run, checked, findings, _stand_in(draft) if is_wrong else freeze(draft))


def _stand_in(draft: Draft) -> RunPlan | None:
    """A plan with errors, for the findings of the runs after it; None for a recipe of one run, or if it doesn't hold together."""
    if draft.run is None:
        return None
    try:
        return freeze(draft)
    except RuntimeError:
        return None


def _together(checked: Checked, before: tuple[Planned, ...], added: tuple[Diagnostic, ...]) -> tuple[Diagnostic, ...]:
    """Findings of the passes join the earlier ones, but for those that only follow from a value that was cut out.

    Of a run that starts from an earlier one, also what follows from the cuts in that one's model.
    """
    started = checked.recipe is not None and checked.recipe.model.start is not None
    inherited = {cut for one in before for cut in one.checked.pruned if cut[:1] == ("model",)} if started else set()
    cuts = checked.pruned | inherited
    kept = [f for f in added if not any(follows(f, cut) for cut in cuts)]
    return tuple(sorted({*checked.diagnostics, *kept}, key=Diagnostic.sort_key))


def freeze(draft: Draft) -> RunPlan:
    """Draft to plan: nothing unset survives, and the identity is sealed.

    Raises:
        RuntimeError: the sections don't hold together, which is a fault of a pass.
    """
    sections = {name: value for name, value in draft.sections.items() if name in RunPlan.model_fields}
    provenance = {
        "name": Provenance(origin="recipe", where=str(draft.spans.nearest("name")), reason=""),
        "seed": draft.origin("seed"),
        **lineage(draft),
        **draft.provenance,
    }
    try:
        plan = RunPlan(
            format_version=FORMAT_VERSION,
            name=draft.recipe.name,
            run=draft.run,
            fingerprint="",
            resume_key="",
            seed=draft.recipe.seed,
            earlier=(),
            totals=None,
            provenance=dict(sorted(provenance.items())),
            **sections,
        )
    except ValidationError as error:
        raise RuntimeError(f"the passes left a plan that does not hold together: {error}") from error
    return sealed(plan)


def sealed(plan: RunPlan) -> RunPlan:
    """The plan with its identity."""
    return plan.model_copy(update={"fingerprint": fingerprint(plan), "resume_key": resume_key(plan)})

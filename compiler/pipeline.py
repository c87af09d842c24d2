"""Recipe to plan: the passes in one tuple, verified after each, then frozen. Read this file first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError

from compiler.costing.enough import with_enough
from compiler.costing.limits import within_limits
from compiler.draft import Draft
from compiler.frontend.resolve import resolve
from compiler.frontend.spans import PathKey, RecipeError, SpanIndex, parse_path
from compiler.frontend.validate import Checked, validate
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
    steps,
)


class Compiled(NamedTuple):
    """What became of a recipe: a plan unless there are errors, all findings sorted, and the places they point to."""

    plan: RunPlan | None
    findings: tuple[Diagnostic, ...]
    spans: SpanIndex
    recipe: Recipe | None = None

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
    return plan_recipe(validate(resolved), path)


def run_passes(draft: Draft) -> Draft:
    """All passes in turn, each verified."""
    for step in PASSES:
        draft = step(draft)
        verify(draft, step.__name__)
    return draft


def plan_recipe(checked: Checked, path: Path) -> Compiled:
    """Run the passes over a validated recipe, also over a repaired one, so that all findings come at once."""
    spans, findings = checked.resolved.spans, checked.diagnostics
    if checked.recipe is None:
        return Compiled(None, findings, spans)
    start = Draft(checked.recipe, spans, roots=(path.parent, Path()))

    def replan(draft: Draft) -> Draft:
        return settle(draft, run_passes)

    try:
        draft = within_limits(with_enough(replan(start), start, replan), start, replan)
        added = draft.findings
    except DiagnosticsError as error:
        added = error.diagnostics
    findings = _together(findings, added, checked)
    if any(finding.severity is Severity.ERROR for finding in findings):
        return Compiled(None, findings, spans, checked.recipe)
    return Compiled(freeze(draft), findings, spans, checked.recipe)


def _together(found: tuple[Diagnostic, ...], added: tuple[Diagnostic, ...], checked: Checked) -> tuple[Diagnostic, ...]:
    """Findings of the passes join the earlier ones, but for those that only follow from a value that was cut out."""
    kept = [f for f in added if not any(_follows(f, cut) for cut in checked.pruned)]
    return tuple(sorted({*found, *kept}, key=Diagnostic.sort_key))


def _follows(finding: Diagnostic, cut: PathKey) -> bool:
    """Whether a finding is about a value that was cut out, something inside it, or what it was to make complete."""
    path = parse_path(finding.path) if finding.path else ()
    shorter = min(len(path), len(cut))
    return path[:shorter] == cut[:shorter]


def freeze(draft: Draft) -> RunPlan:
    """Draft to plan: nothing unset survives, and the identity is sealed.

    Raises:
        RuntimeError: the sections don't hold together, which is a fault of a pass.
    """
    sections = {name: value for name, value in draft.sections.items() if name in RunPlan.model_fields}
    provenance = {
        "name": Provenance(origin="recipe", where=str(draft.spans.nearest("name")), reason=""),
        "seed": draft.origin("seed"),
        **draft.provenance,
    }
    try:
        plan = RunPlan(
            format_version=FORMAT_VERSION,
            name=draft.recipe.name,
            fingerprint="",
            resume_key="",
            seed=draft.recipe.seed,
            provenance=dict(sorted(provenance.items())),
            **sections,
        )
    except ValidationError as error:
        raise RuntimeError(f"the passes left a plan that does not hold together: {error}") from error
    return plan.model_copy(update={"fingerprint": fingerprint(plan), "resume_key": resume_key(plan)})

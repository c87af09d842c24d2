"""Compile a recipe for a command: findings to people, a plan or an exit code to the command."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

from compiler.frontend.spans import RecipeError, SpanIndex
from compiler.lineage.sequence import Planned, together
from compiler.pipeline import Compiled, compile_recipe
from compiler.preflight import models_at_hand, preflight
from compiler.render.console import Exit, Format, color_of, emit_json, warn, width_of
from compiler.render.diagnostics import render
from schemas.diagnostics import Diagnostic, DiagnosticsError, Severity
from schemas.plan import RunPlan

__all__ = ["compiled", "failed", "findings_as_json", "plan_or_error", "report", "roots_of", "show"]


def roots_of(recipe: Path) -> tuple[Path, ...]:
    """Where relative paths of a recipe are looked up: beside it, then in the current folder."""
    return tuple(dict.fromkeys((recipe.parent, Path())))


def compiled(recipe: Path, overrides: tuple[str, ...]) -> Compiled:
    """Compile and look for local data; the plan is None if anything is wrong."""
    result = compile_recipe(recipe, overrides)
    if any(one.checked.recipe is None for one in result.runs):
        return result
    order = tuple(one.run.name for one in result.runs if one.run.name is not None)
    looked = [_preflight(one, roots_of(recipe), order) for one in result.runs]
    seen = together(looked)
    findings = tuple(sorted({*result.findings, *seen}, key=Diagnostic.sort_key))
    wrong = any(finding.severity is Severity.ERROR for finding in seen)
    return result._replace(plan=None if wrong else result.plan, findings=findings)


def _preflight(one: Planned, roots: tuple[Path, ...], order: tuple[str, ...]) -> Planned:
    """A run with what is seen of its local data and models, in place of what its plan found."""
    spans, recipe = one.checked.resolved.spans, one.checked.recipe
    if recipe is None:
        return replace(one, findings=())
    models = () if one.checked.touched("distillation") else models_at_hand(recipe, spans, roots, order)
    return replace(one, findings=(*preflight(recipe.data.sources, spans, roots), *models))


def show(findings: tuple[Diagnostic, ...], spans: SpanIndex) -> None:
    """Findings as text on stderr; nothing if there are none."""
    if findings:
        warn(render(findings, spans, "text", color=color_of(sys.stderr), width=width_of(sys.stderr)).rstrip())


def plan_or_error(recipe: Path, overrides: tuple[str, ...], output: Format) -> tuple[RunPlan | None, SpanIndex]:
    """The plan, with findings shown; None after errors were shown in the command's format."""
    result = compiled(recipe, overrides)
    if result.plan is None:
        failed(result, output)
    else:
        show(result.findings, result.spans)
    return result.plan, result.spans


def failed(result: Compiled, output: Format) -> Exit:
    """Show why there is no plan, in the command's format; the exit code that says it."""
    if output is Format.JSON:
        emit_json({"diagnostics": findings_as_json(result.findings, result.spans)})
    else:
        show(result.findings, result.spans)
    return Exit.RECIPE


def findings_as_json(findings: tuple[Diagnostic, ...], spans: SpanIndex) -> list[object]:
    """Findings in JSON types, with paths that lead to the files from here."""
    return list(json.loads(render(findings, spans, "json"))["diagnostics"])


def report(error: DiagnosticsError, output: Format) -> None:
    """Show an error that stopped a command."""
    kind: Literal["text", "json"] = "json" if output is Format.JSON else "text"
    spans = error.spans if isinstance(error, RecipeError) else None
    text = render(error.diagnostics, spans, kind, color=color_of(sys.stderr), width=width_of(sys.stderr)).rstrip()
    (sys.stdout if kind == "json" else sys.stderr).write(text + "\n")

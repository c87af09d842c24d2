"""Commands that only look: check, plan, explain, diff."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from compiler.commands.common import compiled, failed, findings_as_json, plan_or_error, report, show
from compiler.frontend.spans import SpanIndex
from compiler.pipeline import Compiled
from compiler.render.console import (
    CheckFormat,
    Exit,
    Format,
    PlanFormat,
    color_of,
    emit_json,
    look_of,
    say,
    warn,
    width_of,
)
from schemas.codes import CATALOGUE
from schemas.diagnostics import DiagnosticsError, Severity
from schemas.plan import RunPlan

__all__ = ["Shown", "check", "diff_plans", "explain", "plan"]

# Lines of a page are easiest to read up to here.
_PAGE = 88


def check(recipes: list[Path], overrides: tuple[str, ...], output: CheckFormat) -> int:
    """Diagnostics of recipes, and nothing else."""
    from compiler.render.diagnostics import render

    worst, documents = Exit.FINE, []
    for recipe in recipes:
        result = compiled(recipe, overrides)
        if any(finding.severity is Severity.ERROR for finding in result.findings):
            worst = Exit.RECIPE
        if output is CheckFormat.JSON:
            documents.append({"recipe": str(recipe), "diagnostics": findings_as_json(result.findings, result.spans)})
        elif output is CheckFormat.GITHUB:
            if result.findings:
                say(render(result.findings, result.spans, "github", color=False, width=80).rstrip())
        else:
            show(result.findings, result.spans)
            if result.plan is not None:
                say(f"{recipe}: ok, plan {result.plan.short_fingerprint}")
    if output is CheckFormat.JSON:
        emit_json({"recipes": documents})
    return worst


@dataclass(frozen=True, slots=True)
class Shown:
    """What `recipec plan` shows.

    Args:
        against: an older plan to compare with.
        html: file for the plan as a page.
        trace: whether memory is traced, too.
        run: one run of a sequence, rather than all and the last.
    """

    against: Path | None = None
    html: Path | None = None
    trace: bool = False
    run: str | None = None


def plan(recipe: Path, overrides: tuple[str, ...], shown: Shown, output: PlanFormat) -> int:
    """One screen: what it will do and cost, or how it differs from an older plan; also as a page for browsers."""
    if problem := _misuse(shown, output):
        return _usage(problem)
    kind = Format(output.value)
    result = compiled(recipe, overrides)
    if result.plan is None:
        return failed(result, kind)
    made = _run_of(result.plan, shown.run)
    if made is None:
        return _no_run(result.plan, str(shown.run))
    show(result.findings, result.spans)
    if shown.html is not None and (code := _write_page(result._replace(plan=made), shown.html, kind)) != Exit.FINE:
        return code
    if shown.against is not None:
        return _compare(shown.against, made, kind, shown.run)
    return _trace(made, kind) if shown.trace else _show(made, kind)


def _misuse(shown: Shown, output: PlanFormat) -> str:
    """Options that don't go together, in words; empty if they do."""
    if output is PlanFormat.CSV:
        return "one plan is no table; --format csv goes with --sweep, such as --sweep budget.tokens=1B,2B,4B"
    if shown.trace and shown.against is not None:
        return "--trace shows one plan, and --against compares two: give one of them"
    return ""


def _run_of(made: RunPlan, name: str | None) -> RunPlan | None:
    """The plan of a run by its name; the whole plan where none is asked for, None where there is no such run."""
    if name is None:
        return made
    return next((run for run in made.runs if run.run == name), None)


def _no_run(made: RunPlan, name: str) -> int:
    from compiler.frontend.suggest import closest

    names = [str(run.run) for run in made.runs if run.run is not None]
    near = closest(name, names)
    hint = f"did you mean {near}?" if near else f"runs are {', '.join(names)}" if names else "it has no sequence"
    return _usage(f"the recipe has no run {name[:64]!r}; {hint}")


def _usage(problem: str) -> int:
    warn(f"error: {problem}")
    return Exit.USAGE


def _show(made: RunPlan, output: Format) -> int:
    look = look_of(sys.stdout)
    if output is Format.JSON:
        say(made.model_dump_json(by_alias=True, indent=2, ensure_ascii=not look.unicode))
    else:
        from compiler.render.plan import render_plan

        say(render_plan(made, look))
    return Exit.FINE


def _write_page(result: Compiled, file: Path, output: Format) -> int:
    """The plan as a page; where it went is no part of the result, so it is said on stderr."""
    from compiler.job.atomic import write_file
    from compiler.render.page import render_page
    from compiler.render.visible import clean

    try:
        write_file(file, render_page(result))
    except DiagnosticsError as error:
        report(error, output)
        return Exit.FAILED
    warn(f"page: {clean(str(file))}")
    return Exit.FINE


def _trace(made: RunPlan, output: Format) -> int:
    """The plan, and its memory by a trace beside the closed form."""
    from compiler.commands.trace import traced
    from compiler.render.plan import render_plan
    from compiler.render.trace import render_trace

    found = traced(made)
    if isinstance(found, int):
        return found
    if output is Format.JSON:
        emit_json({**made.model_dump(mode="json", by_alias=True), "trace": found.as_dict()})
    else:
        say(render_plan(made, look_of(sys.stdout)))
        say(render_trace(found))
    return Exit.FINE


def _compare(old: Path, new: RunPlan, output: Format, run: str | None = None) -> int:
    from compiler.diff import diff
    from compiler.render.diff import render_diff

    try:
        before = _load(old, output)
    except DiagnosticsError as error:
        report(error, output)
        return Exit.RECIPE
    if before is None:
        return Exit.RECIPE
    if (chosen := _run_of(before, run)) is None:
        return _no_run(before, str(run))
    before = chosen
    kind: Literal["text", "json"] = "json" if output is Format.JSON else "text"
    say(render_diff(diff(before, new), kind, color=color_of(sys.stdout), width=width_of(sys.stdout)).rstrip())
    return Exit.FINE


def _load(path: Path, output: Format) -> RunPlan | None:
    """A plan from a recipe, a plan file or a job folder; None after errors of a recipe were shown."""
    from compiler.job.load_plan import is_plan, load_plan

    if is_plan(path):
        return load_plan(path)
    made, _ = plan_or_error(path, (), output)
    return made


def diff_plans(old: Path, new: Path, output: Format) -> int:
    """Differences of two plans."""
    try:
        after = _load(new, output)
    except DiagnosticsError as error:
        report(error, output)
        return Exit.RECIPE
    return Exit.RECIPE if after is None else _compare(old, after, output)


def explain(subject: str, path: str | None, overrides: tuple[str, ...], run: str | None, output: Format) -> int:
    """Page of an error code, or the origin of a value, of the last run or the one named."""
    from compiler.render.diagnostics import explain as page

    if path is None and not Path(subject).exists():
        text = page(subject.upper(), min(_PAGE, width_of(sys.stdout)))
        if text is None:
            from compiler.frontend.suggest import closest

            guess = closest(subject.upper(), CATALOGUE)
            hint = f"did you mean {guess}?" if guess else "codes are such as RC101, and docs/errors.md lists them all"
            warn(f"error: neither an error code nor a file: {subject[:60]!r}; {hint}")
            return Exit.USAGE
        if output is Format.JSON:
            emit_json({"code": subject.upper(), **CATALOGUE[subject.upper()]._asdict()})
        else:
            say(text.rstrip())
        return Exit.FINE
    if path is None:
        warn("error: which value? For example: recipec explain RECIPE training.optimizer.lr")
        return Exit.USAGE
    made, spans = plan_or_error(Path(subject), overrides, output)
    if made is None:
        return Exit.RECIPE
    chosen = _run_of(made, run)
    return _no_run(made, str(run)) if chosen is None else _explain_value(chosen, spans, path, output)


def _explain_value(made: RunPlan, spans: SpanIndex, path: str, output: Format) -> int:
    from compiler.explain import explain_value, origin_as_json

    try:
        if output is Format.JSON:
            emit_json(origin_as_json(made, path))
        else:
            say(explain_value(made, spans, path))
    except DiagnosticsError as error:
        report(error, output)
        return Exit.USAGE
    return Exit.FINE

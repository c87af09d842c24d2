"""The command `plan --sweep`: a plan for each value of a key, as a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from compiler.commands.common import compiled, failed, findings_as_json, show
from compiler.render.console import Exit, Format, PlanFormat, emit_json, look_of, say, warn
from compiler.sweep import Point, SweepError, read_axes
from compiler.sweep import sweep as plans_of
from schemas.diagnostics import Diagnostic

__all__ = ["sweep"]


def sweep(recipe: Path, overrides: tuple[str, ...], sweeps: tuple[str, ...], output: PlanFormat, *, alone: bool) -> int:
    """A row a combination of values. Fine if any of them is a plan: which values lead to one is what a sweep asks.

    Args:
        recipe: file.
        overrides: `--set` options, which the swept keys come after.
        sweeps: `--sweep` options as typed.
        output: format.
        alone: whether no other option asks for something that has no meaning for many plans.
    """
    from compiler.render.sweep import render_sweep, sweep_csv, sweep_json

    if not alone:
        warn("error: --sweep shows many plans; --against, --html and --trace show one: choose its values with --set")
        return Exit.USAGE
    try:
        axes = read_axes(sweeps)
    except SweepError as error:
        warn(f"error: {error}")
        return Exit.USAGE
    points = plans_of(axes, lambda chosen: compiled(recipe, (*overrides, *chosen)))
    if output is PlanFormat.JSON:
        found = [findings_as_json(point.result.findings, point.result.spans) for point in points]
        emit_json(sweep_json(axes, points, found))
    elif output is PlanFormat.CSV:
        say(sweep_csv(axes, points))
    elif all(point.plan is None and _said(point) == _said(points[0]) for point in points):
        return failed(points[0].result, Format.TEXT)  # nothing to do with the values: said once, with its lines
    else:
        _show_common(points)
        say(render_sweep(axes, points, look_of(sys.stdout)))
    return Exit.FINE if any(point.plan is not None for point in points) else Exit.RECIPE


def _said(point: Point) -> list[tuple[str, str]]:
    """Codes and messages, without the lines, which hold the values of the row."""
    return [(finding.code, finding.message) for finding in point.result.findings]


def _show_common(points: Sequence[Point]) -> None:
    """Warnings that every combination has, once; those of single rows would bury the table."""
    common = set(points[0].result.findings)
    for point in points:
        common &= set(point.result.findings)
    show(tuple(sorted(common, key=Diagnostic.sort_key)), points[0].result.spans)

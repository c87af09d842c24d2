"""Commands over tables of runs: estimate a whole table, calibrate on one's own runs."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Final

from compiler.commands.common import report
from compiler.estimate.rows.judge import PREDICTED, judge
from compiler.estimate.rows.measured import Skipped, measured_steps
from compiler.estimate.rows.table import INPUTS, Row, read_rows
from compiler.estimate.speed.site import Site, calibrate, read_site, write_site
from compiler.job.atomic import write_file
from compiler.render.console import Exit, Format, emit_json, say, warn
from schemas.diagnostics import Diagnostic, DiagnosticsError

__all__ = ["calibrate_runs", "estimate_table"]

# Reasons of runs that are left out, shown one by one up to this many.
_SHOWN: Final = 10


def estimate_table(table: Path, calibration: Path | None) -> int:
    """The table's rows on standard output, with the columns of `PREDICTED` added."""
    try:
        rows = _rows(table)
        site = None if calibration is None else _site(calibration)
    except DiagnosticsError as error:
        report(error, Format.TEXT)
        return Exit.RECIPE
    header = dict.fromkeys([*rows[0].cells, *PREDICTED])
    writer = csv.DictWriter(sys.stdout, list(header), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(judge(rows, site))
    return Exit.FINE


def calibrate_runs(runs: list[Path], out: Path, output: Format) -> int:
    """Fit the shipped calibration to a user's own runs, and write what was found."""
    try:
        if out.resolve() in {path.resolve() for path in runs}:
            raise _unreadable(f"the calibration would replace {out}, which holds the runs; give --out another name")
        steps, skipped = measured_steps([(path, [] if path.suffix == ".json" else _rows(path)) for path in runs])
        if not steps:
            raise _nothing(runs, skipped)
        site = calibrate(steps)
        write_file(out, write_site(site))
    except DiagnosticsError as error:
        report(error, output)
        return Exit.RECIPE
    if output is Format.JSON:
        emit_json(
            {
                "calibration": str(out),
                "runs": site.runs,
                "stretch": dict(site.stretch),
                "error_before": site.before,
                "error_after": site.median,
                "within": site.within,
                "skipped": [{"run": left.name, "why": left.why} for left in skipped],
            }
        )
        return Exit.FINE
    for left in skipped[:_SHOWN]:
        warn(f"left out: {left.name}: {left.why}")
    if len(skipped) > _SHOWN:
        warn(f"left out: {len(skipped) - _SHOWN} more")
    say(_summary(site, out))
    return Exit.FINE


def _summary(site: Site, out: Path) -> str:
    count = "1 run" if site.runs == 1 else f"{site.runs} runs"
    lines = [f"{count}; median error {site.before:.1%} as shipped, {site.median:.1%} held out with your factors"]
    lines += [f"  {group:<15}{(value - 1):+7.1%} time" for group, value in site.stretch.items()]
    lines += [
        f"estimates with it carry an interval of -{1 - 1 / (1 + site.within):.0%} / +{site.within:.0%}",
        f"{out}",
        f"next, in a recipe beside it: hardware: {{calibration: {out.name}}}",
    ]
    return "\n".join(lines)


def _rows(table: Path) -> list[Row]:
    """All rows of a table.

    Raises:
        DiagnosticsError: it cannot be read, or is no table of runs (RC506).
    """
    try:
        rows = list(read_rows(table))
    except OSError as error:
        raise _unreadable(f"{table}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise _unreadable(f"{table} is not UTF-8: byte {error.start}") from error
    except csv.Error as error:
        raise _unreadable(f"{table} is not CSV: {error}") from error
    if not rows:
        raise _unreadable(f"{table} has no rows")
    if not set(INPUTS) & set(rows[0].cells):
        header = next(iter(rows[0].cells), "")
        other = next((f"; columns are separated by commas, not by {mark!r}" for mark in ";\t|" if mark in header), "")
        raise _unreadable(f"{table} has none of the columns that describe a run{other}")
    return rows


def _unreadable(message: str) -> DiagnosticsError:
    columns = ", ".join(INPUTS[:12])
    return DiagnosticsError((Diagnostic(code="RC506", message=message, help=f"columns: {columns}, ..."),))


def _nothing(runs: list[Path], skipped: list[Skipped]) -> DiagnosticsError:
    reasons = "; ".join(f"{left.name}: {left.why}" for left in skipped[:3])
    message = f"no run of {', '.join(map(str, runs))} can be used"
    help_ = "give rows with tokens_per_s_per_gpu, or the run_report.json of a finished run beside its plan.yaml"
    return DiagnosticsError((Diagnostic(code="RC506", message=message, reason=reasons, help=help_),))


def _site(path: Path) -> Site:
    try:
        return read_site(path)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"the calibration {path} can't be used: {reason}"
        raise DiagnosticsError(
            (Diagnostic(code="RC505", message=message, help="recipec calibrate runs.csv"),)
        ) from error

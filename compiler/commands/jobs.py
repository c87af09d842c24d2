"""Commands that write or start a job: compile, run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from compiler.commands.common import plan_or_error, report, roots_of
from compiler.render.console import Exit, Format, emit_json, say, warn
from schemas.diagnostics import DiagnosticsError

__all__ = ["compile_job", "run_job"]


def _emitted(recipe: Path, overrides: tuple[str, ...], out: Path, output: Format) -> Path | None:
    from compiler.job.emit import emit

    made, _ = plan_or_error(recipe, overrides, output)
    if made is None:
        return None
    try:
        return emit(made, out)
    except DiagnosticsError as error:
        report(error, output)
        return None


def compile_job(recipe: Path, overrides: tuple[str, ...], out: Path, output: Format) -> int:
    """Write the job folder; its path is the last line."""
    job = _emitted(recipe, overrides, out, output)
    if job is None:
        return Exit.RECIPE
    if output is Format.JSON:
        emit_json({"job": str(job), "files": sorted(str(f.relative_to(job)) for f in job.rglob("*") if f.is_file())})
    else:
        say(str(job))
    return Exit.FINE


def run_job(
    target: Path,
    overrides: tuple[str, ...],
    out: Path,
    runs: Path,
    resume_from: Path | None,
    processes: int | None,
    run: str | None = None,
) -> int:
    """Become the job's launch script, so that signals and exit code are the runtime's own."""
    roots: tuple[Path, ...] = (Path(),)
    if target.is_dir():
        if overrides:
            warn("error: a job is compiled already; --set works on a recipe")
            return Exit.USAGE
        job: Path | None = target
    else:
        roots = roots_of(target)
        job = _emitted(target, overrides, out, Format.TEXT)
    if job is None:
        return Exit.RECIPE
    script = job / "launch" / "local.sh"
    if not script.is_file():
        warn(f"error: {job} is no job folder: it has no launch/local.sh; `recipec compile RECIPE` writes one")
        return Exit.USAGE
    environment = {
        **os.environ,
        "RECIPEC_PYTHON": os.environ.get("RECIPEC_PYTHON", sys.executable),
        "RECIPEC_ROOT": os.environ.get("RECIPEC_ROOT", os.pathsep.join(str(root.resolve()) for root in roots)),
        "RECIPEC_RUNS": str(runs.resolve()),
    }
    if processes is not None:
        environment["NPROC"] = str(processes)
    arguments = [] if resume_from is None else ["--resume-from", str(resume_from.resolve())]
    arguments += [] if run is None else ["--run", run]
    return _become(script, arguments, environment)


def _become(script: Path, arguments: list[str], environment: dict[str, str]) -> NoReturn:
    sys.stdout.flush()
    os.execvpe("bash", ["bash", str(script), *arguments], environment)  # noqa: S606  # no shell string: an argument list

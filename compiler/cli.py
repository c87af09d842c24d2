"""The command line. No logic: each command reads, calls one function, and prints what came back."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

# Plugins of other packages are looked up by reading every installed distribution (80 ms with the runtime's 230).
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer

from compiler.commands import inspect, jobs, start, sweep
from compiler.render.console import CheckFormat, Exit, Format, PlanFormat, mend_streams, say, warn

__all__ = ["app", "main"]

app = typer.Typer(
    name="recipec",
    help="A compiler for model-training recipes: a short YAML in, a checked, priced and runnable job out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# readable=False: what can't be read is a finding with a remedy, not a wrong use of the command.


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        say(f"recipec {version('recipec')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[  # `_version` answers before any command
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A compiler for model-training recipes: a short YAML in, a checked, priced and runnable job out."""


RecipePath = Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe file.", show_default=False, readable=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Override a value; may be repeated.")
]
RunName = Annotated[
    str | None, typer.Option("--run", metavar="NAME", help="One run of the recipe's sequence; default: the last.")
]
Output = Annotated[Format, typer.Option("--format", help="text for people, json for programs.")]


@app.command()
def init(
    name: Annotated[str | None, typer.Argument(help="Recipe of the gallery; without it, the list.")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="File to write; default: NAME.yaml here.")] = None,
    output: Output = Format.TEXT,
) -> None:
    """Start from a recipe of the gallery."""
    raise typer.Exit(start.init(name, to, output))


@app.command()
def check(
    recipes: Annotated[
        list[Path], typer.Argument(metavar="RECIPE...", help="Recipe files.", show_default=False, readable=False)
    ],
    overrides: Overrides = None,
    output: Annotated[
        CheckFormat, typer.Option("--format", help="text, json, or github (annotations).")
    ] = CheckFormat.TEXT,
) -> None:
    """Report everything that is wrong with recipes, all at once."""
    raise typer.Exit(inspect.check(recipes, tuple(overrides or ()), output))


@app.command()
def plan(
    recipe: RecipePath,
    overrides: Overrides = None,
    against: Annotated[
        Path | None, typer.Option(help="Older plan or job folder to compare with.", readable=False)
    ] = None,
    sweeps: Annotated[
        list[str] | None,
        typer.Option("--sweep", metavar="A.B=X,Y,Z", help="A table with a plan for each value; may be repeated."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the plan as a page for browsers.")
    ] = None,
    trace: Annotated[
        bool, typer.Option("--trace", help="Also trace the memory of a step on fake tensors; needs torch, but no GPU.")
    ] = False,
    run_name: RunName = None,
    output: Annotated[
        PlanFormat, typer.Option("--format", help="text for people, json for programs, csv for sweeps.")
    ] = PlanFormat.TEXT,
) -> None:
    """Show what a recipe will do and cost, before anything runs."""
    if sweeps:
        raise typer.Exit(
            sweep.sweep(
                recipe, tuple(overrides or ()), tuple(sweeps), output, alone=not (against or html or trace or run_name)
            )
        )
    chosen = inspect.Shown(against=against, html=html, trace=trace, run=run_name)
    raise typer.Exit(inspect.plan(recipe, tuple(overrides or ()), chosen, output))


@app.command(name="compile")
def compile_(
    recipe: RecipePath,
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Parent of the job folder.")] = Path("generated"),
    output: Output = Format.TEXT,
) -> None:
    """Write the job folder generated/<name>-<fp8>/ and print its path last."""
    raise typer.Exit(jobs.compile_job(recipe, tuple(overrides or ()), out, output))


@app.command()
def run(
    target: Annotated[
        Path,
        typer.Argument(metavar="RECIPE|JOB", help="Recipe file or job folder.", show_default=False, readable=False),
    ],
    overrides: Overrides = None,
    out: Annotated[Path, typer.Option(help="Parent of the job folder.")] = Path("generated"),
    runs: Annotated[Path, typer.Option(help="Parent of the run's folder.")] = Path("runs"),
    resume_from: Annotated[
        Path | None, typer.Option(help="Run folder of another plan to go on from.", readable=False)
    ] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="Processes on this machine; default: one a GPU.")] = None,
    run_name: Annotated[
        str | None,
        typer.Option("--run", metavar="NAME", help="One run of the recipe's sequence; default: all in order."),
    ] = None,
) -> None:
    """Execute a recipe or a job here; finished steps are reused, an interrupted training goes on."""
    raise typer.Exit(jobs.run_job(target, tuple(overrides or ()), out, runs, resume_from, processes, run_name))


@app.command()
def explain(
    subject: Annotated[
        str, typer.Argument(metavar="CODE|RECIPE", help="Error code, or recipe file.", show_default=False)
    ],
    path: Annotated[str | None, typer.Argument(help="Value of the plan, such as training.optimizer.lr.")] = None,
    overrides: Overrides = None,
    run_name: RunName = None,
    output: Output = Format.TEXT,
) -> None:
    """Explain an error code, or say who set a value of the plan."""
    raise typer.Exit(inspect.explain(subject, path, tuple(overrides or ()), run_name, output))


@app.command()
def diff(
    old: Annotated[
        Path, typer.Argument(metavar="A", help="Recipe, plan or job folder.", show_default=False, readable=False)
    ],
    new: Annotated[
        Path, typer.Argument(metavar="B", help="Recipe, plan or job folder.", show_default=False, readable=False)
    ],
    output: Output = Format.TEXT,
) -> None:
    """Say what differs between two plans, and whether a resume is still legal."""
    raise typer.Exit(inspect.diff_plans(old, new, output))


@app.command()
def schema(
    subject: Annotated[str, typer.Argument(metavar="recipe|plan", help="Which schema.", show_default=False)],
) -> None:
    """Print a JSON Schema, for editors and other programs."""
    raise typer.Exit(start.schema(subject))


@app.command()
def estimate(
    table: Annotated[
        Path,
        typer.Argument(metavar="FILE.csv", help="Table of runs, one a row.", show_default=False, readable=False),
    ],
    calibration: Annotated[
        Path | None, typer.Option(help="Your cluster's factors, written by `recipec calibrate`.", readable=False)
    ] = None,
) -> None:
    """Print a table of runs with the speed and memory that each should have."""
    from compiler.commands import estimate as runs  # imported here: no other command needs the tables

    raise typer.Exit(runs.estimate_table(table, calibration))


@app.command()
def calibrate(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUNS...", help="Tables of runs, or run_report.json files.", show_default=False, readable=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("calibration.json"),
    output: Output = Format.TEXT,
) -> None:
    """Fit the estimates to your own cluster's runs."""
    from compiler.commands import estimate as tables

    raise typer.Exit(tables.calibrate_runs(runs, out, output))


@app.command()
def doctor(output: Output = Format.TEXT) -> None:
    """Check versions, GPUs, shared memory, disk and credentials of this machine, each with its fix."""
    raise typer.Exit(start.doctor(output))


def main() -> NoReturn:
    """Entry point of the console script."""
    mend_streams()
    try:
        app()
    except Exception as error:  # the last door: our own faults end as a finding, too
        if os.environ.get("RECIPEC_TRACEBACK"):
            raise
        if isinstance(error, OSError) and error.filename is None:  # of a stream: all else that is written has a name
            warn(f"error[RC604]: the output can't be written: {error.strerror or error}")
            sys.exit(Exit.FAILED)
        warn(f"error[RC901]: a fault of recipec itself: {type(error).__name__}: {error}")
        warn("   = help: please report it with the recipe; RECIPEC_TRACEBACK=1 shows where it happened")
        sys.exit(Exit.FAILED)
    sys.exit(Exit.FINE)

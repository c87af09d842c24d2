"""`python -m runtime PLAN`: execute a plan here; the same command goes on from where an earlier one stopped.

A plan with a sequence is several runs, one after the other, each in its own folder; `--run NAME` does one of them.

Exit codes: 0 finished, or stopped with everything saved; 1 the data or the plan has errors; 2 wrong usage; 3 the run
failed, or has spent what its caps allow; 4 a lock or a resume is refused; 130 and 143 stopped by SIGINT or SIGTERM outside of
training.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from runtime.endings import STOPPED, explain, unwinding_signals
from runtime.errors import RunError, RunFailed
from runtime.execute import Outcome, execute
from runtime.files import write_bytes, write_json
from runtime.layout import Layout
from runtime.lineage import alone, plans
from runtime.load import load_plan
from runtime.lock import hold
from runtime.preflight import preflight
from runtime.reporting.data_report import data_report, differences
from runtime.reporting.mixture_plot import draw_mixture
from runtime.reporting.plots import draw_loss
from runtime.reporting.report import write_report
from runtime.reporting.sequence import conclude
from runtime.reporting.summary import summary
from runtime.resume import adopt
from runtime.spend import Spend, cap_error, spent_before
from runtime.status import Status, rank, say, show_error, soften_streams, world_size
from schemas.plan import RunPlan

__all__ = ["main"]

_PARTS: Final = ("all", "before-train", "train", "after-train")


@dataclass(frozen=True)
class _Task:
    """One run of the plan, and what is to be done of it.

    Args:
        plan: with the runs before it.
        layout: its folders.
        chosen: ids of its steps; None for all.
        is_last: whether it is the plan's last run, whose folder tells of them all.
    """

    plan: RunPlan
    layout: Layout
    chosen: tuple[str, ...] | None
    is_last: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, never raises for what a user or the data did."""
    soften_streams()
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        plan = load_plan(options.plan)
        tasks = _tasks(plan, options, parser)
        _set_environment(plan)
        with unwinding_signals():
            return _all(tasks, options)
    except SystemExit as stop:
        if stop.code not in STOPPED:
            raise
        return stop.code
    except RunError as error:
        show_error(error)
        return error.exit_code


def _all(tasks: Sequence[_Task], options: argparse.Namespace) -> int:
    """The runs in order, up to one that doesn't finish; the exit code."""
    code = 0
    for number, task in enumerate(tasks):
        if len(tasks) > 1:
            say(("\n" if number else "") + f"run {number + 1}/{len(tasks)} {task.plan.run}")
        code, goes_on = _locked(task, tasks[number:], options)
        if rank() == 0 and task.is_last:
            said = conclude(task.plan, task.layout, _width())
            say(f"\n{said}" if said else "")
        if not goes_on:
            break
        _free_devices()
    return code


def _width() -> int:
    """Columns of tables: the terminal's, within what can be read."""
    return min(120, max(80, shutil.get_terminal_size().columns))


def _free_devices() -> None:
    """Give back what a training held on the GPU: Composer's objects point at each other, so only a collection frees them."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="runtime", description="Execute a compiled plan.")
    parser.add_argument("plan", type=Path, help="plan.yaml of a job folder")
    parser.add_argument(
        "--root", type=Path, action="append", help="folder of the plan's relative paths (repeatable; default: .)"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="parent of run folders and cache (default: runs)"
    )
    parser.add_argument("--run", help="name of one run of the plan's sequence (default: all, in order)")
    parser.add_argument("--steps", default="all", help=f"{', '.join(_PARTS)}, or ids: a,b (default: all)")
    parser.add_argument("--resume-from", type=Path, help="run folder whose newest checkpoint to go on from")
    return parser


def _tasks(plan: RunPlan, options: argparse.Namespace, parser: argparse.ArgumentParser) -> list[_Task]:
    """The runs asked for, in order, each with the steps asked for. What doesn't fit the plan is wrong usage (exit code 2)."""
    runs = plans(plan)
    names = [str(run.run) for run in runs if run.run is not None]
    if options.run is not None:
        if options.run not in names:
            parser.error(
                f"--run: no run {options.run!r}; " + (f"choose from {', '.join(names)}" if names else "it is one alone")
            )
        runs = tuple(run for run in runs if run.run == options.run)
    if len(runs) > 1 and world_size() > 1:
        parser.error("several processes train one run of a sequence: say which with --run")
    if len(runs) > 1 and options.resume_from is not None:
        parser.error("--resume-from gives one run its checkpoint: say which with --run")
    known = {step.id for run in runs for step in run.steps}
    unknown = [name for name in options.steps.split(",") if name not in known and options.steps not in _PARTS]
    if unknown:
        ids = dict.fromkeys(step.id for run in runs for step in run.steps)
        parser.error(f"--steps: no step {unknown[0]!r}; choose from {', '.join((*_PARTS, *ids))}")
    roots = tuple(options.root or [Path.cwd()])
    return [
        _Task(run, Layout.of(run, roots=roots, runs=options.runs), _choose(options.steps, run), run.run == plan.run)
        for run in runs
    ]


def _choose(text: str, plan: RunPlan) -> tuple[str, ...] | None:
    """Ids of a run's steps that are asked for; None for all."""
    ids = [step.id for step in plan.steps]
    trains = [i for i, step in enumerate(plan.steps) if step.kind == "train"] or [len(ids)]
    parts = {
        "before-train": ids[: trains[0]],
        "train": [ids[i] for i in trains if i < len(ids)],
        "after-train": ids[trains[-1] + 1 :],
    }
    if text == "all":
        return None
    return tuple(name for name in parts.get(text, text.split(",")) if name in ids)


def _set_environment(plan: RunPlan) -> None:
    """What libraries read from the environment when they are imported, or in child processes."""
    execution = plan.execution
    defaults = {
        "TOKENIZERS_PARALLELISM": "true",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    if "GROUP_RANK" in os.environ:
        # Composer asks for the node's rank under another name than torchrun gives it.
        defaults["NODE_RANK"] = os.environ["GROUP_RANK"]
    if execution.threads is not None:
        defaults["OMP_NUM_THREADS"] = str(execution.threads)
    if execution.offline:
        defaults |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    # Says at each import that its kernels were built for another torch; what we use of it has none.
    logging.getLogger("torchao").setLevel(logging.ERROR)
    if not sys.warnoptions:
        # Deprecations inside libraries are ours to watch in tests, not a user's to read at each run.
        warnings.simplefilter("ignore")


def _locked(task: _Task, ahead: Sequence[_Task], options: argparse.Namespace) -> tuple[int, bool]:
    """Execute a run under its lock; returns the exit code, and whether the next run may begin."""
    with hold(task.layout.run) if rank() == 0 else contextlib.nullcontext():
        return _guarded(task, ahead, options)


def _guarded(task: _Task, ahead: Sequence[_Task], options: argparse.Namespace) -> tuple[int, bool]:
    """Run with every way to end told: on stderr, in status.json, by the exit code."""
    status = Status(task.layout.run / "status.json")
    try:
        status.begin(None)
        outcome = _run(task, ahead, options)
        code = _ended(outcome, task, status)
        return code, code == 0 and outcome.state == "finished"
    except SystemExit as stop:
        if stop.code not in STOPPED:
            raise
        say(f"\nstopped by {STOPPED[stop.code]}; finished steps are kept. The same command goes on from there.")
        status.end("interrupted", stop.code)
        return stop.code, False
    except Exception as error:  # noqa: BLE001  # the last net: everything is told, nothing is swallowed
        known = error if isinstance(error, RunError) else explain(error, task.layout)
        already = status.failed()
        with contextlib.suppress(OSError, RunError):  # a full disk must not hide the error itself
            status.end("failed", known.exit_code)
        if rank() == 0 or not already:
            show_error(known)
        return known.exit_code, False


def _ended(outcome: Outcome, task: _Task, status: Status) -> int:
    """Tell how a run ended that did not fail. At its cap only the first rank fails, last: torchrun would kill the others."""
    if outcome.state != "capped":
        fault = _books_fault(outcome, task)
        status.end("failed" if fault else outcome.state, fault.exit_code if fault else 0)
        if fault is not None:
            show_error(fault)
        return fault.exit_code if fault else 0
    trained = next(record.values for record in outcome.records.values() if record.kind == "train")
    carried = spent_before(task.plan, task.layout)
    error = cap_error(task.plan, Spend(**trained["spend"]), trained["steps"], trained["seconds"], carried)
    status.end("capped", error.exit_code)
    show_error(error)
    return error.exit_code


def _books_fault(outcome: Outcome, task: _Task) -> RunFailed | None:
    """Our own fault, if a finished training drew other data than planned: told last, by the first rank alone."""
    trained = next((record.values for record in outcome.records.values() if record.kind == "train"), {})
    wrong = differences(data_report(task.plan.data, outcome.records, trained)) if rank() == 0 else ()
    if not wrong:
        return None
    return RunFailed(
        "RC902",
        f"the run did not draw the data that was planned: {'; '.join(wrong)}",
        f"the model is kept, with the mix that {task.layout.report} says; please report it, with that file and plan.yaml",
    )


def _run(task: _Task, ahead: Sequence[_Task], options: argparse.Namespace) -> Outcome:
    """Execute one run. What the runs after it need is looked for before this one begins."""
    plan, layout = task.plan, task.layout
    preflight([(later.plan, later.layout, later.chosen) for later in ahead])
    if rank() == 0:
        _write_plan(task, options.plan)
        if options.resume_from is not None and world_size() == 1:
            adopt(plan, layout, options.resume_from)
    outcome = execute(plan, layout, only=task.chosen)
    if rank() == 0:
        _draw(plan, layout, outcome)
        ends = task.chosen is None or plan.steps[-1].id in task.chosen
        if ends and outcome.state == "finished" and len(outcome.records) == len(plan.steps):
            say("\n" + summary(write_report(plan, layout, outcome.records), layout, _width()))
    return outcome


def _write_plan(task: _Task, source: Path) -> None:
    """Keep the plan beside its results; an earlier run of a sequence has its part of it alone."""
    if task.is_last:
        write_bytes(task.layout.run / "plan.yaml", source.read_bytes())
    else:
        content = alone(task.plan).model_dump(mode="json", by_alias=True)
        write_json(task.layout.run / "plan.yaml", content)  # JSON is YAML


def _draw(plan: RunPlan, layout: Layout, outcome: Outcome) -> None:
    """The pictures of a training; one that has nothing to show any more is removed."""
    trained = any(record.kind == "train" for record in outcome.records.values())
    for draw, picture in ((draw_loss, layout.run / "loss.png"), (draw_mixture, layout.mixture)):
        if trained and not draw(plan, layout.metrics, picture):
            picture.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())

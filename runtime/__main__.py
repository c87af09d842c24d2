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
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from runtime.cap_error import cap_error
from runtime.command_line import Task, parser_of, set_environment, tasks_of
from runtime.endings import STOPPED, explain, unwinding_signals
from runtime.errors import RunError, RunFailed
from runtime.execute import Outcome, execute
from runtime.files import write_bytes, write_json
from runtime.layout import Layout
from runtime.lineage import alone
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
from runtime.spend import Spend, spent_before
from runtime.status import Status, rank, say, show_error, soften_streams, world_size
from schemas.plan import RunPlan

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, never raises for what a user or the data did."""
    soften_streams()
    parser = parser_of()
    options = parser.parse_args(arguments)
    try:
        plan = load_plan(options.plan)
        tasks = tasks_of(plan, options, parser)
        set_environment(plan)
        with unwinding_signals():
            return _all(tasks, options)
    except SystemExit as stop:
        if stop.code not in STOPPED:
            raise
        return stop.code
    except RunError as error:
        show_error(error)
        return error.exit_code


def _all(tasks: Sequence[Task], options: argparse.Namespace) -> int:
    """The runs in order, up to one that doesn't finish; the exit code."""
    code = 0
    for number, task in enumerate(tasks):
        if len(tasks) > 1:
            say(("\n" if number else "") + f"run {number + 1}/{len(tasks)} {task.plan.run}")
        code, goes_on = _locked(task, tasks[number:], options)
        if rank() == 0 and task.is_last:
            _conclude(task)
        if not goes_on:
            break
        _free_devices()
    return code


def _conclude(task: Task) -> None:
    """Write and say what all runs came to; the models are done, whatever becomes of it."""
    try:
        said = conclude(task.plan, task.layout, _width())
    except RunError:
        raise
    except Exception as error:
        raise explain(error, task.layout) from error
    if said:
        say(f"\n{said}")


def _width() -> int:
    """Columns of tables: the terminal's, within what can be read."""
    return min(120, max(80, shutil.get_terminal_size().columns))


def _free_devices() -> None:
    """Give back what a training held on the GPU: Composer's objects point at each other, so only a collection frees them."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _locked(task: Task, ahead: Sequence[Task], options: argparse.Namespace) -> tuple[int, bool]:
    """Execute a run under its lock; returns the exit code, and whether the next run may begin."""
    with hold(task.layout.run) if rank() == 0 else contextlib.nullcontext():
        return _guarded(task, ahead, options)


def _guarded(task: Task, ahead: Sequence[Task], options: argparse.Namespace) -> tuple[int, bool]:
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


def _ended(outcome: Outcome, task: Task, status: Status) -> int:
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


def _books_fault(outcome: Outcome, task: Task) -> RunFailed | None:
    """Our own fault, if a finished training drew other data than planned: told last, by the first rank alone."""
    trained = next((record.values for record in outcome.records.values() if record.kind == "train"), {})
    wrong = differences(data_report(task.plan.data, outcome.records, trained), task.plan.counted) if rank() == 0 else ()
    if not wrong:
        return None
    return RunFailed(
        "RC902",
        f"the run did not draw the data that was planned: {'; '.join(wrong)}",
        f"the model is kept, with the mix that {task.layout.report} says; please report it, with that file and plan.yaml",
    )


def _run(task: Task, ahead: Sequence[Task], options: argparse.Namespace) -> Outcome:
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
            report = write_report(plan, layout, outcome.records)
            # What an earlier start has told of a run inside of a sequence is not told again.
            if task.is_last or not all(record.reused for record in outcome.records.values()):
                say("\n" + summary(report, layout, _width()))
    return outcome


def _write_plan(task: Task, source: Path) -> None:
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

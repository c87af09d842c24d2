"""`python -m runtime PLAN`: execute a plan here; the same command goes on from where an earlier one stopped.

Exit codes: 0 finished, or stopped with everything saved; 1 the data or the plan has errors; 2 wrong usage; 3 the run
failed, or has spent what its caps allow; 4 a lock or a resume is refused; 130 and 143 stopped by SIGINT or SIGTERM outside of
training.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from runtime.errors import RunError, RunFailed
from runtime.execute import Outcome, execute
from runtime.files import write_bytes
from runtime.layout import Layout
from runtime.load import load_plan
from runtime.lock import hold
from runtime.reporting.data_report import data_report, differences
from runtime.reporting.mixture_plot import draw_mixture
from runtime.reporting.plots import draw_loss
from runtime.reporting.report import write_report
from runtime.reporting.summary import summary
from runtime.resume import adopt
from runtime.scoring.models import check_models
from runtime.spend import Spend, cap_error
from runtime.status import Status, rank, say, show_error, soften_streams, world_size
from runtime.teacher import folder_of
from schemas.plan import RunPlan

__all__ = ["main"]

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS: Final = ("No space left on device", "database or disk is full")
_STOPPED: Final = {128 + number: number.name for number in (signal.SIGINT, signal.SIGTERM)}
_PARTS: Final = ("all", "before-train", "train", "after-train")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, never raises for what a user or the data did."""
    soften_streams()
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        plan = load_plan(options.plan)
        chosen = _choose(options.steps, plan, parser)
        roots = tuple(options.root or [Path.cwd()])
        layout = Layout.of(plan, roots=roots, runs=options.runs)
        _set_environment(plan)
        lock = hold(layout.run) if rank() == 0 else contextlib.nullcontext()
        with lock:
            return _guarded(plan, layout, options, chosen)
    except RunError as error:
        show_error(error)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="runtime", description="Execute a compiled plan.")
    parser.add_argument("plan", type=Path, help="plan.yaml of a job folder")
    parser.add_argument(
        "--root", type=Path, action="append", help="folder of the plan's relative paths (repeatable; default: .)"
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="parent of run folders and cache (default: runs)"
    )
    parser.add_argument("--steps", default="all", help=f"{', '.join(_PARTS)}, or ids: a,b (default: all)")
    parser.add_argument("--resume-from", type=Path, help="run folder whose newest checkpoint to go on from")
    return parser


def _choose(text: str, plan: RunPlan, parser: argparse.ArgumentParser) -> tuple[str, ...] | None:
    """Ids of the steps asked for; None for all. An unknown id is wrong usage (exit code 2)."""
    ids = [step.id for step in plan.steps]
    trains = [i for i, step in enumerate(plan.steps) if step.kind == "train"] or [len(ids)]
    parts = {
        "before-train": ids[: trains[0]],
        "train": [ids[i] for i in trains if i < len(ids)],
        "after-train": ids[trains[-1] + 1 :],
    }
    if text == "all":
        return None
    chosen = parts.get(text, text.split(","))
    unknown = [name for name in chosen if name not in ids]
    if unknown:
        parser.error(f"--steps: no step {unknown[0]!r}; choose from {', '.join((*_PARTS, *ids))}")
    return tuple(chosen)


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
    if not sys.warnoptions:
        # Deprecations inside libraries are ours to watch in tests, not a user's to read at each run.
        warnings.simplefilter("ignore")


def _guarded(plan: RunPlan, layout: Layout, options: argparse.Namespace, chosen: tuple[str, ...] | None) -> int:
    """Run with every way to end told: on stderr, in status.json, by the exit code."""
    status = Status(layout.run / "status.json")
    try:
        with _signals():
            status.begin(None)
            outcome = _run(plan, layout, options, chosen)
        return _ended(outcome, plan, layout, status)
    except SystemExit as stop:
        if stop.code not in _STOPPED:
            raise
        say(f"\nstopped by {_STOPPED[stop.code]}; finished steps are kept. The same command goes on from there.")
        status.end("interrupted", stop.code)
        return stop.code
    except Exception as error:  # noqa: BLE001  # the last net: everything is told, nothing is swallowed
        known = error if isinstance(error, RunError) else _explain(error, layout)
        already = status.failed()
        with contextlib.suppress(OSError, RunError):  # a full disk must not hide the error itself
            status.end("failed", known.exit_code)
        if rank() == 0 or not already:
            show_error(known)
        return known.exit_code


def _ended(outcome: Outcome, plan: RunPlan, layout: Layout, status: Status) -> int:
    """Tell how a run ended that did not fail. At its cap only the first rank fails, last: torchrun would kill the others."""
    if outcome.state != "capped":
        fault = _books_fault(outcome, plan, layout)
        status.end("failed" if fault else outcome.state, fault.exit_code if fault else 0)
        if fault is not None:
            show_error(fault)
        return fault.exit_code if fault else 0
    trained = next(record.values for record in outcome.records.values() if record.kind == "train")
    error = cap_error(plan, Spend(**trained["spend"]), trained["steps"], trained["seconds"])
    status.end("capped", error.exit_code)
    show_error(error)
    return error.exit_code


def _books_fault(outcome: Outcome, plan: RunPlan, layout: Layout) -> RunFailed | None:
    """Our own fault, if a finished training drew other data than planned: told last, by the first rank alone."""
    trained = next((record.values for record in outcome.records.values() if record.kind == "train"), {})
    wrong = differences(data_report(plan.data, outcome.records, trained)) if rank() == 0 else ()
    if not wrong:
        return None
    return RunFailed(
        "RC902",
        f"the run did not draw the data that was planned: {'; '.join(wrong)}",
        f"the model is kept, with the mix that {layout.report} says; please report it, with that file and plan.yaml",
    )


def _run(plan: RunPlan, layout: Layout, options: argparse.Namespace, chosen: tuple[str, ...] | None) -> Outcome:
    folder_of(plan, layout.roots)  # a teacher that is missing would be found hours later, when training begins
    check_models(plan, layout.roots)
    if rank() == 0:
        write_bytes(layout.run / "plan.yaml", options.plan.read_bytes())
        if options.resume_from is not None and world_size() == 1:
            adopt(plan, layout, options.resume_from)
    outcome = execute(plan, layout, only=chosen)
    if rank() == 0:
        trained = any(record.kind == "train" for record in outcome.records.values())
        for draw, picture in ((draw_loss, layout.run / "loss.png"), (draw_mixture, layout.mixture)):
            if trained and not draw(plan, layout.metrics, picture):
                picture.unlink(missing_ok=True)
        ends = chosen is None or plan.steps[-1].id in chosen
        if ends and outcome.state == "finished" and len(outcome.records) == len(plan.steps):
            width = min(120, max(80, shutil.get_terminal_size().columns))
            say("\n" + summary(write_report(plan, layout, outcome.records), layout, width))
    return outcome


def _explain(error: Exception, layout: Layout) -> RunError:
    """An error for what nobody foresaw: its traceback goes to a log, its last line to the user."""
    if _is_full(error):
        return RunFailed(
            "RC604",
            f"the disk is full ({str(error).splitlines()[0]})",
            "free space or choose another folder with --runs, then run the same command again; what was whole is kept",
        )
    if type(error).__name__ == "OutOfMemoryError":  # torch's; not imported for its name alone
        remedy = "lower `training.microbatch`, or set `activation_checkpointing: true`; the same batch is kept"
        return RunFailed("RC502", f"the device ran out of memory: {str(error).splitlines()[0]}", remedy)
    log = layout.run / ("crash.log" if rank() == 0 else f"crash-rank{rank()}.log")
    last = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
    with contextlib.suppress(OSError, RunError):
        write_bytes(log, "".join(traceback.format_exception(error)).encode(errors="replace"))
    return RunFailed(
        "RC606", last, f"the traceback is in {log}; finished steps are kept, the same command goes on from there"
    )


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error; libraries wrap it, some in text alone (safetensors, torch, SQLite)."""
    while error is not None:
        if getattr(error, "errno", None) in _FULL or any(text in str(error) for text in _FULL_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """SIGINT and SIGTERM unwind the run, so that temporary folders go; training sets its own, which save first.

    By SystemExit, which no `except Exception` of a library swallows. Composer's import sets handlers that do the same.
    """
    main_process = os.getpid()

    def stop(number: int, _frame: FrameType | None) -> None:
        if os.getpid() != main_process:  # a forked data loader worker: nothing of the run is its to clean
            os._exit(128 + number)
        sys.exit(128 + number)

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())

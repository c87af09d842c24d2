"""Sequences of real trainings on tiny real shards, run by the runtime's own command: what the tests of sequences share.

Also a program, so that a sequence can be killed:  python -m tests.runtime.sequence_case FOLDER PLAN.json [ARGUMENTS]
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from runtime.steps.base import Context, Inputs, StepModule
from schemas.plan import RunPlan, Step
from tests.runtime import training_case
from tests.runtime.plans import layout_of, sealed, write_plan

__all__ = ["KILL", "layout_of", "run_of", "run_plan", "sequence", "start_process"]

KILL = "SEQUENCE_CASE_KILL"
"""`second:3` kills the process after batch 3 of the run `second`, `first:end` when that run is done."""


def run_of(name: str, steps: int = 4, *, after: str | None = None, **changes: Any) -> dict[str, Any]:
    """A run that trains, starting from the run `after`; tokenizer and data are given, nothing is evaluated or exported."""
    plan = training_case.plan_of(steps, name=f"case-{name}", **changes).model_dump(mode="json", by_alias=True)
    kept = [step for step in plan["steps"] if step["kind"] in ("tokenizer", "prepare", "train")]
    start = (
        None
        if after is None
        else {"kind": "run", "run": after, "fingerprint": None, "folder": None, "hub": None, "revision": None}
    )
    return {**plan, "run": name, "steps": kept, "start": start}


def sequence(*runs: dict[str, Any], **changes: Any) -> RunPlan:
    """The plan of runs, one after the other, each sealed as the compiler seals it."""
    done: list[RunPlan] = []
    for content in runs:
        start = content["start"]
        if start is not None:
            start = {**start, "fingerprint": next(run.fingerprint for run in done if run.run == start["run"])}
        done.append(sealed(RunPlan.model_validate({**content, "start": start})))
    last = done[-1].model_copy(update={"earlier": tuple(done[:-1]), **changes})
    return sealed(last)


class _Given:
    """A step whose result is there already: the tokenizer and the shards of training_case."""

    def identity(self, step: Step, context: Context, inputs: Inputs) -> Any:
        """The step alone: all runs share it."""
        return step.id

    def run(self, step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:
        """Write shards, return what the real step would."""
        if step.source is None:
            return {"vocab_size": training_case.VOCAB, "eos_token_id": 0}
        number = list(training_case.SIZES).index(step.source)
        size = training_case.SIZES[step.source]
        training_case.write_source(folder, stride=number + 1, size=size)
        train, heldout = training_case.split("train", size), training_case.split("heldout", training_case.HELDOUT)
        return {"source": step.source, "train": train, "heldout": heldout, "column": "tokens"}


def _modules(kind: str) -> StepModule:
    from runtime.execute import step_module

    return cast("StepModule", _Given()) if kind in ("tokenizer", "prepare") else step_module(kind)


@contextlib.contextmanager
def _given_data() -> Iterator[None]:
    from runtime import __main__ as command
    from runtime.execute import execute

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "execute", lambda *args, **names: execute(*args, **names, modules=_modules))
        yield


def run_plan(plan: RunPlan, folder: Path, *arguments: str) -> int:
    """The runtime's command in this process; its exit code."""
    from runtime import __main__ as command

    path = write_plan(plan, folder / "job" / "plan.yaml")
    with _given_data():
        return command.main([str(path), "--root", str(folder), "--runs", str(folder / "runs"), *arguments])


def start_process(
    plan: RunPlan, folder: Path, *arguments: str, kill: str = "", ranks: int = 1
) -> subprocess.CompletedProcess[str]:
    """The same as a process of its own, which kills itself where `kill` says, or as several under torchrun."""
    path = write_plan(plan, folder / "job" / "plan.yaml")
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"] if ranks > 1 else []
    # `--`: torchrun would take `--run` for its own `--run-path`.
    module = ["-m", "--", "tests.runtime.sequence_case"] if ranks > 1 else ["-m", "tests.runtime.sequence_case"]
    command = [sys.executable, *launcher, *module, str(folder), str(path), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", KILL: kill}
    root = Path(__file__).parents[2]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=root, check=False, timeout=300)


def _arm(where: str) -> None:
    """Let this process kill itself, as a node dies: without a last word."""
    name, _, moment = where.partition(":")
    if moment == "end":
        from runtime import execute as executor
        from runtime.record import write_record

        def write(path: Path, record: Any) -> None:
            write_record(path, record)
            if record.kind == "train" and record.is_finished and path.parent.parent.name.startswith(f"case-{name}-"):
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(executor, "write_record", write)  # noqa: B010  # a function is replaced
    elif moment:
        from runtime.callbacks.ledger import Ledger

        original = Ledger.batch_end

        def batch_end(ledger: Any, state: Any, logger: Any) -> None:
            original(ledger, state, logger)
            if state.run_name.startswith(f"case-{name}-") and int(state.timestamp.batch) == int(moment):
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(Ledger, "batch_end", batch_end)  # noqa: B010  # a method is replaced


def main(arguments: Sequence[str]) -> int:
    """Run the plan, as `run_plan` does."""
    folder, path, *rest = arguments
    _arm(os.environ.get(KILL, ""))
    from runtime import __main__ as command

    with _given_data():
        return command.main([path, "--root", folder, "--runs", str(Path(folder) / "runs"), *rest])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

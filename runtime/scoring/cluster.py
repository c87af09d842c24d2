"""Scoring on several machines: datatrove's executors run the tasks, each of which scores its share of the chunks."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal

from runtime.errors import RunFailed, first_line
from runtime.scoring.corpus import chunks
from runtime.scoring.job import ScoringJob, score, unscored
from runtime.scoring.local import num_cores
from runtime.scoring.registry import Scorer, open_scorer
from runtime.scoring.scores import Scores
from schemas.plan import SlurmPlan

__all__ = ["ScoreTask", "score_there"]

# Of a task: the table of a source of 100M documents, a chunk of text, and Python.
_GIGABYTES_OF_A_TASK: Final = 4
_LEAST_SECONDS: Final = 3600


@dataclass(frozen=True)
class ScoreTask:
    """A step of a datatrove pipeline: the chunks whose number is the task's, modulo all tasks, go into the store.

    Every task reads all documents, which takes a fraction of the time of scoring them, and scores its share.
    """

    job: ScoringJob

    def __call__(self, data: object, rank: int = 0, world_size: int = 1) -> Iterator[object]:  # noqa: ARG002  # datatrove's contract
        """Score the share of task `rank`; `data` is what the pipeline's step before this one gave, which is nothing."""
        store, scores = self.job.store, Scores(self.job.table)
        store.open()
        scores.load(store)
        scorer: Scorer | None = None
        for number, chunk in enumerate(chunks(self.job.corpus)):
            if number % world_size != rank:
                continue
            if left := unscored(chunk, scores):
                scorer = scorer or open_scorer(self.job.metric, self.job.model)
                score(left, scorer, store)
        return iter(())


def score_there(
    job: ScoringJob,
    engine: Literal["datatrove", "slurm"],
    tasks: int,
    slurm: SlurmPlan,
    *,
    logs: Path,
    seconds: float,
) -> None:
    """Run the tasks and wait until all have ended; what they scored is in the store, which all machines must share.

    Args:
        job: what to score.
        engine: datatrove: processes of this machine; slurm: an array of jobs.
        tasks: among which the documents are shared.
        slurm: partition, account, limits.
        logs: folder for datatrove's logs and state.
        seconds: what one core would take, by the estimate.

    Raises:
        RunFailed: datatrove or Slurm is not there (RC607), or a task failed (RC606).
    """
    if find_spec("datatrove") is None:
        raise RunFailed(
            "RC607",
            f"`launch.scoring.engine: {engine}` needs the package datatrove, which is not installed",
            f"{sys.executable} -m pip install 'datatrove==0.9.0', or `engine: local`",
        )
    try:
        if engine == "slurm":
            _slurm(job, tasks, slurm, logs, seconds)
        else:
            _processes(job, tasks, logs)
    except FileNotFoundError as error:
        if error.filename != "sbatch":
            raise
        raise RunFailed(
            "RC607",
            "`launch.scoring.engine: slurm` needs Slurm's `sbatch`, which is not on the PATH here",
            "run it on a machine of the cluster, or use `engine: local`",
        ) from error
    found = Scores(job.table)
    found.load(job.store)
    if missing := found.num_missing():
        raise _failed(job, f"{missing:,} documents have no score after all {tasks} tasks ended", logs)


def _failed(job: ScoringJob, what: str, logs: Path) -> RunFailed:
    return RunFailed(
        "RC606",
        f"scoring `{job.name}` on several machines failed: {what}",
        f"the tasks' logs are in {logs}; run the same command again: what was scored is kept",
    )


def _processes(job: ScoringJob, tasks: int, logs: Path) -> None:
    from datatrove.executor import LocalPipelineExecutor

    executor = LocalPipelineExecutor(
        [ScoreTask(job)],
        tasks=tasks,
        workers=min(tasks, num_cores()),
        logging_dir=str(logs),
        # The store knows what is done, document by document.
        skip_completed=False,
        start_method="spawn",
    )
    try:
        executor.run()
    except Exception as error:  # what a task raised, through datatrove's pool
        reason = first_line(error)
        raise _failed(job, reason, logs) from error


def _slurm(job: ScoringJob, tasks: int, slurm: SlurmPlan, logs: Path, seconds: float) -> None:
    from datatrove.executor import SlurmPipelineExecutor

    limit = int(slurm.time or max(_LEAST_SECONDS, 4 * seconds / tasks))
    # `--wait` makes sbatch return when the last task has ended.
    more: dict[str, Any] = {"wait": "", **({"account": slurm.account} if slurm.account else {})}
    executor = SlurmPipelineExecutor(
        [ScoreTask(job)],
        tasks=tasks,
        time=f"{limit // 3600:02}:{limit // 60 % 60:02}:{limit % 60:02}",
        partition=slurm.partition or "",
        qos=slurm.qos or "",
        mem_per_cpu_gb=_GIGABYTES_OF_A_TASK,
        job_name=f"score-{job.name}",
        env_command=_environment(),
        sbatch_args=more,
        logging_dir=str(logs),
        skip_completed=False,
    )
    # sbatch ends with the worst exit code of the tasks, also of datatrove's own job that sums up their statistics. What
    # counts is whether all scores are there.
    with _outside_of_a_job(), contextlib.suppress(subprocess.CalledProcessError):
        executor.run()


@contextlib.contextmanager
def _outside_of_a_job() -> Iterator[None]:
    """No variables of the job in which this process runs: srun refuses tasks that inherit another job's memory limit."""
    ours = {
        name: os.environ.pop(name) for name in list(os.environ) if name.startswith("SLURM_") and name != "SLURM_CONF"
    }
    try:
        yield
    finally:
        os.environ.update(ours)


def _environment() -> str:
    """Shell commands that make this Python and this code what a task finds first."""
    programs, code = Path(sys.executable).parent, Path(__file__).resolve().parents[2]
    return f'export PATH={shlex.quote(str(programs))}{os.pathsep}"$PATH" PYTHONPATH={shlex.quote(str(code))}'

"""Engines of scoring: nothing lost or done twice after kill -9, the same scores on one core, many, and a cluster."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.data.document_table import TABLE
from runtime.errors import RunFailed
from runtime.scoring import cluster
from runtime.scoring.registry import settings
from runtime.scoring.store import ScoreStore
from tests.runtime.corpus import words
from tests.runtime.scoring.case import FILES, Case, scoring_plan, values

ROOT = Path(__file__).parents[3]

SCRIPT = """\
import sys
from pathlib import Path
from runtime.scoring import corpus, local
from runtime.scoring.job import ScoringJob
from runtime.scoring.registry import settings
from runtime.scoring.scores import Scores
from schemas.data import Selection
from schemas.sources import FilesSource

if __name__ == "__main__":
    root, table, processes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    corpus._CHUNK_DOCUMENTS = 2
    texts = corpus.SourceTexts(FilesSource(files="text/*.txt"), (root,), Selection(), True)
    job = ScoringJob("text", texts, table, "mtld", None, settings("mtld", None), root / "runs" / "cache" / "scores")
    job.store.open()
    scores = Scores(table)
    scores.load(job.store)
    print("ready", flush=True)
    local.score_here(job, scores, processes)
"""


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    place = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in place.read_text().split()] if place.is_file() else []


def is_running(pid: int) -> bool:
    """Whether a process still computes; one that nobody has waited for (a zombie) doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at Linux' /proc")
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_in_the_middle(case: Case, processes: int) -> None:
    """After kill -9 every chunk is whole or not there, no process stays behind, and only the rest is computed."""
    for i in range(60, 400):
        (case.root / "text" / f"{i:04}.txt").write_text(words(i, 300))
    plan = scoring_plan(FILES, "mtld")
    prepared = case.prepared(plan)
    script = case.root / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(case.root), str(prepared.folder / TABLE), str(processes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    store = ScoreStore(case.root / "runs" / "cache" / "scores", settings("mtld", None))
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    started: list[int] = []
    deadline = time.monotonic() + 120
    while len(list(store.folder.glob("[0-9a-f]*.npy"))) < 5 and time.monotonic() < deadline:
        started = children(process.pid) or started
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    while any(is_running(pid) for pid in started) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [pid for pid in started if is_running(pid)] == []
    before = Counter(d for digests, _ in store.read() for d in digests.tolist())
    result = case.scored(plan, prepared)
    after = Counter(d for digests, _ in store.read() for d in digests.tolist())
    assert 5 <= len(before) < len(after) == result.values["documents"]
    assert result.values["reused_documents"] == len(before)
    assert set(after.values()) == {1}
    fresh = Case(case.root, case.tokenizer, number=100)
    shutil.rmtree(store.folder)
    assert np.array_equal(values(result, "mtld"), values(fresh.scored(plan, prepared), "mtld"), equal_nan=True)


@pytest.mark.parametrize("engine", [{"engine": "local", "tasks": 3}, {"engine": "datatrove", "tasks": 3}])
def test_engines_agree(case: Case, engine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes, or datatrove's tasks, give what one process gives, bit for bit; then nothing is left to do."""
    from runtime.scoring import corpus

    plan = scoring_plan(FILES, "vocd", execution={"scoring": {"engine": "local", "tasks": 1}})
    prepared = case.prepared(plan)
    one = case.scored(plan, prepared)
    shutil.rmtree(case.root / "runs" / "cache" / "scores")
    monkeypatch.setattr(corpus, "_CHUNK_DOCUMENTS", 7)
    many = case.scored(scoring_plan(FILES, "vocd", execution={"scoring": engine}), prepared)
    assert many.values == one.values
    assert np.array_equal(values(one, "vocd"), values(many, "vocd"), equal_nan=True)


def slurm_works() -> bool:
    """Whether jobs can be sent to a cluster from here."""
    if shutil.which("sbatch") is None or shutil.which("sinfo") is None:
        return False
    done = subprocess.run(["sinfo", "-h", "-o", "%a"], check=False, capture_output=True, text=True, timeout=30)
    return done.returncode == 0 and "up" in done.stdout


@pytest.mark.skipif(not slurm_works(), reason="no Slurm cluster answers here")
def test_slurm_gives_the_same_scores(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """An array of two real jobs, sent from inside of a job, whose memory limit srun would refuse beside that of the tasks."""
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "3072")
    partition = subprocess.run(["sinfo", "-h", "-o", "%R"], check=True, capture_output=True, text=True).stdout.split()[
        0
    ]
    plan = scoring_plan(FILES, "hdd")
    prepared = case.prepared(plan)
    here = case.scored(plan, prepared)
    shutil.rmtree(case.root / "runs" / "cache" / "scores")
    execution = {"scoring": {"engine": "slurm", "tasks": 2}, "slurm": {"partition": partition, "time": 300.0}}
    there = case.scored(scoring_plan(FILES, "hdd", execution=execution), prepared)
    assert there.values == here.values
    assert np.array_equal(values(here, "hdd"), values(there, "hdd"), equal_nan=True)


@pytest.mark.parametrize("engine", ["local", "datatrove"])
def test_a_task_that_fails_says_why(case: Case, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason of the process that failed reaches the user, with code and remedy; nothing hangs."""
    from runtime.scoring import corpus

    monkeypatch.setattr(corpus, "_CHUNK_DOCUMENTS", 7)
    plan = scoring_plan(FILES, "ttr", execution={"scoring": {"engine": engine, "tasks": 2}})
    prepared = case.prepared(plan)
    store = ScoreStore(case.root / "runs" / "cache" / "scores", settings("ttr", None))
    store.open()

    def not_a_folder(self: ScoreStore) -> None:
        """A file stands where the store was, as when a disk goes away after the start."""
        shutil.rmtree(self.folder)
        self.folder.write_text("")

    monkeypatch.setattr(ScoreStore, "open", not_a_folder)
    with pytest.raises(RunFailed, match="can't be written") as caught:
        case.scored(plan, prepared)
    assert caught.value.code == ("RC604" if engine == "local" else "RC606")


def test_jobs_inherit_nothing_of_the_job_that_sends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside of an array's task datatrove would take itself for one of its own; where the cluster is stays known."""
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    before = dict(os.environ)
    with cluster._outside_of_a_job():
        assert [name for name in os.environ if name.startswith("SLURM_")] == ["SLURM_CONF"]
    assert dict(os.environ) == before


def test_an_engine_that_is_not_there(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without datatrove: the line that installs it. Without Slurm: where to run."""
    slurm = {"scoring": {"engine": "slurm", "tasks": 2}, "slurm": {"partition": "cpu"}}
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RunFailed, match="needs Slurm's `sbatch`") as caught:
        case.scored(scoring_plan(FILES, execution=slurm))
    assert caught.value.code == "RC607"
    monkeypatch.setattr(cluster, "find_spec", lambda _: None)
    with pytest.raises(RunFailed, match="needs the package datatrove") as caught:
        case.scored(scoring_plan(FILES, execution=slurm))
    assert (caught.value.code, "pip install 'datatrove==" in caught.value.remedy) == ("RC607", True)

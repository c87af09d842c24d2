"""Launch scripts of jobs of several runs: in order, each with its own processes, one alone where asked for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from compiler.job.emit import emit, job_files
from schemas.plan import RunPlan
from tests.compiler.job.case import record, run_local
from tests.factory import tiny_plan


def sequence() -> RunPlan:
    """Two runs: one of a device, and one of 2 nodes of 4."""
    small = tiny_plan(name="tiny-first", run="first")
    large = {"strategy": "fsdp", "sharding": "full", "shard_degree": 8, "devices": 8, "nodes": 2}
    last = tiny_plan(run="last", parallelism=large, hardware={"count": 8, "per_node": 4}, training={"microbatch": 1})
    return last.model_copy(update={"earlier": (small,)})


def calls(log: Path) -> list[str]:
    """What was started, without the paths."""
    found = []
    for line in log.read_text(encoding="utf-8").splitlines():
        words = json.loads(line)["argv"]
        kept = [word for word in words if not word.startswith("/") and word not in ("-P", "-m", "--root", "--runs")]
        found.append(" ".join(kept))
    return found


def test_one_process_does_all_runs(tmp_path: Path) -> None:
    """The runtime itself goes from run to run."""
    job = emit(sequence(), tmp_path / "out")
    python, log = record(tmp_path)
    assert run_local(job, tmp_path, RECIPEC_PYTHON=str(python), NPROC="1").returncode == 0
    assert calls(log) == ["runtime --steps all"]


def test_several_processes_train_run_after_run(tmp_path: Path) -> None:
    """Of each run, what comes before and after the training is done by one process."""
    job = emit(sequence(), tmp_path / "out")
    python, log = record(tmp_path)
    done = run_local(job, tmp_path, RECIPEC_PYTHON=str(python), NPROC="2")
    assert (done.returncode, done.stderr) == (0, "")
    train = "runtime.torchrun --standalone --nproc_per_node 2 -- runtime --steps train --run"
    assert calls(log) == [
        line
        for name in ("first", "last")
        for line in (
            f"runtime --steps before-train --run {name}",
            f"{train} {name}",
            f"runtime --steps after-train --run {name}",
        )
    ]
    assert [json.loads(line)["env"]["OMP_NUM_THREADS"] for line in log.read_text().splitlines()] == [
        None,
        "1",
        None,
    ] * 2


def test_by_default_a_run_takes_the_processes_that_it_plans(tmp_path: Path) -> None:
    """A run of one device stays in one process beside one of eight."""
    job = emit(sequence(), tmp_path / "out")
    python, log = record(tmp_path)
    assert run_local(job, tmp_path, RECIPEC_PYTHON=str(python)).returncode == 0
    assert calls(log)[0] == "runtime --steps all --run first"
    assert "--nproc_per_node 8" in calls(log)[2]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_one_run_alone(tmp_path: Path, processes: str) -> None:
    """`--run NAME` is handed on; the other runs are left alone."""
    job = emit(sequence(), tmp_path / "out")
    python, log = record(tmp_path)
    done = run_local(job, tmp_path, ("--run", "last"), RECIPEC_PYTHON=str(python), NPROC=processes)
    assert done.returncode == 0
    assert calls(log)
    assert all("--run last" in line and "first" not in line for line in calls(log))


def test_a_failed_run_ends_the_job(tmp_path: Path) -> None:
    """Later runs rest on it, so they are not begun."""
    job = emit(sequence(), tmp_path / "out")
    python, log = record(tmp_path)
    text = python.read_text(encoding="utf-8")
    python.write_text(text + 'if "train" in sys.argv: sys.exit(3)\n', encoding="utf-8")
    assert run_local(job, tmp_path, RECIPEC_PYTHON=str(python), NPROC="2").returncode == 3
    assert len(calls(log)) == 2


def test_slurm_asks_for_the_largest_run(tmp_path: Path) -> None:
    """Nodes and tasks of the largest, and time for all of them; each training takes its own."""
    files = job_files(sequence())
    script = files["launch/slurm.sbatch"]
    assert "#SBATCH --nodes=2\n" in script
    assert "#SBATCH --ntasks-per-node=4\n" in script
    assert 'one_run first tiny-first-00000000 1 1 1 "$@"\n' in script
    assert 'one_run last tiny-00000000 2 8 4 "$@"\n' in script
    for name in ("launch/local.sh", "launch/slurm.sbatch"):
        file = tmp_path / "script.sh"
        file.write_text(files[name], encoding="utf-8")
        subprocess.run(["bash", "-n", file], check=True)


def test_the_readme_lists_the_runs() -> None:
    """Each with the folder that its results go to."""
    text = job_files(sequence())["README.md"]
    assert "## Runs\n" in text
    assert "`runs/tiny-first-00000000/`" in text
    assert "## Runs\n" not in job_files(tiny_plan())["README.md"]

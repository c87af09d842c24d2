"""Launch scripts: what they call, on which devices, how they end; nothing in a recipe can run in them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.job.emit import emit, job_files
from schemas.plan import RunPlan
from tests.compiler.job.case import gpu_plan, record, run_local
from tests.factory import tiny_plan

# Stands in for torchrun and its two ranks: a rank counts signals, takes a second to save, and ends well.
RANKS = """#!{python}
import os, signal, subprocess, sys, time
if "runtime.torchrun" in sys.argv:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit("torchrun itself was signalled"))
    ranks = [subprocess.Popen([sys.argv[0], "rank"], start_new_session=True) for _ in range(2)]
    sys.exit(max(rank.wait() for rank in ranks))
elif sys.argv[1] == "rank":
    got = []
    signal.signal(signal.SIGTERM, lambda *_: got.append(1))
    os.write(1, b"up\\n")  # in one piece: two ranks share the pipe
    while not got:
        time.sleep(0.05)
    time.sleep(1)
    os.write(1, b"saved after %d\\n" % len(got))
elif "--steps" in sys.argv:
    print(sys.argv[-1])
"""


@pytest.mark.parametrize("plan", [tiny_plan(), gpu_plan()], ids=["cpu", "gpus"])
def test_scripts_pass_shellcheck(tmp_path: Path, plan: RunPlan) -> None:
    """Both scripts are clean under shellcheck with every optional check that it turns on by default."""
    shellcheck = Path(sys.executable).with_name("shellcheck")
    if not shellcheck.exists():
        pytest.skip("shellcheck is not installed")
    folder = emit(plan, tmp_path)
    result = subprocess.run(
        [shellcheck, *folder.glob("launch/*")], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.stdout == ""
    assert result.returncode == 0


def hostile_plan(evil: str) -> RunPlan:
    """A plan with values that no recipe can have."""
    plan = tiny_plan()
    slurm = plan.execution.slurm.model_copy(update={"partition": evil, "account": evil, "qos": evil})
    execution = plan.execution.model_copy(update={"slurm": slurm})
    return plan.model_copy(update={"name": evil, "execution": execution})


def test_hostile_values_stay_words(tmp_path: Path) -> None:
    """Even values that the language refuses would not run: every one is quoted for the shell."""
    files = job_files(hostile_plan("$(touch pwned)`touch pwned`;touch pwned '\""))
    (tmp_path / "plan.yaml").write_text("")
    python, log = record(tmp_path)
    # Slurm's side: commands that the script needs, of which srun hands on.
    tools = 'scontrol() { :; }; srun() { while [[ $1 == --* ]]; do shift; done; "$@"; }; hostname() { echo h; }'
    slurm = files["launch/slurm.sbatch"].replace("set -euo pipefail", f"set -euo pipefail; {tools}", 1)
    environment = os.environ | {"RECIPEC_PYTHON": str(python), "SLURM_JOB_ID": "7"}
    for script in (slurm, files["launch/local.sh"]):
        for job in (tmp_path, tmp_path / "missing"):  # the second: with the message that names the folder
            subprocess.run(
                ["bash", "-c", script],
                cwd=tmp_path,
                env=environment | {"RECIPEC_JOB": str(job)},
                capture_output=True,
                timeout=60,
                check=False,
            )
    assert not (tmp_path / "pwned").exists()
    assert len(log.read_text().splitlines()) == 4  # before-train, train, after-train; all


def test_line_ends_never_reach_a_script() -> None:
    """A line end would leave the comment of an #SBATCH line, so such a value is refused outright."""
    with pytest.raises(ValueError, match="no place in a script"):
        job_files(hostile_plan("a\ntouch pwned"))


def test_one_process_runs_all_steps(tmp_path: Path) -> None:
    """One process: a single call of the runtime, with roots, runs and arguments handed on as they are."""
    job = emit(tiny_plan(execution={"threads": 2}), tmp_path / "a folder; $(touch pwned)")
    python, log = record(tmp_path)
    result = run_local(
        job,
        tmp_path,
        ("--resume-from", "old run"),
        RECIPEC_PYTHON=str(python),
        RECIPEC_ROOT="re cipes:/data",
        RECIPEC_RUNS="my runs",
    )
    assert (result.returncode, result.stderr) == (0, "")
    call = json.loads(log.read_text())
    assert call["argv"] == [
        "-P", "-m", "runtime", str(job / "plan.yaml"), "--root", "re cipes", "--root", "/data",
        "--runs", "my runs", "--steps", "all", "--resume-from", "old run",
    ]  # fmt: skip
    assert call["env"] == {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "2", "HF_HUB_OFFLINE": "1"}
    assert not (tmp_path / "pwned").exists()


def test_several_processes_train_under_torchrun(tmp_path: Path) -> None:
    """Several processes: data work by one, training under torchrun, evaluation and export by one."""
    job = emit(tiny_plan(), tmp_path)
    python, log = record(tmp_path)
    result = run_local(job, tmp_path, RECIPEC_PYTHON=str(python), NPROC="3")
    assert (result.returncode, result.stderr) == (0, "")
    calls = [json.loads(line)["argv"] for line in log.read_text().splitlines()]
    assert [call[call.index("--steps") + 1] for call in calls] == ["before-train", "train", "after-train"]
    assert calls[1][:7] == ["-P", "-m", "runtime.torchrun", "--standalone", "--nproc_per_node", "3", "-m"]
    assert all(call[call.index("--root") + 1] == str(tmp_path) for call in calls)


@pytest.mark.parametrize(("visible", "expected"), [("", "1"), ("0", "1"), ("0,1", "2"), ("0,1,2,3,4,5,6,7,8,9", "8")])
def test_visible_gpus_are_used(tmp_path: Path, visible: str, expected: str) -> None:
    """As many processes as GPUs are visible, at least one, never more than the plan is for."""
    job = emit(gpu_plan(), tmp_path)
    python, log = record(tmp_path)
    run_local(job, tmp_path, RECIPEC_PYTHON=str(python), CUDA_VISIBLE_DEVICES=visible)
    calls = [json.loads(line)["argv"] for line in log.read_text().splitlines()]
    launched = [call[call.index("--nproc_per_node") + 1] for call in calls if "--nproc_per_node" in call]
    assert launched == ([] if expected == "1" else [expected])


@pytest.mark.parametrize("nproc", ["0", "two", "-1", "1; touch pwned", "a[$(touch pwned)]"])
def test_nproc_is_a_number(tmp_path: Path, nproc: str) -> None:
    """Anything else is wrong usage, and nothing starts."""
    job = emit(gpu_plan(), tmp_path)
    python, log = record(tmp_path)
    result = run_local(job, tmp_path, RECIPEC_PYTHON=str(python), NPROC=nproc)
    assert result.returncode == 2
    assert "NPROC is a number of processes" in result.stderr
    assert not log.exists()
    assert not (tmp_path / "pwned").exists()


def test_failure_ends_the_script(tmp_path: Path) -> None:
    """A part that fails gives its exit code, and later parts are not run."""
    job = emit(tiny_plan(), tmp_path)
    python, log = record(tmp_path)
    python.write_text(python.read_text() + "    sys.exit(4 if 'train' in sys.argv else 0)\n")
    result = run_local(job, tmp_path, RECIPEC_PYTHON=str(python), NPROC="2")
    assert result.returncode == 4
    assert len(log.read_text().splitlines()) == 2


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_each_rank_once(tmp_path: Path, signal_number: signal.Signals) -> None:
    """SIGTERM to the script, or Ctrl-C in its terminal: ranks save undisturbed, then the script ends well, at once."""
    job = emit(tiny_plan(), tmp_path)
    python = tmp_path / "python"
    python.write_text(RANKS.format(python=sys.executable))
    python.chmod(0o755)
    process = subprocess.Popen(
        [job / "launch/local.sh"],
        cwd=tmp_path,
        env=os.environ | {"RECIPEC_PYTHON": str(python), "NPROC": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(3)] == ["before-train\n", "up\n", "up\n"]
    os.killpg(process.pid, signal_number)
    out, err = process.communicate(timeout=30)
    assert (out, err, process.returncode) == ("saved after 1\nsaved after 1\n", "", 0)


def test_folder_named_runtime_does_not_shadow_ours(tmp_path: Path) -> None:
    """A folder runtime/ where the user stands is not run in place of ours."""
    job = emit(tiny_plan(), tmp_path)
    (job / "plan.yaml").write_text("not a plan")
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime/__init__.py").write_text("open('pwned', 'w')\n")
    (tmp_path / "runtime/torchrun.py").write_text("")
    (tmp_path / "runtime/__main__.py").write_text("")
    result = run_local(job, tmp_path, RECIPEC_PYTHON=sys.executable)
    assert not (tmp_path / "pwned").exists()
    assert result.returncode == 1
    assert "RC605" in result.stderr


def test_python_without_recipec(tmp_path: Path) -> None:
    """A Python that lacks recipec is named, with the remedy."""
    result = run_local(emit(tiny_plan(), tmp_path), tmp_path, RECIPEC_PYTHON="no-such-python")
    assert result.returncode == 3
    assert "error[RC607]: 'no-such-python'" in result.stderr
    assert "RECIPEC_PYTHON=" in result.stderr


def test_slurm_options() -> None:
    """Nodes, ranks, GPUs, CPUs and the user's own options stand in the script's head; time is rounded up to minutes."""
    head = re.findall(r"#SBATCH (\S+)", job_files(gpu_plan())["launch/slurm.sbatch"])
    assert head == [
        "--job-name=tiny-00000000", "--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--cpus-per-task=5",
        "--partition=big", "--account=me", "--qos=high", "--time=1-01:02:00", "--signal=TERM@120", "--requeue",
        "--open-mode=append", "--output=%x-%j.out",
    ]  # fmt: skip


@pytest.mark.parametrize(("hours", "expected"), [(0.001, "0-00:10:00"), (1.0, "0-02:00:00"), (100.0, "8-08:00:00")])
def test_slurm_time_is_twice_the_estimate(hours: float, expected: str) -> None:
    """Without a time in the recipe: twice the estimate, at least ten minutes; on a CPU no GPUs are asked for."""
    script = job_files(tiny_plan(estimate={"hours": hours}))["launch/slurm.sbatch"]
    assert f"#SBATCH --time={expected}\n" in script
    assert "--gpus-per-node" not in script

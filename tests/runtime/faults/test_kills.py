"""Real trainings of which a process is killed with SIGKILL: the rest ends in seconds, and the next start goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from schemas.plan import RunPlan
from tests.runtime.faults.fork import children_of, is_gone, wait_until
from tests.runtime.training_case import layout_of, plan_of, start

_STEPS = 60
_SECONDS = 120.0
"""For what takes a few seconds on an idle machine; a hang takes longer than this."""


def _plan(workers: int) -> RunPlan:
    return plan_of(
        _STEPS, execution={"workers": workers}, evaluation={"interval_steps": 10_000}, checkpoints={"interval_steps": 5}
    )


def _lines(plan: RunPlan, folder: Path) -> int:
    path = layout_of(plan, folder).metrics
    return len(path.read_text().splitlines()) if path.exists() else 0


def _trains(plan: RunPlan, folder: Path, run: subprocess.Popen[str], before: int) -> None:
    """Wait until it has logged a few batches more than `before`."""

    def going() -> bool:
        assert run.poll() is None, run.communicate()[1]
        return _lines(plan, folder) >= before + 7

    wait_until(going, _SECONDS, "the training logs batches")


def _environment(pid: int) -> dict[str, str]:
    try:
        pairs = Path(f"/proc/{pid}/environ").read_text().split("\0")
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        return {}
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _loaders(pid: int) -> list[int]:
    """The loader processes of a training: forks of it, not the resource tracker."""
    command = Path(f"/proc/{pid}/cmdline").read_text()
    return [child for child in children_of(pid) if Path(f"/proc/{child}/cmdline").read_text() == command]


def _finished(plan: RunPlan, run: subprocess.Popen[str]) -> None:
    said, told = run.communicate(timeout=_SECONDS)
    assert run.returncode == 0, told
    values = json.loads(said.splitlines()[-1])
    assert values["status"] == "finished"
    assert values["resumed_from"] > 0
    assert values["samples_per_source"] == {"code": 6 * _STEPS, "prose": 2 * _STEPS}


def test_a_loader_process_and_then_the_training_is_killed(tmp_path: Path) -> None:
    """A dead loader process is an error in seconds; after a dead training the next start takes over at once."""
    plan = _plan(workers=2)
    run = start(plan, tmp_path)
    _trains(plan, tmp_path, run, 0)
    loaders = _loaders(run.pid)
    assert len(loaders) == 2
    os.kill(loaders[0], signal.SIGKILL)
    begin = time.monotonic()
    _, told = run.communicate(timeout=_SECONDS)
    assert time.monotonic() - begin < 60
    assert run.returncode != 0
    assert "a data loader process died: DataLoader worker" in told
    assert is_gone(loaders[1])

    before = _lines(plan, tmp_path)
    run = start(plan, tmp_path)
    _trains(plan, tmp_path, run, before)
    loaders = _loaders(run.pid)
    run.kill()
    run.wait()
    again = start(plan, tmp_path)
    _finished(plan, again)
    wait_until(lambda: all(is_gone(loader) for loader in loaders), 30, "loaders of a dead training end")
    run.communicate()


def test_a_rank_of_two_is_killed(tmp_path: Path) -> None:
    """The other rank ends, its loaders too, and the next start goes on."""
    plan = _plan(workers=1)
    run = start(plan, tmp_path, ranks=2)
    _trains(plan, tmp_path, run, 0)
    ranks = {_environment(child).get("RANK"): child for child in children_of(run.pid)}
    os.kill(ranks["1"], signal.SIGKILL)
    begin = time.monotonic()
    run.communicate(timeout=_SECONDS)
    assert time.monotonic() - begin < 60
    assert run.returncode != 0
    assert is_gone(ranks["0"])
    _finished(plan, start(plan, tmp_path, ranks=2))

"""The benchmark for GPUs: its recipes are sound, its processes can't stop one another, its table says what was measured."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.evidence.harness import written
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.checks import CHECKS, Check, recipe_of
from benchmarks.gpu.processes import CheckProcess, ahead
from benchmarks.gpu.resume import difference
from benchmarks.gpu.shapes import DEVICES, Device
from benchmarks.gpu.table import error, line, table
from compiler.pipeline import compile_recipe
from runtime import precision
from tests.factory import tiny_plan

_FOUND: Mapping[str, Any] = {
    "status": "ok", "compute": "bf16", "tokens_per_s": 200_000.0, "mfu": 0.25, "initial_loss": 9.0, "loss": 7.0,
    "allocated_bytes": 40 * 10**9, "reserved_bytes": 50 * 10**9,
    "planned": {"tokens_per_s": 220_000.0, "mfu": 0.275, "peak_memory_bytes": 30 * 10**9},
}  # fmt: skip


@pytest.mark.parametrize("device", list(DEVICES))
@pytest.mark.parametrize("check", list(CHECKS.values()), ids=list(CHECKS))
def test_each_check_is_a_recipe_that_compiles(check: Check, device: Device, tmp_path: Path) -> None:
    """For its device, in the format that it is about, with steps enough to leave some after the warm-up."""
    scale = DEVICES[device]
    plan = compile_recipe(written(recipe_of(check, scale, scale.steps), check.name, tmp_path)).expect()
    assert plan.hardware.gpu == scale.gpu
    assert plan.training.steps == scale.steps > 3
    assert plan.precision.compute == (check.precision if scale.on_gpu else "fp32")
    assert [run.run for run in plan.runs[:-1]] == (["base"] if check.base else [])
    assert ("export" in {step.kind for step in plan.steps}) == (check.kind == "export")
    if check.kind == "resume":
        assert 1 < plan.checkpoints.interval_steps < plan.training.steps


@pytest.mark.parametrize("device", list(DEVICES))
def test_checks_share_their_base(device: Device, tmp_path: Path) -> None:
    """A run that several start from is made once, and data is prepared once for a length of samples."""
    scale = DEVICES[device]
    based = [check for check in CHECKS.values() if check.base]
    plans = [
        compile_recipe(written(recipe_of(check, scale, scale.steps), check.name, tmp_path)).expect() for check in based
    ]
    assert len(plans) > 1
    assert len({plan.runs[0].fingerprint for plan in plans}) == 1


def test_two_checks_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same code as on a GPU, in tiny: a training that is timed, and one from an earlier run's weights."""
    out = tmp_path / "found.json"
    assert main(["--device", "cpu", "--only", "bf16", "qat-int8", "--work", str(tmp_path), "--out", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert list(found) == ["bf16", "qat-int8"]
    for row in found.values():
        assert row["status"] == "ok"
        assert row["tokens_per_s"] > 0
        assert 0 < row["mfu"] < 1
        assert row["steps"] == DEVICES["cpu"].steps - 1
        assert row["planned"]["peak_memory_bytes"] > 0
    # The second begins where the shared run ended, which has learnt something.
    assert found["qat-int8"]["initial_loss"] < found["bf16"]["initial_loss"]
    assert "median size of the plan's error in tokens/s" in capsys.readouterr().out


def _impostor(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Let a check's process be another program, which gets the same arguments after its own name."""
    started = CheckProcess.__post_init__.__globals__["subprocess"].Popen

    def popen(command: list[str], **more: Any) -> Any:
        return started([sys.executable, "-c", program, *command[3:]], **more)

    monkeypatch.setattr("benchmarks.gpu.processes.subprocess.Popen", popen)


def test_a_crash_is_a_row(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The next check is made all the same, and the exit code says that one is missing."""
    crashes = "import os, sys; sys.stdin.readline(); sys.stderr.write('MemoryError: too large\\n'); os.abort()"
    _impostor(monkeypatch, crashes)
    assert main(["--device", "cpu", "--only", "fp16", "bf16", "--work", str(tmp_path)]) == 3
    said = capsys.readouterr().out
    assert said.count("failed: exit code -6: MemoryError: too large") == 4
    assert "fp16 " in said
    assert "bf16 " in said


def test_a_check_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """At its limit, with all processes that it started."""
    child = tmp_path / "child"
    program = (
        "import subprocess, sys, time, pathlib; sys.stdin.readline()\n"
        f"p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"pathlib.Path({str(child)!r}).write_text(str(p.pid)); time.sleep(600)"
    )
    _impostor(monkeypatch, program)
    for process in ahead([CHECKS["bf16"]], "cpu", 6, tmp_path):
        found = process.measured(2.0)
    assert found["status"] == "late"
    assert _ends(int(child.read_text()))


def _ends(pid: int) -> bool:
    """Whether a process is gone within seconds, or only waits to be reaped."""
    state = Path(f"/proc/{pid}/stat")
    for _ in range(200):
        try:
            if state.read_text().split()[2] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_time_that_is_over_leaves_checks_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are named, so that nobody takes the table for whole."""
    out = tmp_path / "found.json"
    assert main(["--device", "cpu", "--only", "bf16", "--limit", "0", "--work", str(tmp_path), "--out", str(out)]) == 3
    assert json.loads(out.read_text(encoding="utf-8"))["bf16"]["status"] == "left out"
    assert "left out: the 0 s are over" in capsys.readouterr().out


def test_the_row_has_the_plans_error() -> None:
    """Planned over measured: 220 of 200 thousand tokens/s is 10 % too many, 30 of 40 GB a quarter too few."""
    assert error(30.0, 40.0) == -0.25
    row = line("bf16", _FOUND)
    assert row.split()[:5] == ["bf16", "bf16", "200,000", "220,000", "+10%"]
    assert "-25%" in row
    assert table({"bf16": _FOUND}).endswith(
        "median size of the plan's error in tokens/s: 10.0% over 1 checks\n"
        "median size of the plan's error in peak memory: 25.0% over 1 checks"
    )


def test_a_difference_of_one_bit_is_seen() -> None:
    """Weights are compared, not losses, which may agree by chance."""
    weight = torch.ones(3)
    assert difference({"w": weight}, {"w": weight.clone()}) == {"same_bits": True, "largest_difference": 0.0}
    other = weight.clone()
    other[1] = torch.nextafter(other[1], torch.tensor(2.0))
    found = difference({"w": weight}, {"w": other})
    assert not found["same_bits"]
    assert found["largest_difference"] == pytest.approx(2.0**-23)


def test_fp32_on_a_gpu_is_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Composer's own device would round the inputs of products to TF32; where models are measured, nothing does either."""
    asked: list[bool] = []

    def gpu_of_composer(*, allow_tf32: bool) -> str:
        asked.append(allow_tf32)
        return "the device"

    monkeypatch.setattr("composer.devices.DeviceGPU", gpu_of_composer)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    cpu, gpu = tiny_plan(), tiny_plan(hardware={"gpu": "h200-sxm-141gb"})
    assert precision.composer_device(cpu) == "cpu"
    assert precision.composer_device(gpu) == "the device"
    assert asked == [False]
    assert precision.measuring_device(cpu) == torch.device("cpu")
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == (True, False)
    assert precision.measuring_device(gpu) == torch.device("cuda")
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic) == (False, True)

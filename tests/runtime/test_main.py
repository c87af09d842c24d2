"""The runtime as a process: exit codes, messages, status, crash log."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime import __main__ as command
from runtime import checkpoint
from runtime import execute as executor
from runtime.checkpoint import Progress
from runtime.command_line import set_environment
from runtime.errors import DataError
from runtime.lock import hold
from schemas.plan import Step
from tests.runtime.plans import LightStep, layout_of, light_modules, sealed_plan, write_plan


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> dict[str, LightStep]:
    """Light steps in place of the real ones."""
    steps, modules = light_modules()
    monkeypatch.setattr(command, "execute", lambda *args, **names: executor.execute(*args, **names, modules=modules))
    return steps


def _run(folder: Path, *arguments: str) -> int:
    plan = write_plan(sealed_plan(), folder / "job" / "plan.yaml")
    return command.main([str(plan), "--root", str(folder), "--runs", str(folder / "runs"), *arguments])


def _status(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((layout_of(sealed_plan(), folder).run / "status.json").read_text())
    return found


def _raise(error: BaseException) -> Callable[[Step, Path], None]:
    def act(step: Step, folder: Path) -> None:
        raise error

    return act


def test_a_whole_run_ends_with_the_table(
    tmp_path: Path, light: dict[str, LightStep], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0, planned against actual in at most 80 columns, and no control character of a sample."""
    assert _run(tmp_path) == 0
    assert _status(tmp_path)["state"] == "finished"
    out = capsys.readouterr().out
    table = out[out.index("planned") :]
    assert "6,144         6,144" in table
    assert "518 -> 148" in table
    assert "\x1b" not in out
    assert all(len(line) <= 80 for line in table.splitlines() if str(tmp_path) not in line)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DataError("RC407", "a.jsonl:3 is not JSON\x1b[2J", "mend it"), 1, "error[RC407]: a.jsonl:3 is not JSON"),
        (OSError(errno.ENOSPC, "No space left on device"), 3, "error[RC604]"),
        (RuntimeError("SafetensorError: No space left on device (os error 28)"), 3, "error[RC604]"),
        (ZeroDivisionError("division by zero"), 3, "error[RC606]: ZeroDivisionError: division by zero"),
    ],
)
def test_failures_are_told_without_a_traceback(
    tmp_path: Path,
    light: dict[str, LightStep],
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
    said: str,
) -> None:
    """Code, message and remedy on stderr; the exit code also in status.json."""
    light["prepare"].act = _raise(error)
    assert _run(tmp_path) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert "  = help: " in shown
    assert "Traceback" not in shown
    assert "\x1b" not in shown
    assert _status(tmp_path) == {
        "state": "failed",
        "step": "prepare-code",
        "exit_code": code,
        "pid": os.getpid(),
        "rank": 0,
    }


def test_the_traceback_of_an_unforeseen_error_is_kept(tmp_path: Path, light: dict[str, LightStep]) -> None:
    """crash.log in the run's folder holds the whole traceback."""
    light["train"].act = _raise(ZeroDivisionError("division by zero"))
    assert _run(tmp_path) == 3
    log = layout_of(sealed_plan(), tmp_path).run / "crash.log"
    assert "Traceback" in log.read_text()
    assert "ZeroDivisionError" in log.read_text()


def test_sigterm_outside_of_training_unwinds(
    tmp_path: Path, light: dict[str, LightStep], capsys: pytest.CaptureFixture[str]
) -> None:
    """A preempted prepare step ends with 143, leaves no temporary folder, and the same command goes on."""
    light["prepare"].act = lambda step, folder: os.kill(os.getpid(), signal.SIGTERM)
    assert _run(tmp_path) == 143
    assert _status(tmp_path)["state"] == "interrupted"
    assert "goes on from there" in capsys.readouterr().out
    assert not list((tmp_path / "runs" / "cache").glob(".tmp-*"))
    light["prepare"].act = lambda step, folder: None
    assert _run(tmp_path) == 0


def test_a_run_that_holds_the_folder_keeps_its_status(
    tmp_path: Path, light: dict[str, LightStep], capsys: pytest.CaptureFixture[str]
) -> None:
    """A second process is refused with 4 and touches neither plan nor status of the first."""
    run = layout_of(sealed_plan(), tmp_path).run
    plan = write_plan(sealed_plan(), tmp_path / "job" / "plan.yaml")
    with hold(run):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        arguments = [sys.executable, "-m", "runtime", str(plan), "--runs", str(tmp_path / "runs")]
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 4
    assert done.stderr.startswith("error[RC601]")
    assert sorted(path.name for path in run.iterdir()) == ["lock"]


def test_an_unknown_step_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the steps that there are."""
    with pytest.raises(SystemExit) as caught:
        _run(tmp_path, "--steps", "trian")
    assert caught.value.code == 2
    assert "before-train" in capsys.readouterr().err


def test_a_reader_that_goes_away_does_not_stop_the_run(tmp_path: Path) -> None:
    """`python -m runtime plan.yaml | true` runs on to its end: output to nobody is no error."""
    script = """
import sys, time
from pathlib import Path
from runtime.status import say
time.sleep(0.3)
for _ in range(3):
    say("line")
Path(sys.argv[1]).write_text("done")
"""
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "end")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 0
    assert (tmp_path / "end").read_text() == "done"


def test_output_that_nobody_wants_does_not_stop_the_run(tmp_path: Path) -> None:
    """No standard output at all (`>&-`), or one without the characters of the text: the run goes on to its end."""
    script = """
import sys
from pathlib import Path
from runtime.status import say, soften_streams
soften_streams()
say("naïve")
Path(sys.argv[1]).write_text("done")
"""
    line = [sys.executable, "-c", script]
    assert subprocess.run(["sh", "-c", '"$@" >&-', "sh", *line, str(tmp_path / "closed")], check=False).returncode == 0
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*line, str(tmp_path / "ascii")], env=ascii_only, capture_output=True, check=True)
    assert done.stdout == b"na?ve\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ascii", "closed"]


def test_resume_from_another_run(
    tmp_path: Path, light: dict[str, LightStep], capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan with another learning rate takes the other run's newest checkpoint; one with another seed is refused."""
    assert _run(tmp_path) == 0
    old = layout_of(sealed_plan(), tmp_path)
    checkpoint.save(old.checkpoints, sealed_plan(), {}, Progress(12, 6144, 6144, 1.0, 6.0, 5.0, {}), 1)
    saved = (old.checkpoints / "ba00000012" / "state.pt").read_bytes()
    optimizer = {**sealed_plan().training.optimizer.model_dump(), "lr": 0.001}
    legal, illegal = sealed_plan(training={"optimizer": optimizer}), sealed_plan(seed=18)
    codes = []
    for plan in (legal, illegal):
        path = write_plan(plan, tmp_path / plan.fingerprint / "plan.yaml")
        codes.append(command.main([str(path), "--runs", str(tmp_path / "runs"), "--resume-from", str(old.run)]))
    assert codes == [0, 4]
    assert (layout_of(legal, tmp_path).checkpoints / "ba00000012" / "state.pt").read_bytes() == saved
    assert "RC602" in (shown := capsys.readouterr().err)
    assert "seed: the order of the data would change" in shown


def test_the_command_starts_without_torch() -> None:
    """Looking for starts and teachers, and reusing what is done, waits for no library that takes seconds to import."""
    code = "import sys, runtime.__main__; sys.exit(' '.join({'torch', 'transformers', 'composer'} & set(sys.modules)) or 0)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("deterministic", [False, True])
def test_cublas_is_told_before_its_first_use(monkeypatch: pytest.MonkeyPatch, deterministic: bool) -> None:
    """A step before the training may be the one that uses it first."""
    monkeypatch.setattr(os, "environ", {})
    plan = sealed_plan()
    training = plan.training.model_copy(update={"deterministic": deterministic})
    set_environment(plan.model_copy(update={"training": training}))
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic

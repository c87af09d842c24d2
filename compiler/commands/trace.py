"""`recipec plan --trace`: starts the runtime's trace as a child process, and puts what it saw beside the closed form."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from compiler.job.yaml_out import dump
from compiler.render.console import Exit, warn
from compiler.trace import Comparison, compare
from schemas.plan import RunPlan

__all__ = ["traced"]

_SECONDS = 600


def traced(plan: RunPlan) -> Comparison | int:
    """The comparison, or an exit code after the reason was shown: no torch there, or the trace failed."""
    python = os.environ.get("RECIPEC_PYTHON", sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "plan.yaml")
        file.write_text(dump(plan.model_dump(mode="json", by_alias=True)), encoding="utf-8")
        # -P: a folder `runtime` where the user stands is none of ours; PYTHONPATH: the runtime of this version.
        root = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}
        try:
            done = subprocess.run(
                [python, "-P", "-m", "runtime.tracing.trace", str(file)],
                capture_output=True,
                text=True,
                env=environment,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return _failed(f"{python} can't be asked: {error}", "set RECIPEC_PYTHON to a Python that has torch")
    if done.returncode == 0:
        try:
            return compare(plan, json.loads(done.stdout))
        except json.JSONDecodeError:
            return _failed(f"{python} ran, and gave no trace", "set RECIPEC_PYTHON to a Python that has torch")
    return _told(done, python)


def _told(done: subprocess.CompletedProcess[str], python: str) -> int:
    """Say why a trace ended without a result; returns the exit code."""
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        remedy = "SIGKILL mostly means that memory ran out; a trace takes 1 GB. The plan itself stands without it"
        return _failed(f"the trace was ended by {name}", remedy)
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if "ModuleNotFoundError" in last:
        missing = last.split("'")[1] if "'" in last else "torch"
        return _failed(
            f"`--trace` runs the plan's model on fake tensors, and {python} has no {missing}",
            "pip install 'recipec[run]', or set RECIPEC_PYTHON to a Python that has it; the plan itself needs neither",
        )
    if done.stderr.startswith("error["):
        warn(done.stderr.rstrip())
        return done.returncode if done.returncode in {code.value for code in Exit} else Exit.FAILED
    return _failed(f"the trace failed: {last}", "the plan itself stands without it; please report this with the recipe")


def _failed(message: str, remedy: str) -> int:
    warn(f"error[RC607]: {message}\n  = help: {remedy}")
    return Exit.FAILED

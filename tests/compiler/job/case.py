"""A plan for many GPUs, and a stand-in for Python that writes down what launch scripts call."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from schemas.plan import RunPlan
from tests.factory import tiny_plan

__all__ = ["gpu_plan", "record", "run_local"]

# Answers the script's question for recipec with yes, and writes down every other call.
RECORDER = """#!{python}
import json, os, sys
if sys.argv[2] != "-c":
    keep = ("PYTHONSAFEPATH", "OMP_NUM_THREADS", "HF_HUB_OFFLINE")
    with open({log!r}, "a") as log:
        json.dump({{"argv": sys.argv[1:], "env": {{k: os.environ.get(k) for k in keep}}}}, log)
        log.write("\\n")
"""


def gpu_plan() -> RunPlan:
    """A plan for 2 nodes of 4 GPUs; its batch of 8 samples is one a device."""
    return tiny_plan(
        hardware={"gpu": "h100-sxm-80gb", "count": 8, "per_node": 4},
        parallelism={"strategy": "fsdp", "sharding": "full", "shard_degree": 8, "devices": 8, "nodes": 2},
        training={"microbatch": 1},
        execution={
            "workers": 2,
            "threads": 3,
            "slurm": {"partition": "big", "account": "me", "qos": "high", "time": 90061},
        },
    )


def record(tmp_path: Path) -> tuple[Path, Path]:
    """A stand-in for Python that writes its calls down, and the file it writes to."""
    log, python = tmp_path / "calls.jsonl", tmp_path / "python with spaces"
    python.write_text(RECORDER.format(python=sys.executable, log=str(log)))
    python.chmod(0o755)
    return python, log


def run_local(
    job: Path, cwd: Path, arguments: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    """launch/local.sh of a job folder, started in `cwd`."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("RECIPEC_", "OMP_", "HF_", "NPROC", "CUDA_"))
    }
    return subprocess.run(
        [job / "launch/local.sh", *arguments],
        cwd=cwd,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

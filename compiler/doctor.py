"""`recipec doctor`: what this machine has, what a run needs, and the fix for each difference.

Versions are read from package metadata: importing torch would take seconds, and importing Composer fails where torch
and torchvision don't fit, which is what is to be found out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from schemas.units import format_bytes

__all__ = ["Check", "Status", "check_versions", "examine", "render_checks"]

Status = Literal["ok", "warn", "fail"]
Versions = Mapping[str, str | None]
"""Package -> installed version, or None."""


@dataclass(frozen=True)
class Check:
    """One thing looked at. `fail` means that no run works without the fix."""

    name: str
    status: Status
    found: str
    fix: str = ""


# pytorch.org's table of pairs; Composer imports torchvision always, and another pair breaks that import.
_TORCHVISION: Final = {
    "2.6": "0.21", "2.7": "0.22", "2.8": "0.23", "2.9": "0.24", "2.10": "0.25", "2.11": "0.26",
}  # fmt: skip

# Package -> (first version, first version that is too new) of the two stacks that the test suite runs on.
_DEFAULT: Final = {
    "mosaicml": ("0.32.1", "0.32.2"),
    "mosaicml-streaming": ("0.13.0", "0.13.1"),
    "torch": ("2.7.0", "2.7.1"),
    "numpy": ("2.1", "2.2"),
    "transformers": ("4.57", "5"),
}
_NEWER: Final = {
    "mosaicml": ("0.32.1", "0.32.2"),
    "mosaicml-streaming": ("0.13.0", "0.13.1"),
    "torch": ("2.11", "2.12"),
    "numpy": ("2.5", "2.6"),
    "transformers": ("5.17", "6"),
}
_ALSO_NEEDED: Final = ("torchvision", "tokenizers", "datasets", "pyarrow", "safetensors", "zstandard", "matplotlib")
_INSTALL: Final = "in recipec's folder: pip install -e '.[run]'"

_SHM_BYTES: Final = 1_000_000_000
_DISK_BYTES: Final = 10_000_000_000
# Streaming names its segments so (streaming/base/shared/prefix.py); one that outlived its process blocks the next run.
_STREAMING_SEGMENT: Final = re.compile(
    r"\d{6}_(?:locals|barrier|next_epoch|cache_usage|shard_states|shard_access_times)"
)
_CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "data in S3",
    "HF_TOKEN": "private data and models of the Hugging Face hub",
    "WANDB_API_KEY": "logging to Weights & Biases",
    "MLFLOW_TRACKING_URI": "logging to an MLflow server",
}


def examine() -> tuple[Check, ...]:
    """Look at Python, packages, shared memory, GPUs, disk, names of credentials; changes nothing, asks no network."""
    installed = {name: _version(name) for name in (*_DEFAULT, *_ALSO_NEEDED)}
    return (
        _python(),
        *check_versions(installed),
        _shared_memory(Path("/dev/shm")),  # noqa: S108  # looked at, never written to
        _gpus(),
        *(_disk(name, path) for name, path in (("disk, here", Path.cwd()), ("disk, runs", Path.cwd() / "runs"))),
        *(_credential(name, use) for name, use in _CREDENTIALS.items()),
    )


def render_checks(checks: tuple[Check, ...], format: Literal["text", "json"], *, color: bool = False) -> str:
    """The checks as text, one line each and the fix below it, or as JSON."""
    if format == "json":
        return json.dumps({"format_version": "1.0", "checks": [asdict(check) for check in checks]}, indent=2) + "\n"
    colors = {"ok": "32", "warn": "33", "fail": "1;31"}
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        sign = f"\x1b[{colors[check.status]}m{check.status:<4}\x1b[0m" if color else f"{check.status:<4}"
        lines.append(f"{sign}  {check.name:<{width}}  {check.found}")
        if check.fix:
            lines.append(f"{'':4}  {'':{width}}  = help: {check.fix}")
    return "\n".join(lines) + "\n"


def check_versions(installed: Versions) -> tuple[Check, ...]:
    """Packages against the two stacks that are tested, and the pair of torch and torchvision."""
    missing = [name for name, version in installed.items() if version is None]
    if missing:
        return (Check("packages", "fail", f"missing: {', '.join(missing)}", _INSTALL),)
    found = {name: version for name, version in installed.items() if version is not None}
    return (_stack(found), _pair(found["torch"], found["torchvision"]))


def _stack(found: Mapping[str, str]) -> Check:
    """Which of the stacks this is, by the one that fewer packages leave."""
    stacks = (("default stack", _DEFAULT), ("newer stack", _NEWER))
    name, pins = min(stacks, key=lambda stack: len(_outside(found, stack[1])))
    odd = _outside(found, pins)
    listed = ", ".join(f"{package} {found[package]}" for package in pins)
    if not odd:
        return Check("packages", "ok", f"{name}: {listed}")
    wanted = ", ".join(f"{package} >={pins[package][0]},<{pins[package][1]}" for package in odd)
    return Check("packages", "warn", f"not a tested set: {listed}", f"the {name} has {wanted}")


def _outside(found: Mapping[str, str], pins: Mapping[str, tuple[str, str]]) -> list[str]:
    return [name for name, (low, high) in pins.items() if not _release(low) <= _release(found[name]) < _release(high)]


def _release(version: str) -> tuple[int, ...]:
    """`2.11.0+cu128` -> (2, 11, 0)."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _pair(torch: str, torchvision: str) -> Check:
    minor, vision_minor = (".".join(str(part) for part in _release(version)[:2]) for version in (torch, torchvision))
    found = f"torch {torch}, torchvision {torchvision}"
    if minor not in _TORCHVISION:
        return Check(
            "torch pair", "warn", f"{found}: not known whether they fit", "python -c 'import torchvision' tells"
        )
    if _TORCHVISION[minor] != vision_minor:
        fix = f"pip install 'torchvision=={_TORCHVISION[minor]}.*'"
        return Check("torch pair", "fail", f"{found} don't fit, which breaks `import composer`", fix)
    # cu126 beside cpu: the compiled operators of one don't load into the other.
    builds = {version.partition("+")[2] for version in (torch, torchvision)}
    if len(builds) > 1:
        return Check("torch pair", "warn", f"{found}: of different builds", "install both from one index")
    return Check("torch pair", "ok", found)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _python() -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[:2] in ((3, 11), (3, 12)):
        return Check("python", "ok", found)
    return Check("python", "fail", found, "recipec needs Python 3.11 or 3.12")


def _shared_memory(folder: Path) -> Check:
    """Size of shared memory, which data loaders pass samples through, and segments that a killed run left behind."""
    if not folder.is_dir():
        return Check("shared memory", "warn", f"no {folder}", "data loader workers may fail; use launch.workers: 0")
    usage = shutil.disk_usage(folder)
    found = f"{format_bytes(usage.free)} free of {format_bytes(usage.total)}"
    stale = sorted(path.name for path in folder.iterdir() if _STREAMING_SEGMENT.fullmatch(path.name))
    if stale:
        remedy = (
            "if no run is going on: python -c 'from streaming.base.util import clean_stale_shared_memory as c; c()'"
        )
        return Check(
            "shared memory", "warn", f"{found}; {len(stale)} segments of Streaming, in use or left behind", remedy
        )
    if usage.free < _SHM_BYTES:
        return Check("shared memory", "warn", found, "in a container: docker run --shm-size=8g (or --ipc=host)")
    return Check("shared memory", "ok", found)


def _gpus() -> Check:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Check("gpus", "ok", "none (no nvidia-smi): runs with `gpu: cpu` work")
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        reason = str(getattr(error, "stderr", "") or error).strip().splitlines()
        return Check(
            "gpus", "warn", f"nvidia-smi fails: {reason[0] if reason else 'no reason given'}", "check the driver"
        )
    rows = [line.split(", ") for line in answer.stdout.splitlines() if line.count(", ") == 2]
    if not rows:
        return Check(
            "gpus", "warn", "nvidia-smi shows none", "check the driver, or give the container its GPUs: --gpus all"
        )
    name, memory, driver = rows[0]
    return Check("gpus", "ok", f"{len(rows)} x {name}, {memory}, driver {driver}")


def _disk(name: str, path: Path) -> Check:
    """Free space of the file system that a path is on, or will be."""
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        return Check(name, "fail", f"{there} can't be written", "work in another folder, or choose one with --runs")
    if free < _DISK_BYTES:
        return Check(
            name, "warn", f"{format_bytes(free)} free", "checkpoints and prepared data may need more; --runs moves them"
        )
    return Check(name, "ok", f"{format_bytes(free)} free")


def _credential(name: str, use: str) -> Check:
    """Whether a credential is set; its value is never looked at."""
    return Check(name, "ok", "set" if name in os.environ else f"not set; only needed for {use}")

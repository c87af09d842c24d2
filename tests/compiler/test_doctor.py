"""compiler.doctor: versions, shared memory, GPUs and disk, each with its fix, without importing anything heavy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from compiler.doctor import Check, _shared_memory, check_versions, examine, render_checks

DEFAULT = {
    "mosaicml": "0.32.1", "mosaicml-streaming": "0.13.0", "torch": "2.7.0", "torchvision": "0.22.0", "numpy": "2.1.3",
    "transformers": "4.57.6",
}  # fmt: skip
NEWER = DEFAULT | {"torch": "2.11.0+cu128", "torchvision": "0.26.0+cu128", "numpy": "2.5.1", "transformers": "5.17.0"}


@pytest.mark.parametrize(("versions", "name"), [(DEFAULT, "default stack"), (NEWER, "newer stack")])
def test_tested_stacks_are_fine(versions: dict[str, str], name: str) -> None:
    """Both stacks that the tests run on are recognised, also with a build behind the version."""
    packages, pair = check_versions(versions)
    assert (packages.status, pair.status) == ("ok", "ok")
    assert packages.found.startswith(name)


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"torchvision": "0.21.0"}, "fail", "pip install 'torchvision==0.22.*'"),
        ({"torch": "2.11.0", "torchvision": "0.22.0"}, "fail", "pip install 'torchvision==0.26.*'"),
        ({"torch": "2.10.0", "torchvision": "0.25.1"}, "ok", ""),
        ({"torch": "2.7.0+cpu", "torchvision": "0.22.0+cu126"}, "warn", "install both from one index"),
        ({"torch": "3.0.0", "torchvision": "1.0.0"}, "warn", "python -c 'import torchvision' tells"),
    ],
)
def test_torch_and_torchvision_must_fit(change: dict[str, str], status: str, text: str) -> None:
    """A pair that breaks Composer's import is a failure, with the version to install."""
    pair = check_versions(DEFAULT | change)[-1]
    assert (pair.status, pair.fix) == (status, text)


def test_untested_versions_are_a_warning() -> None:
    """A package outside of the stack is named with the versions that are tested."""
    packages, _ = check_versions(DEFAULT | {"numpy": "2.4.0"})
    assert packages.status == "warn"
    assert packages.fix == "the default stack has numpy >=2.1,<2.2"


def test_missing_packages_are_a_failure() -> None:
    """Nothing runs without the runtime's packages; all missing ones are named at once."""
    (check,) = check_versions({**DEFAULT, "torch": None, "numpy": None})
    assert (check.status, check.found) == ("fail", "missing: torch, numpy")
    assert "[run]" in check.fix


def test_shared_memory_left_behind(tmp_path: Path) -> None:
    """Segments of Streaming are counted; other programs' are not."""
    for name in ("000000_locals", "000003_barrier", "000000_shard_access_times", "sem.mp-1", "000000_other"):
        (tmp_path / name).write_bytes(b"")
    assert "; 3 segments of Streaming" in _shared_memory(tmp_path).found
    assert _shared_memory(tmp_path / "none").status == "warn"


@pytest.mark.parametrize(
    ("script", "status", "found"),
    [
        ("echo 'H200, 143771 MiB, 570.1'; echo 'H200, 143771 MiB, 570.1'", "ok", "2 x H200, 143771 MiB, driver 570.1"),
        (
            "echo 'driver/library version mismatch' >&2; exit 9",
            "warn",
            "nvidia-smi fails: driver/library version mismatch",
        ),
        ("echo 'No devices were found'", "warn", "nvidia-smi shows none"),
    ],
)
def test_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, status: str, found: str) -> None:
    """What nvidia-smi says is told in one line, also when it fails."""
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    gpus = next(check for check in examine() if check.name == "gpus")
    assert (gpus.status, gpus.found) == (status, found)


def test_credentials_are_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A credential's presence is told, its value appears in no format."""
    monkeypatch.setenv("HF_TOKEN", "hf_verysecret")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    checks = examine()
    found = {check.name: check.found for check in checks}
    assert found["HF_TOKEN"] == "set"
    assert found["WANDB_API_KEY"].startswith("not set")
    assert "verysecret" not in render_checks(checks, "text") + render_checks(checks, "json")


def test_nothing_heavy_is_imported() -> None:
    """The doctor must work where `import torch` itself is what is broken."""
    code = "import sys; from compiler.doctor import examine; examine();"
    code += "print([m for m in ('torch', 'torchvision', 'composer', 'numpy', 'transformers') if m in sys.modules])"
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout == "[]\n"


def test_rendering() -> None:
    """Text has a line a check and its fix below; JSON is versioned."""
    checks = (Check("python", "ok", "3.11.9"), Check("torch pair", "fail", "no", "do this"))
    assert render_checks(checks, "text") == (
        "ok    python      3.11.9\nfail  torch pair  no\n                  = help: do this\n"
    )
    assert "\x1b[1;31mfail\x1b[0m" in render_checks(checks, "text", color=True)
    document = json.loads(render_checks(checks, "json"))
    assert document["format_version"] == "1.0"
    assert document["checks"][1] == {"name": "torch pair", "status": "fail", "found": "no", "fix": "do this"}

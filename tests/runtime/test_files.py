"""Folders that are whole or not there: what a full disk leaves, whoever writes."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runtime.errors import RunFailed
from runtime.files import atomic_folder


def test_a_disk_that_fills_up_under_safetensors_is_told(tmp_path: Path) -> None:
    """Its errors are not the system's, and a compressed or exported model is written by it; nothing half-written stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
        with (
            pytest.raises(RunFailed, match="is full") as caught,
            atomic_folder(tmp_path / "export") as folder,
        ):
            save_file({"weight": torch.zeros(1 << 19)}, folder / "model.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.code == "RC604"
    assert list(tmp_path.iterdir()) == []

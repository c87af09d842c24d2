"""Folders that are whole or not there: what a full disk leaves, whoever writes."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from runtime.errors import RunFailed
from runtime.files import atomic_folder, disk_errors, remove_whole


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


@pytest.mark.parametrize(
    ("number", "said", "remedy"),
    [(errno.ENOSPC, "is full", "free space or"), (errno.EACCES, "can't be written", "let this user write there or")],
)
def test_the_remedy_is_for_what_happened(tmp_path: Path, number: int, said: str, remedy: str) -> None:
    """A full disk wants space, one that may not be written wants leave."""
    with pytest.raises(RunFailed, match=said) as caught, disk_errors(tmp_path / "run"):
        raise OSError(number, os.strerror(number), str(tmp_path / "run" / "lock"))
    assert caught.value.code == "RC604"
    assert caught.value.remedy.startswith(remedy)


def test_a_folder_is_removed_whole(tmp_path: Path) -> None:
    """Nothing of it is left, under its own name or a temporary one."""
    (tmp_path / "export" / "adapter").mkdir(parents=True)
    (tmp_path / "export" / "adapter" / "model").write_bytes(b"x")
    remove_whole(tmp_path / "export")
    assert not list(tmp_path.iterdir())

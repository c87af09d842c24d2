"""Checkpoints written whole or not at all, handed over to another plan, and thinned out."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.checkpoint.manifest import FORMAT, MANIFEST, STATE, Progress, folder_name, identity, newest_first
from runtime.files import TEMPORARY_PREFIX, atomic_folder, hash_file, read_json, write_json

if TYPE_CHECKING:
    from schemas.plan import RunPlan

__all__ = ["hand_over", "prune", "save"]


def save(folder: Path, plan: RunPlan, state: dict[str, Any], progress: Progress, world_size: int) -> Path:
    """Write a checkpoint into `folder`, whole or not at all.

    Args:
        folder: holds one folder a checkpoint.
        plan: the one that goes on from it; another one may take it over, see `hand_over`.
        state: tensors and plain values only.
        progress: names the folder.
        world_size: ranks that made it.

    Raises:
        RunFailed: the disk is full or can't be written (RC604).
    """
    target = folder / folder_name(progress.step)
    with atomic_folder(target) as temporary:
        path = temporary / STATE
        _write_state(state, path)
        manifest = {
            "format": FORMAT,
            "plan": identity(plan),
            "world_size": world_size,
            "progress": asdict(progress),
            "files": {STATE: {"bytes": path.stat().st_size, "sha256": hash_file(path)}},
        }
        write_json(temporary / MANIFEST, manifest)
    return target


def _write_state(state: dict[str, Any], path: Path) -> None:
    import torch

    try:
        with path.open("wb") as handle:
            torch.save(state, handle)
    except RuntimeError as error:
        # torch's zip writer fails once more while it closes; the reason is the OSError before that.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def hand_over(folder: Path, plan: RunPlan) -> None:
    """Make a copied checkpoint one of `plan`, which may go on from it: the caller has compared the plans.

    The manifest says who made it, and is written anew, since files of a copy may be shared with the original.
    """
    stored = read_json(folder / MANIFEST)
    (folder / MANIFEST).unlink()
    write_json(folder / MANIFEST, {**stored, "plan": identity(plan), "made_by": stored.get("made_by", stored["plan"])})


def prune(folder: Path, keep: int) -> None:
    """Delete all checkpoints but the newest `keep`."""
    for old in list(newest_first(folder))[keep:]:
        # Renamed first: a kill in between must not leave a checkpoint without its files.
        gone = old.with_name(f"{TEMPORARY_PREFIX}{old.name}-{os.getpid()}")
        os.replace(old, gone)
        shutil.rmtree(gone, ignore_errors=True)

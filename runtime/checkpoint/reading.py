"""The newest checkpoint that is whole, chosen and read without running code; damaged ones are set aside and named."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.checkpoint.manifest import (
    STATE,
    DamagedError,
    Manifest,
    Progress,
    check_files,
    folder_name,
    newest_first,
    read_manifest,
)
from runtime.errors import Refused, first_line
from runtime.status import say

if TYPE_CHECKING:
    from schemas.plan import RunPlan

__all__ = ["Checkpoint", "latest", "newest_cost", "newest_whole", "read"]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been checked and read."""

    folder: Path
    progress: Progress
    state: dict[str, Any]


def latest(folder: Path, plan: RunPlan, *, set_aside: bool = True) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None. Damaged ones are renamed and named to the user (RC603).

    Raises:
        Refused: a whole one belongs to another plan (RC602).
    """
    found = list(newest_first(folder))
    for path in found:
        try:
            return read(path, plan)
        except DamagedError as error:
            aside = _set_aside(path) if set_aside else path
            before = "the one before it is used" if path != found[-1] else "there is none before it"
            say(f"warning[RC603]: the checkpoint {path.name} is damaged: {error}")
            say(f"  = help: it is now {aside}; {before}")
    return None


def newest_whole(folder: Path, at_most: int | None = None, room: Mapping[str, int] | None = None) -> Path | None:
    """The newest checkpoint whose files are what its manifest says; nothing is loaded.

    Args:
        folder: holds checkpoints.
        at_most: their last step.
        room: samples of each source that may have been drawn at most.
    """
    for path in newest_first(folder):
        if at_most is not None and path.name > folder_name(at_most):
            continue
        with contextlib.suppress(DamagedError):
            manifest = read_manifest(path)
            if room is not None and any(n > room.get(name, 0) for name, n in manifest.progress.samples.items()):
                continue
            check_files(path, manifest)
            return path
    return None


def newest_cost(folder: Path) -> tuple[float, int] | None:
    """Seconds of training behind the newest checkpoint, and the ranks that made it; only manifests are read."""
    for path in newest_first(folder):
        with contextlib.suppress(DamagedError):
            found = read_manifest(path)
            return max(0.0, float(found.progress.seconds)), found.world_size
    return None


def read(path: Path, plan: RunPlan) -> Checkpoint:
    """One checkpoint, checked against its manifest, with tensors on the CPU.

    Raises:
        Refused: it belongs to another plan (RC602).
        DamagedError: it is not what was written.
    """
    import torch

    manifest = read_manifest(path)
    _of_this_plan(path, manifest, plan)
    check_files(path, manifest)
    try:
        with torch.serialization.safe_globals([dt.timedelta]):
            state = torch.load(path / STATE, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError) as error:
        reason = f"{STATE} holds more than tensors and plain values, or can't be read"
        raise DamagedError(f"{reason} ({first_line(error)})") from error
    if not isinstance(state, dict) or not isinstance(state.get("state"), dict) or "model" not in state["state"]:
        raise DamagedError(f"{STATE} has no model")
    return Checkpoint(path, manifest.progress, state)


def _of_this_plan(path: Path, manifest: Manifest, plan: RunPlan) -> None:
    if manifest.resume_key != plan.resume_key:
        raise Refused(
            "RC602",
            f"the checkpoint {path} was made by a plan with another model, batch, data or seed "
            f"(resume key {manifest.resume_key[:8]}, this plan has {plan.resume_key[:8]})",
            "run the plan that made it, or remove the run's folder to start anew; `recipec diff` says what differs",
        )
    if manifest.fingerprint != plan.fingerprint:
        # What differs may be the past of the mixture, which only a comparison of both plans shows.
        raise Refused(
            "RC602",
            f"the checkpoint {path} was made by another plan (plan {manifest.fingerprint[:8]}, this is {plan.fingerprint[:8]})",
            "remove it, and give the folder of its run with --resume-from, which compares the two plans",
        )


def _set_aside(path: Path) -> Path:
    number = 0
    while (aside := path.with_name(f"damaged-{path.name}-{number}")).exists():
        number += 1
    os.replace(path, aside)
    return aside

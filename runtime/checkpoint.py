"""Checkpoints on disk: whole or not there, checked by hash, and read without running code.

    checkpoints/ba00000100/state.pt          tensors and plain values: model, optimizer, algorithms, data, random state
    checkpoints/ba00000100/checkpoint.json   manifest: plan, progress, size and sha256 of each file

A folder is written under a temporary name, synced and renamed, so that a kill, a full disk or a power cut leaves the one
before it as it was. `torch.load(weights_only=True)` builds tensors and plain values, and refuses everything else.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import pickle
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from runtime.errors import Refused
from runtime.files import TEMPORARY_PREFIX, atomic_folder, hash_file, read_json, write_json
from runtime.status import say

if TYPE_CHECKING:
    import torch

    from schemas.plan import RunPlan

__all__ = [
    "EMA_STATE",
    "FORMAT",
    "MASK_STATE",
    "Checkpoint",
    "Progress",
    "final_weights",
    "folder_name",
    "hand_over",
    "latest",
    "newest_cost",
    "newest_whole",
    "of_trained",
    "prune",
    "read",
    "save",
    "trained_names",
]

FORMAT = 1
"""Of the manifest and of state.pt; another one is refused."""

MANIFEST = "checkpoint.json"
STATE = "state.pt"
EMA_STATE = "average"
"""Key of averaged weights in an algorithm's state."""

MASK_STATE = "masks"
"""Key of pruning masks in an algorithm's state: True where a weight stays."""

State = dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """What a run has done up to a step, over all ranks and resumptions.

    Args:
        step: optimizer steps done.
        tokens: tokens drawn from the sources.
        trained_tokens: tokens that went through the model; fewer where sequences were cut.
        seconds: wall-clock time of training, without evaluation.
        initial_loss: of the first batch.
        loss: of the last batch.
        samples: drawn, by source.
        phases: samples drawn, by first token of their phase and source.
        padding: tokens drawn that only fill samples up, by source.
        truncated: tokens drawn that were cut off before the model, by source.

    The last three are empty in checkpoints of versions that did not count them.
    """

    step: int
    tokens: int
    trained_tokens: int
    seconds: float
    initial_loss: float
    loss: float
    samples: dict[str, int]
    phases: dict[str, dict[str, int]] = field(default_factory=dict)
    padding: dict[str, int] = field(default_factory=dict)
    truncated: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been checked and read."""

    folder: Path
    progress: Progress
    state: State


class _Manifest(NamedTuple):
    fingerprint: str
    resume_key: str
    progress: Progress
    files: dict[str, tuple[int, str]]
    """Size and sha256 by name."""
    world_size: int


class _DamagedError(Exception):
    """Why a checkpoint can't be used."""


def folder_name(step: int) -> str:
    """ba00000100; sorts by step."""
    return f"ba{step:08d}"


def save(folder: Path, plan: RunPlan, state: State, progress: Progress, world_size: int) -> Path:
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
            "plan": _identity(plan),
            "world_size": world_size,
            "progress": asdict(progress),
            "files": {STATE: {"bytes": path.stat().st_size, "sha256": hash_file(path)}},
        }
        write_json(temporary / MANIFEST, manifest)
    return target


def _identity(plan: RunPlan) -> dict[str, str]:
    return {"name": plan.name, "fingerprint": plan.fingerprint, "resume_key": plan.resume_key}


def hand_over(folder: Path, plan: RunPlan) -> None:
    """Make a copied checkpoint one of `plan`, which may go on from it: the caller has compared the plans.

    The manifest says who made it, and is written anew, since files of a copy may be shared with the original.
    """
    stored = read_json(folder / MANIFEST)
    (folder / MANIFEST).unlink()
    write_json(folder / MANIFEST, {**stored, "plan": _identity(plan), "made_by": stored.get("made_by", stored["plan"])})


def _write_state(state: State, path: Path) -> None:
    import torch

    try:
        with path.open("wb") as handle:
            torch.save(state, handle)
    except RuntimeError as error:
        # torch's zip writer fails once more while it closes; the reason is the OSError before that.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def prune(folder: Path, keep: int) -> None:
    """Delete all checkpoints but the newest `keep`."""
    for old in list(_newest_first(folder))[keep:]:
        # Renamed first: a kill in between must not leave a checkpoint without its files.
        gone = old.with_name(f"{TEMPORARY_PREFIX}{old.name}-{os.getpid()}")
        os.replace(old, gone)
        shutil.rmtree(gone, ignore_errors=True)


def latest(folder: Path, plan: RunPlan, *, set_aside: bool = True) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None. Damaged ones are renamed and named to the user (RC603).

    Raises:
        Refused: a whole one belongs to another plan (RC602).
    """
    found = list(_newest_first(folder))
    for path in found:
        try:
            return read(path, plan)
        except _DamagedError as error:
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
    for path in _newest_first(folder):
        if at_most is not None and path.name > folder_name(at_most):
            continue
        with contextlib.suppress(_DamagedError):
            manifest = _manifest(path)
            if room is not None and any(n > room.get(name, 0) for name, n in manifest.progress.samples.items()):
                continue
            _check_files(path, manifest)
            return path
    return None


def newest_cost(folder: Path) -> tuple[float, int] | None:
    """Seconds of training behind the newest checkpoint, and the ranks that made it; only manifests are read."""
    for path in _newest_first(folder):
        with contextlib.suppress(_DamagedError):
            found = _manifest(path)
            return max(0.0, float(found.progress.seconds)), found.world_size
    return None


def read(path: Path, plan: RunPlan) -> Checkpoint:
    """One checkpoint, checked against its manifest, with tensors on the CPU."""
    import torch

    manifest = _manifest(path)
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
    _check_files(path, manifest)
    try:
        with torch.serialization.safe_globals([dt.timedelta]):
            state = torch.load(path / STATE, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError) as error:
        reason = f"{STATE} holds more than tensors and plain values, or can't be read"
        raise _DamagedError(f"{reason} ({_first_line(error)})") from error
    if not isinstance(state, dict) or not isinstance(state.get("state"), dict) or "model" not in state["state"]:
        raise _DamagedError(f"{STATE} has no model")
    return Checkpoint(path, manifest.progress, state)


def final_weights(found: Checkpoint) -> dict[str, torch.Tensor]:
    """Weights to use: the moving average where the run kept one and it had begun, else those of the last step.

    An average remembers weights from before they were pruned, so masks are applied to it once more.
    """
    algorithms = [state for _, state in found.state["state"].get("algorithms", ())]
    average = next((state[EMA_STATE] for state in algorithms if state.get(EMA_STATE)), None)
    weights: dict[str, torch.Tensor] = dict(average or found.state["state"]["model"])
    for state in algorithms:
        for name, mask in state.get(MASK_STATE, {}).items():
            weights[name] = weights[name].masked_fill(~mask, 0.0)
    return weights


def of_trained(weights: Mapping[str, torch.Tensor], model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Weights without those that are frozen in `model`, whose values come from the start and not from a checkpoint.

    A frozen matrix in 4 bits has its scales beside it, under longer names. Where nothing is frozen, all are there.
    """
    frozen = _names(model, trained=False)
    if not frozen:
        return dict(weights)
    return {name: weight for name, weight in weights.items() if frozen.isdisjoint(_ancestors(name))}


def trained_names(model: torch.nn.Module) -> frozenset[str]:
    """Names of the weights that train, as a checkpoint has them."""
    return _names(model, trained=True)


def _names(model: torch.nn.Module, *, trained: bool) -> frozenset[str]:
    return frozenset(
        name.replace("_fsdp_wrapped_module.", "").removeprefix("module.")
        for name, parameter in model.named_parameters(remove_duplicate=False)  # tied weights have two names
        if parameter.requires_grad is trained
    )


def _ancestors(name: str) -> Iterator[str]:
    """A dotted name, and each name that it continues."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def _newest_first(folder: Path) -> Iterator[Path]:
    yield from sorted((path for path in folder.glob("ba????????") if path.is_dir()), reverse=True)


def _manifest(path: Path) -> _Manifest:
    stored = read_json(path / MANIFEST)
    try:
        if stored["format"] != FORMAT:
            raise _DamagedError(f"its format is {stored['format']}, this version reads {FORMAT}")
        files = {name: (int(file["bytes"]), str(file["sha256"])) for name, file in stored["files"].items()}
        files[STATE]  # without it nothing would be checked
        plan, progress = stored["plan"], Progress(**stored["progress"])
        return _Manifest(str(plan["fingerprint"]), str(plan["resume_key"]), progress, files, int(stored["world_size"]))
    except (KeyError, TypeError, AttributeError, ValueError):
        raise _DamagedError(f"{MANIFEST} is missing or not whole") from None


def _check_files(path: Path, manifest: _Manifest) -> None:
    for name, (num_bytes, digest) in manifest.files.items():
        file = path / name
        size = file.stat().st_size if file.is_file() else None
        if size != num_bytes:
            found = "is missing" if size is None else f"has {size} bytes"
            raise _DamagedError(f"{name} {found}; the manifest says {num_bytes} bytes")
        if hash_file(file) != digest:
            raise _DamagedError(f"{name} is not what was written (sha256)")


def _set_aside(path: Path) -> Path:
    number = 0
    while (aside := path.with_name(f"damaged-{path.name}-{number}")).exists():
        number += 1
    os.replace(path, aside)
    return aside


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]

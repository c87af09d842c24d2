"""What a checkpoint's folder holds: its name, its manifest with the progress and hashes, and whether all that is true."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from runtime.files import hash_file, read_json

if TYPE_CHECKING:
    from schemas.plan import RunPlan

__all__ = [
    "FORMAT",
    "MANIFEST",
    "STATE",
    "DamagedError",
    "Manifest",
    "Progress",
    "check_files",
    "folder_name",
    "identity",
    "newest_first",
    "read_manifest",
]

FORMAT: Final = 1
"""Of the manifest and of state.pt; another one is refused."""

MANIFEST: Final = "checkpoint.json"
STATE: Final = "state.pt"


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


class Manifest(NamedTuple):
    """Who made a checkpoint, how far it had come, and the size and sha256 of each file."""

    fingerprint: str
    resume_key: str
    progress: Progress
    files: dict[str, tuple[int, str]]
    """Size and sha256 by name."""
    world_size: int


class DamagedError(Exception):
    """Why a checkpoint can't be used."""


def folder_name(step: int) -> str:
    """ba00000100; sorts by step."""
    return f"ba{step:08d}"


def newest_first(folder: Path) -> Iterator[Path]:
    """Folders of checkpoints below `folder`, whole or not."""
    yield from sorted((path for path in folder.glob("ba????????") if path.is_dir()), reverse=True)


def identity(plan: RunPlan) -> dict[str, str]:
    """What a manifest says of the plan that made it."""
    return {"name": plan.name, "fingerprint": plan.fingerprint, "resume_key": plan.resume_key}


def read_manifest(path: Path) -> Manifest:
    """The manifest of one checkpoint.

    Raises:
        DamagedError: it is missing, not whole, or of another format.
    """
    stored = read_json(path / MANIFEST)
    try:
        if stored["format"] != FORMAT:
            raise DamagedError(f"its format is {stored['format']}, this version reads {FORMAT}")
        files = {name: (int(file["bytes"]), str(file["sha256"])) for name, file in stored["files"].items()}
        files[STATE]  # without it nothing would be checked
        plan, progress = stored["plan"], Progress(**stored["progress"])
        return Manifest(str(plan["fingerprint"]), str(plan["resume_key"]), progress, files, int(stored["world_size"]))
    except (KeyError, TypeError, AttributeError, ValueError):
        raise DamagedError(f"{MANIFEST} is missing or not whole") from None


def check_files(path: Path, manifest: Manifest) -> None:
    """Compare each file with its size and hash; nothing is loaded.

    Raises:
        DamagedError: one is missing, or differs.
    """
    for name, (num_bytes, digest) in manifest.files.items():
        file = path / name
        size = file.stat().st_size if file.is_file() else None
        if size != num_bytes:
            found = "is missing" if size is None else f"has {size} bytes"
            raise DamagedError(f"{name} {found}; the manifest says {num_bytes} bytes")
        if hash_file(file) != digest:
            raise DamagedError(f"{name} is not what was written (sha256)")

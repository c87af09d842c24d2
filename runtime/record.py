"""What is kept of a step: written when it ends, read to reuse it, and to tell planned from actual."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from runtime.errors import RunFailed
from runtime.files import hash_file, read_json, write_json
from runtime.layout import Layout
from schemas.base import Frozen
from schemas.fingerprint import canonical_json
from schemas.plan import Step, StepKind

__all__ = [
    "ADOPTED",
    "CACHED",
    "FORMAT",
    "Record",
    "is_present",
    "read_record",
    "step_folder",
    "step_key",
    "write_record",
]

FORMAT: Final = 1
"""Part of every key: a change of what steps write makes old results unusable by raising it."""

ADOPTED: Final = "adopted"
"""Key of a training that `--resume-from` took over from another plan."""

CACHED: Final[frozenset[StepKind]] = frozenset({"tokenizer", "prepare", "score", "logits"})
"""Kinds whose output depends on the data alone, so that runs share it."""


class Record(Frozen):
    """One step's result."""

    kind: StepKind
    key: str
    """sha256 over all that the output depends on."""
    inputs: dict[str, str]
    """Keys of the steps that it read, by id."""
    seconds: float
    """Wall-clock time of the work, also when the last run reused it."""
    reused: bool
    values: dict[str, Any]

    @property
    def is_finished(self) -> bool:
        """Whether later steps may read it; a train step that was stopped is not."""
        return bool(self.values.get("status", "finished") == "finished")


def step_key(step: Step, identity: Any, inputs: Mapping[str, str]) -> str:
    """The name of a step's output: equal if and only if kind, identity, inputs' keys and format are equal."""
    content = {"format": FORMAT, "kind": step.kind, "identity": identity, "inputs": dict(inputs)}
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def step_folder(step: Step, key: str, layout: Layout) -> Path:
    """Where the files of a step are."""
    return layout.cache / f"{step.kind}-{key[:16]}" if step.kind in CACHED else layout.run


def read_record(path: Path) -> Record | None:
    """A stored record, or None if it is missing or damaged (then the step is done again)."""
    try:
        return Record.model_validate(read_json(path))
    except ValidationError:
        return None


def write_record(path: Path, record: Record) -> None:
    """Store a record.

    Raises:
        RunFailed: a value is not a finite number (RC606): a diverged run must not pass for a finished one.
    """
    for place, value in _floats(record.values):
        if not math.isfinite(value):
            raise RunFailed(
                "RC606",
                f"the {record.kind} step measured {place} = {value}, which is no number to go on with",
                "lower training.optimizer.lr or add gradient clipping, and compile the recipe again",
            )
    write_json(path, record.model_dump(mode="json"))


def is_present(step: Step, record: Record, layout: Layout) -> bool:
    """Whether the files that a record speaks of are still there."""
    if step.kind in CACHED:
        folder = step_folder(step, record.key, layout)
        stored = read_record(folder / "result.json")
        if stored is None or stored.key != record.key:
            return False
        return step.kind != "tokenizer" or _is_same(folder / "tokenizer.json", stored.values.get("content_sha256"))
    if step.kind == "train":
        return (layout.run / str(record.values.get("checkpoint", ""))).exists()
    if step.kind in ("compress", "export"):
        folder = layout.compressed if step.kind == "compress" else layout.export
        files = record.values.get("files", ())
        # By its hash, about a second a gigabyte: this is what is handed on. Older results have names alone.
        digests = files if isinstance(files, Mapping) else dict.fromkeys(files)
        found = all((folder / name).is_file() and _is_same(folder / name, digest) for name, digest in digests.items())
        return found and (folder / "config.json").is_file()
    return True


def _is_same(path: Path, digest: object) -> bool:
    """Whether a small file is still what a record says; shards are larger, and checked when training begins."""
    return digest is None or (path.is_file() and hash_file(path) == digest)


def _floats(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Every float of a JSON value with its dotted place."""
    if isinstance(value, float):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _floats(item, f"{place}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _floats(item, f"{place}[{i}]")

"""Scores of documents on disk, kept by what they depend on and by the document's digest.

<cache>/scores/<metric>-<hash of its settings>/<hash>.npy: chunks of (digest, score), each whole or not there. Since nothing
says which source, shard or sequence length a document was met in, another run that meets it finds its score.
"""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from runtime.files import remove_stale, write_bytes, write_json
from schemas.fingerprint import canonical_json

__all__ = ["Digests", "ScoreStore", "digests_of"]

Digests = NDArray[np.bytes_]
"""Digests of documents, of type S16."""

_ROW: Final = np.dtype([("digest", "S16"), ("score", "<f4")])
# 20 MB: below it a file is merged with others.
_FULL_ROWS: Final = 1 << 20
_MOST_SMALL_FILES: Final = 64


def digests_of(values: list[bytes]) -> Digests:
    """Digests as an array, which numpy can sort and search."""
    return np.array(values, "S16")


class ScoreStore:
    """Scores by one metric with one set of settings.

    Args:
        folder: of all scores, such as `<cache>/scores`.
        settings: what the scores depend on besides the documents; `metric` is among them.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        key = hashlib.sha256(canonical_json(settings).encode()).hexdigest()[:16]
        self.folder = folder / f"{settings['metric']}-{key}"
        self._settings = settings

    def open(self) -> None:
        """Make the folder, and remove what killed processes left half-written.

        Raises:
            RunFailed: the disk is full or can't be written (RC604).
        """
        if not (self.folder / "settings.json").is_file():
            write_json(self.folder / "settings.json", self._settings)
        remove_stale(self.folder)

    def write(self, digests: Digests, scores: NDArray[np.float32]) -> None:
        """Add a chunk; when this returns it is on the disk, and before that there is nothing.

        Raises:
            RunFailed: the disk is full or can't be written (RC604).
        """
        rows = np.empty(len(digests), _ROW)
        rows["digest"], rows["score"] = digests, scores
        self._write(rows)

    def read(self) -> Iterator[tuple[Digests, NDArray[np.float32]]]:
        """Every chunk. One that is damaged is passed over: its documents are scored again."""
        for path in self._files():
            rows = _load(path)
            if rows is not None:
                yield rows["digest"], rows["score"]

    def compact(self) -> None:
        """Merge small chunks if there are many. What is merged is written before its parts go, so nobody misses a score."""
        small = [path for path in self._files() if path.stat().st_size < _FULL_ROWS * _ROW.itemsize]
        if len(small) <= _MOST_SMALL_FILES:
            return
        waiting: list[Path] = []
        rows: list[NDArray[Any]] = []
        for path in small:
            loaded = _load(path)
            waiting.append(path)
            rows += [] if loaded is None else [loaded]
            if sum(map(len, rows)) >= _FULL_ROWS or path is small[-1]:
                self._write(np.concatenate([np.empty(0, _ROW), *rows]))
                for merged in waiting:
                    merged.unlink(missing_ok=True)
                waiting, rows = [], []

    def _write(self, rows: NDArray[Any]) -> None:
        data = io.BytesIO()
        np.save(data, rows, allow_pickle=False)
        write_bytes(self.folder / f"{uuid.uuid4().hex}.npy", data.getvalue())

    def _files(self) -> Iterator[Path]:
        """All chunks, also those that take the place of others while they are read."""
        done: set[Path] = set()
        while new := sorted(set(self.folder.glob("[0-9a-f]*.npy")) - done):
            for path in new:
                done.add(path)
                if path.is_file():
                    yield path


def _load(path: Path) -> NDArray[Any] | None:
    try:
        rows: NDArray[Any] = np.load(path, allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    return rows if rows.dtype == _ROW and rows.ndim == 1 else None

"""What a source holds, as one hash: equal wherever the files are, different when a byte of them is."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runtime.data import builtin
from runtime.data.documents import describe
from runtime.data.hub import hub_identity
from runtime.data.locate import FoundFile, find_files, find_folder
from runtime.data.mds import read_index
from runtime.errors import DataError
from runtime.files import hash_file
from runtime.images.sources import digits_file, image_files
from schemas.sources import (
    BuiltinSource,
    FilesSource,
    HubSource,
    ImagesSource,
    JsonlSource,
    MdsSource,
    ParquetSource,
    Source,
)

__all__ = ["checked_hash", "content_hash", "source_identity"]


def content_hash(source: Source, roots: tuple[Path, ...], *, offline: bool = False) -> str:
    """sha256 of a source's content, in hexadecimal.

    Local files: over relative name and file hash, in order. `mds`: its index.json. Built in: the Python version too. A
    data set of the hub: the commit that `datasets` would read.

    Raises:
        DataError: nothing matches (RC401), a damaged index (RC408).
        RunFailed: a hub or an object store can't be reached (RC607).
    """
    if isinstance(source, MdsSource):
        return read_index(source, roots).sha256
    if isinstance(source, BuiltinSource):
        return _hash([source.builtin, *_of_builtin(source)])
    if isinstance(source, HubSource):
        folder = find_folder(source.hf, roots)
        if folder is None:
            return _hash([hub_identity(source, offline=offline)])
        files = sorted(
            FoundFile(path.relative_to(folder).as_posix(), path) for path in folder.rglob("*") if path.is_file()
        )
        return _hash(_hashes(files))
    return _hash(_hashes(_files(source, roots)))


def _of_builtin(source: BuiltinSource) -> list[str]:
    if source.builtin == "digits":
        return [hash_file(digits_file())]
    return [platform.python_version(), *_hashes(builtin.library_files())]


def _files(
    source: FilesSource | JsonlSource | ParquetSource | ImagesSource, roots: tuple[Path, ...]
) -> list[FoundFile]:
    if isinstance(source, ImagesSource):
        return image_files(source, roots)
    patterns = (
        source.files
        if isinstance(source, FilesSource)
        else source.jsonl
        if isinstance(source, JsonlSource)
        else source.parquet
    )
    return find_files(patterns, roots)


def checked_hash(name: str, source: Source, roots: tuple[Path, ...], *, offline: bool = False) -> str:
    """`content_hash`, compared with the one that the recipe pins.

    Raises:
        DataError: the content is another than `sha256` says (RC409).
    """
    found = content_hash(source, roots, offline=offline)
    if source.sha256 is not None and source.sha256 != found:
        raise DataError(
            "RC409",
            f"the source `{name}` ({describe(source)}) has changed: `sha256` says {source.sha256}, found {found}",
            f"restore the data, or write `sha256: {found}`",
        )
    return found


def source_identity(name: str, source: Source, roots: tuple[Path, ...], *, offline: bool = False) -> dict[str, Any]:
    """What documents depend on: the content, and how it is read. Not where it is, nor what the plan draws of it."""
    how = source.model_dump(mode="json", include={"text", "column", "content", "split", "config", "on_error"})
    return {**how, "sha256": checked_hash(name, source, roots, offline=offline)}


@functools.lru_cache(maxsize=1 << 16)
def _hash_once(path: Path, size: int, changed_ns: int) -> str:  # noqa: ARG001  # part of the key
    """A file's hash; several steps of a run ask for it, and a corpus is large."""
    return hash_file(path)


def _hashes(files: Iterable[FoundFile]) -> list[str]:
    found = []
    for file in files:
        try:
            status = file.path.stat()
            found += [file.name, _hash_once(file.path, status.st_size, status.st_mtime_ns)]
        except OSError as error:
            raise DataError(
                "RC401", f"{file.path} can't be read: {error.strerror}", "give this user the right to read it"
            ) from error
    return found


def _hash(parts: list[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

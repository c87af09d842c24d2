"""Prepared samples on disk: MDS shards that Streaming reads and validates, and a manifest to check them by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from runtime.data.mds import MdsIndex, check_sizes
from runtime.data.packing import Tokens
from runtime.errors import DataError
from runtime.files import hash_file, read_json, write_json

if TYPE_CHECKING:
    from streaming import MDSWriter

__all__ = ["COLUMN", "MANIFEST", "SampleWriter", "ShardWriter", "damaged", "verify_prepared", "write_manifest"]

COLUMN: Final = "tokens"
"""Name of the only column."""

MANIFEST: Final = "shards.json"

_HASHES: Final = ["sha1", "xxh64"]
_SHARD_BYTES: Final = 1 << 26


class ShardWriter:
    """Writes rows into an MDS folder, which is only there if there is a row; kinds of rows are subclasses with a `write`.

    Args:
        folder: where the shards go.
        columns: names and encodings.
    """

    def __init__(self, folder: Path, columns: Mapping[str, str]) -> None:
        self._folder = folder
        self._columns = dict(columns)
        self._writer: MDSWriter | None = None
        self.rows = 0

    def append(self, row: Mapping[str, Any]) -> None:
        """Append a row, with a value for each column."""
        if self._writer is None:
            from streaming import MDSWriter

            # One thread: shards are written by this process, "uploads" to a folder do nothing.
            self._writer = MDSWriter(
                columns=self._columns, out=str(self._folder), hashes=_HASHES, size_limit=_SHARD_BYTES, max_workers=1
            )
        self._writer.write(dict(row))
        self.rows += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write the last shard and the index, but only if all went well: without an index nothing is read."""
        if self._writer is None:
            return
        if kind is None:
            self._writer.finish()
        else:
            self._writer.cancel_future_jobs()


class SampleWriter(ShardWriter):
    """Writes samples of tokens.

    Args:
        folder: where the shards go.
        dtype: uint16, uint32 or int32.
        sequence_length: tokens of a sample.
    """

    def __init__(self, folder: Path, *, dtype: str, sequence_length: int) -> None:
        super().__init__(folder, {COLUMN: f"ndarray:{dtype}:{sequence_length}"})

    def write(self, sample: Tokens) -> None:
        """Append a sample of shape (sequence_length,)."""
        self.append({COLUMN: sample})


def write_manifest(folder: Path, *, ready_made: MdsIndex | None = None) -> None:
    """Write `shards.json`: size and sha256 of every file below `folder`, or where ready-made shards are."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    listed = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": hash_file(path)} for path in files
    }
    manifest: dict[str, Any] = {"format": 1, "files": listed}
    if ready_made is not None:
        sizes = [{key: shard.get(key) for key in ("raw_data", "zip_data")} for shard in ready_made.shards]
        manifest["ready_made"] = {"remote": ready_made.remote, "sha256": ready_made.sha256, "shards": sizes}
    write_json(folder / MANIFEST, manifest)


def verify_prepared(folder: Path, *, deep: bool = False, split: str = "") -> None:
    """Compare the folder of a `prepare` or `score` step with its manifest: sizes, which takes no time, or every byte.

    Ready-made shards in a folder are compared with the index that they had; those in an object store when fetched.

    Args:
        folder: of the step.
        deep: read all files and compare hashes.
        split: `train` or `heldout` to look at its shards alone.

    Raises:
        DataError: a file is missing, truncated or changed (RC408).
    """
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise damaged(folder, f"{folder / MANIFEST} is missing or damaged")
    for name, expected in manifest["files"].items():
        if not name.startswith(split):
            continue
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != expected["bytes"]:
            found = "is missing" if size is None else f"has {size} bytes"
            raise damaged(folder, f"{path} {found}; it was written with {expected['bytes']} bytes")
        if deep and hash_file(path) != expected["sha256"]:
            raise damaged(folder, f"{path} is not what was written (sha256)")
    if ready := manifest.get("ready_made"):
        check_sizes(MdsIndex(ready["remote"], ready["sha256"], tuple(ready["shards"])))


def damaged(folder: Path, message: str) -> DataError:
    """The error of a step's folder that isn't what was written."""
    return DataError("RC408", message, f"delete {folder} and run again: it is made anew")

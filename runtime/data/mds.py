"""Ready-made MDS shards, in a folder or an object store: index, first sample, and text, one shard on disk at a time."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from runtime.data.locate import find_folder
from runtime.errors import DataError
from runtime.fetching.problems import StoreError
from runtime.fetching.shard_files import check_bytes, is_inside, unpacked
from runtime.fetching.stores import FIRST_CONTACT, PATIENCE, Patience, download, downloader
from schemas.sources import MdsSource

if TYPE_CHECKING:
    from streaming.base.format import Reader

__all__ = ["MdsIndex", "check_sizes", "first_sample", "read_index", "rows", "texts", "token_ids"]


@dataclass(frozen=True)
class MdsIndex:
    """An index.json: where its shards are, and what it says of them.

    Args:
        remote: absolute folder or URL.
        sha256: hash of index.json; it pins the shards where it holds their hashes.
        shards: its entries, as Streaming reads them.
    """

    remote: str
    sha256: str
    shards: tuple[dict[str, Any], ...]

    @property
    def samples(self) -> int:
        """Rows of all shards."""
        return sum(int(shard["samples"]) for shard in self.shards)

    @property
    def columns(self) -> dict[str, str]:
        """Encoding of each column, by the first shard."""
        shard = self.shards[0]
        return dict(zip(shard["column_names"], shard["column_encodings"], strict=True))


def _remote(mds: str, roots: tuple[Path, ...]) -> str:
    if "://" in mds:
        return mds.rstrip("/")
    folder = find_folder(mds, roots)
    if folder is None:
        where = ", ".join(str(root) for root in roots)
        raise DataError(
            "RC401", f"there is no folder `{mds}`; looked in {where}", "check the path, or give an absolute one"
        )
    return str(folder.resolve())


def _fetch(remote: str, name: str, folder: Path, patience: Patience, part: dict[str, Any] | None = None) -> Path:
    """A file of `remote`, copied into `folder` unless it is on this machine already; checked where `part` says how.

    Raises:
        RunError: it is missing or may not be read (RC401, RC607), damaged (RC408), or there is no room (RC604).
    """
    if "://" not in remote:
        return Path(remote, name)
    local, url = folder / name, f"{remote}/{name}"

    def check(path: Path) -> None:
        if part is not None:
            check_bytes(path, part["bytes"], part["hashes"], url)

    try:
        download(downloader(remote), url, local, patience=patience, check=check)
    except StoreError as error:
        raise error.error("" if part is None else "the shard ") from error
    return local


def read_index(source: MdsSource, roots: tuple[Path, ...]) -> MdsIndex:
    """The index of a ready-made source.

    Raises:
        DataError: no such folder or object, or no sample (RC401); not an index of MDS shards (RC408).
        RunFailed: the object store can't be reached (RC607).
    """
    remote = _remote(source.mds, roots)
    with tempfile.TemporaryDirectory(prefix="recipec-") as folder:
        path = _fetch(remote, "index.json", Path(folder), FIRST_CONTACT)
        if not path.is_file():
            raise DataError("RC401", f"{remote} holds no index.json", "give the folder that MDSWriter wrote")
        data = path.read_bytes()
    try:
        shards = tuple(json.loads(data)["shards"])
        index = MdsIndex(remote, hashlib.sha256(data).hexdigest(), shards)
        if not all(_is_readable(shard) for shard in shards):
            raise ValueError
        if index.samples == 0:
            raise DataError("RC401", f"{remote} holds no sample", "write the shards again")
        index.columns  # noqa: B018  # raises where a key is missing
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            "RC408", f"{remote}/index.json is damaged, or not an index of MDS shards", "fetch it again"
        ) from error
    return index


def _is_readable(shard: dict[str, Any]) -> bool:
    files = [shard["raw_data"], *([shard["zip_data"]] if shard["zip_data"] else [])]
    is_mds = shard["format"] == "mds" and shard["version"] == 2 and shard["raw_data"]["bytes"] > 0
    return is_mds and all(is_inside(part["basename"]) for part in files)


def _parts(shard: dict[str, Any]) -> dict[str, Any]:
    """The stored file of a shard: packed where it has one."""
    part: dict[str, Any] = shard["zip_data"] or shard["raw_data"]
    return part


def check_sizes(index: MdsIndex) -> None:
    """Compare each shard's size with the index; shards in an object store are checked when they are fetched.

    Raises:
        DataError: a shard is missing or has another size (RC408).
    """
    if "://" in index.remote:
        return
    for shard in index.shards:
        raw = Path(index.remote, shard["raw_data"]["basename"])
        part = shard["raw_data"] if raw.is_file() else _parts(shard)
        _check_size(Path(index.remote, part["basename"]), part["bytes"])


def _check_size(path: Path, expected: int) -> None:
    try:
        check_bytes(path, expected, {}, str(path))
    except StoreError as error:
        raise _damaged(error) from error


def _damaged(error: StoreError) -> DataError:
    what = "is missing" if error.problem == "missing" else error.reason
    return DataError("RC408", f"the shard {error.url} {what}", "fetch or write the shard again; then run again")


def _open_shard(index: MdsIndex, shard: dict[str, Any], folder: Path) -> Reader:
    """A reader of one shard, checked and unpacked; only columns that can't hold code are accepted."""
    from streaming.base.format import reader_from_json

    raw = shard["raw_data"]
    is_raw = "://" not in index.remote and Path(index.remote, raw["basename"]).is_file()
    part = raw if is_raw else _parts(shard)
    path = _fetch(index.remote, part["basename"], folder, PATIENCE, part)
    try:
        check_bytes(path, part["bytes"], part["hashes"], str(path))
    except StoreError as error:
        raise _damaged(error) from error
    if part is not raw:
        try:
            data = unpacked(path, shard["compression"], str(path))
        except StoreError as error:
            raise _damaged(error) from error
        path = folder / raw["basename"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    # Not the shard's own folder: in an index of merged folders a shard's name holds that.
    reader = reader_from_json(index.remote if is_raw else str(folder), "", shard)
    try:
        reader.validate(allow_unsafe_types=False)
    except ValueError as error:
        raise DataError("RC411", f"{index.remote}: {error}", "write the shards without pickled columns") from error
    return reader


def first_sample(index: MdsIndex, column: str) -> Any:
    """The decoded value of `column` in the first sample."""
    with tempfile.TemporaryDirectory(prefix="recipec-") as folder:
        shard = next(shard for shard in index.shards if shard["samples"])
        return _open_shard(index, shard, Path(folder))[0][column]


def token_ids(value: object) -> npt.NDArray[np.integer[Any]] | None:
    """The token ids that a sample's column holds; None if it holds something else.

    llm-foundry wrote them as bytes of int64 before MDS had arrays.
    """
    if isinstance(value, bytes) and len(value) % 8 == 0:
        return np.frombuffer(value, np.int64)
    return value if isinstance(value, np.ndarray) and value.dtype.kind in "iu" else None


def texts(source: MdsSource, roots: tuple[Path, ...]) -> Iterator[tuple[str, object]]:
    """(place, value) of the column of each sample; see `rows`."""
    for place, row in rows(source, (source.column,), roots):
        yield place, row[source.column]


def rows(source: MdsSource, wanted: Sequence[str], roots: tuple[Path, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(place, all columns) of each sample.

    Raises:
        DataError: nothing there (RC401), a damaged shard (RC408), a wanted column is not there (RC411).
        RunFailed: an object store can't be reached (RC607).
    """
    index = read_index(source, roots)
    for column in wanted:
        if column not in index.columns:
            columns = ", ".join(f"`{name}`" for name in index.columns)
            key = "label" if column == source.label and column != source.column else "column"
            raise DataError(
                "RC411", f"{index.remote} has no column `{column}`; it has {columns}", f"name one with `{key}:`"
            )
    for shard in index.shards:
        with tempfile.TemporaryDirectory(prefix="recipec-") as folder:
            reader = _open_shard(index, shard, Path(folder))
            name = os.path.basename(shard["raw_data"]["basename"])
            for row in range(reader.samples):
                yield f"{index.remote}/{name}:sample {row}", reader[row]

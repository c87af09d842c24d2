"""A folder of MDS shards, here or copied from a store: every file is whole and checked before anything reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from streaming import Stream
from streaming.base.util import wait_for_file_to_exist

from runtime.errors import DataError, first_line
from runtime.fetching.problems import StoreError, disk_full, is_full
from runtime.fetching.shard_files import check_bytes, digest, unpacked
from runtime.fetching.shard_index import open_shards
from runtime.fetching.stores import Patience, download, downloader
from runtime.files import TEMPORARY_PREFIX, remove_stale, temporary_path

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from streaming.base.format import FileInfo, Reader
    from streaming.base.world import World

__all__ = ["ShardStream"]

_INDEX: Final = "index.json"
_POLL_SECONDS: Final = 0.05
# Other ranks wait while the first one of the machine fetches the index, which ends by itself when patience does.
_INDEX_SECONDS: Final = 900.0


class ShardStream(Stream):  # type: ignore[misc]  # streaming has no types
    """Shards of one folder. Copies never have their name before they are whole, so two runs may share a cache.

    Args:
        remote: URL or folder to copy from; None where `local` holds the shards themselves.
        local: folder of the shards, or of their copies.
        index_sha256: of index.json, where it is known: another one is other data.
        patience: how long to ask a store that fails.
    """

    def __init__(self, *, remote: str | None, local: str, index_sha256: str | None, patience: Patience) -> None:
        # Of the parent's downloader nothing is used, and some can't be made without a package that we know to name.
        super().__init__(remote=local, local=local, keep_zip=False)
        self.remote, self._index_sha256, self._patience = remote, index_sha256, patience
        try:
            self._downloader = downloader(remote)
        except StoreError as error:
            raise error.error() from error

    @property
    def is_copy(self) -> bool:
        """Whether shards can be deleted here, since they can be fetched again."""
        return self.remote is not None

    @property
    def place(self) -> str:
        """Where the shards are that a person can mend."""
        return str(self.remote or self.local)

    def get_shards(self, world: World, allow_unsafe_types: bool) -> list[Reader]:
        """Readers of all shards, by the index.

        Raises:
            DataError: there is no index (RC401), it is damaged (RC408), or not the one that was prepared (RC409).
            RunFailed: the store can't be reached (RC607), the disk is full (RC604).
        """
        path = Path(self.local, _INDEX)
        if self.is_copy and world.is_local_leader:
            remove_stale(path.parent)
            self._fetch_index(path)
        elif self.is_copy:
            wait_for_file_to_exist(str(path), _POLL_SECONDS, _INDEX_SECONDS, f"{self.place}/{_INDEX} was not fetched")
        try:
            return open_shards(path.parent, allow_unsafe_types=allow_unsafe_types)
        except (ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
            remedy = f"delete {self.local} and run again: it is made anew"
            raise DataError("RC408", f"the index {path} can't be used: {first_line(error)}", remedy) from error

    def _fetch_index(self, path: Path) -> None:
        if path.is_file() and self._is_index(path):
            return
        path.unlink(missing_ok=True)
        url = f"{self.remote}/{_INDEX}"
        try:
            download(self._downloader, url, path, patience=self._patience, check=self._check_index)
        except StoreError as error:
            raise error.error() from error

    def _is_index(self, path: Path) -> bool:
        if self._index_sha256 is not None:
            return digest(path, "sha256") == self._index_sha256
        try:
            return isinstance(json.loads(path.read_bytes()), dict)
        except ValueError:
            return False

    def _check_index(self, path: Path) -> None:
        url = f"{self.remote}/{_INDEX}"
        try:
            json.loads(path.read_bytes())
        except ValueError as error:
            raise StoreError("damaged", url, "is damaged, or was cut short") from error
        if not self._is_index(path):
            message = f"{url} is not the index that the samples were counted by"
            raise DataError("RC409", message, "restore the shards, or run all steps again: --steps all")

    def set_up_local(self, shards: Sequence[Reader], cache_usage_per_shard: NDArray[Any]) -> None:
        """Say which copies are here, in bytes per shard; those of a wrong size go. Shards that are no copies count 0."""
        if not self.is_copy:
            cache_usage_per_shard[:] = 0
            return
        # One listing, since a call for each of 100,000 shards takes a minute on a network disk.
        sizes = {
            os.path.relpath(os.path.join(folder, name), self.local): os.path.getsize(os.path.join(folder, name))
            for folder, _, names in os.walk(self.local)
            for name in names
            if not name.startswith(TEMPORARY_PREFIX)
        }
        for number, shard in enumerate(shards):
            raw, _ = shard.file_pairs[0]
            found = sizes.get(raw.basename)
            if found is not None and found != raw.bytes:
                self.path(raw).unlink(missing_ok=True)
            cache_usage_per_shard[number] = raw.bytes if found == raw.bytes else 0

    def path(self, part: FileInfo) -> Path:
        """Where a file of a shard is on this machine."""
        return Path(self.local, part.basename)

    def fetch(self, shard: Reader, *, patience: Patience, stopped: Callable[[], bool]) -> None:
        """Make a shard readable: checked where it is, or fetched, checked and unpacked.

        Raises:
            StoreError: it is missing or damaged; its store can't be reached; the disk is full.
        """
        raw, packed = shard.file_pairs[0]  # MDS has one file a shard
        target, url = self.path(raw), f"{self.place}/{raw.basename}"
        if target.is_file():
            try:
                check_bytes(target, raw.bytes, raw.hashes, url)
            except StoreError:
                if not self.is_copy:
                    raise
                target.unlink(missing_ok=True)
            else:
                return
        if not self.is_copy:
            raise StoreError("missing", url, "there is no such file")
        stored, url = packed or raw, f"{self.place}/{(packed or raw).basename}"
        # An object store reads what is there; a path needs no second copy of packed shards, but the code is one.
        arrived = target if packed is None else temporary_path(target).with_suffix(".packed")
        try:
            download(
                self._downloader, url, arrived, patience=patience,
                check=lambda path: check_bytes(path, stored.bytes, stored.hashes, url), stopped=stopped,
            )  # fmt: skip
            if packed is not None:
                self._unpack(arrived, target, shard, url)
        finally:
            if packed is not None:
                arrived.unlink(missing_ok=True)

    def _unpack(self, arrived: Path, target: Path, shard: Reader, url: str) -> None:
        temporary, raw = temporary_path(target), shard.file_pairs[0][0]
        try:
            data = unpacked(arrived, shard.compression, url)
            temporary.write_bytes(data)
            check_bytes(temporary, raw.bytes, raw.hashes, url)
            os.replace(temporary, target)
        except OSError as error:
            if not is_full(error):
                raise
            raise StoreError("full", url, disk_full(target.parent)) from error
        finally:
            temporary.unlink(missing_ok=True)

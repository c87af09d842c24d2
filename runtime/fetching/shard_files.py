"""Whether a file of a shard is what its index says: size and hash; and packed files unpacked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from runtime.errors import first_line
from runtime.fetching.problems import StoreError

__all__ = ["check_bytes", "digest", "is_inside", "unpacked"]

_CHUNK_BYTES: Final = 1 << 20
# The fastest first (xxh64 10 GB/s a core, sha1 1.5 GB/s); any other one that the index has will do.
_PREFERRED: Final = ("xxh3_64", "xxh64", "xxh3_128", "xxh128", "sha1", "blake2b", "md5", "sha256")


def is_inside(name: str) -> bool:
    """Whether a shard's name by its index stays below the index's folder.

    Others may have written the index, and where it says a shard is we write, and delete.
    """
    return bool(name) and not name.startswith("/") and ".." not in name.split("/")


def check_bytes(path: Path, size: int, hashes: Mapping[str, str], url: str) -> None:
    """Compare a file with its index: its size, and a hash where the index has one.

    Args:
        path: the file, here.
        size: bytes by the index.
        hashes: by name of the algorithm; may be empty.
        url: what to call the file.

    Raises:
        StoreError: it is missing or damaged.
    """
    try:
        found = path.stat().st_size
        if found != size:
            raise StoreError("damaged", url, f"has {found:,} bytes; its index says {size:,}")
        name = _chosen(hashes)
        if name is not None and digest(path, name) != hashes[name]:
            raise StoreError("damaged", url, f"is not what its index says ({name})")
    except (FileNotFoundError, IsADirectoryError) as error:
        raise StoreError("missing", url, "there is no such file") from error


def _chosen(hashes: Mapping[str, str]) -> str | None:
    """The hash to compare by: the fastest that the index has and this machine knows."""
    import xxhash

    known = hashlib.algorithms_available | xxhash.algorithms_available
    return next((name for name in (*_PREFERRED, *sorted(hashes)) if name in hashes and name in known), None)


def digest(path: Path, name: str) -> str:
    """The hash of a file's content, in hexadecimal."""
    import xxhash

    found: Any = getattr(xxhash, name)() if name in xxhash.algorithms_available else hashlib.new(name)
    with path.open("rb", buffering=0) as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            found.update(chunk)
    return str(found.hexdigest())


def unpacked(path: Path, compression: str, url: str) -> bytes:
    """The content of a packed file.

    Raises:
        StoreError: it is damaged.
    """
    from streaming.base.compression import decompress

    data = path.read_bytes()
    try:
        return bytes(decompress(compression, data))
    except Exception as error:  # each codec has its own
        raise StoreError("damaged", url, f"can't be unpacked: {first_line(error)}") from error

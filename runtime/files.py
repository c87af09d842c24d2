"""Files that are either whole or not there: written under a temporary name, synced, renamed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from runtime.errors import RunFailed

__all__ = [
    "TEMPORARY_PREFIX",
    "atomic_folder",
    "hash_file",
    "is_alive",
    "is_cache",
    "mark_cache",
    "read_json",
    "remove_stale",
    "remove_whole",
    "sync_tree",
    "temporary_path",
    "write_bytes",
    "write_json",
]

TEMPORARY_PREFIX = ".tmp-"
"""What starts so is never read, and is removed by the next run."""

_CACHE_TAG = "CACHEDIR.TAG"
_CACHE_TEXT = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n# recipec: prepared data, which the next run can make again\n"
)
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_WRITABLE = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST}
_ABANDONED_SECONDS = 86_400


def temporary_path(path: Path) -> Path:
    """A fresh name beside `path` that says who writes it: `.tmp-<host>-<pid>-<random>-<name>`."""
    return path.with_name(f"{TEMPORARY_PREFIX}{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}")


def _host() -> str:
    """Eight hexadecimal digits for this machine's name, which may itself hold dashes."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def mark_cache(folder: Path) -> None:
    """Say in `folder` that all of it can be made again: backups leave it out (bford.info/cachedir), and sources too.

    A cache that others filled may be only for reading; then it stays as it is.
    """
    with contextlib.suppress(OSError, RunFailed):
        if not is_cache(folder):
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / _CACHE_TAG, _CACHE_TEXT)


def is_cache(folder: Path) -> bool:
    """Whether `mark_cache` was here."""
    try:
        return (folder / _CACHE_TAG).read_bytes() == _CACHE_TEXT
    except OSError:
        return False


def remove_stale(folder: Path, *, ours: bool = False) -> None:
    """Remove the temporary files and folders that dead processes left in `folder`.

    A writer on another machine can't be asked, so what it left goes after a day without a change; with `ours` (the
    caller holds the folder's lock) everything temporary goes.
    """
    for path in folder.glob(f"{TEMPORARY_PREFIX}*"):
        host, pid = [*path.name.removeprefix(TEMPORARY_PREFIX).split("-"), "", ""][:2]
        if host == _host() and pid.isdigit():
            stale = not is_alive(int(pid))
        else:
            stale = time.time() - _last_change(path) > _ABANDONED_SECONDS
        if ours or stale:
            _remove(path)


def _last_change(path: Path) -> float:
    newest = 0.0
    for item in (path, *path.rglob("*")):
        with contextlib.suppress(OSError):
            newest = max(newest, item.lstat().st_mtime)
    return newest


def remove_whole(folder: Path) -> None:
    """Remove a folder so that a kill leaves all of it or nothing: renamed to a temporary name first."""
    with disk_errors(folder):
        gone = temporary_path(folder)
        folder.rename(gone)
    _remove(gone)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full or read-only disk into an error with a remedy."""
    try:
        yield
    except Exception as error:
        found = _os_error(error)
        if found is None or found.errno not in _NO_SPACE | _NOT_WRITABLE:
            raise
        # A source that may not be read is another matter than a folder that may not be written.
        if found.errno in _NOT_WRITABLE and not str(found.filename).startswith(str(path.parent)):
            raise
        full = found.errno in _NO_SPACE
        what, mend = ("is full", "free space") if full else ("can't be written", "let this user write there")
        raise RunFailed(
            "RC604",
            f"the disk of {path} {what} ({found.strerror})",
            f"{mend} or choose another folder with --runs, then run the same command again; what was whole is kept",
        ) from error


def _os_error(error: Exception) -> OSError | None:
    """The error of the system; safetensors has one of its own, whose text ends in its number."""
    if isinstance(error, OSError):
        return error
    number = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below `folder` to the disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            _sync(Path(root) / name)
        _sync(Path(root))


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, whole or not at all.

    Raises:
        RunFailed: the disk is full or can't be written (RC604).
    """
    temporary = temporary_path(path)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, path)
            _sync(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of indented JSON with sorted keys and a final newline."""
    write_bytes(path, (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """The JSON value of a file, or None if it is missing or not whole."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None


@contextlib.contextmanager
def atomic_folder(path: Path, *, replace: Callable[[], bool] = lambda: False) -> Iterator[Path]:
    """A temporary folder beside `path` that becomes `path` when the block ends well, and vanishes when it doesn't.

    If `path` is there by then, it stays and ours is removed: another process made it, with the same content. Where
    `replace`, which is asked only then, says yes, it is what gives way.
    """
    temporary, old = temporary_path(path), temporary_path(path)
    with disk_errors(path):
        temporary.mkdir(parents=True)
        try:
            yield temporary
            sync_tree(temporary)
            if path.exists() and replace():
                os.rename(path, old)
            try:
                os.rename(temporary, path)
            except OSError:
                if not path.is_dir():
                    raise
            _sync(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def hash_file(path: Path) -> str:
    """sha256 of a file's content, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()

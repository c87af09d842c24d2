"""A cache disk that is full: copies make room where a limit allows it, or the error says how much is missing and where."""

from __future__ import annotations

import ctypes
import os
import resource
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from streaming.base.world import World

from runtime.errors import RunError
from runtime.fetching.stream import ShardStream
from runtime.fetching.worker_errors import BadSampleError
from tests.runtime.faults.case import BRIEF, dataset_of, fed, shards_of, write_remotes
from tests.runtime.faults.fork import Child

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000


def _limited(run: Path, remotes: dict[str, str], cache: Path, *, index: bool) -> tuple[str, str, str]:
    """What is told where no file may be longer than half a shard; `index`: already when the index is copied."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))

    if index:
        stream = ShardStream(remote=remotes["code"], local=str(cache / "code"), index_sha256=None, patience=BRIEF)
        limit()
        with pytest.raises(RunError) as early:
            stream.get_shards(World.detect(), allow_unsafe_types=False)
        return early.value.code, early.value.message, early.value.remedy
    dataset = dataset_of(run, remotes, cache=cache)
    limit()
    with pytest.raises(BadSampleError) as caught:
        fed(dataset)
    error = caught.value.error()
    return error.code, error.message, error.remedy


@pytest.mark.parametrize("packed", [False, True], ids=["raw", "zstd"])
@pytest.mark.parametrize("index", [True, False], ids=["index", "shard"])
def test_no_room(tmp_path: Path, index: bool, packed: bool) -> None:
    """A file that can't be written is told with its name, the folder and what is free; nothing half-written stays."""
    remotes = write_remotes(tmp_path / "remote", compression="zstd" if packed else None)
    work = partial(_limited, tmp_path / "run", remotes, tmp_path / "cache", index=index)
    code, message, remedy = Child(work, tmp_path / "log").result(60)
    assert code == "RC604"
    assert str(tmp_path / "cache" / "code") in message or str(tmp_path / "cache" / "prose") in message
    assert "bytes free" in message
    assert "cache_limit" in remedy
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.name.startswith(".tmp-")]
    # With room again, the same folder serves.
    expected = fed(dataset_of(tmp_path / "a", remotes, cache=tmp_path / "whole"))
    assert fed(dataset_of(tmp_path / "run", remotes, cache=tmp_path / "cache")) == expected


def _on_small_disk(run: Path, remotes: dict[str, str], disk: Path, other_bytes: int, **changes: Any) -> Any:
    """What is fed with the cache on a disk of 48 kB that others fill in part; or the error's code and message."""
    _mount(disk, "48k")
    (disk / "others").write_bytes(bytes(other_bytes))
    try:
        return fed(dataset_of(run, remotes, cache=disk / "cache", **changes))
    except BadSampleError as caught:
        error = caught.error()
        return error.code, error.message, error.remedy


def _mount(folder: Path, size: str) -> None:
    """A disk of its own for this process, which needs no rights where users may make namespaces."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.geteuid() != 0
    if libc.unshare((_NEW_USER if own else 0) | _NEW_MOUNTS):
        raise PermissionError("namespaces")
    root, private = b"none", 1 << 18 | 1 << 14
    libc.mount(root, b"/", None, private, None)
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, f"size={size}".encode()):
        raise PermissionError("mount")


def _run(child: Child) -> Any:
    try:
        return child.result(60)
    except RuntimeError as error:
        if "PermissionError: namespaces" in str(error) or "PermissionError: mount" in str(error):
            pytest.skip("no disk of its own for a process here; the limit on files' sizes is tested")
        raise


def test_others_fill_the_disk(tmp_path: Path) -> None:
    """A disk that is full before the limit is reached: copies that were read make room, and all samples come in order."""
    remotes = write_remotes(tmp_path / "remote")
    expected = fed(dataset_of(tmp_path / "a", remotes))
    disk = tmp_path / "disk"
    disk.mkdir()
    total = sum(path.stat().st_size for name in remotes for path in shards_of(remotes[name]))
    assert total > 12_000
    # Two pages (4 kB) are left for the copies of 14 shards, besides the two indexes.
    indexes = sum(-(-Path(remotes[name], "index.json").stat().st_size // 4096) for name in remotes)
    others = (12 - indexes - 4) * 4096
    work = partial(_on_small_disk, tmp_path / "b", remotes, disk, others)
    assert _run(Child(partial(work, cache_limit=1_000_000), tmp_path / "log")) == expected
    code, message, remedy = _run(Child(work, tmp_path / "log2"))
    assert code == "RC604"
    assert f"the disk of {disk}/cache/" in message
    assert "(0 bytes free)" in message
    assert "`cache_limit: 50GB`" in remedy

"""Where the files of a source are: globs, looked up below the run's roots, and streams that unpack .gz and .zst."""

from __future__ import annotations

import glob
import io
import os
from collections import deque
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

from runtime.errors import DataError
from runtime.files import is_cache

__all__ = ["FoundFile", "expand", "find_files", "find_folder", "open_unpacked"]

_COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
_LISTED_ROOTS = 4


class FoundFile(NamedTuple):
    """A file of a source.

    Args:
        name: path below the folder that the pattern is relative to, with `/`; the same wherever that folder is.
        path: where it is now.
    """

    name: str
    path: Path


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a folder holds; nothing if it is none."""
    try:
        with os.scandir(folder) as listing:
            return list(listing)
    except (NotADirectoryError, FileNotFoundError):
        return []
    except OSError as error:
        raise DataError(
            "RC401", f"the folder {folder} can't be read: {error.strerror}", "give this user the right to read it"
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _walk(root: Path, pattern: tuple[str, ...]) -> Iterator[Path]:
    """Files below `root` that match a pattern's segments.

    Each real folder is entered once for each rest of the pattern, so loops of links end, and links that point across
    each other take linear time (`glob.glob` follows a loop 40 levels deep). Links to folders come last, so that a file
    is found under its own name first. Wildcards don't enter what this program writes, see `_is_output`.
    """
    seen: set[tuple[str, int]] = set()
    folders, links = deque([(root, pattern)]), deque[tuple[Path, tuple[str, ...]]]()
    while folders or links:
        folder, segments = (folders or links).popleft()
        place = (os.path.realpath(folder), len(segments))
        if place in seen:
            continue
        seen.add(place)
        head, rest = segments[0], segments[1:]
        if head == "**":
            folders.append((folder, rest))
            for entry in _entries(folder):
                if _is_folder(entry) and not entry.name.startswith(".") and not _is_output(folder / entry.name):
                    (links if entry.is_symlink() else folders).append((folder / entry.name, segments))
            continue
        for match in _matches(folder, head):
            if not rest:
                yield from (match,) if match.is_file() else ()
            elif match.is_dir() and not (glob.has_magic(head) and _is_output(match)):
                (links if match.is_symlink() else folders).append((match, rest))


def _is_output(folder: Path) -> bool:
    """Whether a folder is a run's, a job's, or the cache of prepared data.

    `**/*` beside a recipe would else read shards, reports and exported models of the last run as text, and the content of the
    source would change with every run. A pattern that names such a folder reads it.
    """
    if (folder / "plan.yaml").is_file():
        # A run's lock is there before its first step, a job's scripts from the start.
        return (folder / "lock").is_file() or (folder / "launch").is_dir()
    return is_cache(folder)


def _matches(folder: Path, segment: str) -> list[Path]:
    if not glob.has_magic(segment):
        return [folder / segment]
    names = [entry.name for entry in _entries(folder)]
    hidden = segment.startswith(".")
    return [folder / name for name in names if fnmatchcase(name, segment) and (hidden or not name.startswith("."))]


def _anchor(pattern: str) -> tuple[Path, str]:
    """An absolute pattern's folder without wildcards, and the rest."""
    parts = Path(pattern).parts
    plain = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:plain]), "/".join(parts[plain:])


def expand(pattern: str, root: Path) -> list[FoundFile]:
    """Regular files below `root` that match a glob, each real file once, sorted by name; hidden ones need a `.`."""
    segments = tuple(part for part in pattern.split("/") if part not in ("", "."))
    if segments[-1:] == ("**",):
        segments += ("*",)  # all files below
    found: dict[str, FoundFile] = {}
    for path in sorted(_walk(root, segments), key=Path.is_symlink) if segments else ():
        found.setdefault(os.path.realpath(path), FoundFile(_display(os.path.relpath(path, root)), path))
    return sorted(found.values())


def _display(name: str) -> str:
    """A file name as text: bytes that are not UTF-8 are shown as `?`-like marks."""
    return os.fsencode(name).decode("utf-8", "replace")


def find_files(patterns: str | tuple[str, ...], roots: tuple[Path, ...]) -> list[FoundFile]:
    """The files of a source: for each pattern, those below the first root that has any.

    Raises:
        DataError: a pattern matches no file (RC401).
    """
    found: dict[Path, FoundFile] = {}
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        expanded = os.path.expanduser(pattern)
        if os.path.isabs(expanded):
            folder, rest = _anchor(expanded)
            places = [(folder, rest)]
        else:
            places = [(root, expanded) for root in roots]
        matched = next((files for root, rest in places if (files := expand(rest, root))), None)
        if matched is None:
            raise _nothing(pattern, [root for root, _ in places], expanded)
        for file in matched:
            found.setdefault(file.path, file)
    return list(found.values())


def _nothing(pattern: str, looked_in: list[Path], expanded: str) -> DataError:
    folders = [root / expanded for root in looked_in if (root / expanded).is_dir()]
    if folders:
        fix = f"{pattern.rstrip('/')}/**/*"
        return DataError("RC401", f"`{pattern}` is a folder ({folders[0]}), not files", f"write `{fix}`")
    where = ", ".join(str(root) for root in looked_in[:_LISTED_ROOTS])
    remedy = "check the path and the pattern, or give an absolute path"
    return DataError("RC401", f"no file matches `{pattern}`; looked in {where}", remedy)


def find_folder(path: str, roots: tuple[Path, ...]) -> Path | None:
    """The first folder of that name below the roots, or the folder of an absolute path, or None."""
    expanded = Path(path).expanduser()
    places = [expanded] if expanded.is_absolute() else [root / expanded for root in roots]
    return next((place for place in places if place.is_dir()), None)


def open_unpacked(path: Path) -> BinaryIO:
    """A buffered stream of a file's bytes, unpacked by its suffix; a packed file that was cut short raises OSError.

    Arrow unpacks, because the `zstandard` package reads a truncated file as if it were whole.
    """
    compression = _COMPRESSED.get(path.suffix)
    if compression is None:
        return path.open("rb")
    import pyarrow as pa

    return cast("BinaryIO", io.BufferedReader(pa.input_stream(str(path), compression=compression), 1 << 20))

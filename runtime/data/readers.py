"""Documents as each kind of source holds them: one generator a kind, in a fixed order, in memory that doesn't grow.

A reader yields what it finds, whole or broken; `runtime.data.documents` decides what becomes of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from runtime.data import builtin, hub, mds
from runtime.data.locate import FoundFile, find_files, open_unpacked
from runtime.errors import DataError, first_line
from schemas.sources import BuiltinSource, FilesSource, HubSource, JsonlSource, MdsSource, ParquetSource, Source

__all__ = ["Found", "read"]

# Documents may be 50 MB each, so few are held at once.
_PARQUET_ROWS = 64


class Found(NamedTuple):
    """What a reader came across.

    Args:
        place: file, or file and line or row.
        text: the document, or None if it is broken.
        problem: why it is broken.
    """

    place: str
    text: str | None
    problem: str = ""


def read(source: Source, roots: tuple[Path, ...], *, scattered: bool = False, offline: bool = False) -> Iterator[Found]:
    """All documents of a source, in order.

    Args:
        source: what the plan says of it; `mds` only with `content: text`.
        roots: folders in which relative paths are looked up, in turn.
        scattered: take files by the hash of their name, so that the first of them stand for all.
        offline: never ask a hub.

    Raises:
        DataError: nothing matches (RC401), a column is missing (RC407), a shard is damaged (RC408).
        RunFailed: a hub or an object store can't be reached (RC607).
    """
    if isinstance(source, FilesSource):
        yield from _files(_ordered(find_files(source.files, roots), scattered))
    elif isinstance(source, JsonlSource):
        for file in _ordered(find_files(source.jsonl, roots), scattered):
            yield from _jsonl(file, source.text)
    elif isinstance(source, ParquetSource):
        for file in _ordered(find_files(source.parquet, roots), scattered):
            yield from _parquet(file, source.text)
    elif isinstance(source, HubSource):
        yield from _values(hub.texts(source, roots, offline=offline), source.text)
    elif isinstance(source, MdsSource):
        yield from _values(mds.texts(source, roots), source.column)
    elif isinstance(source, BuiltinSource) and source.builtin == "cpython-library":
        yield from _python(_ordered(builtin.library_files(), scattered))
    elif isinstance(source, BuiltinSource) and source.builtin == "cpython-unicode":
        yield from (Found(place, text) for place, text in builtin.characters())
    elif isinstance(source, BuiltinSource) and source.builtin == "cpython-docs":
        yield from (Found(place, text) for place, text in builtin.docs())


def _ordered(files: list[FoundFile], scattered: bool) -> list[FoundFile]:
    if not scattered:
        return files
    return sorted(files, key=lambda file: hashlib.blake2b(file.name.encode(), digest_size=16).digest())


def _files(files: Iterable[FoundFile]) -> Iterator[Found]:
    for file in files:
        try:
            with open_unpacked(file.path) as stream:
                data = stream.read()
            if b"\0" in data:
                yield Found(str(file.path), None, f"binary, not text (a NUL byte at byte {data.index(0)})")
                continue
            yield Found(str(file.path), data.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            yield Found(str(file.path), None, f"not UTF-8 text (byte {error.start})")
        except OSError as error:
            yield Found(str(file.path), None, _reason(error))


def _python(files: Iterable[FoundFile]) -> Iterator[Found]:
    """Source files by their own encoding; those without a right one are no text on any machine, so they are empty."""
    for file in files:
        yield Found(str(file.path), builtin.python_text(file.path))


def _jsonl(file: FoundFile, column: str) -> Iterator[Found]:
    number = 0
    try:
        with open_unpacked(file.path) as stream:
            for number, line in enumerate(stream, start=1):
                if not line.isspace():
                    yield _json_line(line, f"{file.path}:{number}", column)
    except OSError as error:
        yield Found(f"{file.path}:{number + 1}", None, _reason(error))


def _json_line(line: bytes, place: str, column: str) -> Found:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return Found(f"{place}:{error.colno}", None, f"not JSON: {error.msg}")
    except (ValueError, RecursionError) as error:
        return Found(
            place, None, "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else "not JSON that can be read"
        )
    if not isinstance(value, dict):
        return Found(place, None, "not a JSON object")
    if column not in value:
        return Found(place, None, f"no key `{column}`; the line has {_listed(value)} (`text:` names the key)")
    return _value(value[column], place, column)


def _parquet(file: FoundFile, column: str) -> Iterator[Found]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    row = 0
    try:
        with pq.ParquetFile(file.path) as table:
            if column not in table.schema_arrow.names:
                names = _listed(table.schema_arrow.names)
                raise DataError(
                    "RC407", f"{file.path} has no column `{column}`; it has {names}", "name the column with `text:`"
                )
            for batch in table.iter_batches(batch_size=_PARQUET_ROWS, columns=[column]):
                for cell in batch.column(0):
                    row += 1
                    yield _cell(cell, f"{file.path}:row {row}", column)
    except (pa.ArrowException, OSError) as error:
        yield Found(f"{file.path}:row {row + 1}", None, f"not readable as Parquet: {_reason(error)}")


def _cell(cell: object, place: str, column: str) -> Found:
    """One value of an Arrow column (`pyarrow.Scalar`)."""
    try:
        return _value(cell.as_py(), place, column)  # type: ignore[attr-defined]  # pyarrow has no types
    except UnicodeDecodeError:
        return Found(place, None, "not UTF-8 text")


def _values(values: Iterable[tuple[str, object]], column: str) -> Iterator[Found]:
    return (_value(value, place, column) for place, value in values)


def _value(value: object, place: str, column: str) -> Found:
    if value is None:
        return Found(place, "")
    if not isinstance(value, str):
        return Found(place, None, f"`{column}` is {type(value).__name__}, not text")
    return Found(place, value)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(f"`{name[:40]}`" for name in names[:8])
    return shown + (", ..." if len(names) > 8 else "") if names else "none"


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)

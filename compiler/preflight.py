"""What can be seen from here before a launch: whether local data is there. Reads folders, never contents."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path

from compiler.frontend.spans import SpanIndex, format_path
from schemas.data import FilesSource, ImagesSource, JsonlSource, MdsSource, ParquetSource, Source
from schemas.diagnostics import Diagnostic, Severity

__all__ = ["preflight"]


def _patterns(source: Source) -> tuple[tuple[str, ...], str]:
    """Local patterns of a source and the recipe key they stand under."""
    match source:
        case FilesSource(files=said):
            key = "files"
        case JsonlSource(jsonl=said):
            key = "jsonl"
        case ParquetSource(parquet=said):
            key = "parquet"
        case ImagesSource(images=said):
            return (f"{glob.escape(said)}/*/*",), "images"
        case MdsSource(mds=said) if "://" not in said:
            return (f"{glob.escape(said)}/index.json",), "mds"
        case _:
            return (), ""
    return (said if isinstance(said, tuple) else (said,)), key


def _found(pattern: str, roots: tuple[Path, ...]) -> bool:
    for root in roots:
        matches = glob.iglob(pattern, root_dir=root, recursive=True)
        if next(matches, None) is not None:
            return True
    return False


def preflight(sources: Mapping[str, Source], spans: SpanIndex, roots: tuple[Path, ...]) -> Iterator[Diagnostic]:
    """Findings for local sources that match nothing: errors beside the recipe, warnings for absolute paths.

    An absolute path may exist only on the machine that will run the job, so its absence here is no proof.
    """
    for name, source in sources.items():
        patterns, key = _patterns(source)
        for i, pattern in enumerate(patterns):
            if _found(pattern, roots):
                continue
            absolute = Path(pattern).is_absolute()
            index = (i,) if len(patterns) > 1 else ()
            where = "on this machine" if absolute else f"in {' or '.join(dict.fromkeys(str(root) for root in roots))}"
            yield Diagnostic(
                code="RC401",
                message=f"`{pattern}` of source `{name}` matches no file {where}",
                span=spans.nearest("data", "sources", name, key, *index),
                path=format_path(("data", "sources", name, key)),
                help="check the path; relative ones are looked up beside the recipe, then in the current folder",
                severity=Severity.WARNING if absolute else Severity.ERROR,
            )

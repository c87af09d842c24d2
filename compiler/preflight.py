"""What can be seen from here before a launch: whether local data and models are there. Reads folders, never contents."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from pathlib import Path

from compiler.frontend.sequence import PREVIOUS
from compiler.frontend.spans import PathKey, SpanIndex, format_path
from schemas.diagnostics import Diagnostic, Severity
from schemas.recipe import Recipe
from schemas.sources import FilesSource, ImagesSource, JsonlSource, MdsSource, ParquetSource, Source
from schemas.techniques.distillation import Teacher

__all__ = ["models_at_hand", "preflight"]


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


def _folders(recipe: Recipe) -> Iterator[tuple[str, str, PathKey]]:
    """Folders of models that a run reads, what they are for, and where the recipe names them; its start has its own pass."""
    taught = recipe.distillation
    if taught is not None and taught.teacher is not None:
        yield from _of_teacher(taught.teacher, ("distillation", "teacher"))
    for number, teacher in enumerate(taught.teachers if taught is not None else ()):
        yield from _of_teacher(teacher, ("distillation", "teachers", number))
    bias = recipe.evaluation.bias
    if bias is not None and bias.against is not None and "/" in bias.against:
        yield bias.against, "reference", ("evaluation", "bias", "against")


def _of_teacher(teacher: Teacher, path: PathKey) -> Iterator[tuple[str, str, PathKey]]:
    for key in ("folder", "checkpoint"):
        said = getattr(teacher, key)
        if said is not None:
            yield said, "teacher", (*path, key)


def models_at_hand(
    recipe: Recipe, spans: SpanIndex, roots: tuple[Path, ...], order: tuple[str, ...] = ()
) -> Iterator[Diagnostic]:
    """Findings for folders of teachers and references that are not there: errors beside the recipe, warnings for absolute paths.

    Args:
        recipe: of one run.
        spans: of the recipe.
        roots: where relative paths are looked up.
        order: names of the runs of its sequence; one of them that stands alone is read as a folder.
    """
    for name, what, path in _folders(recipe):
        place = Path(name).expanduser()
        if any((root / place).is_dir() for root in roots):
            continue
        help_ = "check the path; relative ones are looked up beside the recipe, then in the current folder"
        if name == PREVIOUS or name in order:
            help_ = f"teacher: {{run: {name}}}   # a run of `sequence`; a text alone is a folder"
        yield Diagnostic(
            code="RC401",
            message=f"the {what} `{name}` is not on this machine",
            span=spans.nearest(*path),
            path=format_path(path),
            reason="its folder is read when the run needs it, which may be hours from now",
            help=help_,
            severity=Severity.WARNING if place.is_absolute() else Severity.ERROR,
        )

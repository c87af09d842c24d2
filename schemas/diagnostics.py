"""A finding is a value: code, place, reason and the line to write. How it looks is a renderer's job."""

from __future__ import annotations

from enum import StrEnum

from schemas.base import Frozen

__all__ = ["Diagnostic", "DiagnosticsError", "Related", "Severity", "Span"]


class Severity(StrEnum):
    """An error stops the compiler; a warning is shown and does not."""

    ERROR = "error"
    WARNING = "warning"


class Span(Frozen):
    """A piece of one line of a file; lines and columns count from 1, `end_column` is exclusive."""

    file: str
    line: int
    column: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Related(Frozen):
    """A second place that belongs to a finding, such as the other side of a conflict."""

    span: Span
    message: str


class Diagnostic(Frozen):
    """One finding about a recipe, its data or its environment."""

    code: str
    """A key of `schemas.codes.CATALOGUE`, such as RC101."""
    message: str
    """What is wrong, in one sentence."""
    span: Span | None = None
    path: str = ""
    """Dotted path in the recipe, such as `training.optimizer.lr`."""
    reason: str = ""
    """Why it can't be accepted, where the message alone doesn't say it."""
    help: str = ""
    """The line to write, or the command to type."""
    label: str = ""
    """Short text beside the caret."""
    severity: Severity = Severity.ERROR
    related: tuple[Related, ...] = ()

    def sort_key(self) -> tuple[str, int, int, str, str]:
        """Files in turn, top to bottom; what has no place comes first."""
        if self.span is None:
            return ("", 0, 0, self.code, self.message)
        return (self.span.file, self.span.line, self.span.column, self.code, self.message)


class DiagnosticsError(Exception):
    """The recipe (or its data) has errors; carries all findings, warnings included, sorted by place."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        self.diagnostics = tuple(sorted(set(diagnostics), key=Diagnostic.sort_key))
        super().__init__("; ".join(f"{d.code} {d.message}" for d in self.diagnostics))

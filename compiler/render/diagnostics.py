"""How findings look: text for people, JSON for programs, workflow commands for GitHub.

Nothing of a recipe reaches the terminal raw: control characters, which could move the cursor or hide text, are shown as
symbols.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from compiler.frontend.spans import OVERRIDES, SpanIndex
from compiler.render.visible import cells, clean, visible
from schemas.codes import CATALOGUE
from schemas.diagnostics import Diagnostic, Severity, Span

__all__ = ["FORMAT_VERSION", "Format", "explain", "render"]

Format = Literal["text", "json", "github"]
FORMAT_VERSION: Final = "1.0"
"""Of the JSON: a minor step adds keys, a major one changes them."""

_LEAST_WIDTH: Final = 40
# A person mends the first ones and asks again; 10,000 would scroll them away.
_MOST_SHOWN: Final = 100
_RESET: Final = "\x1b[0m"
_STYLES: Final = {
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "bold": "\x1b[1m",
    "gutter": "\x1b[1;34m",
    "help": "\x1b[1;36m",
}


def render(
    diagnostics: Iterable[Diagnostic], index: SpanIndex | None, format: Format, color: bool = False, width: int = 100
) -> str:
    """All findings as one text that ends with a newline.

    Args:
        diagnostics: the findings, in the order to show them.
        index: lines of the recipe's files; None if no file was read.
        format: `text` for people, `json` for programs, `github` for annotations in a workflow.
        color: whether text is coloured (a terminal that wants it).
        width: columns of the terminal; text is wrapped and source lines are cut to it.
    """
    found = tuple(diagnostics)
    spans = index if index is not None else SpanIndex()
    if format == "json":
        document = {"format_version": FORMAT_VERSION, "diagnostics": [_json(finding, spans) for finding in found]}
        return json.dumps(document, indent=2) + "\n"
    if format == "github":
        return "".join(f"{_github(finding, spans)}\n" for finding in found)
    return _Text(spans, color, max(width, _LEAST_WIDTH)).render(found)


def explain(code: str, width: int = 88) -> str | None:
    """The page of an error code (any case), or None if there is no such code."""
    entry = CATALOGUE.get(code.strip().upper())
    if entry is None:
        return None
    parts = [f"{code.strip().upper()}: {entry.title}"]
    for head, body in (("Why", entry.why), ("What to do", entry.fix)):
        parts.append(
            f"{head}\n{textwrap.fill(body, width, initial_indent='  ', subsequent_indent='  ', break_on_hyphens=False)}"
        )
    return "\n\n".join(parts) + "\n"


def _why(finding: Diagnostic) -> str:
    entry = CATALOGUE.get(finding.code)
    return finding.reason or (entry.why if entry is not None else "")


def _fix(finding: Diagnostic) -> str:
    entry = CATALOGUE.get(finding.code)
    return finding.help or (entry.fix if entry is not None else "")


# ---- JSON and GitHub


def _json(finding: Diagnostic, spans: SpanIndex) -> dict[str, object]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "message": finding.message,
        "path": finding.path,
        "span": _json_span(finding.span, spans),
        "label": finding.label,
        "reason": _why(finding),
        "help": _fix(finding),
        "related": [{"span": _json_span(item.span, spans), "message": item.message} for item in finding.related],
    }


def _json_span(span: Span | None, spans: SpanIndex) -> dict[str, object] | None:
    if span is None:
        return None
    return {"file": spans.display(span.file), "line": span.line, "column": span.column, "end_column": span.end_column}


def _github(finding: Diagnostic, spans: SpanIndex) -> str:
    """One workflow command; a line feed in it would start another one, so they are escaped."""
    properties: dict[str, str] = {}
    if finding.span is not None and finding.span.file != OVERRIDES:
        span = finding.span
        properties = {"file": spans.display(span.file), "line": str(span.line), "endLine": str(span.line)}
        properties |= {"col": str(span.column), "endColumn": str(span.end_column)}
    properties["title"] = finding.code
    settings = ",".join(f"{key}={_escape(value, ':,')}" for key, value in properties.items())
    parts = (finding.message, finding.label, f"help: {_fix(finding)}")
    return f"::{finding.severity.value} {settings}::{_escape(chr(10).join(clean(part) for part in parts if part))}"


def _escape(text: str, more: str = "") -> str:
    return "".join(f"%{ord(char):02X}" if char in "%\r\n" + more else char for char in text)


# ---- text


class _Cut(NamedTuple):
    """A source line as it is shown, and the columns of the span in it."""

    text: str
    offset: int
    length: int


def _cut(line: str, span: Span, room: int) -> _Cut:
    """Show the part of a line that holds the span's start, at most `room` columns."""
    shown = [visible(char) for char in line]
    start = min(span.column - 1, len(shown))
    end = min(max(span.end_column - 1, start), len(shown))
    first, last = 0, len(shown)
    if cells("".join(shown)) > room:
        first = start
        while first > 0 and cells("".join(shown[first - 1 : start])) < room // 3:
            first -= 1
        last = first
        while last < len(shown) and cells("".join(shown[first : last + 1])) <= room - 2:
            last += 1
    before = ("…" if first else "") + "".join(shown[first:start])
    marked = "".join(shown[start : min(end, last)])
    after = "".join(shown[min(end, last) : last]) + ("…" if last < len(shown) else "")
    return _Cut(before + marked + after, cells(before), max(1, cells(marked)))


class _Text:
    """Text in the manner of rustc: head, place, line with carets, why, help."""

    def __init__(self, spans: SpanIndex, color: bool, width: int) -> None:
        self._spans, self._color, self._width = spans, color, width

    def render(self, found: Sequence[Diagnostic]) -> str:
        explained: set[str] = set()
        blocks: list[str] = []
        for finding in found[:_MOST_SHOWN]:
            # The general reason once for each code; what is particular to the finding always.
            why = finding.reason or (_why(finding) if finding.code not in explained else "")
            if not finding.reason:
                explained.add(finding.code)
            blocks.append("\n".join(self._block(finding, why)))
        if len(found) > _MOST_SHOWN:
            blocks.append(f"and {len(found) - _MOST_SHOWN:,} more, which --format json shows")
        return "\n\n".join([*blocks, self._count(found)]) + "\n"

    def _paint(self, style: str, text: str) -> str:
        return f"{_STYLES[style]}{text}{_RESET}" if self._color and text else text

    def _block(self, finding: Diagnostic, why: str) -> list[str]:
        severity = finding.severity.value
        lines = [
            self._paint(severity, f"{severity}[{finding.code}]") + self._paint("bold", f": {clean(finding.message)}")
        ]
        numbers = [item.line for item in (finding.span, *(other.span for other in finding.related)) if item is not None]
        gutter = len(str(max(numbers, default=0)))
        if finding.span is not None:
            lines += self._snippet(finding.span, finding.label, gutter, mark="^", style=severity)
        for other in finding.related:
            lines += self._snippet(other.span, other.message, gutter, mark="-", style="gutter")
        for name, text in (("why", why), ("help", _fix(finding))):
            lines += self._note(name, text, gutter)
        return lines

    def _snippet(self, span: Span, label: str, gutter: int, *, mark: str, style: str) -> list[str]:
        place = f"{clean(self._spans.display(span.file))}:{span.line}:{span.column}"
        arrow = "-->" if mark == "^" else ":::"
        lines = [f"{' ' * gutter} {self._paint('gutter', arrow)} {place}"]
        source = self._spans.texts.get(span.file, ())
        if not 0 < span.line <= len(source):
            return [*lines, f"{' ' * gutter}  {clean(label)}"] if label else lines
        bar = self._paint("gutter", "|")
        room = self._width - gutter - 4
        cut = _cut(source[span.line - 1].rstrip(), span, room)
        length = min(cut.length, room - cut.offset)
        marks, label = " " * cut.offset + mark * max(1, length), clean(label)
        lines.append(f" {' ' * gutter} {bar}")
        lines.append(f" {self._paint('gutter', f'{span.line:>{gutter}}')} {bar} {cut.text}")
        fits = cut.offset + length + 1 + cells(label) <= room
        tail = f"{marks} {label}" if label and fits else marks
        lines.append(f" {' ' * gutter} {bar} {self._paint(style, tail)}")
        if label and not fits:
            indent = " " * min(cut.offset, max(0, room - cells(label)))
            wrapped = textwrap.wrap(label, room - len(indent), break_on_hyphens=False)
            lines += [f" {' ' * gutter} {bar} {self._paint(style, indent + part)}" for part in wrapped]
        return lines

    def _note(self, name: str, text: str, gutter: int) -> list[str]:
        if not text:
            return []
        head = f" {' ' * gutter} = {name}: "
        room = max(20, self._width - len(head))
        parts: list[str] = []
        for line in text.split("\n"):
            parts += textwrap.wrap(clean(line), room, break_long_words=False, break_on_hyphens=False) or [""]
        first = f" {' ' * gutter} {self._paint('gutter', '=')} {self._paint('help', f'{name}:')} {parts[0]}"
        return [first, *(" " * len(head) + part for part in parts[1:])]

    def _count(self, found: Sequence[Diagnostic]) -> str:
        errors = sum(finding.severity is Severity.ERROR for finding in found)
        warnings = len(found) - errors
        if not found:
            return "no errors"
        words = [
            f"{count} {word}{'s' if count > 1 else ''}"
            for count, word in ((errors, "error"), (warnings, "warning"))
            if count
        ]
        return self._paint("error" if errors else "warning", ", ".join(words))

"""Where each value of a recipe was said, and the text of paths: `data.mixture[0].weights.web`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from compiler.frontend.tree import Entry, Node, PathKey
from schemas.diagnostics import Diagnostic, DiagnosticsError, Span

__all__ = ["OVERRIDES", "PathKey", "RecipeError", "Segment", "SpanIndex", "format_path", "parse_path", "segments"]

OVERRIDES: Final = "--set"
"""The `Span.file` of overrides; `Span.line` is then the number of the override, counted from 1."""

_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_SEGMENT: Final = re.compile(
    r'(?P<dot>\.)?(?P<word>[A-Za-z0-9_][A-Za-z0-9_-]*)|\[(?P<index>\d{1,6})\]|\[(?P<quoted>"(?:[^"\\]|\\.)*")\]'
)


class Segment(NamedTuple):
    """One key or index of a path with its columns (from 0, end exclusive) in the path's text."""

    key: str | int
    start: int
    end: int


def format_path(path: PathKey) -> str:
    """`("data", "mixture", 0, "weights", "web.v2")` -> `data.mixture[0].weights["web.v2"]`."""
    parts: list[str] = []
    for key in path:
        if isinstance(key, int):
            parts.append(f"[{key}]")
        elif _WORD.fullmatch(key):
            parts.append(f".{key}" if parts else key)
        else:
            parts.append(f"[{json.dumps(key)}]")
    return "".join(parts)


def segments(text: str) -> Iterator[Segment]:
    """The segments at the start of a text, as far as it is a path."""
    position = 0
    while match := _SEGMENT.match(text, position):
        word = match["word"]
        if word is not None and (match["dot"] is None) != (position == 0):
            return
        try:
            key = word if word is not None else int(match["index"]) if match["index"] else json.loads(match["quoted"])
        except ValueError:
            return
        yield Segment(key, match.start("word") if word is not None else match.start(), match.end())
        position = match.end()


def parse_path(text: str) -> PathKey:
    """The inverse of `format_path`; also takes `a.0` for a key named `0`.

    Raises:
        ValueError: the text is not a path.
    """
    found = list(segments(text))
    if not found or found[-1].end != len(text):
        raise ValueError(f"not a path: {text!r}")
    return tuple(segment.key for segment in found)


@dataclass(frozen=True, slots=True)
class SpanIndex:
    """Places of a resolved recipe's values.

    `Span.file` is the path relative to the recipe's folder, so it says nothing about the machine; `display` makes it
    clickable.
    """

    root: Node | None = None
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Lines of each file, for the renderers."""
    folder: str = ""
    """Folder of the recipe as the user gave it."""

    def _node(self, path: PathKey) -> Node | None:
        node = self.root
        for key in path:
            if node is None:
                return None
            node = node.child(key)
        return node

    def value(self, *path: str | int) -> Span | None:
        """Place of a value, or None if the recipe doesn't say it."""
        node = self._node(path)
        return node.place.span() if node is not None else None

    def key(self, *path: str | int) -> Span | None:
        """Place of a key, or None if the recipe doesn't say it (or it is an item of a list)."""
        entry = self._entry(path)
        return entry.key.span() if entry is not None else None

    def nearest(self, *path: str | int) -> Span | None:
        """Place of the value, or else of the closest key or item above it that has one."""
        if (found := self.value(*path)) is not None:
            return found
        for length in range(len(path) - 1, -1, -1):
            if (found := self.key(*path[:length]) or self.value(*path[:length])) is not None:
                return found
        return None

    def defined(self, *path: str | int) -> Span | None:
        """Place of the value itself if a variable or an alias gave it, else None."""
        node = self._node(path)
        return node.defined.span() if node is not None and node.defined is not None else None

    def text(self, *path: str | int) -> str | None:
        """The value itself where it is a text, else None."""
        node = self._node(path)
        return node.value if node is not None and isinstance(node.value, str) else None

    def source(self, span: Span) -> str:
        """The piece of text under a span."""
        lines = self.texts.get(span.file, ())
        return lines[span.line - 1][span.column - 1 : span.end_column - 1] if 0 < span.line <= len(lines) else ""

    def display(self, file: str) -> str:
        """A `Span.file` as a path that leads to the file from the current folder."""
        if file == OVERRIDES or not self.folder:
            return file
        return os.path.normpath(os.path.join(self.folder, file))

    def _entry(self, path: PathKey) -> Entry | None:
        if not path or not isinstance(path[-1], str):
            return None
        parent = self._node(path[:-1])
        if parent is None or not isinstance(parent.value, Mapping):
            return None
        return parent.value.get(path[-1])


class RecipeError(DiagnosticsError):
    """The recipe can't be read any further; carries the findings and the lines they point to."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...], spans: SpanIndex) -> None:
        super().__init__(diagnostics)
        self.spans = spans

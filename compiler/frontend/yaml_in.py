"""YAML text -> tree of nodes with places, built here from ruamel's events, so that no text can build an object.

Working on the stream of events, not on ruamel's own tree, keeps hostile input cheap: the reader stops at the value that
breaks a limit, nothing recurses, and an alias costs one addition however much it stands for.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from compiler.frontend.tree import MAX_DEPTH, MAX_VALUES, Entry, Node, Place, Scalar, mapping, sequence
from compiler.frontend.yaml_errors import ReadError, syntax_error
from schemas.diagnostics import Diagnostic, Related

__all__ = ["Locator", "parse", "plain_value", "split_lines"]

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER: Final = re.compile(r"[-+]?\d+(?:_\d+)*|0x[0-9a-fA-F]+|0o[0-7]+", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\d+(?:_\d+)*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_INFINITE: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN: Final = frozenset({".nan", ".NaN", ".NAN"})
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_BREAK: Final = re.compile(r"\r\n|\n|\r")
# Longer whole numbers overflow a float (308 digits) and, past 4300, Python's own int(): they are read as infinite.
_MOST_DIGITS: Final = 300


def split_lines(text: str) -> tuple[str, ...]:
    """Lines as editors count them (not by str.splitlines, which also breaks at form feeds and U+2028)."""
    return tuple(_BREAK.split(text))


class Locator:
    """Turns offsets of a text into places of a file; an override's text starts at some column of its one line."""

    def __init__(self, file: str, text: str, *, line: int = 1, column: int = 1) -> None:
        self.file = file
        self._line, self._column = line, column
        self._starts = [0, *(match.end() for match in _BREAK.finditer(text))]
        self._lines = split_lines(text)

    def place(self, start: int, end: int) -> Place:
        """The place from `start` to `end`, cut at the end of its first line; at least one column wide."""
        row = bisect_right(self._starts, start) - 1
        first = start - self._starts[row]
        stop = end - self._starts[row]
        if row + 1 < len(self._starts) and end >= self._starts[row + 1]:
            stop = len(self._lines[row].rstrip())
        base = self._column if row == 0 else 1
        return Place(self.file, self._line + row, base + first, base + max(stop, first + 1))


def parse(text: str, locator: Locator) -> tuple[Node | None, tuple[Diagnostic, ...]]:
    """Read one YAML document; None if there is none. What can be read past is a diagnostic of the result.

    Raises:
        ReadError: the text can't be read any further.
    """
    builder = _Builder(locator)
    for event in _events(text, locator):
        builder.take(event)
    return builder.root, tuple(builder.diagnostics)


def _events(text: str, locator: Locator) -> Iterator[Event]:
    position = 0
    events = YAML(typ="safe", pure=True).parse(text)
    while True:
        # ruamel raises its own errors, but also ValueError, UnicodeError and others for odd escapes and directives.
        try:
            event = next(events)
        except StopIteration:
            return
        except Exception as error:
            raise ReadError(syntax_error(error, text, position, locator.place)) from error
        position = event.end_mark.index
        yield event


def plain_value(text: str) -> Scalar:
    """The value of a plain scalar by YAML 1.2's core schema; `1_000` is a number too, dates are text."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0 if text[:2] in ("0x", "0o") else 10) if len(text) <= _MOST_DIGITS else math.inf
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INFINITE.fullmatch(text):
        return -math.inf if text.startswith("-") else math.inf
    return math.nan if text in _NAN else text


@dataclass(slots=True)
class _Frame:
    """A collection that is being read."""

    is_mapping: bool
    start: int
    anchor: str | None
    flow: bool
    entries: dict[str, Entry] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    key: tuple[str | None, Place] | None = None
    """The key whose value comes next; its text is None if the value is to be dropped."""
    broken: bool = False


class _Builder:
    """Puts events together to nodes."""

    def __init__(self, locator: Locator) -> None:
        self.root: Node | None = None
        self.diagnostics: list[Diagnostic] = []
        self._place = locator.place
        self._stack: list[_Frame] = []
        self._anchors: dict[str, Node | None] = {}
        self._count = 0
        self._documents = 0

    def take(self, event: Event) -> None:
        """Read the next event."""
        start, end = event.start_mark.index, event.end_mark.index
        match event:
            case DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    help_ = "one file holds one recipe: delete the `---` line and what follows, or make a file of it"
                    self._fatal("RC006", "a second YAML document starts here", start, end, help_=help_)
            case ScalarEvent():
                self._on_scalar(event, start, end)
            case AliasEvent():
                self._on_alias(event.anchor, start, end)
            case MappingStartEvent() | SequenceStartEvent():
                self._on_open(event, start, end)
            case MappingEndEvent() | SequenceEndEvent():
                self._on_close(end)

    def _fatal(self, code: str, message: str, start: int, end: int, *, help_: str = "") -> NoReturn:
        finding = Diagnostic(code=code, message=message, span=self._place(start, end).span(), help=help_)
        raise ReadError((*self.diagnostics, finding))

    def _report(
        self, code: str, message: str, place: Place, help_: str = "", related: tuple[Related, ...] = ()
    ) -> None:
        self.diagnostics.append(Diagnostic(code=code, message=message, span=place.span(), help=help_, related=related))

    def _grow(self, size: int, depth: int, start: int, end: int) -> None:
        self._count += size
        if self._count > MAX_VALUES:
            self._fatal("RC004", f"more than {MAX_VALUES:,} values, aliases written out", start, end)
        if len(self._stack) + depth > MAX_DEPTH:
            self._fatal("RC004", f"nested more than {MAX_DEPTH} levels deep", start, end)

    def _tagged(self, event: ScalarEvent | MappingStartEvent | SequenceStartEvent, place: Place) -> bool:
        """Report a tag; YAML's own `!!str` and the like are refused too: quotes say it plainer."""
        if event.tag is None:
            return False
        tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
        self._report(
            "RC006", f"the tag `{tag}` is not part of a recipe", place, "write the plain value without the tag"
        )
        return True

    def _on_scalar(self, event: ScalarEvent, start: int, end: int) -> None:
        self._grow(1, 1, start, end)
        text, place = event.value, self._place(start, end)
        if _SURROGATE.search(text):
            self._fatal(
                "RC002", "half of a surrogate pair stands alone", start, end, help_="write the character itself"
            )
        broken = self._tagged(event, place)
        plain = event.style is None
        self._deliver(Node(plain_value(text) if plain else text, place, text=text, broken=broken), event.anchor)

    def _on_alias(self, name: str, start: int, end: int) -> None:
        if name not in self._anchors:
            message = f"the alias `*{name}` has no anchor `&{name}` above it"
            self._fatal("RC002", message, start, end, help_=f'if it is text, quote it: "*{name}"')
        node = self._anchors[name]
        if node is None:
            self._fatal("RC004", f"the alias `*{name}` contains itself", start, end, help_="write the value out")
        self._grow(node.size, node.depth, start, end)
        self._deliver(replace(node, place=self._place(start, end), defined=node.place), None)

    def _on_open(self, event: MappingStartEvent | SequenceStartEvent, start: int, end: int) -> None:
        self._grow(1, 1, start, end)
        broken = self._tagged(event, self._place(start, max(end, start + 1)))
        is_mapping = isinstance(event, MappingStartEvent)
        self._stack.append(_Frame(is_mapping, start, event.anchor, bool(event.flow_style), broken=broken))
        if event.anchor is not None:
            self._anchors[event.anchor] = None

    def _on_close(self, end: int) -> None:
        frame = self._stack.pop()
        if frame.flow:
            place = self._place(frame.start, end)
        elif frame.is_mapping and frame.entries:
            place = next(iter(frame.entries.values())).key
        else:
            place = self._place(frame.start, frame.start + 1)
        node = mapping(frame.entries, place) if frame.is_mapping else sequence(frame.items, place)
        self._deliver(replace(node, broken=True) if frame.broken else node, frame.anchor)

    def _deliver(self, node: Node, anchor: str | None) -> None:
        """Hand a finished node to the collection that it stands in."""
        if anchor is not None:
            self._anchors[anchor] = node
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        if not frame.is_mapping:
            frame.items.append(node)
        elif frame.key is None:
            frame.key = (self._key(frame, node), node.place)
        else:
            (key, place), frame.key = frame.key, None
            if node.value is None and not node.text:
                node = replace(node, place=place)  # nothing was written: the key is what can be pointed to
            if key is not None:
                frame.entries[key] = Entry(place, node)

    def _key(self, frame: _Frame, node: Node) -> str | None:
        """The key that a node stands for, or None where its value can't be kept."""
        if isinstance(node.value, dict | tuple):
            frame.broken = True
            self._report("RC006", "a key must be text, not a list or a mapping", node.place)
            return None
        if node.value == "<<":
            frame.broken = True
            help_ = "use an alias for the whole value, `variables:`, or `extends:`"
            self._report("RC006", "merge keys (`<<`) are not part of a recipe", node.place, help_)
            return None
        key = node.text
        if not isinstance(node.value, str):
            shown = key or "nothing"
            help_ = f'"{key}": ...' if key else "give the key a name"
            self._report("RC006", f"a key must be text; found `{shown}`", node.place, help_)
        if key in frame.entries:
            first = frame.entries[key].key
            related = (Related(span=first.span(), message="first written here"),)
            self._report("RC005", f"the key `{key}` stands twice", node.place, "delete one of the two lines", related)
            return None
        return key

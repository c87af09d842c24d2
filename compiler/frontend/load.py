"""A recipe file -> a document: tree of values with places, lines for the renderer, findings that could be read past."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compiler.frontend.spans import RecipeError, SpanIndex
from compiler.frontend.tree import Node
from compiler.frontend.yaml_errors import ReadError
from compiler.frontend.yaml_in import Locator, parse, split_lines
from schemas.diagnostics import Diagnostic, Span

__all__ = ["MAX_BYTES", "Document", "load", "parse_text"]

MAX_BYTES: Final = 1_000_000
# With those that are line ends to YAML 1.1, and so to the parser, but not to YAML 1.2 nor to editors.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")
_LONGEST_SHOWN: Final = 120


@dataclass(frozen=True, slots=True)
class Document:
    """One file, read."""

    root: Node
    lines: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]


def _unreadable(code: str, message: str, help_: str = "", span: Span | None = None) -> ReadError:
    return ReadError((Diagnostic(code=code, message=message, help=help_, span=span),))


def _read(path: Path, shown: str) -> bytes:
    """The bytes of a regular file of at most `MAX_BYTES`; opens neither pipes nor devices, which could block."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise _unreadable("RC001", f"`{shown}` is a folder", "give the path of a recipe in it")
        if not stat.S_ISREG(status.st_mode):
            raise _unreadable("RC001", f"`{shown}` is not a regular file", "save the recipe to a file")
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise _unreadable(
            "RC001", f"`{shown}` does not exist", "check the path; `recipec init` writes a recipe to start from"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise _unreadable("RC001", f"`{shown}` can't be read: {why}") from error
    if len(data) > MAX_BYTES:
        raise _unreadable("RC004", f"`{shown}` is larger than {MAX_BYTES // 1_000_000} MB")
    return data


def _decode(data: bytes, file: str) -> str:
    """UTF-8, with or without a byte-order mark."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        span = Span(file=file, line=line, column=column, end_column=column + 1)
        message = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        raise _unreadable("RC003", message, "save the file as UTF-8 text", span) from None


def parse_text(text: str, locator: Locator) -> tuple[Node | None, tuple[Diagnostic, ...]]:
    """Read YAML text after a look for characters that no text holds.

    Raises:
        ReadError: the text can't be read any further.
    """
    if (match := _CONTROL.search(text)) is not None:
        span = locator.place(match.start(), match.end()).span()
        if match[0] == "\0":
            raise _unreadable("RC003", "a NUL byte: this is not text", "save the recipe as UTF-8 text", span)
        code = ord(match[0])
        escape = f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"
        message = f"the invisible character U+{code:04X} can't stand in YAML"
        raise _unreadable("RC002", message, f'delete it, or write "{escape}" in double quotes', span)
    return parse(text, locator)


def load(path: Path, file: str, shown: str) -> Document:
    """Read one recipe file.

    Args:
        path: the file.
        file: its name in places, relative to the main recipe's folder.
        shown: its name in messages, as the user knows it.

    Raises:
        RecipeError: it can't be read (RC001 to RC004, RC006), or is no mapping (RC010).
    """
    lines: tuple[str, ...] = ()
    folder = os.path.dirname(shown)
    shown = shown if len(shown) <= _LONGEST_SHOWN else f"…{shown[-_LONGEST_SHOWN:]}"
    try:
        data = _read(path, shown)
        lines = split_lines(data.decode("utf-8-sig", "replace"))
        text = _decode(data, file)
        root, diagnostics = parse_text(text, Locator(file, text))
        if root is None or (root.value is None and root.text == ""):
            raise _unreadable("RC010", f"`{shown}` is empty", "`recipec init` writes a recipe to start from")
        if not isinstance(root.value, Mapping):
            kind = "a list" if isinstance(root.value, tuple) else "a single value"
            raise ReadError(
                (
                    *diagnostics,
                    Diagnostic(
                        code="RC010",
                        message=f"a recipe is a mapping; found {kind}",
                        span=root.place.span(),
                        help="name: my-recipe",
                    ),
                )
            )
    except ReadError as error:
        raise RecipeError(error.diagnostics, SpanIndex(texts={file: lines}, folder=folder)) from None
    return Document(root, lines, diagnostics)

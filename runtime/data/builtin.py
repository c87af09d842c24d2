"""Real text that every machine with Python has: the standard library's source code, its documentation, characters' names.

Nothing is imported but `pydoc_data.topics`, a module of plain strings; docstrings are found by parsing.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
import sysconfig
import tokenize
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path

from runtime.data.locate import FoundFile

__all__ = ["characters", "docs", "library_files", "python_text"]

# What is installed beside the library, and tests: 600 files of the latter repeat one another.
_LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}
# Names that only number their character would be two thirds of all.
_NUMBERED = ("CJK ", "HANGUL SYLLABLE", "TANGUT ", "NUSHU ", "KHITAN ")


def library_files() -> list[FoundFile]:
    """The standard library's modules, sorted by name: about 13 MB in CPython 3.11."""
    root = Path(sysconfig.get_path("stdlib"))
    found = []
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in _LEFT_OUT]
        here = Path(folder)
        found += [
            FoundFile((here / name).relative_to(root).as_posix(), here / name) for name in names if name.endswith(".py")
        ]
    return sorted(found)


def python_text(path: Path) -> str:
    """A module's text by the encoding that it declares; empty if it has none that is right."""
    try:
        with tokenize.open(path) as handle:
            return handle.read()
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""


def docs() -> Iterator[tuple[str, str]]:
    """(place, text) of each topic of `pydoc`, then of each module's docstrings."""
    for name, text in sorted(_topics().items()):
        yield f"pydoc topic {name}", text
    for file in library_files():
        yield f"docstrings of {file.name}", _docstrings(file)


def characters() -> Iterator[tuple[str, str]]:
    """(place, text) of each page of Unicode: a line a character, its number and its name; 0.8 MB in 160 pages."""
    for page in range(0, sys.maxunicode + 1, 256):
        named = ((code, unicodedata.name(chr(code), "")) for code in range(page, page + 256))
        lines = [f"U+{code:04X} {name.lower()}" for code, name in named if name and not name.startswith(_NUMBERED)]
        if lines:
            yield f"Unicode page {page >> 8:X}", "\n".join(lines)


def _topics() -> dict[str, str]:
    try:
        from pydoc_data import topics
    except ImportError:  # some distributions package it apart
        return {}
    return dict(topics.topics)


def _docstrings(file: FoundFile) -> str:
    """`module.Class.method`, then what it says, for all of a module; empty if nothing in it is documented."""
    text = python_text(file.path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in old modules
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ""
    module = file.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return "\n\n".join(_documented(tree, module))


def _documented(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> Iterator[str]:
    first = node.body[0] if node.body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        yield f"{name}\n\n{inspect.cleandoc(first.value.value)}"
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _documented(child, f"{name}.{child.name}")

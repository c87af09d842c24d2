"""Text of strangers on a terminal: what it shows, how wide it is, and nothing that could act on the terminal."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["cells", "clean", "clip", "visible"]

_TAB: Final = "    "
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(char: str) -> str:
    """The character, or a symbol for one that would not be seen or would act on the terminal."""
    code = ord(char)
    if char == "\t":
        return _TAB
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd" if unicodedata.category(char) in _HIDDEN else char


def clean(text: str) -> str:
    """The text on one line, with symbols for what would not be seen or would act on the terminal."""
    return "".join(visible(char) for char in text)


def cells(text: str) -> int:
    """Columns that the text takes on a terminal: two for wide characters, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def clip(text: str, room: int) -> str:
    """The text in at most `room` columns; what was cut is told by `…`."""
    if cells(text) <= room:
        return text
    while text and cells(text) > room - 1:
        text = text[:-1]
    return text + "…" if room > 0 else ""

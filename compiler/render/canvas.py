"""Lines, bars and tables of text for any width: what the plan's screen and the sweep's table are made of.

Own code rather than rich, whose console alone takes 145 ms to import: half of what `recipec plan` may take as a process.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from compiler.render.visible import cells, clip

__all__ = ["Canvas", "Cell", "Column", "Line", "Look", "Piece", "dim", "line_cells", "strong", "to_ascii"]

Style = Literal["plain", "strong", "dim", "label", "good", "warn", "bad", "bar"]
_CODES: Final[dict[Style, str]] = {
    "strong": "1",
    "dim": "2",
    "label": "36",
    "good": "32",
    "warn": "33",
    "bad": "31",
    "bar": "34",
}
# Below this a label of its own takes too much of the line.
_NARROW: Final = 64
_LABEL: Final = 9
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_ASCII: Final = str.maketrans(
    {"·": "-", "…": "~", "→": "->", "×": "x", "–": "-", "±": "+-", "█": "#", "░": ".", "─": "-", "≤": "<=", "₂": "2"}
    | dict.fromkeys("▏▎▍▌", ".")
    | dict.fromkeys("▋▊▉", "#")
)


class Piece(NamedTuple):
    """Text in one style."""

    text: str
    style: Style = "plain"


Line = tuple[Piece, ...]
Cell = str | Line


class Look(NamedTuple):
    """What the place that shows the text can do."""

    width: int = 100
    color: bool = False
    unicode: bool = True


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        head: its name; no name in any column is a table without a head.
        right: numbers are aligned at their end.
        rank: columns of the highest rank go first where there is no room; those of rank 0 stay.
    """

    head: str = ""
    right: bool = False
    rank: int = 0


def to_ascii(text: str) -> str:
    """The text for a place that knows ASCII only; other letters become `?`."""
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def _line(cell: Cell) -> Line:
    return (Piece(cell),) if isinstance(cell, str) else cell


def line_cells(line: Cell) -> int:
    """Columns of a line."""
    return sum(cells(piece.text) for piece in _line(line))


class Canvas:
    """Collects the lines of one screen. `row` and `block` stand beside a label, or below it where the room is narrow."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._narrow = look.width < _NARROW
        self._indent = 2 if self._narrow else _LABEL
        self.room = max(24, look.width - self._indent)
        """Columns that a row has."""
        self._lines: list[Line] = []

    def head(self, left: str, right: str) -> None:
        """The first line: a name, and something at the other edge."""
        gap = self._look.width - cells(left) - cells(right)
        if gap < 2:
            self._lines += [(Piece(clip(left, self._look.width), "strong"),), (Piece(right, "dim"),)]
        else:
            self._lines.append((Piece(left, "strong"), Piece(" " * gap), Piece(right, "dim")))

    def gap(self) -> None:
        """An empty line."""
        self._lines.append(())

    def block(self, label: str, body: Iterable[Line]) -> None:
        """Lines under one label; no lines, no label."""
        lines = [part for line in body for part in (self.fit(line, self.room) if line else [line])]
        if not lines:
            return
        if self._narrow and label:
            self._lines.append((Piece(label, "label"),))
            label = ""
        for index, line in enumerate(lines):
            mark = f"{label if index == 0 else '':<{self._indent}}"
            self._lines.append((Piece(mark, "label"), *line) if line else ())

    def lines(self, lines: Iterable[Line]) -> None:
        """Lines as they are, from the left edge."""
        self._lines += lines

    def row(self, label: str, *parts: Cell) -> None:
        """Parts one after the other, as many on a line as there is room for."""
        self.block(label, self.flow(*parts))

    def flow(self, *parts: Cell) -> list[Line]:
        """Parts joined by dots; a line ends between parts, or between words of one that is longer than a line."""
        lines: list[Line] = []
        for part in (_line(part) for part in parts if part):
            joined = (*lines[-1], Piece(" · ", "dim"), *part) if lines else part
            if lines and line_cells(joined) <= self.room:
                lines[-1] = joined
            else:
                lines += self.fit(part, self.room)
        return lines

    def fit(self, line: Line, room: int) -> list[Line]:
        """The line, or as many as it takes in at most `room` columns; these have one style."""
        if line_cells(line) <= room:
            return [line]
        return self.wrap("".join(piece.text for piece in line), room, line[0].style)

    @staticmethod
    def wrap(text: str, room: int, style: Style = "plain") -> list[Line]:
        """A sentence on lines of at most `room` columns; `4 %` stays together."""
        lines = textwrap.wrap(text.replace(" %", "\u00a0%"), max(room, 20), break_on_hyphens=False)
        return [(Piece(line.replace("\u00a0", " "), style),) for line in lines]

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]], room: int | None = None) -> list[Line]:
        """Rows in columns as wide as they need to be; what has no room is left out by rank, then the first one is clipped."""
        room = self.room if room is None else room
        lines = [[_line(cell) for cell in row] for row in rows]
        widths = [
            max(cells(column.head), *(line_cells(row[index]) for row in lines), 0)
            for index, column in enumerate(columns)
        ]
        kept = list(range(len(columns)))
        while sum(widths[index] for index in kept) + 2 * (len(kept) - 1) > room:
            least = max(kept, key=lambda index: (columns[index].rank, index))
            if columns[least].rank == 0:
                break
            kept.remove(least)
        spare = room - 2 * (len(kept) - 1) - sum(widths[index] for index in kept[1:])
        widths[kept[0]] = max(6, min(widths[kept[0]], spare))
        heads: list[Line] = [(Piece(column.head, "dim"),) for column in columns]
        if any(column.head for column in columns):
            lines.insert(0, heads)
        return [
            self._joined([row[i] for i in kept], [columns[i] for i in kept], [widths[i] for i in kept]) for row in lines
        ]

    @staticmethod
    def _joined(row: Sequence[Line], columns: Sequence[Column], widths: Sequence[int]) -> Line:
        line: list[Piece] = []
        for index, (whole, column, width) in enumerate(zip(row, columns, widths, strict=True)):
            fits = line_cells(whole) <= width
            cell = whole if fits else (Piece(clip("".join(piece.text for piece in whole), width), whole[0].style),)
            pad = Piece(" " * (width - line_cells(cell)))
            line += [Piece("  ")] if index else []
            line += [pad, *cell] if column.right else [*cell, pad]
        return tuple(line)

    def bar(self, share: float, length: int, style: Style = "bar") -> Line:
        """A bar of `length` cells, filled to a share, exact to an eighth of a cell."""
        eighths = round(min(max(share, 0.0), 1.0) * length * 8)
        if share > 0:
            eighths = max(eighths, 1)
        full, part = divmod(eighths, 8)
        filled = "█" * full + (_EIGHTHS[part] if part else "")
        return Piece(filled, style), Piece("░" * (length - len(filled)), "dim")

    def beside(self, left: Callable[[int], list[Line]], right: Callable[[int], list[Line]]) -> list[Line]:
        """Two blocks next to each other where there is room for both, else one below the other; each is told its room."""
        gap = 4
        half = (self.room - gap) // 2
        if half < 38:
            return [*left(self.room), *right(self.room)]
        first, second = left(half), right(half)
        longest = max(len(first), len(second))
        first, second = first + [()] * (longest - len(first)), second + [()] * (longest - len(second))
        return [
            (*one, Piece(" " * (half + gap - line_cells(one))), *two) if two else one
            for one, two in zip(first, second, strict=True)
        ]

    def text(self) -> str:
        """All lines, painted if the place has colours, without spaces at their ends."""
        return "\n".join(self._painted(line) for line in self._lines)

    def _painted(self, line: Line) -> str:
        pieces = [piece for piece in line if piece.text]
        while pieces and not pieces[-1].text.strip():
            pieces.pop()
        if pieces:
            pieces[-1] = pieces[-1]._replace(text=pieces[-1].text.rstrip())
        text = ""
        for piece in pieces:
            shown = piece.text if self._look.unicode else to_ascii(piece.text)
            code = _CODES.get(piece.style) if self._look.color else None
            text += f"\x1b[{code}m{shown}\x1b[0m" if code and shown.strip() else shown
        return text


def dim(text: str) -> Line:
    """A line of what is of less weight."""
    return (Piece(text, "dim"),)


def strong(text: str, rest: str = "", note: str = "") -> Line:
    """A line whose first words matter, and what belongs to them."""
    return Piece(text, "strong"), Piece(rest), Piece(note, "dim")

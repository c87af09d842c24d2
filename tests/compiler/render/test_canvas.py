"""Lines, bars and tables: aligned for all letters, never wider than the room, the same in ASCII."""

from __future__ import annotations

import pytest

from compiler.render.canvas import Canvas, Column, Look, Piece, line_cells, to_ascii
from compiler.render.visible import cells, clean, clip


def text(canvas: Canvas, lines: list[tuple[Piece, ...]]) -> list[str]:
    """Lines as text."""
    canvas.lines(lines)
    return canvas.text().split("\n")


def test_a_table_aligns_wide_letters() -> None:
    """Columns are counted in cells of a terminal, where these letters take two."""
    canvas = Canvas(Look(40))
    rows = [["数据", "1"], ["web", "22"]]

    assert text(canvas, canvas.table((Column("source"), Column("n", right=True)), rows)) == [
        "source   n",
        "数据     1",
        "web     22",
    ]


def test_a_table_gives_up_columns_by_rank_and_clips_the_first() -> None:
    """What matters least goes first; what has rank 0 stays."""
    canvas = Canvas(Look(34))  # a row has 24
    columns = (Column("name"), Column("a", rank=2), Column("b", rank=1), Column("c"))
    row = [["n" * 30, "a" * 8, "b" * 8, "c" * 8]]

    lines = text(canvas, canvas.table(columns, row, 24))
    assert lines == ["name            c", f"{'n' * 13}…  {'c' * 8}"]


@pytest.mark.parametrize(
    ("share", "bar"),
    [(0, "░░░░"), (0.001, "▏░░░"), (0.5, "██░░"), (0.53125, "██▏░"), (1, "████"), (7, "████"), (-1, "░░░░")],
)
def test_bars_are_exact_to_an_eighth(share: float, bar: str) -> None:
    """Something is never shown as nothing, and nothing leaves the frame."""
    canvas = Canvas(Look(80))

    assert text(canvas, [canvas.bar(share, 4)]) == [bar]
    assert len(to_ascii(bar)) == 4


def test_parts_flow_and_long_ones_wrap_between_words() -> None:
    """A line ends between parts if it can; a number keeps its sign of percent."""
    canvas = Canvas(Look(32))
    lines = text(canvas, canvas.flow("one", "two", "a part that is longer than a line, within 11 % or so"))

    assert lines == ["one · two", "a part that is longer than a", "line, within 11 % or so"]
    assert all(not line.startswith("%") for line in lines)


def test_blocks_stand_side_by_side_only_where_both_have_room() -> None:
    """Also when one is longer than the other."""
    one: list[tuple[Piece, ...]] = [(Piece("left"),), (Piece("more"),)]

    wide, small = Canvas(Look(100)), Canvas(Look(60))
    assert text(wide, wide.beside(lambda _: one, lambda _: [(Piece("right"),)])) == [f"{'left':<47}right"[:52], "more"]
    assert text(small, small.beside(lambda _: one, lambda _: [(Piece("right"),)])) == ["left", "more", "right"]


def test_only_what_is_visible_reaches_a_terminal() -> None:
    """Escapes, marks of direction and line ends become symbols."""
    assert clean("a\x1b[31m\tb\n\u202e") == "a\u241b[31m    b\u240a\ufffd"
    assert cells("e\u0301") == 1
    assert clip("数据数据", 5) == "数据…"
    assert clip("abc", 3) == "abc"
    assert line_cells((Piece("ab"), Piece("数"))) == 4


def test_ascii_knows_every_sign_that_we_use() -> None:
    """And has a question mark for the rest."""
    assert to_ascii("4 × 2 → 8 · ▏█░ ±1 CO₂e … 数") == "4 x 2 -> 8 - .#. +-1 CO2e ~ ?"

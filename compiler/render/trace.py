"""How a trace beside the closed form looks: a table that fits any terminal."""

from __future__ import annotations

from compiler.render.words import part_word
from compiler.trace import Comparison, Row
from schemas.units import format_bytes

__all__ = ["render_trace"]


def _line(row: Row) -> str:
    closed, traced = format_bytes(round(row.closed_form)), format_bytes(round(row.traced))
    return f"{part_word(row.part):<18}{closed:>13}{traced:>13}{row.difference:>12.1%}"


def render_trace(found: Comparison) -> str:
    """The comparison as text."""
    depths = " and ".join(str(depth) for depth in found.depths)
    whole = len(found.depths) == 1
    lines = [
        f"Memory, reckoned and traced on fake tensors ({found.instant})",
        f"{'':<18}{'closed form':>13}{'trace':>13}{'difference':>12}",
        *(_line(row) for row in found.rows),
        _line(found.total),
        f"traced with {'all ' if whole else ''}{depths} layers" + ("" if whole else f", drawn out to {found.layers}"),
    ]
    if found.untraced:
        shares = ", ".join(f"{part_word(name)} {format_bytes(size)}" for name, size in found.untraced.items())
        lines.append(f"not traced: {shares}")
    return "\n".join(lines)

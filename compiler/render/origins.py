"""The provenance of a plan as a page shows it: one row for each value that somebody decided, and links that lead there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from compiler.frontend.spans import SpanIndex, parse_path
from compiler.job.yaml_out import one_line
from compiler.render.visible import clean
from schemas.plan import Provenance, RunPlan

__all__ = ["Origin", "Origins", "line_of"]

# A value longer than this is a table of its own elsewhere on the page.
_LONGEST_VALUE: Final = 120
_WORDS: Final = {"recipe": "recipe", "default": "default", "pass": "decided"}


@dataclass(frozen=True, slots=True)
class Origin:
    """A row: where it is linked as, the value, who set it, where, and why."""

    id: str
    path: str
    value: str
    kind: str
    where: str
    line: str
    reason: str


class Origins:
    """Provenance of one plan, in its order."""

    def __init__(self, plan: RunPlan, spans: SpanIndex) -> None:
        self._plan, self._spans = plan, spans
        self._values = plan.model_dump(mode="json", by_alias=True, exclude={"provenance"})
        self._ids = {path: f"p{index}" for index, path in enumerate(plan.provenance)}

    def link(self, path: str, shown: str) -> Markup:
        """A number that leads to who set it."""
        key = next((key for key in _keys(path) if key in self._ids), None)
        if key is None:
            return Markup("{}").format(shown)
        why = self._short(self._plan.provenance[key])
        return Markup('<a class="num" href="#{}" title="{}">{}</a>').format(self._ids[key], why, shown)

    def groups(self) -> list[tuple[str, list[Origin]]]:
        """Rows by section of the plan."""
        found: dict[str, list[Origin]] = {}
        for path, provenance in self._plan.provenance.items():
            found.setdefault(str(parse_path(path)[0]), []).append(self._origin(path, provenance))
        return list(found.items())

    def _origin(self, path: str, provenance: Provenance) -> Origin:
        line = self._line(provenance) if provenance.origin == "recipe" else ""
        return Origin(
            id=self._ids[path],
            path=path,
            value=self._value(path),
            kind=_WORDS[provenance.origin],
            where=clean(provenance.where),
            line=line,
            reason=clean(provenance.reason),
        )

    def _line(self, provenance: Provenance) -> str:
        """The recipe's line that set the value."""
        file, number, _ = provenance.where.rsplit(":", 2)  # from the right: a file's name may hold colons
        return line_of(self._spans, file, int(number))

    def _value(self, path: str) -> str:
        value: Any = self._values
        for key in parse_path(path):
            value = value[key]
        text = clean(value if isinstance(value, str) else one_line(value))
        return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"

    def _short(self, provenance: Provenance) -> str:
        kind = {"recipe": "set by", "default": "default of", "pass": "decided by the pass"}[provenance.origin]
        return clean(f"{kind} {provenance.where}" + (f": {provenance.reason}" if provenance.reason else ""))


def line_of(spans: SpanIndex, file: str, number: int) -> str:
    """A line of a recipe's file, counted from 1; empty if it was not read."""
    lines = spans.texts.get(file, ())
    return clean(lines[number - 1].strip()) if 0 < number <= len(lines) else ""


def _keys(path: str) -> list[str]:
    """The path and those around it, inside out."""
    parts = path.split(".")
    return [".".join(parts[:length]) for length in range(len(parts), 0, -1)]

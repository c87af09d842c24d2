"""Who set a value: worked out for every leaf of a section when a pass fills it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from compiler.frontend.spans import PathKey, SpanIndex, format_path, parse_path
from schemas.diagnostics import Span
from schemas.plan import Provenance
from schemas.recipe import Recipe

__all__ = ["Because", "From", "Origins", "Reason", "leaves", "lookup"]


@dataclass(frozen=True)
class From:
    """The value is what the recipe (or a default of it) says at `path`; `note` says what was done with it, if anything."""

    path: str
    note: str = ""


@dataclass(frozen=True)
class Reason:
    """A pass decided it, by this formula or rule."""

    text: str


Because = From | Reason


def leaves(value: Any, path: PathKey = ()) -> Iterator[tuple[PathKey, Any]]:
    """Path and value of everything that is not a section or a list; empty ones count as values."""
    if isinstance(value, BaseModel):
        value = {(info.alias or name): getattr(value, name) for name, info in type(value).model_fields.items()}
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, tuple | list) and value and not hasattr(value, "_fields"):
        for i, item in enumerate(value):
            yield from leaves(item, (*path, i))
    else:
        yield path, value


def _ancestors(path: PathKey) -> Iterator[PathKey]:
    """The path itself, then each of its parents, inside out."""
    return (path[:length] for length in range(len(path), 0, -1))


def lookup(provenance: Mapping[str, Provenance], path: PathKey) -> Provenance | None:
    """The provenance of a value: its own, or that of the closest part of the plan around it."""
    return next((found for p in _ancestors(path) if (found := provenance.get(format_path(p)))), None)


def _description(path: PathKey) -> str | None:
    """Description of a recipe field, or None if the language has none of this path."""
    current: Any = Recipe
    description: str | None = None
    for part in path:
        if not (isinstance(current, type) and issubclass(current, BaseModel)):
            return description
        info = current.model_fields.get(str(part))
        if info is None:
            return None
        description = info.description or ""
        current = info.annotation
    return description


class Origins:
    """Works out provenance against the places of one recipe."""

    def __init__(self, spans: SpanIndex) -> None:
        self._spans = spans

    def of(self, name: str, section: Any, because: Mapping[str, Because]) -> dict[str, Provenance]:
        """Path -> provenance of a section, as coarse as the reasons are."""
        reasons = {(name, *(parse_path(key) if key else ())): why for key, why in because.items()}
        found: dict[str, Provenance] = {}
        for path, _ in leaves(section, (name,)):
            key = next((p for p in _ancestors(path) if p in reasons), path)
            text = format_path(key)
            if text not in found:
                found[text] = self._one(key, reasons.get(key))
        return found

    def _one(self, path: PathKey, why: Because | None) -> Provenance:
        match why:
            case Reason(text):
                return Provenance(origin="pass", where=str(path[0]), reason=text)
            case From(recipe_path, note):
                return self._taken(parse_path(recipe_path), note)
        return self._taken(path, "")

    def _taken(self, path: PathKey, note: str) -> Provenance:
        """The recipe's line for `path`, or its default."""
        span = self._said(path)
        if span is not None:
            return Provenance(origin="recipe", where=str(span), reason=note)
        description = _description(path)
        if description is None:
            raise RuntimeError(f"no reason is given for {format_path(path)}, and a recipe has no such key")
        return Provenance(origin="default", where=format_path(path), reason=note or description)

    def _said(self, path: PathKey) -> Span | None:
        """Place of the value; `precision: bf16` says `precision.compute` with one word in its parent's place."""
        node = self._spans.root
        for key in path:
            if node is None:
                return None
            if not isinstance(node.value, Mapping | tuple):
                break
            node = node.child(key)
        return node.place.span() if node is not None else None

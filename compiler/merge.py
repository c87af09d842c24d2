"""Fragments to algorithms: all claims are compared over the untouched draft, then merged in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from compiler.draft import Draft
from compiler.frontend.spans import PathKey, format_path, parse_path
from compiler.lineage.carried import carried
from compiler.lowering import lower
from schemas.diagnostics import Diagnostic, Related, Severity, Span
from schemas.fragment import Fragment
from schemas.techniques import TECHNIQUES, Technique

__all__ = ["Lowered", "conflicts", "lowered", "unmet"]


@dataclass(frozen=True)
class Lowered:
    """A technique of the recipe with its place and what it contributes."""

    kind: str
    path: PathKey
    fragment: Fragment


def _said(draft: Draft) -> Iterator[tuple[str, PathKey, Technique]]:
    """Techniques that the recipe lists, in the order of `TECHNIQUES`, so that the recipe's order never matters."""
    for kind, (knobs, home) in TECHNIQUES.items():
        value: object = draft.recipe
        path = parse_path(home)
        for key in path:
            value = getattr(value, str(key))
        if isinstance(value, tuple):
            yield from ((kind, (*path, i), item) for i, item in enumerate(value) if isinstance(item, knobs))
        elif isinstance(value, knobs):
            yield kind, path, value


def lowered(draft: Draft) -> tuple[Lowered, ...]:
    """Every technique of the recipe, lowered, each kind behind what the run takes over of it from the run before."""
    said = tuple(_said(draft))
    kept = carried(draft, frozenset(kind for kind, _, _ in said))
    parts = [Lowered(kind, ("model", "start"), fragment) for kind, fragment in kept.items()]
    parts += [Lowered(kind, path, lower(kind, technique, draft)) for kind, path, technique in said]
    order = list(TECHNIQUES)
    return tuple(sorted(parts, key=lambda part: order.index(part.kind)))


def conflicts(draft: Draft, parts: tuple[Lowered, ...]) -> list[Diagnostic]:
    """One finding for each two techniques that claim a slot and do not share it, with both lines of the recipe."""
    found = []
    for i, late in enumerate(parts):
        for early in parts[:i]:
            slots = dict.fromkeys(
                c.slot
                for c in late.fragment.claims
                for d in early.fragment.claims
                if _clash(c.slot, d.slot, c.shared and d.shared)
            )
            if not slots:
                continue
            upper, lower_ = _in_file(draft, early, late)
            first = draft.spans.nearest(*upper.path)
            finding = draft.diagnostic(
                "RC202",
                f"`{early.kind}` and `{late.kind}` both claim {' and '.join(slots)}",
                *lower_.path,
                help="remove one of the two",
                label="the second claim",
            )
            found.append(finding.model_copy(update={"related": _related(first, "the first claim")}))
    return found


def _in_file(draft: Draft, one: Lowered, other: Lowered) -> tuple[Lowered, Lowered]:
    """Two parts in the order in which the recipe says them; that of `TECHNIQUES` where they stand in two files."""
    a, b = draft.spans.nearest(*one.path), draft.spans.nearest(*other.path)
    swapped = a is not None and b is not None and a.file == b.file and (b.line, b.column) < (a.line, a.column)
    return (other, one) if swapped else (one, other)


def _clash(one: str, other: str, shared: bool) -> bool:
    """Slots clash when they are equal or one lies inside the other, unless both share."""
    return not shared and (one == other or one.startswith(f"{other}.") or other.startswith(f"{one}."))


def unmet(draft: Draft, parts: tuple[Lowered, ...]) -> list[Diagnostic]:
    """Findings for requirements that don't hold, and warnings for advice that isn't followed."""
    spans = {part.kind: draft.spans.nearest(*part.path) for part in parts}
    return [
        draft.diagnostic("RC203", need.message, *part.path, need.key, help=need.help, severity=severity).model_copy(
            update={"related": _related(spans.get(need.other))}
        )
        for part in parts
        for needs, severity in ((part.fragment.requires, Severity.ERROR), (part.fragment.lints, Severity.WARNING))
        for need in needs
        if not need.holds
    ]


def _related(span: Span | None, message: str = "doesn't go with this") -> tuple[Related, ...]:
    return (Related(span=span, message=message),) if span is not None else ()


def place(part: Lowered) -> str:
    """Recipe path of a technique as text."""
    return format_path(part.path)

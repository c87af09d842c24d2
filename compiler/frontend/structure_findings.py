"""Findings about how keys and mappings are put together: missing, named wrongly, in conflict."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, get_args

from compiler.frontend.examples import example, written
from compiler.frontend.language import Site, kinds, strip
from compiler.frontend.resolve import Resolved
from compiler.frontend.spans import format_path
from compiler.frontend.suggest import closest
from compiler.frontend.tree import PathKey, Plain
from compiler.frontend.wording import about, key_of, known_line, line
from schemas.diagnostics import Diagnostic, Related, Span
from schemas.sources import SOURCE_KINDS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["bad_name", "conflict", "curriculum", "kind_of", "kinds_of", "missing", "source"]

_NAME_LENGTH: Final = 64


def missing(place: Site, resolved: Resolved, above: Site) -> Diagnostic:
    """A required key is not there; `above` is the mapping that lacks it."""
    parent, key = place.path[:-1], place.path[-1]
    span = resolved.spans.key(*parent) or resolved.spans.nearest(*parent)
    message = f"`{format_path(place.path)}` is missing"
    text = known_line(place.path, resolved) or line(place.path, example(place))
    where = "to this item" if parent and isinstance(parent[-1], int) else f"under `{key_of(parent)}:`"
    under = f" {where}" if parent else ""
    help_ = f"add `{text}`{under}" if text else ""
    if isinstance(key, int):
        message, help_ = f"`{format_path(parent)}` has too few items", line(parent, example(above))
    return Diagnostic(code="RC102", message=message, span=span, path=format_path(place.path), help=help_)


def bad_name(place: Site, value: str, resolved: Resolved, span: Span | None) -> Diagnostic:
    """A name (a key of the recipe, or the value of `name`) that could not be a folder or a word of a script."""
    fixed = re.sub(r"[^A-Za-z0-9._-]+", "-", value).strip("-._")[:_NAME_LENGTH] or "my-name"
    what = f"of {len(value)} characters" if len(value) > _NAME_LENGTH else f"`{value}`"
    label = f"more than {_NAME_LENGTH} characters" if len(value) > _NAME_LENGTH else ""
    return Diagnostic(
        code="RC107",
        message=f"the name {what} can't be used",
        span=span or resolved.spans.nearest(*place.path),
        path=format_path(place.path),
        help=f"{fixed}: ..." if place.is_key else line(place.path, written(fixed)),
        label=label,
    )


def _value(tree: Plain, path: PathKey) -> Plain:
    for key in path:
        if isinstance(tree, dict) and isinstance(key, str):
            tree = tree.get(key)
        elif isinstance(tree, list) and isinstance(key, int) and key < len(tree):
            tree = tree[key]
        else:
            return None
    return tree


def source(place: Site, resolved: Resolved) -> Diagnostic:
    """A source names no kind, or several."""
    path, spans = place.path, resolved.spans
    value = _value(resolved.tree, path)
    if not isinstance(value, dict):
        text = value if isinstance(value, str) else "docs/**/*.md"
        return about(
            place,
            resolved,
            "RC103",
            "is a mapping that says where the data comes from",
            value,
            help_=line(path, f"{{files: {written(text)}}}"),
        )
    given = [kind for kind in SOURCE_KINDS if kind in value]
    name = format_path(path)
    if len(given) > 1:
        return _two_places(path, given, resolved)
    for key in value:
        if (near := closest(key, SOURCE_KINDS)) is not None:
            return Diagnostic(
                code="RC101",
                message=f"unknown key `{key}` in `{name}`",
                span=spans.key(*path, key),
                path=format_path((*path, key)),
                label=f"did you mean `{near}`?",
                help=f"{near}: {written(value[key])}",
            )
    return Diagnostic(
        code="RC102",
        message=f"`{name}` doesn't say where its data comes from",
        span=spans.key(*path) or spans.nearest(*path),
        path=name,
        help=f"add one of {', '.join(SOURCE_KINDS)}, for example `files: docs/**/*.md`",
    )


def _two_places(path: PathKey, given: list[str], resolved: Resolved) -> Diagnostic:
    first, name = resolved.spans.key(*path, given[0]), format_path(path)
    return Diagnostic(
        code="RC201",
        message=f"`{name}` comes from two places: `{given[0]}` and `{given[1]}`",
        span=resolved.spans.key(*path, given[1]),
        path=name,
        related=(Related(span=first, message="the first place"),) if first is not None else (),
        help="make two sources of them, and mix them with `data.mixture`",
    )


def curriculum(place: Site, resolved: Resolved) -> Diagnostic:
    """A curriculum of a kind that there is not, or none at all."""
    value, words = _value(resolved.tree, place.path), ("difficulty", "sequence_length_warmup")
    if not isinstance(value, dict):
        word = value if isinstance(value, str) else "length"
        help_ = line(place.path, f"{{by: {written(word)}}}")
        return about(place, resolved, "RC103", "takes a mapping, or a list of mappings", value, help_=help_)
    kind = replace(place, path=(*place.path, "kind"))
    near = closest(str(value["kind"]), words)
    return about(
        kind,
        resolved,
        "RC105",
        f"is one of {' or '.join(words)}",
        value["kind"],
        help_=line(kind.path, near or words[0]),
        label=f"did you mean `{near}`?" if near else "",
    )


def kind_of(place: Site, error: ErrorDetails, resolved: Resolved) -> Diagnostic:
    """A mapping of a kind that there is not, or that says none; the schema's union names those that there are."""
    words = tuple(re.findall(r"'([^']+)'", str(error.get("ctx", {}).get("expected_tags", ""))))
    value = _value(resolved.tree, place.path)
    kind = replace(place, path=(*place.path, "kind"))
    if not isinstance(value, dict) or "kind" not in value:
        words = words or kinds_of(place)
        message = f"`{format_path(kind.path)}` is missing: one of {', '.join(words)}"
        span = resolved.spans.value(*place.path) or resolved.spans.nearest(*place.path)
        help_ = f"kind: {words[0]}" if words else ""
        return Diagnostic(code="RC102", message=message, span=span, path=format_path(kind.path), help=help_)
    near = closest(str(value["kind"]), words)
    complaint = f"is one of {', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else "names no kind"
    label = f"did you mean `{near}`?" if near else ""
    help_ = line(kind.path, near or (words[0] if words else ""))
    return about(kind, resolved, "RC105", complaint, value["kind"], help_=help_, label=label)


def kinds_of(place: Site) -> tuple[str, ...]:
    """The kinds of the members of a union of mappings; none of another type."""
    annotation, _ = strip(place.annotation, place.metadata)
    return tuple(str(word) for member in get_args(annotation) for word in kinds(member))


def conflict(place: Site, error: ErrorDetails, resolved: Resolved) -> Diagnostic:
    """Keys of one mapping that don't go together; the schema names them in the error's context."""
    context, spans = error.get("ctx", {}), resolved.spans
    key, first, fix = (str(context.get(name) or "") for name in ("key", "first", "fix"))
    path = (*place.path, key) if key and spans.value(*place.path, key) is not None else place.path
    other = spans.key(*place.path, first) if first else None
    code = "RC201"
    if not key:
        code = "RC102"
    elif fix.startswith(f"{key}:"):
        code = "RC104"
    return Diagnostic(
        code=code,
        message=str(error["msg"]),
        span=(spans.value(*path) if code == "RC104" else spans.key(*path)) or spans.nearest(*path),
        path=format_path(path),
        help=fix or "delete one of the two lines",
        related=(Related(span=other, message="the other one"),) if other is not None else (),
    )

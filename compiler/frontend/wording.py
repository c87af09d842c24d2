"""The words and lines that findings are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from compiler.frontend.examples import example, written
from compiler.frontend.language import Site
from compiler.frontend.resolve import Resolved
from compiler.frontend.spans import format_path
from compiler.frontend.tree import PathKey
from schemas.diagnostics import Diagnostic, Related

__all__ = ["about", "found", "key_of", "known_line", "line"]

_LINES: Final = {
    "name": "name: my-recipe",
    "data": "data: {sources: {docs: {files: docs/**/*.md}}}",
    "sources": "sources: {docs: {files: docs/**/*.md}}",
    "precision": "precision: bf16",
    "tokenizer": "tokenizer: {kind: pretrained, hub: gpt2}",
    "gradient_clipping": "gradient_clipping: {threshold: 1.0}",
}
# A mixture is written out for this many sources; of more, one stands for all.
_MOST_SOURCES: Final = 6


def known_line(key: str, resolved: Resolved) -> str:
    """The line to write for a key whose type alone gives no good example; empty for all others."""
    if key == "weights":
        return f"weights: {_weights(resolved)}"
    if key == "mixture":
        return f"mixture: [{{from: 0dur, weights: {_weights(resolved)}}}]"
    return _LINES.get(key, "")


def _weights(resolved: Resolved) -> str:
    """Equal shares of the sources that the recipe has."""
    data = resolved.tree.get("data")
    sources = data.get("sources") if isinstance(data, dict) else None
    names = list(sources) if isinstance(sources, dict) and len(sources) <= _MOST_SOURCES else []
    share = round(1 / len(names), 4) if names else 1.0
    shares = [share] * (len(names) - 1)
    return written(dict(zip(names or ["docs"], [*shares, round(1 - sum(shares), 4)], strict=True)))


def found(value: object) -> str:
    """What the recipe says instead, in words; long texts are cut."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    shown = value if isinstance(value, str) else written(value)
    shown = shown if len(shown) <= 48 else shown[:47] + "…"
    return f"the text `{shown}`" if isinstance(value, str) else f"`{shown}`"


def key_of(path: PathKey) -> str:
    """The last key of a path that is a word: `weights.web` -> `web`."""
    return next((key for key in reversed(path) if isinstance(key, str)), "")


def line(path: PathKey, value: str) -> str:
    """The line to write: `lr: 3e-4`, or the bare value for an item of a list."""
    if not value:
        return ""
    return f"{path[-1]}: {value}" if path and isinstance(path[-1], str) else f"- {value}"


def about(
    place: Site,
    resolved: Resolved,
    code: str,
    complaint: str,
    value: object,
    *,
    help_: str | None = None,
    label: str = "",
) -> Diagnostic:
    """A finding about the value at a place; a value that a variable gave also shows the variable."""
    path, spans = place.path, resolved.spans
    span = spans.key(*path) if isinstance(value, dict | list) else None
    defined = spans.defined(*path)
    return Diagnostic(
        code=code,
        message=f"`{format_path(path)}` {complaint}; found {found(value)}",
        span=span or spans.nearest(*path),
        path=format_path(path),
        help=(line(path, example(place)) or known_line(key_of(path), resolved)) if help_ is None else help_,
        label=label,
        related=(Related(span=defined, message="the value comes from here"),) if defined is not None else (),
    )

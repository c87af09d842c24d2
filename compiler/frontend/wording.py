"""The words and lines that findings are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from compiler.frontend.examples import example, written
from compiler.frontend.language import Site
from compiler.frontend.resolve import Resolved
from compiler.frontend.spans import format_path
from compiler.frontend.tree import PathKey, Plain
from schemas.diagnostics import Diagnostic, Related

__all__ = ["about", "as_knots", "found", "key_of", "known_line", "line"]

_LINES: Final = {
    "name": "name: my-recipe",
    "data": "data: {sources: {docs: {files: docs/**/*.md}}}",
    "sources": "sources: {docs: {files: docs/**/*.md}}",
    "precision": "precision: bf16",
    "tokenizer": "tokenizer: {kind: pretrained, hub: gpt2}",
    "compression": "compression: [{kind: quantization, weights: int8}]",
    "gradient_clipping": "gradient_clipping: {threshold: 1.0}",
}
# A mixture is written out for this many sources; of more, one stands for all.
_MOST_SOURCES: Final = 6


def known_line(path: PathKey, resolved: Resolved) -> str:
    """The line to write for a key whose type alone gives no good example; empty for all others."""
    key = key_of(path)
    if "domain_upsampling" in path and key in ("weights", "domain_upsampling"):
        # One source: upsampled are some of them, and the general mix that stays has the others.
        weights = f"weights: {{{(_sources(resolved) or ['docs'])[-1]}: 1}}"
        return weights if key == "weights" else f"domain_upsampling: {{{weights}}}"
    if key == "from" and path[:2] == ("data", "mixture") and isinstance(path[2], int) and path[2]:
        return f"from: {_between(path[2], resolved):.3g}dur"
    if key == "weights":
        return f"weights: {_weights(resolved)}"
    if key == "mixture":
        return f"mixture: [{{from: 0dur, weights: {_weights(resolved)}}}]"
    return _LINES.get(key, "")


def as_knots(value: Mapping[str, Plain], resolved: Resolved) -> str | None:
    """The line for a mapping where a list of knots is expected: one knot, if that gives every source its weight."""
    weights = value.get("weights", value)
    if not isinstance(weights, Mapping) or set(weights) != set(_sources(resolved)):
        return None
    return f"mixture: {written((value if 'weights' in value else {'weights': value},))}"


def _weights(resolved: Resolved) -> str:
    """Equal shares of the sources that the recipe has."""
    sources = _sources(resolved)
    names = sources if len(sources) <= _MOST_SOURCES else []
    share = round(1 / len(names), 4) if names else 1.0
    shares = [share] * (len(names) - 1)
    return written(dict(zip(names or ["docs"], [*shares, round(1 - sum(shares), 4)], strict=True)))


def _data(resolved: Resolved, key: str) -> Plain:
    data = resolved.tree.get("data")
    return data.get(key) if isinstance(data, dict) else None


def _sources(resolved: Resolved) -> list[str]:
    """Names of the sources that the recipe has."""
    sources = _data(resolved, "sources")
    return list(sources) if isinstance(sources, dict) else []


def _between(index: int, resolved: Resolved) -> float:
    """A share of the run after the knots before one, as far as these are said in `dur`; 0.8 after a knot at the start."""
    knots = _data(resolved, "mixture")
    latest = 0.0
    for knot in knots[:index] if isinstance(knots, list) else ():
        said = knot.get("from") if isinstance(knot, dict) else None
        share = re.fullmatch(r"\s*([0-9.]+)\s*dur\s*", said) if isinstance(said, str) else None
        latest = max(latest, float(share[1])) if share else latest
    return (latest + 1) / 2 if 0 < latest < 1 else 0.8


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


def _help(place: Site, resolved: Resolved) -> str:
    """The line to write; of a knot's time the default is the first one's alone."""
    is_time = place.path[:2] == ("data", "mixture") and place.path[-1] == "from"
    lines = (line(place.path, example(place)), known_line(place.path, resolved))
    return (lines[1] or lines[0]) if is_time else (lines[0] or lines[1])


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
        help=_help(place, resolved) if help_ is None else help_,
        label=label,
        related=(Related(span=defined, message="the value comes from here"),) if defined is not None else (),
    )

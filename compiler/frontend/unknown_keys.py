"""A key that the language doesn't have there: what was meant, and where it goes."""

from __future__ import annotations

import re

from pydantic import WithJsonSchema

from compiler.frontend import language
from compiler.frontend.examples import example
from compiler.frontend.language import Site
from compiler.frontend.renamed import GONE, RENAMED
from compiler.frontend.resolve import Resolved
from compiler.frontend.spans import format_path
from compiler.frontend.suggest import closest
from compiler.frontend.wording import known_line
from schemas.diagnostics import Diagnostic

__all__ = ["unknown_key"]

_SHORT = 60


def unknown_key(place: Site, resolved: Resolved) -> Diagnostic:
    """RC108 for a name known from other trainers, else RC101 with the most likely key of ours."""
    key = str(place.path[-1])
    code, message, label, help_ = _judge(key, place, resolved)
    span = resolved.spans.key(*place.path) or resolved.spans.nearest(*place.path)
    return Diagnostic(code=code, message=message, span=span, path=format_path(place.path), label=label, help=help_)


def _judge(key: str, place: Site, resolved: Resolved) -> tuple[str, str, str, str]:
    """Code, message, label and help for an unknown key."""
    shown = key if len(key) <= _SHORT else key[:_SHORT] + "…"
    here = format_path(place.path[:-1])
    plain = key.lower().replace("-", "_")
    valid = language.keys(place.owner)
    unknown = f"unknown key `{shown}`" + (f" in `{here}`" if here else "")
    if plain in GONE:
        return "RC108", f"`{shown}` is not needed here", "", GONE[plain]
    if plain in RENAMED and RENAMED[plain] != here:
        path = RENAMED[plain]
        return (
            "RC108",
            f"`{shown}` is called `{path}` here",
            f"`{path}`",
            _move(path, _translated(path, place, resolved)),
        )
    near = closest(key, valid)
    everywhere = language.homes().get(key, ())
    # A key that another kind of source has is no key of a far-away section: `revision` is said of `hf`, too.
    homes = [] if any(_is_home(home, place) for home in everywhere) else everywhere
    if homes and (near is None or near.lower() != plain):
        belongs = homes[0].rpartition(".")[0]
        where = f"belongs under `{belongs}`" if belongs else "belongs at the top level"
        return "RC101", unknown, f"`{shown}` {where}", _move(homes[0], _value(place, resolved))
    if near is not None:
        return "RC101", unknown, f"did you mean `{near}`?", f"{near}: {_value(place, resolved)}"
    listed = ", ".join(valid)
    if here and not valid:
        return "RC101", unknown, "", f"`{place.path[-2]}: {{}}` is all there is to write"
    return "RC101", unknown, "", f"keys of `{here}`: {listed}" if here else f"keys of a recipe: {listed}"


def _is_home(home: str, place: Site) -> bool:
    """Whether a path such as `data.sources.<name>.text` is this very place (of another kind of source, say)."""
    pattern = re.escape(home).replace("<name>", "[^.]+").replace(r"\[\]", r"\[\d+\]")
    return re.fullmatch(pattern, ".".join(str(key) for key in place.path)) is not None


def _value(place: Site, resolved: Resolved) -> str:
    """The value as it was written, where it is short enough for a line of help."""
    span = resolved.spans.value(*place.path)
    node = resolved.spans.root
    for step in place.path:
        node = node.child(step) if node is not None else None
    if span is None or node is None or not isinstance(node.value, str | int | float):
        return "..."
    text = resolved.spans.source(span)
    return text if 0 < len(text) <= _SHORT else "..."


def _translated(path: str, place: Site, resolved: Resolved) -> str:
    """The value for a key of another trainer.

    Where units or words differ (a batch is 32 samples there, 0.5M tokens here) the old value would be a trap: an
    example of ours is shown instead.
    """
    target = language.site(path.split("."))
    annotation, metadata = language.strip(target.annotation, target.metadata)
    text = _value(place, resolved)
    has_unit = any(isinstance(item, WithJsonSchema) for item in metadata)
    if text in language.choices(target) or (annotation in (int, float, str) and not has_unit):
        return text
    given = known_line(target.path, resolved).partition(": ")[2]
    return given or example(target) or "..."


def _move(path: str, value: str) -> str:
    """`training.optimizer.lr` -> "write `lr: 3e-4` under `training.optimizer:`"."""
    parent, _, leaf = path.rpartition(".")
    return f"write `{leaf}: {value}` under `{parent}:`" if parent else f"write `{leaf}: {value}` at the top level"

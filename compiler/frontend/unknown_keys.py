"""A key that the language doesn't have there: what was meant, and where it goes."""

from __future__ import annotations

import re
from typing import Final, get_args

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

_SHORT: Final = 60
_KIND_OF: Final = {
    "pruning": "[{kind: pruning, sparsity: 0.5}]",
    "sparsify": "[{kind: pruning, sparsity: 0.5}]",
    "quantization": "[{kind: quantization, weights: int8}]",
    "quantize": "[{kind: quantization, weights: int8}]",
    "ptq": "[{kind: quantization, weights: int8}]",
    "qat": "[{kind: quantization, mode: qat, weights: int8}]",
    "low_rank": "[{kind: low_rank, parameters: 0.5}]",
    "svd": "[{kind: low_rank, parameters: 0.5}]",
    "runs": "[{name: first}, {name: second, model: {start: {run: previous}}}]",
    "stages": "[{name: first}, {name: second, model: {start: {run: previous}}}]",
}
"""Names of techniques, which are kinds of items of a list here -> the value to write."""


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
        return (
            "RC108",
            f"`{shown}` is called `{RENAMED[plain]}` here",
            f"`{RENAMED[plain]}`",
            _here(plain, place, resolved),
        )
    near = closest(key, valid)
    spelled = near is not None and near.lower() == plain
    if not spelled and (found := _elsewhere(key, place, resolved)):
        return "RC101", unknown, found[0].format(key=shown), found[1]
    if near is not None:
        return "RC101", unknown, f"did you mean `{near}`?", f"{near}: {_value(place, resolved)}"
    listed = ", ".join(valid)
    if here and not valid:
        return "RC101", unknown, "", f"`{place.path[-2]}: {{}}` is all there is to write"
    return "RC101", unknown, "", f"keys of `{here}`: {listed}" if here else f"keys of a recipe: {listed}"


def _here(old: str, place: Site, resolved: Resolved) -> str:
    """The line to write for a key of another trainer."""
    path = RENAMED[old]
    value = _KIND_OF.get(old) or _translated(path, place, resolved)
    leaf = path.rpartition(".")[2]
    return f"{leaf}: {value}" if path == format_path((*place.path[:-1], leaf)) else _move(path, value)


def _elsewhere(key: str, place: Site, resolved: Resolved) -> tuple[str, str] | None:
    """Label and line for a key that the language has in another place: nested, of another kind of item, in another section."""
    if dotted := _nested(key, place, resolved):
        return "dots part keys only behind `--set`", dotted
    value = _value(place, resolved)
    if kind := _other_kind(key, place):
        return f"`{{key}}` is a key of `kind: {kind}`", f"{{kind: {kind}, {key}: {value}}}   # an item of its own"
    homes = language.homes().get(key, ())
    # A key that another kind of source has is no key of a far-away section: `revision` is said of `hf`, too.
    if not homes or any(_is_home(home, place) for home in homes):
        return None
    belongs = homes[0].rpartition(".")[0]
    return f"`{{key}}` belongs under `{belongs}`" if belongs else "`{key}` belongs at the top level", _move(
        homes[0], value
    )


def _nested(key: str, place: Site, resolved: Resolved) -> str:
    """`model.start: a` -> `model: {start: a}`, where the language has such a path; else empty."""
    path = (*place.path[:-1], *key.split("."))
    if len(path) == len(place.path) or language.site(path).field is None or language.site(path).path != path:
        return ""
    value = _value(place, resolved)
    for part in reversed(key.split(".")[1:]):
        value = f"{{{part}: {value}}}"
    return f"{key.split('.', maxsplit=1)[0]}: {value}"


def _other_kind(key: str, place: Site) -> str:
    """The kind of a list's items that has this key, where the item is of another one; else empty."""
    if len(place.path) < 2 or not isinstance(place.path[-2], int):
        return ""
    annotation, _ = language.strip(language.site(place.path[:-1]).annotation)
    for member in get_args(annotation):
        model = language.model_of(member)
        if model is not None and model is not place.owner and key in language.keys(model):
            return str(next(iter(language.kinds(member)), ""))
    return ""


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
    if span is None or node is None:
        return "..."
    text = resolved.spans.source(span)
    is_whole = isinstance(node.value, str | int | float) or (text[:1], text[-1:]) in (("{", "}"), ("[", "]"))
    return text if 0 < len(text) <= _SHORT and is_whole else "..."


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

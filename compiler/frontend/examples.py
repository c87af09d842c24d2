"""Values as a recipe writes them: examples, ranges, lines of help."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final, get_args, get_origin

import annotated_types as limits
from pydantic import WithJsonSchema
from pydantic.fields import FieldInfo

from compiler.frontend.language import Site, choices, fields, model_of, strip
from compiler.frontend.yaml_in import plain_value
from schemas.base import Frozen

__all__ = ["example", "range_of", "written"]

_WORDS: Final = {limits.Gt: "greater than", limits.Ge: "at least", limits.Lt: "less than", limits.Le: "at most"}
_CONSTANTS: Final = {None: "null", True: "true", False: "false"}


def range_of(place: Site) -> str:
    """`greater than 0 and at most 10`, or nothing."""
    parts: list[str] = []
    for kind, word in _WORDS.items():
        bounds = [getattr(item, kind.__name__.lower()) for item in place.metadata if isinstance(item, kind)]
        parts.extend(f"{word} {written(bound)}" for bound in bounds)
    return " and ".join(parts)


def written(value: object) -> str:
    """A value as a recipe writes it, on one line."""
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):  # a Time has fields, and its own text
        return f"[{', '.join(written(item) for item in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {written(item)}" for key, item in value.items()) + "}"
    return _text(value) if isinstance(value, str) else str(value)


def _number(value: float) -> str:
    """`3e-4` rather than 0.0003."""
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    mantissa, _, exponent = f"{value:.11e}".partition("e")
    if -3 < int(exponent) < 6:
        return f"{value:.12g}"
    return f"{float(mantissa):.12g}e{int(exponent)}"


def _text(value: str) -> str:
    """Text with quotes where YAML needs them."""
    needs = (
        not value.isprintable()
        or value != value.strip()
        or value[:1] in "[]{}>|*&!%@`'\"#,?:-"  # the empty text, too
        or not isinstance(plain_value(value), str)  # 1e3, true, null
        or ": " in value
        or " #" in value
    )
    return json.dumps(value, ensure_ascii=False) if needs else value


def example(place: Site) -> str:
    """A value that may stand there, as it is written; empty where none is known."""
    annotation, metadata = strip(place.annotation, place.metadata)
    if own := _of_field(place.field):
        return own
    schemas = (item.json_schema or {} for item in metadata if isinstance(item, WithJsonSchema))
    for given in (schema["examples"] for schema in schemas if schema.get("examples")):
        return written(given[0])
    if words := choices(place):
        return words[0]
    if (model := model_of(annotation)) is not None:
        return _mapping(model)
    if get_origin(annotation) is tuple and Ellipsis in get_args(annotation):
        item = example(Site((), get_args(annotation)[0]))
        return f"[{item}]" if item else ""
    least = next((item.ge for item in metadata if isinstance(item, limits.Ge)), 1)
    plain = {bool: "true", int: str(least), float: "0.5", str: "text"}
    return plain.get(annotation, "") if isinstance(annotation, type) else ""


def _mapping(model: type[Frozen]) -> str:
    """What such a mapping must say, or else the first thing that it may say; empty if no example is known."""
    known = fields(model)
    required = [key for key, field in known.items() if field.is_required()]
    written_out = [(key, example(Site((), known[key].annotation, tuple(known[key].metadata), model, known[key])))
                   for key in required or list(known)[:1]]  # fmt: skip
    return (
        "{" + ", ".join(f"{key}: {text}" for key, text in written_out) + "}" if all(t for _, t in written_out) else ""
    )


def _of_field(field: FieldInfo | None) -> str:
    """The field's own example, or its default if that is a value and not a mapping."""
    if field is None:
        return ""
    if field.examples:
        return written(field.examples[0])
    default = field.default
    return (
        written(default)
        if isinstance(default, bool | int | float | str) or (isinstance(default, tuple) and default)
        else ""
    )

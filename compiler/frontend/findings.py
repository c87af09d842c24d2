"""What pydantic found -> diagnostics in the words of the recipe: exact place, reason, the line to write."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from compiler.frontend import language
from compiler.frontend.examples import example, range_of, written
from compiler.frontend.language import Site
from compiler.frontend.resolve import Resolved
from compiler.frontend.structure_findings import bad_name, conflict, curriculum, kind_of, kinds_of, missing, source
from compiler.frontend.suggest import closest, nearest_number
from compiler.frontend.tree import Plain
from compiler.frontend.unknown_keys import unknown_key
from compiler.frontend.wording import about, as_knots, line
from schemas.diagnostics import Diagnostic

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["finding"]

_OUT_OF_RANGE: Final = frozenset(
    {
        "greater_than",
        "greater_than_equal",
        "less_than",
        "less_than_equal",
        "finite_number",
        "quantity_range",
        "too_short",
        "too_long",
        "string_too_short",
        "string_too_long",
    }
)
_EXPECTED: Final = {
    "integer": "a whole number",
    "number": "a number",
    "fraction": "a share such as 0.25 or 25%",
    "string_type": "text",
    "bool_type": "true or false",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
}
_LONGEST_LINE: Final = 100
_OLD_BOOLEANS: Final = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def finding(error: ErrorDetails, resolved: Resolved) -> Diagnostic:
    """The diagnostic for one error of `Recipe.model_validate(resolved.tree)`; its `path` is the place in the recipe."""
    place = language.site(error["loc"])
    if place.is_key:
        return bad_name(place, str(place.path[-1]), resolved, resolved.spans.key(*place.path))
    if error["type"] == "extra_forbidden":
        return unknown_key(place, resolved)
    if error["type"] == "missing":
        return missing(place, resolved, language.site(error["loc"][:-1]))
    return _of_value(_as_said(place, resolved), error, resolved)


def _of_value(place: Site, error: ErrorDetails, resolved: Resolved) -> Diagnostic:
    value = error["input"]
    if isinstance(value, float) and not math.isfinite(value):
        return about(place, resolved, "RC104", "must be a finite number", value)
    match error["type"]:
        case "source_kind":
            result = source(place, resolved)
        case "union_tag_invalid" | "union_tag_not_found":
            result = kind_of(place, error, resolved)
        case "curriculum_kind":
            result = curriculum(place, resolved)
        case "conflict":
            result = conflict(place, error, resolved)
        case "literal_error":
            result = _choice(place, value, resolved)
        case "string_pattern_mismatch":
            result = _pattern(place, str(value), str(error.get("ctx", {}).get("pattern", "")), resolved)
        case "quantity":
            result = _quantity(place, error, resolved)
        case "fraction" if isinstance(value, int | float) and not isinstance(value, bool):
            complaint = "is a share between 0 and 1"
            result = about(place, resolved, "RC104", complaint, value, help_=_percent(place, value))
        case kind if kind in _OUT_OF_RANGE:
            result = _out_of_range(place, error, resolved)
        case kind:
            result = _wrong_type(place, kind, value, resolved, error["msg"])
    return result


def _as_said(place: Site, resolved: Resolved) -> Site:
    """`precision: b16` is short for `{compute: b16}`: the place to talk about is the one in the recipe."""
    above = resolved.spans.value(*place.path[:-1])
    said = resolved.spans.value(*place.path) is not None or above is None
    return place if said else replace(place, path=place.path[:-1])


def _wrong_type(place: Site, kind: str, value: object, resolved: Resolved, message: str) -> Diagnostic:
    expected = _EXPECTED.get(kind)
    if expected is None:
        return about(place, resolved, "RC103", f"can't be used: {message[:1].lower()}{message[1:]}", value)
    if kind == "string_type" and place.branch:
        expected = "text, or a list of texts"
    help_: str | None = None
    label = ""
    if kind == "string_type" and isinstance(value, int | float):
        span = resolved.spans.value(*place.path)
        said = resolved.spans.source(span) if span is not None else str(value)
        fits = place.field is None or all(re.match(p, said) for p in language.patterns(place))
        help_ = line(place.path, f'"{said}"') if fits else None
    elif kind in ("integer", "number", "fraction") and isinstance(value, str) and _is_number(value):
        help_, label = line(place.path, value.strip()), "in quotes this is a text"
    elif kind == "bool_type" and isinstance(value, str) and value.lower() in _OLD_BOOLEANS:
        help_ = line(place.path, _OLD_BOOLEANS[value.lower()])
        label = "in YAML 1.2 this is a text"
    elif kind == "model_type" and isinstance(value, str):
        help_ = _as_mapping(place, value)
    elif kind == "model_attributes_type" and isinstance(value, str) and (word := closest(value, kinds_of(place))):
        help_ = line(place.path, f"{{kind: {word}}}")
    elif kind == "tuple_type" and isinstance(value, str | dict) and place.path != ("data", "mixture"):
        help_ = _as_list(place, value)
    elif kind == "tuple_type" and isinstance(value, dict) and place.path == ("data", "mixture"):
        help_ = as_knots(value, resolved)
    return about(place, resolved, "RC103", f"takes {expected}", value, help_=help_, label=label)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _as_mapping(place: Site, value: str) -> str | None:
    """`model: llama` -> `model: {family: llama}`, where one key takes that word."""
    model = language.model_of(place.annotation)
    for key in language.keys(model):
        if value in language.choices(language.site((*place.path, key))):
            return line(place.path, f"{{{key}: {value}}}")
    return None


def _as_list(place: Site, value: str | dict[str, Plain]) -> str | None:
    """`retention: base` -> `retention: [base]`; `compression: {kind: pruning}` -> `compression: [{kind: pruning}]`."""
    item = language.site((*place.path, 0))
    words = kinds_of(item)
    if isinstance(value, dict):
        whole = written((value,))
        return line(place.path, whole) if value.get("kind") in words and len(whole) <= _LONGEST_LINE else None
    if words:
        word = closest(value, words)
        return line(place.path, f"[{{kind: {word}}}]") if word else None
    is_text = language.strip(item.annotation)[0] is str and all(re.match(p, value) for p in language.patterns(item))
    return line(place.path, written((value,))) if is_text else None


def _percent(place: Site, value: float) -> str:
    """`30` was meant as 30%."""
    return line(place.path, written(round(value / 100, 6))) if 1 < value <= 100 else line(place.path, example(place))


def _out_of_range(place: Site, error: ErrorDetails, resolved: Resolved) -> Diagnostic:
    context = error.get("ctx", {})
    value = error["input"]
    match error["type"]:
        case "quantity_range":
            complaint = str(error["msg"]).partition(";")[0].partition(" must ")[2]
            complaint = f"must {complaint}" if complaint else "is out of range"
        case "too_short":
            complaint = "needs at least one entry" if context.get("min_length") == 1 else "has too few entries"
        case "too_long":
            complaint = f"has more than {context.get('max_length')} entries"
        case "string_too_short":
            complaint = "must not be empty"
        case "string_too_long":
            complaint = f"is longer than {context.get('max_length')} characters"
        case _:
            complaint = f"must be {range_of(place) or 'in range'}"
    return about(place, resolved, "RC104", complaint, value)


def _quantity(place: Site, error: ErrorDetails, resolved: Resolved) -> Diagnostic:
    context, value = error.get("ctx", {}), error["input"]
    expected = f"takes {context['kind']}"
    examples = str(context["examples"])
    first = examples.partition(",")[0].partition(" or ")[0]
    # The field's own example or default is better; in `auto | number` it may be the word, which is no help with a number.
    own = example(place) if not place.branch else ""
    code = "RC106" if isinstance(value, str | int | float) and not isinstance(value, bool) else "RC103"
    label = f"write it as {examples}"
    share = re.fullmatch(r"\s*(\d{1,2}(\.\d+)?)\s*%\s*", value) if isinstance(value, str) else None
    if share and "dur" in examples:
        own = f"{float(share[1]) / 100:.12g}dur"
    elif place.path[-1] == "from":
        return about(place, resolved, code, expected, value, label=label)
    return about(place, resolved, code, expected, value, help_=line(place.path, own or first), label=label)


def _choice(place: Site, value: object, resolved: Resolved) -> Diagnostic:
    words = language.choices(place)
    near = closest(value, words) if isinstance(value, str) else nearest_number(value, words)
    listed = ", ".join(words[:-1]) + (f" or {words[-1]}" if len(words) > 1 else "".join(words))
    label = f"did you mean `{near}`?" if near else ""
    help_ = line(place.path, near or (words[0] if words else ""))
    code = "RC105" if isinstance(value, str | int | float) else "RC103"
    return about(
        place,
        resolved,
        code,
        f"is one of {listed}" if len(words) > 1 else f"must be {listed}",
        value,
        help_=help_,
        label=label,
    )


def _pattern(place: Site, value: str, pattern: str, resolved: Resolved) -> Diagnostic:
    if "{0,63}" in pattern:
        return bad_name(place, value, resolved, resolved.spans.nearest(*place.path))
    if "0-9a-f" in pattern:
        return about(
            place,
            resolved,
            "RC104",
            "takes 64 hexadecimal digits",
            value,
            help_="copy the hash that the run's report printed",
        )
    return about(place, resolved, "RC104", "must not hold control characters", value, help_="write it without them")

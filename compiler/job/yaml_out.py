"""YAML text that never changes: the same value gives the same bytes under every library version.

Own code rather than ruamel's emitter, which takes 20 times as long and whose line breaks are its own affair
(docs/adr/0002-plan-yaml-own-emitter.md). What is written is read alike by YAML 1.1 and 1.2 readers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["Value", "dump", "one_line"]

Value = bool | int | float | str | Sequence["Value"] | Mapping[str, "Value"] | None
"""What plain YAML holds; a tuple is written like a list."""

_WIDTH: Final = 120
# Starts with a letter, so it is neither a number nor a date; holds nothing that means something in YAML.
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
# Words that YAML 1.1 readers take for booleans or null.
_WORDS: Final = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
# JSON leaves these as they are; YAML readers refuse them or take them for line breaks.
_UNPRINTABLE: Final = re.compile("[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
# YAML's limit for a key without `?` is 1024 characters.
_LONGEST_KEY: Final = 1000


def _text(value: str) -> str:
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def _float(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} has no place in a plan")
    mantissa, exponent, power = repr(value).partition("e")
    # YAML 1.1 takes `1e-08` for text, `1.0e-08` for a number.
    return mantissa + ("" if "." in mantissa else ".0") + exponent + power


def _scalar(value: bool | int | float | str | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    return _float(value) if isinstance(value, float) else str(value)


def _key(key: str) -> str:
    text = _text(key)
    if len(text) > _LONGEST_KEY:
        raise ValueError(f"a key of {len(text)} characters is too long for YAML")
    return text


def one_line(value: Value) -> str:
    """The value in flow form: `{kind: adamw, betas: [0.9, 0.95]}`.

    Raises:
        ValueError: a number is infinite or not a number, or a key is longer than 1,000 characters.
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)}: {one_line(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(one_line(item) for item in value) + "]"
    return _scalar(value)


def _is_container(value: Value) -> bool:
    return isinstance(value, Mapping | Sequence) and not isinstance(value, str)


def _fits(head: str, item: Value, depth: int) -> str | None:
    """The value behind its key or dash on one line, or None if it stands in a block below.

    Sections are blocks. Below them, what fits on a line or maps to scalars alone is one line.
    """
    if not _is_container(item) or not item:
        return head + one_line(item)
    if depth == 0:
        return None
    line = head + one_line(item)
    is_leaf = isinstance(item, Mapping) and not any(_is_container(inner) for inner in item.values())
    return line if is_leaf or len(line) <= _WIDTH else None


def _lines(value: Mapping[str, Value] | Sequence[Value], depth: int) -> list[str]:
    """The value in block form."""
    is_mapping = isinstance(value, Mapping)
    entries = value.items() if isinstance(value, Mapping) else (("", item) for item in value)
    pad = "  " * depth
    lines = []
    for key, item in entries:
        head = f"{pad}{_key(key)}: " if is_mapping else f"{pad}- "
        line = _fits(head, item, depth)
        if line is not None:
            lines.append(line)
            continue
        below = _lines(item, depth + 1)  # type: ignore[arg-type]  # a container, or it would have been one line
        if is_mapping:
            lines += [head.rstrip(), *below]
        else:  # the first line of a block stands behind its dash
            lines += [head + below[0].lstrip(), *below[1:]]
    return lines


def dump(value: Mapping[str, Value]) -> str:
    """A mapping as a YAML 1.2 document in block form, with a final newline.

    The order of keys is kept, texts that could be taken for anything else are quoted as in JSON, and floats are written
    with all digits that they need.

    Raises:
        ValueError: a number is infinite or not a number, or a key is longer than 1,000 characters.
    """
    return "\n".join(_lines(value, 0)) + "\n" if value else "{}\n"

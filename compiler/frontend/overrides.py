"""`--set a.b.c=value`: one line of the recipe, said on the command line; the last word, before variables are put in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from compiler.frontend.load import parse_text
from compiler.frontend.spans import OVERRIDES, Segment, segments
from compiler.frontend.tree import MAX_DEPTH, Entry, Node, Place, mapping, sequence
from compiler.frontend.yaml_errors import ReadError
from compiler.frontend.yaml_in import Locator
from schemas.diagnostics import Diagnostic

__all__ = ["apply_overrides"]

_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def apply_overrides(root: Node, overrides: Sequence[str]) -> tuple[Node, tuple[Diagnostic, ...]]:
    """The recipe with the overrides in their order, and what is wrong with those that can't be applied."""
    findings: list[Diagnostic] = []
    for number, text in enumerate(overrides, start=1):
        try:
            root = _override(root, text, number)
        except ReadError as error:
            findings.extend(error.diagnostics)
    return root, tuple(findings)


def _refused(message: str, place: Place, help_: str = "--set training.optimizer.lr=3e-4") -> ReadError:
    return ReadError((Diagnostic(code="RC009", message=message, span=place.span(), help=help_),))


def _override(root: Node, text: str, number: int) -> Node:
    whole = Place(OVERRIDES, number, 1, max(2, len(text) + 1))
    if _SURROGATE.search(text):
        raise _refused("the override is not UTF-8 text", whole)
    path = list(segments(text))
    if not path or text[path[-1].end : path[-1].end + 1] != "=":
        raise _refused("an override is written `a.b.c=value`", whole)
    if len(path) > MAX_DEPTH:
        raise _refused(f"the path is more than {MAX_DEPTH} levels deep", whole)
    if path[0].key == "extends":
        raise _refused(
            "`extends` can't be set: which recipes are read is fixed by then",
            whole,
            "write a recipe with another `extends:` line",
        )
    start = path[-1].end + 1
    value, findings = parse_text(text[start:], Locator(OVERRIDES, text[start:], line=number, column=start + 1))
    if findings:
        raise ReadError(findings)
    return _set(root, path, value or Node(None, Place(OVERRIDES, number, start, start + 1)), number)


def _set(node: Node | None, path: Sequence[Segment], value: Node, number: int) -> Node:
    """A copy of `node` with `value` at `path`; mappings on the way are made where they are missing."""
    if not path:
        return value
    segment, rest = path[0], path[1:]
    place = Place(OVERRIDES, number, segment.start + 1, segment.end + 1)
    if node is None or node.value is None:
        if isinstance(segment.key, int):
            help_ = "set the whole list: --set 'a.b=[...]'"
            raise _refused(f"the recipe says no list here that would have an item [{segment.key}]", place, help_)
        node = mapping({}, place)
    if isinstance(node.value, Mapping):
        if isinstance(segment.key, int):
            raise _refused("this is a mapping; name one of its keys", place)
        entries = dict(node.value)
        if not rest and value.value is None and segment.key in entries:
            del entries[segment.key]  # null takes the line back, as it does below `extends:`
        else:
            old = entries.get(segment.key)
            entries[segment.key] = Entry(place, _set(old.node if old else None, rest, value, number))
        return replace(mapping(entries, node.place), broken=node.broken)
    if isinstance(node.value, tuple):
        index = _index(node.value, segment.key)
        if index is None:
            raise _refused(
                f"this is a list of {len(node.value)}; its items are [0], [1], ...",
                place,
                "--set data.mixture[0].weights.web=0.5",
            )
        items = list(node.value)
        items[index] = _set(items[index], rest, value, number)
        return replace(sequence(items, node.place), broken=node.broken)
    raise _refused(
        f"the recipe says `{node.text[:40]}` above this key, which is no mapping",
        place,
        "override the whole value: --set 'a.b={c: 1}'",
    )


def _index(items: Sequence[Node], key: str | int) -> int | None:
    """The item that a key means: by its place (`[1]` or `.1`), or by its `name`, as the runs of a sequence have."""
    if isinstance(key, str):
        names = [name.value if (name := item.child("name")) is not None else None for item in items]
        key = names.index(key) if key in names else int(key) if key.isascii() and key.isdigit() else -1
    return key if 0 <= key < len(items) else None

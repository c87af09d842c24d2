"""A recipe's `sequence` taken apart: each run becomes a recipe of its own, in which every value keeps the place of its line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from compiler.frontend.resolve import Resolved
from compiler.frontend.spans import format_path
from compiler.frontend.tree import MAX_VALUES, Entry, Node, PathKey, mapping, merge, walk
from schemas.diagnostics import Diagnostic, Related, Span
from schemas.recipe import Recipe

__all__ = ["MOST_RUNS", "ONCE", "PREVIOUS", "Run", "runs_of"]

MOST_RUNS: Final = 64
PREVIOUS: Final = "previous"
"""What a recipe calls the run just before; no run's own name."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_NAME: Final = 64
_EXAMPLE: Final = "sequence: [{name: first}, {name: second, model: {start: {run: previous}}}]"
ONCE: Final = {
    "sequence": "a run of a sequence has no sequence of its own",
    "extends": "what a run differs in is written out, or the whole recipe extends another one",
    "variables": "variables are said once, for all runs",
    "launch": "all runs are one job, which is launched once",
}
"""Keys that no run has of its own, and why: they are gone once a recipe is read, or are said for the whole job."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a recipe, as a recipe.

    Args:
        name: in the sequence; None where the recipe has none.
        resolved: the recipe with what the run says merged over it; of runs before the last, `name` ends in the run's.
        item: what the run itself says; None where the recipe has no sequence.
        path: of that in the recipe, such as `sequence[1]`.
    """

    name: str | None
    resolved: Resolved
    item: Node | None = None
    path: PathKey = ()

    @property
    def number(self) -> int:
        """Runs before it in the recipe, those included that are left out because of how they are written."""
        return int(self.path[-1]) if self.path else 0

    def place(self, path: PathKey) -> PathKey:
        """A path of the run's recipe as one of the whole recipe: what the run says itself stands in its item."""
        node = self.item
        for key in path:
            node = node.child(key) if node is not None else None
        return (*self.path, *path) if node is not None and path else path

    def said(self, span: Span | None) -> bool:
        """Whether a place is inside of what the run itself says."""
        return span is not None and self.item is not None and span in _places(self.item)


def _places(node: Node) -> frozenset[Span]:
    """Places of all values and keys below a node."""
    found = set()
    for _, inner in walk(node):
        found.add(inner.place.span())
        if isinstance(inner.value, Mapping):
            found.update(entry.key.span() for entry in inner.value.values())
    return frozenset(found)


def runs_of(resolved: Resolved) -> tuple[tuple[Run, ...], tuple[Diagnostic, ...]]:
    """The runs of a recipe in their order, and what is wrong with how they are written; a wrong one is left out.

    A recipe without a sequence is one run without a name.
    """
    root = resolved.spans.root
    said = root.child("sequence") if root is not None else None
    if root is None or not isinstance(root.value, Mapping) or said is None:
        return (Run(None, resolved),), ()
    base = mapping({key: entry for key, entry in root.value.items() if key != "sequence"}, root.place)
    base = replace(base, broken=root.broken)
    alone = Run(None, _resolved(resolved, base))
    if said.broken or said.value is None:
        return (alone,), ()
    items = said.value if isinstance(said.value, tuple) else ()
    problem = _problem(said, base.size)
    if problem is not None:
        return (alone,), (problem,)
    found = list(_findings(items))
    named = [(number, item, name) for number, item in enumerate(items) if (name := _name(item, items[:number]))]
    runs = []
    for number, item, name in named:
        place: PathKey = ("sequence", number)
        folder = name if (number, item, name) != named[-1] else None
        merged, long = _merged(base, item, folder, place)
        found.extend(long)
        runs.append(Run(name, _resolved(resolved, merged), item, place))
    return tuple(runs) or (alone,), tuple(found)


def _resolved(whole: Resolved, root: Node) -> Resolved:
    """The recipe of one run; findings of reading the files are told once, with the whole."""
    tree = root.plain()
    assert isinstance(tree, dict)
    return replace(
        whole,
        tree=tree,
        spans=replace(whole.spans, root=root),
        diagnostics=(),
        broken=frozenset(path for path, node in walk(root) if node.broken),
    )


def _problem(said: Node, size: int) -> Diagnostic | None:
    """What makes the whole sequence unusable."""
    code, message = "", ""
    if not isinstance(said.value, tuple):
        code, message = "RC103", "`sequence` takes a list of runs"
    elif not said.value:
        code, message = "RC104", "`sequence` has no run"
    elif len(said.value) > MOST_RUNS:
        code, message = "RC104", f"`sequence` has {len(said.value)} runs, the most are {MOST_RUNS}"
    elif size * len(said.value) + said.size > MAX_VALUES:
        code, message = "RC004", f"{len(said.value)} runs of {size:,} values each are too large a recipe"
    if not code:
        return None
    return Diagnostic(code=code, message=message, span=said.place.span(), path="sequence", help=_EXAMPLE)


def _findings(items: Sequence[Node]) -> Iterator[Diagnostic]:
    """What is wrong with how single runs are written."""
    from compiler.frontend.examples import written  # only a recipe with a sequence pays for it

    seen: dict[object, Node] = {}
    for number, item in enumerate(items):
        path: PathKey = ("sequence", number)
        if item.broken and not isinstance(item.value, Mapping):
            continue
        if not isinstance(item.value, Mapping):
            yield _finding("RC103", f"`{format_path(path)}` takes a mapping", item, path, f"- name: run{number + 1}")
            continue
        yield from _misplaced(item, path)
        node = item.child("name")
        if node is None:
            yield _nameless(item, path)
        elif node.broken:
            continue
        elif not isinstance(node.value, str) or _NAME.fullmatch(node.value) is None or node.value == PREVIOUS:
            fixed = re.sub(r"[^A-Za-z0-9._-]+", "-", node.text).strip("-._")[:_LONGEST_NAME]
            what = "is what recipes call the run just before" if node.value == PREVIOUS else "can't name a run"
            good = fixed if _NAME.fullmatch(fixed) and fixed != PREVIOUS else f"run{number + 1}"
            yield _finding("RC107", f"`{node.text[:80]}` {what}", node, (*path, "name"), f"name: {written(good)}")
        elif node.value in seen:
            first = Related(span=seen[node.value].place.span(), message="the first one")
            found = _finding(
                "RC107", f"two runs are named `{node.value}`", node, (*path, "name"), f"name: {node.value}-{number + 1}"
            )
            yield found.model_copy(update={"related": (first,)})
        else:
            seen[node.value] = node


def _nameless(item: Node, path: PathKey) -> Diagnostic:
    """A run without a name, or with a typo in the key of it."""
    from compiler.frontend.suggest import closest  # only a recipe with errors pays for it

    assert isinstance(item.value, Mapping)
    unknown = {key: entry for key, entry in item.value.items() if key not in Recipe.model_fields}
    near = closest("name", unknown)
    if near is None:
        message = f"`{format_path((*path, 'name'))}` is missing"
        return _finding("RC102", message, item, (*path, "name"), f"name: run{int(path[-1]) + 1}")
    return Diagnostic(
        code="RC101",
        message=f"unknown key `{near}` in `{format_path(path)}`, which lacks its `name`",
        span=unknown[near].key.span(),
        path=format_path((*path, near)),
        label="did you mean `name`?",
        help=f"name: {unknown[near].node.text or f'run{int(path[-1]) + 1}'}",
    )


def _misplaced(item: Node, path: PathKey) -> Iterator[Diagnostic]:
    """Keys that a run can't differ in."""
    assert isinstance(item.value, Mapping)
    for key, why in ONCE.items():
        entry = item.value.get(key)
        if entry is not None:
            message = f"`{key}` has no place in a run of a sequence"
            yield Diagnostic(
                code="RC101",
                message=message,
                span=entry.key.span(),
                path=format_path((*path, key)),
                reason=why,
                help="delete the line" if key == "sequence" else f"write `{key}:` at the top level",
            )


def _finding(code: str, message: str, node: Node, path: PathKey, help_: str) -> Diagnostic:
    return Diagnostic(code=code, message=message, span=node.place.span(), path=format_path(path), help=help_)


def _name(item: Node, before: Sequence[Node]) -> str:
    """The name of a run that can be planned; empty where it has none of its own."""
    node = item.child("name")
    if node is None or not isinstance(node.value, str) or _NAME.fullmatch(node.value) is None:
        return ""
    taken = (other.value for one in before if (other := one.child("name")) is not None)
    return "" if node.value in taken or node.value == PREVIOUS else node.value


def _merged(base: Node, item: Node, run: str | None, path: PathKey) -> tuple[Node, list[Diagnostic]]:
    """The recipe of one run, and a finding if its folder's name gets too long; `run` is the name to add, if any."""
    merged = merge(base, item, without=("name", *ONCE))
    assert isinstance(merged.value, Mapping)
    entry = merged.value.get("name")
    if run is None or entry is None or not isinstance(entry.node.value, str) or not _NAME.fullmatch(entry.node.value):
        return merged, []
    whole = f"{entry.node.value}-{run}"
    if len(whole) > _LONGEST_NAME:
        node = item.child("name")
        assert node is not None
        message = f"the run's folder `{whole}` has a name of {len(whole)} characters, the most are {_LONGEST_NAME}"
        return merged, [_finding("RC107", message, node, (*path, "name"), "name: run1   # shorten it, or the recipe's")]
    named = Entry(entry.key, replace(entry.node, value=whole, text=whole))
    entries = {**merged.value, "name": named}
    return replace(mapping(entries, merged.place), broken=merged.broken), []

"""A resolved recipe -> a `Recipe` and all findings, sorted by place.

Errors don't stop the check: what is wrong is cut out and the rest is checked again, so that a rule about two values is
heard even if a third one has a typo, and later passes can add what they find.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from compiler.frontend.resolve import Resolved
from compiler.frontend.tree import PathKey, Plain
from schemas.diagnostics import Diagnostic, Severity
from schemas.recipe import Recipe

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["Checked", "validate"]

_MOST_ROUNDS: Final = 12
_MOST_ERRORS: Final = 500
_STAND_IN: Final = "unnamed"
_TAKEN_TOGETHER: Final = frozenset({"objective", "compression", "distillation", "averaging"})
"""Sections whose keys are judged by each other: without one of them, it is a default that would be judged."""
_KINDS: Final = frozenset({"curriculum_kind", "union_tag_invalid", "union_tag_not_found"})


@dataclass(frozen=True, slots=True)
class Checked:
    """What is known of a recipe once its values were checked."""

    recipe: Recipe | None
    """None if something required is missing or wrong beyond repair. With errors, it lacks what is in `pruned`."""
    resolved: Resolved
    diagnostics: tuple[Diagnostic, ...]
    pruned: frozenset[PathKey]
    """What was cut out of the tree, or (`name`) replaced, because it was wrong."""

    @property
    def has_errors(self) -> bool:
        """Whether anything found is more than a warning."""
        return any(finding.severity is Severity.ERROR for finding in self.diagnostics)

    def touched(self, *path: str | int) -> bool:
        """Whether anything at, below or above a path was cut out: findings about it would only be echoes."""
        return any(_related(path, cut) for cut in self.pruned)


def validate(resolved: Resolved) -> Checked:
    """Check every value of a recipe."""
    tree = resolved.tree
    pruned: set[PathKey] = set()
    findings: list[Diagnostic] = list(resolved.diagnostics)
    if resolved.broken:
        tree = copy.deepcopy(tree)
        _prune(tree, resolved.broken, pruned)
    recipe: Recipe | None = None
    for _ in range(_MOST_ROUNDS):
        try:
            recipe = Recipe.model_validate(tree)
            break
        except ValidationError as error:
            errors = error.errors(include_url=False)[:_MOST_ERRORS]
        if tree is resolved.tree:
            tree = copy.deepcopy(tree)
        cuts = _report(errors, resolved, pruned, findings)
        if not _prune(tree, cuts, pruned):
            break
    return Checked(
        recipe=recipe,
        resolved=resolved,
        diagnostics=tuple(sorted(set(findings), key=Diagnostic.sort_key)),
        pruned=frozenset(pruned),
    )


def _related(one: PathKey, other: PathKey) -> bool:
    length = min(len(one), len(other))
    return one[:length] == other[:length]


def _report(
    errors: Iterable[ErrorDetails], resolved: Resolved, pruned: set[PathKey], findings: list[Diagnostic]
) -> list[PathKey]:
    """Add the findings of one round, one a place, without echoes of what was cut before; returns what to cut now."""
    from compiler.frontend import language  # 10 ms with what they import: a recipe without errors doesn't pay for words
    from compiler.frontend.findings import finding
    from compiler.frontend.spans import parse_path

    cuts: list[PathKey] = []
    chosen: dict[PathKey, Diagnostic] = {}
    for error in sorted(errors, key=_rank):
        site = language.site(error["loc"])
        if _other_branch(error, site.branch):
            continue
        diagnostic = finding(error, resolved)
        path = parse_path(diagnostic.path) if diagnostic.path else ()
        missing = error["type"] == "missing"
        no_kind = error["type"] in _KINDS and path[-1:] == ("kind",)  # of which nothing tells what the other keys mean
        cut = path[:-1] if (missing and path != ("name",)) or no_kind else path
        cuts.append(cut if error["type"] == "extra_forbidden" else _whole(cut))
        if not any(_echoes(error["type"], path, old) for old in pruned):
            chosen.setdefault(path, diagnostic)
    findings.extend(chosen.values())
    return cuts


def _echoes(kind: str, path: PathKey, cut: PathKey) -> bool:
    """Whether a finding may only be there because of an earlier cut; an unknown key is none's echo, save its own.

    A rule about several keys of a technique or of the objective is one if one of them was cut.
    """
    if kind == "conflict" and path[:-1] == cut[:-1] and path[:1] and path[0] in _TAKEN_TOGETHER:
        return True
    return _related(path, cut) and (kind != "extra_forbidden" or len(cut) <= len(path))


def _rank(error: ErrorDetails) -> int:
    """In a union of plain values, a branch that read the value knows better than one that only saw another type."""
    return 1 if error["type"].endswith("_type") or error["type"] == "literal_error" else 0


def _other_branch(error: ErrorDetails, branch: str) -> bool:
    """Whether the error is of the list's branch of `text or list` and the value is no list, or the other way round."""
    if not branch or error["type"] not in ("tuple_type", "string_type"):
        return False
    is_list = isinstance(error["input"], list)
    return (error["type"] == "string_type" and is_list) or (error["type"] == "tuple_type" and not is_list)


def _whole(path: PathKey) -> PathKey:
    """A list with a wrong item goes as a whole: without the item, the others would have other places and sums.

    A wrong key right in an item goes alone, so that the other items are heard; its default stands in for it.
    """
    first = next((index for index, key in enumerate(path) if isinstance(key, int)), len(path))
    return path if len(path) == first + 2 and isinstance(path[-1], str) else path[:first]


def _prune(tree: dict[str, Plain], cuts: Iterable[PathKey], pruned: set[PathKey]) -> bool:
    """Cut paths out of the tree (a wrong name becomes a stand-in); False if nothing could be cut."""
    changed = False
    for cut in sorted(set(cuts), key=len, reverse=True):
        if cut == ("name",):
            changed = changed or tree.get("name") != _STAND_IN
            tree["name"] = _STAND_IN
            pruned.add(cut)
            continue
        found = _remove(tree, cut)
        if found:
            pruned.add(found)
            changed = True
    return changed


def _remove(tree: dict[str, Plain], cut: PathKey) -> PathKey:
    """Remove the value at a path, or the closest one above it that is there; returns the path removed, or ()."""
    parent: Plain = tree
    chain: list[tuple[dict[str, Plain], str, PathKey]] = []
    for depth, key in enumerate(cut, start=1):
        if isinstance(parent, dict) and isinstance(key, str) and key in parent:
            chain.append((parent, key, cut[:depth]))
            parent = parent[key]
        elif isinstance(parent, list) and isinstance(key, int) and key < len(parent):
            parent = parent[key]
        else:
            break
    if not chain:
        return ()
    holder, key, path = chain[-1]
    del holder[key]
    return path

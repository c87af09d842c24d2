"""A recipe with everything it refers to: `extends:`, `--set` overrides and variables put in, places kept."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Final, NoReturn

from compiler.frontend.load import load
from compiler.frontend.overrides import apply_overrides
from compiler.frontend.spans import OVERRIDES, RecipeError, SpanIndex
from compiler.frontend.tree import MAX_DEPTH, MAX_VALUES, Entry, Node, PathKey, Plain, mapping, merge, walk
from compiler.frontend.variables import Expander, references
from compiler.frontend.yaml_errors import ReadError
from schemas.diagnostics import Diagnostic

__all__ = ["Resolved", "resolve"]

_MOST_FILES: Final = 64


@dataclass(frozen=True, slots=True)
class Resolved:
    """A recipe as plain values, without `extends` and `variables`."""

    tree: dict[str, Plain]
    spans: SpanIndex
    path: Path
    """The recipe's file."""
    files: tuple[Path, ...]
    """All files that were read, the recipe first."""
    diagnostics: tuple[Diagnostic, ...] = ()
    """Findings that could be read past; `validate` adds its own."""
    broken: frozenset[PathKey] = frozenset()
    """Values with such a finding: what they hold is not to be trusted."""


def resolve(path: Path, overrides: Sequence[str] = ()) -> Resolved:
    """Read a recipe and everything that it extends.

    Args:
        path: the recipe's file.
        overrides: texts of `--set`, such as `training.optimizer.lr=3e-4`; a later one wins.

    Raises:
        RecipeError: it can't be read as a recipe (RC001 to RC010). Findings that can be read past are in the result.
    """
    reader = _Reader(path)
    try:
        root = reader.read(path)
        mentioned: frozenset[str] = frozenset()
        if overrides:
            mentioned = references(root)  # an override of the only use makes no variable superfluous
            shown = tuple(text.encode("utf-8", "replace").decode("utf-8") for text in overrides)
            reader.texts[OVERRIDES] = shown
            root, findings = apply_overrides(root, overrides)
            reader.diagnostics.extend(findings)
        root, findings = _put_variables(root, frozenset({reader.label(path), OVERRIDES}), mentioned)
        reader.diagnostics.extend(findings)
        _check_size(root)
    except ReadError as error:
        raise RecipeError((*reader.diagnostics, *error.diagnostics), reader.index()) from None
    tree = root.plain()
    assert isinstance(tree, dict)
    return Resolved(
        tree=tree,
        spans=reader.index(root),
        path=path,
        files=tuple(reader.files),
        diagnostics=tuple(sorted(set(reader.diagnostics), key=Diagnostic.sort_key)),
        broken=frozenset(place for place, node in walk(root) if node.broken),
    )


def _check_size(root: Node) -> None:
    """Each file is within the limits; together they may not be."""
    if root.size > MAX_VALUES or root.depth > MAX_DEPTH:
        raise ReadError(
            (
                Diagnostic(
                    code="RC004", message="the recipe is too large with all that it extends", span=root.place.span()
                ),
            )
        )


class _Reader:
    """Reads the files of one recipe, each once."""

    def __init__(self, main: Path) -> None:
        self.texts: dict[str, tuple[str, ...]] = {}
        self.files: list[Path] = []
        self.diagnostics: list[Diagnostic] = []
        self._folder = main.parent
        self._done: dict[str, Node] = {}
        self._open: list[tuple[str, str]] = []

    def index(self, root: Node | None = None) -> SpanIndex:
        """Places of what was read so far."""
        return SpanIndex(root=root, texts=MappingProxyType(dict(self.texts)), folder=_text(str(self._folder)))

    def label(self, path: Path) -> str:
        """The file's name in places: relative to the main recipe's folder, so the same on every machine."""
        return _text(os.path.relpath(path, self._folder).replace(os.sep, "/"))

    def read(self, path: Path, cause: Node | None = None) -> Node:
        """The recipe in a file, with what it extends merged in. `cause` is the value that named the file."""
        label = self.label(path)
        identity = os.path.realpath(path)
        if any(identity == other for other, _ in self._open):
            chain = " -> ".join([*(name for _, name in self._open), label])
            self._refuse(f"recipes extend each other in a circle: {chain}", cause, "remove one of the `extends:` lines")
        if identity in self._done:
            return self._done[identity]
        if len(self.files) >= _MOST_FILES:
            self._refuse(f"more than {_MOST_FILES} recipes extend each other", cause)
        root = self._load(path, label, cause)
        self._open.append((identity, label))
        layers = [self.read(path.parent / str(base.value), base) for base in self._bases(root)]
        if layers:
            root = reduce(_over, [*layers, root])
            _check_size(root)
        self._open.pop()
        self._done[identity] = root
        return root

    def _load(self, path: Path, label: str, cause: Node | None) -> Node:
        try:
            document = load(path, label, _text(str(path)))
        except RecipeError as error:
            self.texts.update(error.spans.texts)
            if cause is not None and all(finding.span is None for finding in error.diagnostics):
                self._refuse(
                    error.diagnostics[0].message, cause, "give a path relative to the file that this line is in"
                )
            raise ReadError(error.diagnostics) from None
        self.files.append(path)
        self.texts[label] = document.lines
        self.diagnostics.extend(document.diagnostics)
        return document.root

    def _bases(self, root: Node) -> tuple[Node, ...]:
        node = root.child("extends")
        if node is None or node.value is None:
            return ()
        bases = node.value if isinstance(node.value, tuple) else (node,)
        for base in bases:
            if not isinstance(base.value, str) or not base.value or "\0" in base.value:
                self._refuse("`extends` takes the path of a recipe, or a list of them", base, "extends: base.yaml")
        return bases

    def _refuse(self, message: str, cause: Node | None, help_: str = "") -> NoReturn:
        span = cause.place.span() if cause is not None else None
        raise ReadError((Diagnostic(code="RC007", message=message, span=span, path="extends", help=help_),))


def _text(name: str) -> str:
    """A file's name as text: names that are not UTF-8 are shown with a replacement character."""
    return os.fsencode(name).decode("utf-8", "replace")


def _over(base: Node, over: Node) -> Node:
    """A recipe over one that it extends; `extends` itself is not inherited."""
    return merge(base, over, without=("extends",))


def _put_variables(root: Node, files: frozenset[str], mentioned: frozenset[str]) -> tuple[Node, tuple[Diagnostic, ...]]:
    """The recipe without `extends` and `variables`, references replaced; unused variables of `files` are warned of."""
    assert isinstance(root.value, Mapping)
    entry = root.value.get("variables")
    findings: list[Diagnostic] = []
    variables: Mapping[str, Entry] = {}
    if entry is not None and isinstance(entry.node.value, Mapping):
        variables = entry.node.value
    elif entry is not None and entry.node.value is not None:
        findings.append(
            Diagnostic(
                code="RC103",
                message="`variables` is a mapping of names to values",
                span=entry.node.place.span(),
                path="variables",
                help="variables: {width: 512}",
            )
        )
    expander = Expander(variables)
    kept = {key: value for key, value in root.value.items() if key not in ("extends", "variables")}
    result = expander.expand(replace(mapping(kept, root.place), broken=root.broken))
    warnings = expander.unused(files, mentioned)
    return result, (*findings, *expander.diagnostics, *warnings)

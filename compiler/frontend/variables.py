"""`variables:` and `${name}`: values said once and used in many places.

`${name}` as a whole value keeps the variable's type, even a list or a mapping; inside a text it puts the variable's
text. `$${` is a plain `${`. Variables may use variables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from compiler.frontend.suggest import closest
from compiler.frontend.tree import MAX_DEPTH, MAX_VALUES, Entry, Node, mapping, sequence, walk
from compiler.frontend.yaml_errors import ReadError
from schemas.diagnostics import Diagnostic, Related, Severity

__all__ = ["Expander", "references"]

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{(?P<name>[^{}]*)\}|\$\{")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Texts put together from variables can grow exponentially (a: ${b}${b}, b: ${c}${c}, ...); real ones are short.
_MOST_CHARACTERS: Final = 1_000_000


def references(node: Node) -> frozenset[str]:
    """Names that the texts below a node refer to."""
    texts = (item.value for _, item in walk(node) if isinstance(item.value, str) and "${" in item.value)
    return frozenset(match["name"].strip() for text in texts for match in _REFERENCE.finditer(text) if match["name"])


class Expander:
    """Replaces references in one recipe. Findings are collected in `diagnostics`."""

    def __init__(self, variables: Mapping[str, Entry]) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._variables = variables
        self._expanded: dict[str, Node | None] = {}
        self._active: list[str] = []
        self._used: set[str] = set()
        self._characters = 0

    def expand(self, node: Node) -> Node:
        """The node without references.

        Raises:
            ReadError: the variables' values are more than a recipe may hold (RC004).
        """
        if isinstance(node.value, Mapping):
            entries = {key: Entry(entry.key, self.expand(entry.node)) for key, entry in node.value.items()}
            if all(entry.node is node.value[key].node for key, entry in entries.items()):
                return node
            return self._limited(mapping(entries, node.place), node)
        if isinstance(node.value, tuple):
            items = [self.expand(item) for item in node.value]
            if all(new is old for new, old in zip(items, node.value, strict=True)):
                return node
            return self._limited(sequence(items, node.place), node)
        if isinstance(node.value, str) and "${" in node.value:
            return self._text(node, node.value)
        return node

    def unused(self, files: frozenset[str], mentioned: frozenset[str]) -> tuple[Diagnostic, ...]:
        """Warnings for variables of these files that nothing used or `mentioned`; call it when all is expanded."""
        for name, entry in self._variables.items():
            if _NAME.fullmatch(name) is None:
                message = f"`{name[:64]}` can't name a variable"
                self.diagnostics.append(
                    Diagnostic(code="RC107", message=message, span=entry.key.span(), path="variables")
                )
        used = mentioned | self._used
        for name, entry in self._variables.items():
            self._variable(name, entry.node)  # an unused variable may hold a wrong reference, too
        return tuple(
            Diagnostic(
                code="RC008",
                severity=Severity.WARNING,
                message=f"the variable `{name}` is not used",
                span=entry.key.span(),
                path="variables",
                reason="A variable that nothing uses is a typo as often as a leftover.",
                help=f"use it as `${{{name}}}`, or delete the line",
            )
            for name, entry in self._variables.items()
            if name not in used and entry.key.file in files
        )

    def _limited(self, new: Node, old: Node) -> Node:
        if new.size > MAX_VALUES or new.depth > MAX_DEPTH:
            what = f"more than {MAX_VALUES:,} values" if new.size > MAX_VALUES else f"more than {MAX_DEPTH} levels"
            raise ReadError(
                (Diagnostic(code="RC004", message=f"{what}, variables written out", span=old.place.span()),)
            )
        return replace(new, broken=old.broken or new.broken, defined=old.defined)

    def _report(
        self, message: str, node: Node, help_: str = "", related: tuple[Related, ...] = (), label: str = ""
    ) -> Node:
        self.diagnostics.append(
            Diagnostic(code="RC008", message=message, span=node.place.span(), help=help_, related=related, label=label)
        )
        return replace(node, broken=True)

    def _text(self, node: Node, text: str) -> Node:
        whole = _REFERENCE.fullmatch(text)
        if whole is not None and whole["name"] is not None:
            value = self._variable(whole["name"].strip(), node)
            if value is None:
                return replace(node, broken=True)
            return replace(value, place=node.place, defined=self._variables[whole["name"].strip()].node.place)
        parts: list[str] = []
        position = 0
        for match in _REFERENCE.finditer(text):
            parts.append(text[position : match.start()])
            position = match.end()
            if match[0] == "$${":
                parts.append("${")
            elif match["name"] is None:
                return self._report("`${` without `}`", node, "write `${name}`, or `$${` for the plain text")
            else:
                value = self._variable(match["name"].strip(), node)
                if value is None:
                    return replace(node, broken=True)
                if value.value is None or isinstance(value.value, Mapping | tuple):
                    message = f"`{match['name']}` is no text or number, so it can't stand inside a text"
                    return self._report(message, node, f"use it as a whole value: `${{{match['name']}}}`")
                parts.append(value.text)
        parts.append(text[position:])
        result = "".join(parts)
        self._characters += len(result)
        if self._characters > _MOST_CHARACTERS:
            message = f"more than {_MOST_CHARACTERS:,} characters, variables written out"
            raise ReadError((Diagnostic(code="RC004", message=message, span=node.place.span()),))
        return replace(node, value=result, text=result)

    def _variable(self, name: str, use: Node) -> Node | None:
        """The variable's value without references, or None if it has none; the reason is then reported."""
        self._used.add(name)
        if name in self._expanded:
            return self._expanded[name]
        if name not in self._variables:
            near = closest(name, self._variables)
            plain = f"define `{name[:64]}` under `variables:`, or write `$${{` for the plain text"
            self._report(
                f"unknown variable `{name[:64]}`",
                use,
                f"${{{near}}}" if near else plain,
                label=f"did you mean `{near}`?" if near else "",
            )
            return None
        if name in self._active:
            circle = " -> ".join([*self._active[self._active.index(name) :], name])
            self._report(f"variables in a circle: {circle}", use, "give one of them a plain value")
            self._expanded[name] = None
            return None
        if len(self._active) >= MAX_DEPTH:
            self._report(f"variables use each other more than {MAX_DEPTH} levels deep", use)
            return None
        self._active.append(name)
        value: Node | None = self.expand(self._variables[name].node)
        self._active.pop()
        if value is not None and value.broken:
            value = None
        self._expanded[name] = value
        return value

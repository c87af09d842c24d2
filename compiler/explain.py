"""Answers "who set you?" for any value of a plan."""

from __future__ import annotations

import json
from typing import Any

from compiler.frontend.spans import PathKey, SpanIndex, format_path, parse_path
from compiler.frontend.suggest import closest
from compiler.provenance import leaves, lookup
from schemas.diagnostics import Diagnostic, DiagnosticsError
from schemas.plan import Provenance, RunPlan

__all__ = ["explain_value", "origin_as_json"]


def _value(plan: RunPlan, path: PathKey) -> Any:
    """The part of the plan at a path, in JSON types.

    Raises:
        KeyError: there is none.
    """
    value: Any = plan.model_dump(mode="json", by_alias=True, exclude={"provenance"})
    for key in path:
        known = (
            key in value
            if isinstance(value, dict)
            else isinstance(key, int) and isinstance(value, list) and key < len(value)
        )
        if not known:
            raise KeyError(format_path(path))
        value = value[key]
    return value


def _unknown(plan: RunPlan, text: str) -> DiagnosticsError:
    known = [format_path(path) for path, _ in leaves(plan) if path[0] not in ("provenance", "earlier")]
    leaf = text.rsplit(".", 1)[-1]
    # The recipe's `training.precision` is the plan's section `precision`; only then what is spelt alike.
    sections = [name for name in RunPlan.model_fields if name == leaf]
    named = sections or [path for path in known if leaf and path.endswith(f".{leaf}")]
    guess = named[0] if named else closest(text, known)
    return DiagnosticsError(
        (
            Diagnostic(
                code="RC009",
                message=f"the plan has no value `{text[:100]}`",
                reason="values are named as in the plan, which may have another name for them than the recipe",
                help=f"recipec explain RECIPE {guess}" if guess else "`recipec plan RECIPE --format json` lists all",
            ),
        )
    )


def _by_place(plan: RunPlan, path: PathKey) -> PathKey:
    """The path with entries of lists by their place, where it names them by id or kind as `recipec diff` does.

    A piece of a transition has a dot in its id, `phase1.02`.
    """
    value: Any = plan.model_dump(mode="json", by_alias=True, exclude={"provenance"})
    found: list[str | int] = []
    rest = list(path)
    while rest:
        key: Any = rest[0]
        taken = 1
        if isinstance(value, list) and isinstance(key, str):
            ids = [entry.get("id", entry.get("kind")) if isinstance(entry, dict) else None for entry in value]
            names = {n: ".".join(map(str, rest[:n])) for n in (2, 1)}
            ids += [str(name).partition(".")[0] for name in ids]  # a whole transition is its first piece
            taken = next((n for n, name in names.items() if name in ids), 0)
            key = ids.index(names[taken]) % len(value) if taken else key
        if not taken or not isinstance(value, dict | list):
            return path
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return path
        found.append(key)
        rest = rest[taken:]
    return tuple(found)


def _found(plan: RunPlan, text: str) -> tuple[PathKey, Any]:
    try:
        path = _by_place(plan, parse_path(text))
        return path, _value(plan, path)
    except (KeyError, ValueError):
        raise _unknown(plan, text) from None


def origin_as_json(plan: RunPlan, text: str) -> dict[str, Any]:
    """Path, value and provenance in JSON types; `provenance` maps the paths that the value consists of.

    Raises:
        DiagnosticsError: the plan has no such value (RC009).
    """
    path, value = _found(plan, text)
    text = format_path(path)
    own = lookup(plan.provenance, path)
    inside = (
        {text: own} if own else {k: p for k, p in plan.provenance.items() if k.startswith((f"{text}.", f"{text}["))}
    )
    return {"path": text, "value": value, "provenance": {k: p.model_dump(mode="json") for k, p in inside.items()}}


def explain_value(plan: RunPlan, spans: SpanIndex, text: str) -> str:
    """Value, origin and reason of a path of the plan (or of the recipe, where the plan has the value under another name).

    Raises:
        DiagnosticsError: the plan has no such value (RC009).
    """
    path, value = _found(plan, text)
    text = format_path(path)
    lines = [f"{text} = {_short(value)}"]
    if (own := lookup(plan.provenance, path)) is not None:
        return "\n".join([*lines, *_origin(own, spans)])
    inside = {k: p for k, p in plan.provenance.items() if k.startswith((f"{text}.", f"{text}["))}
    for key, provenance in inside.items():
        lines += [f"{key} = {_short(_value(plan, parse_path(key)))}", *_origin(provenance, spans)]
    if not inside:
        lines.append("  no choice: it follows from all that the plan says")
    return "\n".join(lines)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _origin(provenance: Provenance, spans: SpanIndex) -> list[str]:
    match provenance.origin:
        case "recipe":
            file, line, column = provenance.where.rsplit(":", 2)  # from the right: a file's name may hold colons
            number = int(line)
            lines = spans.texts.get(file, ())
            said = [f"    {lines[number - 1].strip()[:100]}"] if 0 < number <= len(lines) else []
            note = [f"  {provenance.reason}"] if provenance.reason else []
            return [f"  set by the recipe at {spans.display(file)}:{line}:{column}", *said, *note]
        case "default":
            return [f"  default of the language for `{provenance.where}`", f"  {provenance.reason}"]
    return [f"  decided by the pass `{provenance.where}`", f"  {provenance.reason}"]

"""JSON Schemas of recipe and plan, and the pages that are made from the types: docs/recipe.md, docs/errors.md.

`python -m compiler.schema_docs` rewrites all of them; a test fails while a committed one is stale.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_jsonable_python

from compiler.frontend.sequence import ONCE
from compiler.pages import errors_page, recipe_page
from schemas.plan import RunPlan
from schemas.recipe import Preamble, Recipe
from schemas.sources import SOURCE_KINDS
from schemas.units import Time

__all__ = ["Schema", "documents", "plan_schema", "recipe_schema", "write_all"]

Schema = dict[str, Any]
"""A JSON Schema, draft 2020-12."""

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE: Final = "Variable"
_PROSE: Final = frozenset({"title", "description", "default", "examples"})
# pydantic writes bounds of optional numbers under its own names, which no validator knows.
_BOUNDS: Final = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
# Owner ("" is the recipe itself) and key -> its type, and the key of it that a bare word stands for (`short_for`).
_SHORTHANDS: Final = {
    ("", "objective"): ("Objective", "kind"),
    ("", "precision"): ("Precision", "compute"),
    ("Hardware", "gpu"): ("Gpu", "name"),
    ("Budget", "scaling_law"): ("Law", "name"),
    ("Model", "start"): ("Start", "folder"),
    ("Distillation", "teacher"): ("Teacher", "folder"),
    ("Distillation", "teachers"): ("Teacher", "folder"),
    ("", "distillation"): ("Distillation", "teacher"),
}


# A recipe with one of these may have required keys elsewhere.
_INHERITED: Final = ("extends", "sequence")


class _Generator(GenerateJsonSchema):
    """pydantic's schema, with defaults as a recipe writes them: `0.1dur` rather than `[0.1, "dur"]`."""

    def encode_default(self, dft: Any) -> Any:
        return _as_written(dft)


def _as_written(value: Any) -> Any:
    """A default in the recipe's own notation."""
    if isinstance(value, Time):
        return str(value)
    if isinstance(value, BaseModel):
        fields = type(value).model_fields
        return {info.alias or name: _as_written(getattr(value, name)) for name, info in fields.items()}
    if isinstance(value, tuple):
        return [_as_written(item) for item in value]
    return to_jsonable_python(value)


def plan_schema() -> Schema:
    """What plan.yaml holds."""
    schema = _closed(RunPlan.model_json_schema(by_alias=True, schema_generator=_Generator))
    return {"$schema": _DIALECT, **schema, "title": "recipec plan"}


def recipe_schema() -> Schema:
    """What a recipe holds, for completion and checking in editors.

    Beyond the types it accepts shorthand words (`precision: bf16`), `${name}` wherever a scalar stands, and, in a
    recipe with `extends` or `sequence`, sections without their required keys, which stand elsewhere. `recipec check` knows
    more.
    """
    schema, preamble = (
        _closed(model.model_json_schema(by_alias=True, schema_generator=_Generator)) for model in (Recipe, Preamble)
    )
    definitions: Schema = schema["$defs"]
    definitions["Data"]["properties"]["curriculum"] = _any(definitions["Data"]["properties"]["curriculum"])
    needs = _loosen(schema, definitions)
    properties: Schema = preamble["properties"] | schema["properties"]
    for (owner, key), (name, short) in _SHORTHANDS.items():
        home = definitions[owner]["properties"] if owner else properties
        words = [word for word in _choices(definitions[name]["properties"][short]) if word.get("type") == "string"]
        if "items" in home[key]:
            home[key] = {**home[key], "items": {"anyOf": [*words, home[key]["items"]]}}
        else:
            home[key] = {"anyOf": [*words, *_choices(home[key])], **_prose(home[key])}
    properties["sequence"]["items"] = _run(properties)
    opened = _opened({"properties": properties, "$defs": definitions})
    opened["$defs"][_VARIABLE] = {"type": "string", "pattern": r"\$\{", "description": "A variable: ${name}."}
    return {
        "$schema": _DIALECT,
        "title": "recipec recipe",
        "description": schema["description"],
        "type": "object",
        "additionalProperties": False,
        "if": {"not": {"anyOf": [{"required": [key]} for key in _INHERITED]}},
        "then": needs,
        **opened,
    }


def _run(properties: Schema) -> Schema:
    """A run of a sequence: a name, and any keys in which it differs from the rest of the recipe."""
    own = {key: value for key, value in properties.items() if key not in ONCE}
    own["name"] = {**own["name"], "description": "What other runs call it.", "examples": ["pretrain"]}
    return {"type": "object", "additionalProperties": False, "required": ["name"], "properties": own}


def _prose(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key in _PROSE}


def _choices(schema: Schema) -> list[Schema]:
    """The kinds of value that a key takes."""
    if "anyOf" in schema:
        return [inner for choice in schema["anyOf"] for inner in _choices(choice)]
    return [{key: value for key, value in schema.items() if key not in _PROSE}]


def _closed(schema: Any) -> Any:
    """The schema made whole: bounds under their standard names, no names but those of the pattern allowed.

    The default of a section is left out, since its keys have their own.
    """
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {_BOUNDS.get(key, key): _closed(value) for key, value in schema.items()}
    if "patternProperties" in closed:
        closed["additionalProperties"] = False
    if isinstance(closed.get("default"), dict) and "type" not in closed["default"]:
        del closed["default"]
    return closed


def _any(schema: Schema) -> Schema:
    """A union of which any member will do: entries that inherit their `kind` can't be told apart. Unions within are opened."""
    if "items" in schema:
        return schema | {"items": _any(schema["items"])}
    if "oneOf" not in schema:
        return schema
    members = [_any(member) for member in schema["oneOf"]]
    flat = [inner for member in members for inner in member.get("anyOf", (member,))]
    return {key: value for key, value in schema.items() if key != "oneOf"} | {"anyOf": flat}


def _loosen(recipe: Schema, definitions: Schema) -> Schema:
    """Take `required` out of what may be inherited in part; returns it as a condition for recipes without `extends`.

    Entries of lists are never inherited in part. Sources become `anyOf`: without `required` an empty one is of every
    kind.
    """
    needs = _needs(recipe, definitions)
    (pattern, source) = next(iter(definitions["Data"]["properties"]["sources"]["patternProperties"].items()))
    source["anyOf"] = source.pop("oneOf")
    kinds: Schema = {"patternProperties": {pattern: {"oneOf": [{"required": [kind]} for kind in SOURCE_KINDS]}}}
    needs["properties"]["data"].setdefault("properties", {})["sources"] = kinds
    lists = [
        v["items"] for o in (recipe, *definitions.values()) for v in o.get("properties", {}).values() if "items" in v
    ]
    entries = [entry for items in lists for entry in (items, *items.get("oneOf", ()))]
    whole = {entry["$ref"].rpartition("/")[2] for entry in entries if "$ref" in entry}
    for name, definition in definitions.items():
        if name not in whole:
            definition.pop("required", None)
    return needs


def _needs(schema: Schema, definitions: Schema) -> Schema:
    """The required keys of a section and of the sections in it."""
    found: Schema = {"required": schema["required"]} if "required" in schema else {}
    below: Schema = {}
    for key, value in schema.get("properties", {}).items():
        names = [choice["$ref"].rpartition("/")[2] for choice in _choices(value) if "$ref" in choice]
        # Which keys a union needs depends on which of its members stands there.
        need = _needs(definitions[names[0]], definitions) if len(names) == 1 else {}
        if need:
            below[key] = need
    return found | ({"properties": below} if below else {})


def _opened(schema: Any) -> Any:
    """The schema with `${name}` accepted wherever a scalar stands that isn't free text anyway."""
    if isinstance(schema, list):
        return [_opened(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    opened = {key: _opened(value) for key, value in schema.items()}
    for key in ("properties", "patternProperties"):
        if isinstance(opened.get(key), dict):
            opened[key] = {name: _with_variable(value) for name, value in opened[key].items()}
    if isinstance(opened.get("prefixItems"), list):
        opened["prefixItems"] = [_with_variable(item) for item in opened["prefixItems"]]
    return opened


def _with_variable(schema: Schema) -> Schema:
    choices = _choices(schema)
    is_text = any(c.get("type") == "string" and not {"enum", "const", "pattern"} & set(c) for c in choices)
    is_scalar = any(c.get("type") in ("string", "number", "integer", "boolean") for c in choices)
    if is_text or not is_scalar:
        return schema
    return {"anyOf": [*choices, {"$ref": f"#/$defs/{_VARIABLE}"}], **_prose(schema)}


def documents() -> dict[str, str]:
    """Path in the repository -> text of everything that is generated."""
    makers: dict[str, Callable[[], str]] = {
        "schemas/recipe.schema.json": lambda: _json(recipe_schema()),
        "schemas/plan.schema.json": lambda: _json(plan_schema()),
        "docs/errors.md": errors_page,
        "docs/recipe.md": lambda: recipe_page(recipe_schema()),
    }
    return {path: make() for path, make in makers.items()}


def _json(schema: Schema) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_all(root: Path) -> tuple[Path, ...]:
    """Rewrite everything that is generated below the repository's root; returns the files."""
    written = []
    for path, text in documents().items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        written.append(file)
    return tuple(written)


if __name__ == "__main__":
    write_all(Path(__file__).resolve().parent.parent)

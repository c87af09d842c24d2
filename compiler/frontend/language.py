"""What the recipe's types say of a place: which keys may stand there, which values, what to write.

Everything is read from `schemas/`, so a new field has its messages without a line here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import Tag
from pydantic.fields import FieldInfo

from compiler.frontend.tree import PathKey
from schemas.base import Frozen
from schemas.recipe import Preamble, Recipe

__all__ = ["Site", "choices", "fields", "homes", "keys", "kinds", "model_of", "patterns", "site", "strip"]


@dataclass(frozen=True, slots=True)
class Site:
    """A place of the recipe as the types see it."""

    path: PathKey
    annotation: object = None
    """Annotation of the value; None where the language has no such key."""
    metadata: tuple[object, ...] = ()
    owner: type[Frozen] | None = None
    """The model that the last key belongs to."""
    field: FieldInfo | None = None
    is_key: bool = False
    """The finding is about the key, not about its value."""
    branch: str = ""
    """Member of a union of plain values, as pydantic names it."""


def strip(annotation: object, metadata: tuple[object, ...] = ()) -> tuple[object, tuple[object, ...]]:
    """The type below `Annotated` and `| None`, and the metadata passed on the way."""
    while True:
        if get_origin(annotation) is Annotated:
            inner, *extra = get_args(annotation)
            annotation, metadata = inner, (*metadata, *extra)
            continue
        if get_origin(annotation) in (Union, UnionType):
            members = [member for member in get_args(annotation) if member is not NoneType]
            if len(members) == 1:
                annotation = members[0]
                continue
        return annotation, metadata


def model_of(annotation: object) -> type[Frozen] | None:
    """The model that a value of this type is, if it is one."""
    found, _ = strip(annotation)
    return found if isinstance(found, type) and issubclass(found, Frozen) else None


def fields(model: type[Frozen]) -> dict[str, FieldInfo]:
    """A model's fields by the key that is written."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def keys(model: type[Frozen] | None) -> tuple[str, ...]:
    """The keys that may stand in a mapping of this type, as they are written."""
    if model is None:
        return ()
    return (*fields(model), *(Preamble.model_fields if model is Recipe else ()))


def kinds(annotation: object) -> tuple[object, ...]:
    """The words for `kind` by which a union tells its member, if it is one of those."""
    model = model_of(annotation)
    field = model.model_fields.get("kind") if model is not None else None
    return get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()


def _member(members: Sequence[object], label: str) -> tuple[object, tuple[object, ...], bool]:
    """The member of a union that pydantic's label means, and whether the label is a tag of ours."""
    for member in members:
        inner, metadata = strip(member)
        if any(isinstance(item, Tag) and item.tag == label for item in metadata) or label in kinds(inner):
            return inner, metadata, True
    wanted = tuple if label.startswith("tuple") else Literal if label.startswith("literal") else None
    for member in members:
        inner, metadata = strip(member)
        if member is not NoneType and (get_origin(inner) is wanted):
            return inner, metadata, False
    return members[0], (), False


def site(location: Sequence[str | int]) -> Site:
    """Follow a pydantic error's location through the types; tags of unions are not part of the path."""
    here = Site((), Recipe)
    kind: object
    for step in location:
        if step == "[key]":
            return replace(here, is_key=True)
        annotation, _ = strip(here.annotation, here.metadata)
        origin, arguments = get_origin(annotation), get_args(annotation)
        model = model_of(annotation)
        if model is not None:
            field = fields(model).get(str(step))
            kind, extra = (field.annotation, tuple(field.metadata)) if field is not None else (None, ())
            here = Site((*here.path, step), kind, extra, owner=model, field=field)
        elif origin in (dict, tuple):
            index = step if isinstance(step, int) and Ellipsis not in arguments and origin is tuple else 0
            kind = arguments[1] if origin is dict else arguments[min(index, len(arguments) - 1)]
            here = Site((*here.path, step), kind)
        elif origin in (Union, UnionType):
            kind, extra, tagged = _member(arguments, str(step))
            here = Site(here.path, kind, extra, here.owner, here.field, branch="" if tagged else str(step))
        else:
            break
    return here


def patterns(place: Site) -> tuple[str, ...]:
    """Patterns that a text must match."""
    _, metadata = strip(place.annotation, place.metadata)
    found = [getattr(item, "pattern", None) for field in metadata for item in getattr(field, "metadata", (field,))]
    return tuple(pattern for pattern in found if isinstance(pattern, str))


def choices(place: Site) -> tuple[str, ...]:
    """The words of a `Literal`."""
    found, _ = strip(place.annotation)
    return tuple(str(word) for word in get_args(found)) if get_origin(found) is Literal else ()


@cache
def homes() -> Mapping[str, tuple[str, ...]]:
    """Every key of the language -> the paths where it may stand, such as `lr` -> `training.optimizer.lr`."""
    found: dict[str, list[str]] = {}

    def visit(annotation: object, prefix: str) -> None:
        inner, _ = strip(annotation)
        model = model_of(inner)
        if model is not None:
            for key, field in fields(model).items():
                path = f"{prefix}.{key}" if prefix else key
                if path not in found.setdefault(key, []):
                    found[key].append(path)
                    visit(field.annotation, path)
        elif get_origin(inner) is dict:
            visit(get_args(inner)[1], f"{prefix}.<name>")
        elif get_origin(inner) is tuple:
            visit(get_args(inner)[0], f"{prefix}[]")
        elif get_origin(inner) in (Union, UnionType):
            for member in get_args(inner):
                visit(member, prefix)

    visit(Recipe, "")
    return {key: tuple(paths) for key, paths in found.items()}

"""Recipes that classify images: keys that don't belong to them, and what can be seen of the images before a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from compiler.draft import Draft
from schemas.budget import Budget
from schemas.data import Data
from schemas.diagnostics import Diagnostic
from schemas.model import DECODER_KEYS, RESNET_KEYS
from schemas.recipe import Recipe
from schemas.sources import BuiltinSource, ImagesSource, Source, holds_images

__all__ = ["DIGITS", "HOLDOUT", "class_names", "fit_recipe", "images_of", "names_of"]

DIGITS: Final = 1797
"""Images of scikit-learn's digits, ten classes (Alpaydin & Kaynak 1998, the UCI repository's test set)."""
HOLDOUT: Final = 0.1
"""Share of the images that is held out by default: accuracy on n images is known to 1 / sqrt(4 n), 2 % on 625."""
_DIGIT_NAMES: Final = tuple(str(digit) for digit in range(10))
_IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
_LIMITS: Final = frozenset({"max_cost", "max_hours", "max_gpus"})
"""Keys of `budget` that need no scaling law."""


def fit_recipe(draft: Draft) -> Draft:
    """Findings about keys that don't belong to the objective; a classifier's recipe gets its family, and samples of one token."""
    draft = _as_meant(draft)
    draft = draft.find(*(_for_classifiers(draft) if draft.is_classifier else _for_decoders(draft)))
    recipe = draft.recipe
    if not draft.is_classifier:
        if recipe.model.family == "resnet":  # refused above; later passes go on, so that their findings come too
            return replace(
                draft, recipe=recipe.model_copy(update={"model": recipe.model.model_copy(update={"family": "llama"})})
            )
        return draft
    sources = {
        name: source.model_copy(update={"tokens": _seen(draft, source)}) if source.tokens is None else source
        for name, source in recipe.data.sources.items()
    }
    data = recipe.data.model_copy(
        update={
            "sequence_length": 1,
            "sources": sources,
            "curriculum": (),
            "selection": Data.model_fields["selection"].default,
        }
    )
    budget = Budget().model_copy(update={key: getattr(recipe.budget, key) for key in sorted(_LIMITS)})
    model = recipe.model.model_copy(update={"family": "resnet"})
    evaluation = recipe.evaluation
    if draft.spans.key("evaluation", "holdout") is None:
        evaluation = evaluation.model_copy(update={"holdout": HOLDOUT})
    changed = {"data": data, "budget": budget, "model": model, "evaluation": evaluation}
    return replace(draft, recipe=recipe.model_copy(update=changed))


def _as_meant(draft: Draft) -> Draft:
    """A resnet's recipe whose objective is missing or mistyped goes on as a classifier's: one finding, not one for each key."""
    said = draft.spans.text("objective") or draft.spans.text("objective", "kind")
    if draft.is_classifier or draft.recipe.model.family != "resnet" or said == "causal_lm":
        return draft
    if said is None:
        draft = draft.find(
            draft.diagnostic(
                "RC203",
                "a resnet predicts no tokens",
                "model",
                "family",
                help="objective: classification   # at the top of the recipe",
                reason="the objective is causal_lm, to predict the next token, where the recipe says none",
            )
        )
    objective = draft.recipe.objective.model_copy(update={"kind": "classification"})
    return replace(draft, recipe=draft.recipe.model_copy(update={"objective": objective}))


def _for_classifiers(draft: Draft) -> Iterator[Diagnostic]:
    """What a recipe of images says in vain."""
    said, reason = draft.spans, "the objective is classification of images"
    if said.key("model", "family") is not None and draft.recipe.model.family != "resnet":
        message = f"a {draft.recipe.model.family} classifies no images"
        yield draft.diagnostic("RC203", message, "model", "family", help="family: resnet", reason=reason)
    for section, keys in (
        ("model", DECODER_KEYS),
        ("budget", frozenset(Budget.model_fields) - _LIMITS),
        ("data", frozenset({"sequence_length", "selection", "curriculum"})),
        ("evaluation", frozenset({"prompts", "max_new_tokens"})),
    ):
        for key in sorted(keys):
            if said.key(section, key) is not None:
                yield _out_of_place(draft, section, key, reason)
    if said.key("tokenizer") is not None:
        yield draft.diagnostic("RC203", "images have no tokenizer", "tokenizer", help="delete this line", reason=reason)
    for name, source in draft.recipe.data.sources.items():
        if not holds_images(source):
            yield draft.diagnostic(
                "RC203",
                f"the source `{name}` is no source of images",
                "data", "sources", name,
                help=f"{name}: {{images: photos}}   # a folder for each class; or `mds: ...` with `content: images`",
                reason=reason,
            )  # fmt: skip
        elif source.curriculum is not None:
            yield _out_of_place(draft, "data", "sources", reason, name, "curriculum")


def _out_of_place(draft: Draft, section: str, key: str, reason: str, *rest: str) -> Diagnostic:
    """The finding that a key has no meaning for images; where it says how long to train, with what does."""
    last = (rest or (key,))[-1]
    instead = "`training.duration` says how long to train, such as 10ep, 2000ba or 1e6sp" if section == "budget" else ""
    return draft.diagnostic(
        "RC203",
        f"`{section}.{last}` is for language models" if not rest else f"`{last}` is for language models",
        section,
        key,
        *rest,
        help=f"delete this line{': ' + instead if instead else ''}",
        reason=reason,
    )


def _for_decoders(draft: Draft) -> Iterator[Diagnostic]:
    """What a recipe of text says in vain."""
    reason, line = "the objective is causal_lm, to predict the next token", "objective: classification"
    if draft.recipe.model.family == "resnet":
        help_ = f"family: llama   # or `{line}`"
        yield draft.diagnostic("RC203", "a resnet predicts no tokens", "model", "family", help=help_, reason=reason)
    places = [*(("model", key) for key in sorted(RESNET_KEYS)), ("data", "image")]
    for section, key in places:
        if draft.spans.key(section, key) is not None:
            message, help_ = f"`{section}.{key}` is for classifiers of images", f"delete this line, or write `{line}`"
            yield draft.diagnostic("RC203", message, section, key, help=help_, reason=reason)
    for name, source in draft.recipe.data.sources.items():
        if holds_images(source):
            yield draft.diagnostic(
                "RC203",
                f"the source `{name}` holds images",
                "data",
                "sources",
                name,
                help=f"{line}   # at the top of the recipe",
                reason=reason,
            )


def _seen(draft: Draft, source: object) -> int | None:
    """Images of a source, where that can be told: scikit-learn's are known, files are counted if epochs are asked for."""
    if isinstance(source, BuiltinSource):
        return DIGITS
    if isinstance(source, ImagesSource) and _asks_for_epochs(draft.recipe):
        return images_of(source, draft.roots)
    return None


def _asks_for_epochs(recipe: Recipe) -> bool:
    duration = recipe.training.duration
    return duration is not None and duration.unit == "ep"


def _class_folders(source: ImagesSource, roots: tuple[Path, ...]) -> list[Path]:
    """The folders of the classes, sorted; empty where the source can't be read here."""
    folder = next((found for root in roots if (found := root / source.images).is_dir()), None)
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".") if folder else []
    except OSError:
        return []


def images_of(source: ImagesSource, roots: tuple[Path, ...]) -> int | None:
    """Files of images in a source's folder; None where it can't be read here."""
    found = 0
    for folder in _class_folders(source, roots):
        for _, _, names in os.walk(folder):
            found += sum(os.path.splitext(name)[1].lower() in _IMAGE_SUFFIXES for name in names)
    return found or None


def class_names(draft: Draft) -> tuple[str, ...] | None:
    """Names of the draft's classes; see `names_of`."""
    return names_of(draft.recipe.data.sources, draft.roots)


def names_of(sources: Mapping[str, Source], roots: tuple[Path, ...]) -> tuple[str, ...] | None:
    """Names of all classes, sorted, over all sources; None where one of them doesn't show its classes here."""
    names: set[str] = set()
    for source in sources.values():
        found: tuple[str, ...] = ()
        if isinstance(source, BuiltinSource):
            found = _DIGIT_NAMES
        elif isinstance(source, ImagesSource):
            found = tuple(folder.name for folder in _class_folders(source, roots))
        if not found:
            return None
        names |= set(found)
    return tuple(sorted(names))

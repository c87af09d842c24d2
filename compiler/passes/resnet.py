"""Exact dimensions of a classifier: depth, width and stem as said or usual, classes as said or seen in the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from compiler.classification import class_names
from compiler.draft import Draft
from compiler.estimate.convnet import Architecture, architecture, count, section_of
from compiler.provenance import Because, From, Reason
from schemas.diagnostics import Diagnostic
from schemas.model import ResNetDepth
from schemas.plan import ResNetPlan

__all__ = ["resnet"]

_DEPTH: Final[ResNetDepth] = 18
"""The smallest with four stages (He et al. 2016, table 1)."""
_OF_WEIGHTS: Final = ("family", "depth", "block", "blocks", "width", "stem", "norm", "num_classes", "channels")
"""What trained weights decide."""
_LEAST_FOR_STEM: Final = 64
"""Pixels. The large stem leaves a quarter of height and width, the stages an eighth of that: of 64 pixels two."""


def resnet(draft: Draft) -> Draft:
    """Fill `model` of a classifier."""
    said, image = draft.recipe.model, draft.recipe.data.image
    depth = said.depth or _DEPTH
    block, blocks = architecture(depth)
    small = len(blocks) == 3
    stem = said.stem or ("small" if small or image.size < _LEAST_FOR_STEM else "imagenet")
    draft, num_classes, classes_why = _classes(draft)
    shape = Architecture(
        block=block,
        blocks=blocks,
        width=said.width or (16 if small else 64),
        stem=stem,
        num_classes=num_classes,
        channels=image.channels,
        image_size=image.size,
    )
    if count(shape).last_size == 1:
        draft = draft.find(_too_small(draft, shape))
    section = section_of(shape, depth, said.norm, compiled=draft.recipe.training.compile)
    return draft.fill("model", section, _reasons(draft, classes_why))


def _reasons(draft: Draft, classes_why: Because) -> dict[str, Because]:
    """Key of the section -> the recipe's line, the paper, or the weights that the run starts from."""
    said = draft.recipe.model
    paper = Reason("follows from the depth (He et al. 2016, table 1 and section 4.2)")
    usual: dict[str, Because] = {
        "depth": Reason("the smallest of four stages (He et al. 2016, table 1)"),
        "width": Reason("He et al. 2016: 64 with four stages, 16 with three"),
        "stem": Reason(
            f"imagenet with four stages from {_LEAST_FOR_STEM} pixels on, which smaller images don't survive"
        ),
    }
    why: dict[str, Because] = {
        key: From(f"model.{key}") if getattr(said, key) is not None else reason for key, reason in usual.items()
    }
    why |= {
        "family": From("model.family")
        if draft.spans.key("model", "family")
        else Reason("the family that classifies images"),
        "num_parameters": Reason("counted from the dimensions"),
        "macs": Reason("counted from the dimensions"),
        "block": paper,
        "blocks": paper,
        "num_classes": classes_why,
        "channels": From("data.image.channels"),
        "image_size": From("data.image.size"),
        "compile": From("training.compile"),
    }
    beginning = draft.beginning
    if beginning is not None and beginning.model is not None:
        follows = Reason(f"as in {beginning.name}, whose weights the run starts from")
        why |= dict.fromkeys(_OF_WEIGHTS, follows)
    return why


def _too_small(draft: Draft, shape: Architecture) -> Diagnostic:
    """The finding that the stages leave one pixel: a norm over one value of one image is no norm, and torch refuses it."""
    larger = next(
        size for size in range(shape.image_size, 4097) if count(replace(shape, image_size=size)).last_size > 1
    )
    return draft.diagnostic(
        "RC204",
        f"of images of {shape.image_size} pixels the last stage has one left",
        "data",
        "image",
        "size",
        help=f"size: {larger}   # or `depth: 20` with `stem: small`, of three stages",
        reason="each stage but the first halves height and width, and a norm needs more than one value",
    )


def _classes(draft: Draft) -> tuple[Draft, int, Because]:
    """Classes as said, or as many as the sources show; passes/start.py has compared them with those of trained weights."""
    if draft.beginning is not None and isinstance(draft.beginning.model, ResNetPlan):
        return draft, draft.beginning.model.num_classes, Reason("those of the start")
    said, found = draft.recipe.model.num_classes, class_names(draft)
    if found is not None and len(found) < 2:
        draft = draft.find(
            draft.diagnostic(
                "RC416",
                f"the sources have one class, `{found[0]}`",
                "data",
                "sources",
                help="give each class a folder of its own, two at least",
                reason="with one class there is nothing to tell apart",
            )
        )
        return draft, said or 2, Reason("repaired")
    if said is None and found is None:
        draft = draft.find(
            draft.diagnostic(
                "RC416",
                "the number of classes is not known before launch",
                "model",
                help="num_classes: 10   # under `model`: as many as the labels have",
                reason="the sources don't show their classes from here",
            )
        )
        return draft, 10, Reason("repaired")
    if said is None:
        return draft, len(found or ()), Reason("classes of the sources, counted by their names")
    if found is not None and len(found) > said:
        draft = draft.find(
            draft.diagnostic(
                "RC416",
                f"the sources have {len(found)} classes, the model {said}",
                "model",
                "num_classes",
                help=f"num_classes: {len(found)}   # or leave it out",
                reason=f"classes by name: {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}",
            )
        )
    return draft, said, From("model.num_classes")

"""Starts of classifiers: weights in a folder as far as they can be seen, the form of images, the meaning of each output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from compiler.classification import class_names
from compiler.draft import Draft
from compiler.lineage.classifiers import NoClassifierError, classifier_in
from compiler.notes import Beginning
from schemas.class_names import differing_class
from schemas.diagnostics import Diagnostic, Severity
from schemas.model import Start
from schemas.plan import ResNetPlan

__all__ = ["DIMENSIONS", "follow", "of_folder"]

DIMENSIONS: Final = ("depth", "width", "stem", "num_classes")
"""What the recipe says of a network that can't be seen from here; its norm and images have defaults."""


def of_folder(draft: Draft, folder: Path, said: Start) -> Beginning:
    """What is known of a classifier's weights in a folder.

    Raises:
        NoClassifierError: it can't be started from, in words.
    """
    size = draft.recipe.data.image.size if draft.spans.key("data", "image", "size") is not None else None
    if size is None and not (folder / "config.json").exists() and (folder / "model.safetensors").exists():
        raise NoClassifierError(
            "weights without a config.json don't show how large their images are: write `data: {image: {size: 224}}`"
        )
    found = classifier_in(folder, bare_size=size)
    if found.pruned:
        raise NoClassifierError(
            "pruning took channels out of it, and a plan's network has all of them; the run that pruned it still has their "
            "zeros: `start: {run: ...}` in one recipe with it"
        )
    return Beginning(f"`{said.folder or said.hub}`", found.model, None, classes=found.classes)


def follow(draft: Draft, beginning: Beginning, trained: ResNetPlan) -> Draft:
    """The draft whose images have the form that the weights have learnt, where the recipe doesn't say another; findings on both.

    Channels are a dimension of the weights; the size is none, so another one is a warning.
    """
    said = draft.recipe.data.image
    own_size = draft.spans.key("data", "image", "size") is not None
    size = said.size if own_size else trained.image_size
    if size != trained.image_size:
        draft = draft.find(
            draft.diagnostic(
                "RC207",
                f"`data.image.size` is {size}, and {beginning.name} has learnt from images of {trained.image_size} pixels",
                "data",
                "image",
                "size",
                help=f"size: {trained.image_size}   # or delete the line: it follows the start",
                reason="a ResNet reads images of any size, but knows things at the scale at which it has seen them",
                severity=Severity.WARNING,
            )
        )
    if draft.says("data", "image", "channels") and said.channels != trained.channels:
        draft = draft.find(
            draft.diagnostic(
                "RC207",
                f"`data.image.channels` is {said.channels}, and the run starts from {beginning.name} with {trained.channels}",
                "data",
                "image",
                "channels",
                help=f"channels: {trained.channels}   # or delete the line: it follows the start",
                reason="the first convolution has weights for each channel",
            )
        )
    draft = draft.find(*_check_classes(draft, beginning, trained))
    image = said.model_copy(update={"size": size, "channels": trained.channels})
    data = draft.recipe.data.model_copy(update={"image": image})
    return replace(draft, recipe=draft.recipe.model_copy(update={"data": data}))


def _check_classes(draft: Draft, beginning: Beginning, trained: ResNetPlan) -> Iterator[Diagnostic]:
    """A finding where the sources' classes aren't those that the weights' outputs stand for.

    Fewer classes than outputs are fine where names show which ones they are, or the recipe says how many outputs there are.
    """
    ours, said = class_names(draft), draft.recipe.model.num_classes
    if ours is None or len(ours) < 2 or (said != trained.num_classes and draft.says("model", "num_classes")):
        return  # not seen from here, or told by another finding
    differing = differing_class(ours, beginning.classes)
    if len(ours) > trained.num_classes:
        message = f"the sources have {len(ours):,} classes, and the run starts from {beginning.name} with {trained.num_classes:,}"
        help_ = f"take sources of its {trained.num_classes:,} classes, or delete the start"
    elif differing is not None:
        message = (
            f"class {differing} is `{ours[differing]}` here, and `{beginning.classes[differing]}` in {beginning.name}"
        )
        help_ = "give each of its classes a folder with its name, or delete the start"
    elif ours != beginning.classes[: len(ours)] and len(ours) < trained.num_classes and said is None:
        message = f"the sources have {len(ours):,} classes, and the run starts from {beginning.name} with {trained.num_classes:,}"
        help_ = f"num_classes: {trained.num_classes}   # under `model`, if its first {len(ours):,} outputs are these classes"
    else:
        return
    reason = "labels are numbers of outputs, by the order of the classes' names; " + (
        f"its classes: {_shown(beginning.classes)}" if beginning.classes else "what its outputs stand for is not known"
    )
    yield draft.diagnostic("RC207", message, "model", "start", help=help_, reason=reason)


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")

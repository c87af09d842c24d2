"""Folders of classifiers that `evaluation.bias` compares with, as far as they can be seen from here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from compiler.classification import class_names
from compiler.draft import Draft
from compiler.lineage.classifiers import Classifier, NoClassifierError, classifier_in
from schemas.class_names import differing_class
from schemas.diagnostics import Diagnostic, Severity

__all__ = ["unlike_reference"]

_PLACE = ("evaluation", "bias", "against")


def unlike_reference(draft: Draft, name: str) -> Iterator[Diagnostic]:
    """Findings about a reference that tells other classes apart, or reads other images.

    One that isn't here is looked for before anything runs.

    Args:
        draft: of a classifier whose model is known.
        name: the folder, as the recipe writes it.
    """
    folder = next((place for root in draft.roots if (place := Path(root, Path(name).expanduser())).is_dir()), None)
    if folder is None:
        return
    try:
        found = classifier_in(folder)
    except NoClassifierError as error:
        yield draft.diagnostic(
            "RC203",
            f"a classifier can't be compared with `{name}`",
            *_PLACE,
            help="against: runs/base/export   # the export of a classifier's run",
            reason=str(error),
        )
        return
    yield from _other_classes(draft, name, found)
    yield from _other_images(draft, name, found)


def _other_classes(draft: Draft, name: str, found: Classifier) -> Iterator[Diagnostic]:
    theirs, ours, names = found.model.num_classes, draft.resnet.num_classes, class_names(draft) or ()
    help_ = "against: runs/base/export   # a classifier of the same classes"
    number = differing_class(names, found.classes)
    if theirs != ours:
        message = f"the reference `{name}` has {theirs:,} classes, the model {ours:,}"
        yield draft.diagnostic("RC203", message, *_PLACE, help=help_)
    elif number is not None:
        message = f"class {number} is `{names[number]}` here, and `{found.classes[number]}` in the reference `{name}`"
        reason = "labels are numbers of outputs, by the order of the classes' names"
        yield draft.diagnostic("RC203", message, *_PLACE, help=help_, reason=reason)


def _other_images(draft: Draft, name: str, found: Classifier) -> Iterator[Diagnostic]:
    theirs, ours = found.model, draft.resnet
    if theirs.channels != ours.channels:
        yield draft.diagnostic(
            "RC203",
            f"the reference `{name}` reads images of {theirs.channels} channel{'s' if theirs.channels > 1 else ''}, "
            f"and these have {ours.channels}",
            *_PLACE,
            help=f"channels: {theirs.channels}   # under `data.image`",
        )
    elif theirs.image_size != ours.image_size:
        yield draft.diagnostic(
            "RC203",
            f"the reference `{name}` has learnt from images of {theirs.image_size} pixels, and is to read {ours.image_size}",
            *_PLACE,
            help=f"size: {theirs.image_size}   # under `data.image`",
            reason="what it gets wrong at another scale is counted as if it were its own error",
            severity=Severity.WARNING,
        )

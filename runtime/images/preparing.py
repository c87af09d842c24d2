"""The step `prepare` of a source of images: shards of pixels and labels, train and held out apart."""

from __future__ import annotations

import hashlib
import importlib.metadata
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from runtime.bars import watched
from runtime.data.documents import is_heldout
from runtime.data.identity import content_hash, source_identity
from runtime.data.shards import ShardWriter, write_manifest
from runtime.errors import DataError
from runtime.images.sources import FoundImage, Pixels, classes_of, read_images
from runtime.steps.base import Context
from schemas.plan import ImagePlan
from schemas.sources import MdsSource, Source

__all__ = ["COLUMN", "LABEL", "identity", "prepare"]

COLUMN: Final = "image"
"""Column of pixels, [size, size, channels] uint8."""
LABEL: Final = "label"
"""Column of class numbers."""

_FORMAT: Final = 1
_DIGEST_BYTES: Final = 16


def identity(name: str, source: Source, context: Context) -> dict[str, Any]:
    """What the samples depend on."""
    plan, roots = context.plan, context.layout.roots
    return {
        "format": _FORMAT,
        "name": name,
        "source": source_identity(name, source, roots, offline=plan.execution.offline),
        "label": source.label if isinstance(source, MdsSource) else None,
        "size": _form(context).size,
        "channels": _form(context).channels,
        "classes": classes_of(plan, roots),
        "holdout": plan.evaluation.holdout,
        "max_images": plan.evaluation.max_tokens,
        "library": importlib.metadata.version("pillow"),
    }


def prepare(name: str, source: Source, context: Context, folder: Path) -> dict[str, Any]:
    """Write train/ and heldout/ below `folder`, and say what they hold.

    Which images are held out depends on their pixels alone, as with documents: not on their order or on other images, so the
    share differs a little from class to class. Where chance takes none of few images, it is the one with the smallest digest.

    Raises:
        DataError: no image for training (RC401), a broken one (RC407), a class without an image that can be read (RC401), a
            label that the network has no output for (RC416), a damaged shard (RC408).
        RunFailed: an object store can't be reached (RC607).
    """
    share = context.plan.evaluation.holdout
    books = _write(name, source, context, folder, share)
    if share and not books.heldout.rows and books.train.rows > 1:
        shutil.rmtree(folder / "train")
        books = _write(name, source, context, folder, _just_above(books.least))
    if not books.train.rows:
        shown = f"{books.skipped} broken, {books.heldout.rows} held out"
        message = f"the source `{name}` has no image to train on ({shown})"
        raise DataError("RC401", message, "give more images, or a smaller `evaluation.holdout`")
    write_manifest(folder)
    classes = classes_of(context.plan, context.layout.roots)
    found = content_hash(source, context.layout.roots, offline=context.plan.execution.offline)
    return {
        "source": name,
        "column": COLUMN,
        "content_sha256": found,
        "documents": books.train.rows + books.heldout.rows + books.unused,
        "bytes": books.num_bytes,
        "skipped": {"empty": 0, "broken": books.skipped, "too_short": 0, "too_long": 0, "duplicate": 0},
        "dropped_tail_tokens": 0,
        "unused_heldout": {"documents": books.unused, "bytes": books.unused * books.image_bytes},
        "classes": list(classes),
        "train": books.train.entry(len(classes), books.image_bytes),
        "heldout": books.heldout.entry(len(classes), books.image_bytes),
    }


def _form(context: Context) -> ImagePlan:
    form = context.plan.data.image
    assert form is not None
    return form


class _Split(ShardWriter):
    """One side of a source, and its images by class."""

    def __init__(self, folder: Path, form: ImagePlan) -> None:
        shape = f"{form.size},{form.size},{form.channels}"
        super().__init__(folder, {COLUMN: f"ndarray:uint8:{shape}", LABEL: "int"})
        self._per_class: Counter[int] = Counter()

    def write(self, pixels: Pixels, label: int) -> None:
        self.append({COLUMN: pixels, LABEL: label})
        self._per_class[label] += 1

    def entry(self, num_classes: int, image_bytes: int) -> dict[str, Any]:
        """What a result says of a split; one without a sample has no folder."""
        return {
            "remote": None,
            "local": self._folder.name if self.rows else None,
            "first_sample": 0,
            "samples": self.rows,
            "tokens": self.rows,
            "documents": self.rows,
            "bytes": self.rows * image_bytes,
            "per_class": [self._per_class[number] for number in range(num_classes)],
        }


class _Books(NamedTuple):
    """Both splits, images left out, and the smallest digest seen."""

    train: _Split
    heldout: _Split
    skipped: int
    unused: int
    least: bytes
    image_bytes: int

    @property
    def num_bytes(self) -> int:
        return (self.train.rows + self.heldout.rows + self.unused) * self.image_bytes


def _write(name: str, source: Source, context: Context, folder: Path, share: float) -> _Books:
    """Write both splits, with images held out by `share` of all digests."""
    plan, form = context.plan, _form(context)
    numbers = {label: number for number, label in enumerate(classes_of(plan, context.layout.roots))}
    skipped, unused, least = 0, 0, b"\xff" * _DIGEST_BYTES
    seen: set[int] = set()
    with _Split(folder / "train", form) as train, _Split(folder / "heldout", form) as heldout:
        images = read_images(source, context.layout.roots, size=form.size, channels=form.channels)
        for found in watched(f"prepare {name}", images, unit="image"):
            if found.pixels is None:
                if source.on_error == "stop":
                    remedy = "mend or remove it, or say `on_error: skip` for the source"
                    raise DataError("RC407", f"{found.place}: {found.problem}", remedy)
                skipped += 1
                continue
            label = _number(found, numbers, plan.resnet.num_classes)
            seen.add(label)
            digest = _digest(found.pixels)
            least = min(least, digest)
            if not is_heldout(digest, share):
                train.write(found.pixels, label)
            elif heldout.rows < plan.evaluation.max_tokens:
                heldout.write(found.pixels, label)
            else:
                unused += 1
    if skipped:
        _check_classes(name, source, context, numbers, seen)
    return _Books(train, heldout, skipped, unused, least, form.size**2 * form.channels)


def _number(found: FoundImage, numbers: dict[str, int], num_classes: int) -> int:
    """The number of an image's class.

    Raises:
        DataError: the network has no output for it (RC416).
    """
    if isinstance(found.label, str):
        return numbers[found.label]
    if 0 <= found.label < num_classes:
        return found.label
    raise DataError(
        "RC416",
        f"{found.place} is of class {found.label}, the network has classes 0 to {num_classes - 1}",
        f"set `model.num_classes: {found.label + 1}`" if found.label >= 0 else "number the classes from 0 on",
    )


def _check_classes(name: str, source: Source, context: Context, numbers: dict[str, int], seen: set[int]) -> None:
    """Refuse a source of which a class has broken images alone.

    Raises:
        DataError: there is such a class (RC401).
    """
    if isinstance(source, MdsSource):
        return
    found = read_images(source, context.layout.roots, size=1, channels=1)
    lost = sorted({image.label for image in found if isinstance(image.label, str) and numbers[image.label] not in seen})
    if lost:
        message = f"of the class `{lost[0]}` of source `{name}` no image can be read"
        raise DataError("RC401", message, "mend its images, or remove its folder")


def _digest(pixels: Pixels) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=_DIGEST_BYTES).digest()


def _just_above(digest: bytes) -> float:
    """The smallest share that holds out an image of this digest."""
    return float(np.nextafter((int.from_bytes(digest[:8], "big") + 1) / 2**64, 1.0))

"""Classifiers in folders: dimensions and classes by config.json, classes.json and the header of the weights. Reads no weights."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import ValidationError

from compiler.estimate.convnet import Architecture, architecture, section_of
from compiler.lineage.pretrained import read_config
from schemas.class_names import CLASSES_FILE
from schemas.model import ResNetDepth
from schemas.plan import ResNetPlan

__all__ = ["Classifier", "NoClassifierError", "classifier_in"]

_WEIGHTS: Final = "model.safetensors"
_LARGEST_HEADER: Final = 100_000_000
"""Bytes; safetensors' own limit."""
_LARGEST_CLASSES: Final = 100_000_000
_RUNNING: Final = (".running_mean", ".running_var", ".num_batches_tracked")
"""What batch norm keeps beside its parameters."""
_DEPTHS: Final[tuple[ResNetDepth, ...]] = get_args(ResNetDepth)
_SHAPE: Final = ("depth", "width", "stem", "norm", "num_classes", "channels")
_RANGES: Final = {"width": (1, 4096), "num_classes": (2, 1 << 20), "image_size": (4, 4096)}
"""What a recipe may say, so that counting a damaged config.json takes no time."""

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor -> its shape."""


class NoClassifierError(ValueError):
    """Why a folder holds no classifier that can be built here, in words."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """A classifier in a folder.

    Args:
        model: its dimensions.
        classes: names in the order of its outputs; empty where the folder doesn't tell them.
        pruned: whether its blocks have lost channels, so that no plan's network can hold its weights.
    """

    model: ResNetPlan
    classes: tuple[str, ...]
    pruned: bool


def classifier_in(folder: Path, bare_size: int | None = None) -> Classifier:
    """The classifier in a folder that recipec exported, or of weights with torchvision's names alone.

    Where the weights lie elsewhere config.json is believed; where they are here, both must be of one network.

    Args:
        folder: with config.json, model.safetensors or both.
        bare_size: height and width, pixels, of the images that weights without a config.json are to read, which no shape
            shows; None if such weights are of no use.

    Raises:
        NoClassifierError: it holds something else, or is damaged.
    """
    shapes = _shapes(folder / _WEIGHTS)
    if (folder / "config.json").exists():
        model = _described(folder)
    elif shapes is None or bare_size is None:
        raise NoClassifierError(f"{folder} holds no config.json")
    else:
        model = _seen(shapes, bare_size)
    if shapes is None:
        return Classifier(model, _classes(folder, model), pruned=False)
    seen = _seen(shapes, model.image_size)
    odd = [f"{key} {getattr(model, key)} and {getattr(seen, key)}" for key in _SHAPE if _differ(model, seen, key)]
    if odd:
        raise NoClassifierError(f"its config.json and {_WEIGHTS} are of two networks: {', '.join(odd)}")
    weights = sum(math.prod(shape) for name, shape in shapes.items() if not name.endswith(_RUNNING))
    if weights > model.num_parameters:
        raise NoClassifierError(
            f"it has {weights:,} parameters, and a ResNet-{model.depth} of width {model.width} {model.num_parameters:,}"
        )
    return Classifier(model, _classes(folder, model), pruned=weights < model.num_parameters)


def _differ(one: ResNetPlan, other: ResNetPlan, key: str) -> bool:
    return bool(getattr(one, key) != getattr(other, key))


def _described(folder: Path) -> ResNetPlan:
    """What config.json says, if a recipe of a classifier exported it."""
    config = read_config(folder)
    if config is None:
        raise NoClassifierError(f"{folder} holds no config.json that can be read")
    if (kind := config.get("model_type")) is not None:
        what = "transformers' own, whose weights have other names" if kind == "resnet" else "no classifier of images"
        raise NoClassifierError(f"it is a `{kind}`, {what}")
    try:
        found = ResNetPlan.model_validate(config)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise NoClassifierError(f"its config.json has no usable `{key}`") from error
    for key, (least, most) in _RANGES.items():
        if not least <= getattr(found, key) <= most:
            raise NoClassifierError(f"its config.json has no usable `{key}`: {getattr(found, key)}")
    if not any(depth == found.depth and architecture(depth) == (found.block, found.blocks) for depth in _DEPTHS):
        raise NoClassifierError(f"no ResNet-{found.depth} has its {len(found.blocks)} stages of {found.block} blocks")
    counted = _plan(found.depth, found.model_dump(), found.image_size)
    if (counted.num_parameters, counted.macs) != (found.num_parameters, found.macs):
        raise NoClassifierError(
            f"its config.json says {found.num_parameters:,} parameters, and its dimensions make {counted.num_parameters:,}"
        )
    return found


def _plan(depth: int, said: Mapping[str, Any], image_size: int) -> ResNetPlan:
    """Dimensions with their counts."""
    known = next(known for known in _DEPTHS if known == depth)
    shape = Architecture(
        *architecture(known), said["width"], said["stem"], said["num_classes"], said["channels"], image_size
    )
    return section_of(shape, known, said["norm"], compiled=False)


def _shapes(file: Path) -> Shapes | None:
    """Shapes of all tensors in a file of safetensors: eight bytes of length, then JSON. None if there is no such file.

    Raises:
        NoClassifierError: it is damaged.
    """
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            text = stream.read(length) if length <= _LARGEST_HEADER else b""
        tensors = {name: said for name, said in json.loads(text).items() if name != "__metadata__"}
        if file.stat().st_size < 8 + length + max(
            (int(said["data_offsets"][1]) for said in tensors.values()), default=0
        ):
            raise NoClassifierError(f"{file} is cut off")
        return {name: tuple(map(int, said["shape"])) for name, said in tensors.items()}
    except FileNotFoundError:
        return None
    except NoClassifierError:
        raise
    except (OSError, ValueError, struct.error, AttributeError, LookupError, TypeError, RecursionError) as error:
        raise NoClassifierError(f"{file} is no whole file of safetensors") from error


def _seen(shapes: Shapes, image_size: int) -> ResNetPlan:
    """The network that has tensors of these names and shapes, as torchvision builds it.

    Group norm has no running means; how many groups it has no shape shows, so they are taken to be ours.

    Raises:
        NoClassifierError: none has.
    """
    stem, head = shapes.get("conv1.weight", ()), shapes.get("fc.weight", ())
    if len(stem) != 4 or len(head) != 2 or stem[2:] not in ((7, 7), (3, 3)) or stem[1] not in (1, 3) or head[0] < 2:
        raise NoClassifierError(f"its {_WEIGHTS} holds no ResNet with torchvision's names of weights")
    numbers = [{name.split(".")[1] for name in shapes if name.startswith(f"layer{stage}.")} for stage in range(1, 5)]
    blocks = tuple(len(found) for found in numbers if found)
    block = "bottleneck" if "layer1.0.conv3.weight" in shapes else "basic"
    depth = next((depth for depth in _DEPTHS if architecture(depth) == (block, blocks)), None)
    if depth is None:
        raise NoClassifierError(f"its {_WEIGHTS} holds {block} blocks {list(blocks)}, which no depth has here")
    said = {
        "width": stem[0],
        "stem": "imagenet" if stem[2] == 7 else "small",
        "norm": "batch" if "bn1.running_mean" in shapes else "group",
        "num_classes": head[0],
        "channels": stem[1],
    }
    return _plan(depth, said, image_size)


def _classes(folder: Path, model: ResNetPlan) -> tuple[str, ...]:
    """Names of the classes; empty where they can't be known.

    Raises:
        NoClassifierError: the file is damaged, or has names for another number of outputs.
    """
    file = folder / CLASSES_FILE
    try:
        if file.stat().st_size > _LARGEST_CLASSES:
            raise NoClassifierError(f"{file} is larger than any list of classes")
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as error:
        raise NoClassifierError(f"{file} can't be read") from error
    if not isinstance(found, list) or len(found) != model.num_classes or not all(isinstance(n, str) for n in found):
        raise NoClassifierError(f"{file} holds no {model.num_classes:,} names of classes")
    return tuple(found)

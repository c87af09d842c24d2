"""Folders of classifiers as recipec exports them, written without torch: config.json, classes.json, headers of weights."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path

from compiler.estimate.convnet import Architecture, architecture, count
from schemas.class_names import CLASSES_FILE
from schemas.model import ResNetDepth
from schemas.plan import ResNetPlan

__all__ = ["export_of", "resnet", "shapes_of", "write_weights"]

Shapes = dict[str, tuple[int, ...]]


def resnet(depth: ResNetDepth = 8, **changes: object) -> ResNetPlan:
    """A network for digits of 4 channels; any dimension can be changed, and the counts follow."""
    block, blocks = architecture(depth)
    said: dict[str, object] = {
        "family": "resnet", "depth": depth, "block": block, "blocks": blocks, "width": 4, "stem": "small", "norm": "batch",
        "num_classes": 10, "channels": 1, "image_size": 8, "compile": False, "num_parameters": 0, "macs": 0, **changes,
    }  # fmt: skip
    plan = ResNetPlan.model_validate(said)
    found = count(
        Architecture(plan.block, plan.blocks, plan.width, plan.stem, plan.num_classes, plan.channels, plan.image_size)
    )
    return plan.model_copy(update={"num_parameters": found.parameters, "macs": found.macs})


def shapes_of(plan: ResNetPlan, removed: int = 0) -> Shapes:
    """Names and shapes of torchvision's tensors; tests/runtime/models/test_classifier_folders.py has built networks beside them.

    Args:
        plan: of the network.
        removed: inner channels that every block has lost to pruning.
    """
    found: Shapes = {}

    def convolution(name: str, norm: str, shape: tuple[int, int, int, int]) -> None:
        found[f"{name}.weight"] = shape
        keys = ("weight", "bias", "running_mean", "running_var") if plan.norm == "batch" else ("weight", "bias")
        found.update({f"{norm}.{key}": shape[:1] for key in keys})
        if plan.norm == "batch":
            found[f"{norm}.num_batches_tracked"] = ()

    kernel = 7 if plan.stem == "imagenet" else 3
    convolution("conv1", "bn1", (plan.width, plan.channels, kernel, kernel))
    inputs = plan.width
    for stage, blocks in enumerate(plan.blocks):
        inner, basic = (plan.width << stage) - removed, plan.block == "basic"
        outputs = (plan.width << stage) * (1 if basic else 4)
        for number in range(blocks):
            at = f"layer{stage + 1}.{number}"
            kernels = (3, 3) if basic else (1, 3, 1)
            channels = [inputs, *[inner] * (len(kernels) - 1), outputs]
            for i, size in enumerate(kernels):
                convolution(f"{at}.conv{i + 1}", f"{at}.bn{i + 1}", (channels[i + 1], channels[i], size, size))
            if number == 0 and (stage > 0 or inputs != outputs):
                convolution(f"{at}.downsample.0", f"{at}.downsample.1", (outputs, inputs, 1, 1))
            inputs = outputs
    return found | {"fc.weight": (plan.num_classes, inputs), "fc.bias": (plan.num_classes,)}


def write_weights(folder: Path, shapes: Shapes) -> Path:
    """model.safetensors with zeros of these shapes; the file takes no room on the disk."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header | {"__metadata__": {"format": "pt"}}).encode()
    file = folder / "model.safetensors"
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + end)
    return file


def export_of(
    folder: Path, plan: ResNetPlan | None = None, classes: Sequence[str] = (), *, removed: int = 0, bare: bool = False
) -> Path:
    """A folder with a classifier.

    Args:
        folder: made, if it is not there.
        plan: of the network.
        classes: what its outputs stand for.
        removed: see `shapes_of`.
        bare: weights alone, as torchvision's `state_dict` is saved.
    """
    plan = plan or resnet()
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder, shapes_of(plan, removed))
    if not bare:
        (folder / "config.json").write_text(plan.model_dump_json())
    if classes:
        (folder / CLASSES_FILE).write_text(json.dumps(list(classes)))
    return folder

"""compiler.lineage.classifiers: what a folder shows of a classifier without its weights being read, and what is refused."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from compiler.lineage.classifiers import NoClassifierError, classifier_in
from compiler.lineage.pretrained import read_config, unlike
from schemas.plan import ResNetPlan
from tests.exports import export_of, resnet, shapes_of, write_weights

SHAPES = [
    resnet(), resnet(14, width=16, channels=3, image_size=32), resnet(20, norm="group", width=5), resnet(18, width=8),
    resnet(34, stem="imagenet", image_size=67), resnet(50, width=8, num_classes=3, image_size=33), resnet(152, width=2),
    resnet(110, width=3, stem="imagenet", num_classes=1000),
]  # fmt: skip
DIGITS = tuple(str(digit) for digit in range(10))


@pytest.mark.parametrize("plan", SHAPES, ids=lambda p: f"{p.depth}-{p.width}-{p.stem}-{p.norm}")
@pytest.mark.parametrize("bare", [False, True])
def test_every_dimension_is_seen(plan: ResNetPlan, bare: bool, tmp_path: Path) -> None:
    """By config.json, and without one by the shapes of the weights, but for the size of the images."""
    found = classifier_in(export_of(tmp_path, plan, bare=bare), bare_size=plan.image_size)
    assert (found.model, found.classes, found.pruned) == (plan, (), False)


def test_names_and_lost_channels(tmp_path: Path) -> None:
    """Beside the weights, and by their number: whole or not, with a config.json or without."""
    for bare in (False, True):
        found = classifier_in(export_of(tmp_path, classes=DIGITS, removed=1, bare=bare) if not bare else tmp_path, 8)
        assert (found.model, found.classes, found.pruned) == (resnet(), DIGITS, True)
        (tmp_path / "config.json").unlink(missing_ok=True)


def test_weights_may_be_elsewhere(tmp_path: Path) -> None:
    """A compiler that has config.json alone believes it."""
    export_of(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    assert classifier_in(tmp_path).model == resnet()


def _config(**changes: Any) -> dict[str, Any]:
    return {**resnet().model_dump(mode="json"), **changes}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "llama"}, "it is a `llama`, no classifier of images"),
        ({"model_type": "resnet"}, "transformers' own, whose weights have other names"),
        ([], "holds no config.json that can be read"),
        ({}, "has no usable `family`"),
        (_config(width="wide"), "has no usable `width`"),
        (_config(width=8), "says 5,142 parameters, and its dimensions make 19,810"),
        (_config(width=10**9), "has no usable `width`: 1000000000"),
        (_config(blocks=[10**9] * 3), "no ResNet-8 has"),
        (_config(depth=9), "no ResNet-9 has"),
        (_config(norm="layer"), "has no usable `norm`"),
        (resnet(width=8).model_dump(mode="json"), "are of two networks: width 8 and 4"),
        (resnet(14).model_dump(mode="json"), "are of two networks: depth 14 and 8"),
        (resnet(norm="group").model_dump(mode="json"), "are of two networks: norm group and batch"),
    ],
)
def test_a_config_that_is_no_classifiers(config: Any, said: str, tmp_path: Path) -> None:
    """Of another kind of model, damaged, or of other weights than those beside it: in words, and at once."""
    export_of(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(NoClassifierError, match=said):
        classifier_in(tmp_path)


def test_weights_that_are_none(tmp_path: Path) -> None:
    """Cut off, no safetensors at all, of other names, of no depth, or wider inside than a ResNet of that width."""
    file = export_of(tmp_path, bare=True) / "model.safetensors"
    whole = file.read_bytes()
    for damaged, said in (
        (whole[:-1], "is cut off"), (whole[:200], "no whole file"), (whole[:4], "no whole file"), (b"", "no whole file"),
        (struct.pack("<Q", 1 << 40) + whole[8:], "no whole file"), (struct.pack("<Q", 2) + b"[]", "no whole file"),
        (struct.pack("<Q", 9) + b'{"a": {}}', "no whole file"),
    ):  # fmt: skip
        file.write_bytes(damaged)
        with pytest.raises(NoClassifierError, match=said):
            classifier_in(tmp_path, 8)
    shapes = shapes_of(resnet())
    wider = {name: (2 * shape[0], *shape[1:]) if ".conv1" in name else shape for name, shape in shapes.items()}
    shallow = {name: shape for name, shape in shapes.items() if not name.startswith("layer3")}
    for named, said in (
        ({f"backbone.{name}": shape for name, shape in shapes.items()}, "no ResNet with torchvision's names"),
        (shallow, r"holds basic blocks \[1, 1\], which no depth has here"),
        (wider, "a ResNet-8 of width 4 5,142"),
    ):
        write_weights(tmp_path, named)
        with pytest.raises(NoClassifierError, match=said):
            classifier_in(tmp_path, 8)


def test_weights_alone_need_images(tmp_path: Path) -> None:
    """Who can't say how large they are gets no classifier; neither does an empty folder."""
    with pytest.raises(NoClassifierError, match=r"holds no config.json"):
        classifier_in(tmp_path, 8)
    with pytest.raises(NoClassifierError, match=r"holds no config.json"):
        classifier_in(export_of(tmp_path, bare=True))


@pytest.mark.parametrize("text", ["{", '["0", "1"]', '{"0": "cat"}', "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]", "[" * 100_000])
def test_names_that_are_none(text: str, tmp_path: Path) -> None:
    """Another number of them, or no texts: better told than believed."""
    export_of(tmp_path, classes=DIGITS)
    (tmp_path / "classes.json").write_text(text)
    with pytest.raises(NoClassifierError, match=r"classes\.json"):
        classifier_in(tmp_path)


def test_a_language_model_does_not_start_from_a_classifier(tmp_path: Path) -> None:
    """And it is told what it is."""
    config = read_config(export_of(tmp_path))
    assert config is not None
    assert unlike(config) == "it is a resnet, which classifies images"

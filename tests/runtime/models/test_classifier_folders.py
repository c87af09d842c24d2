"""Classifiers in folders: what a compiler sees of real files, what is loaded of them, and whose classes they tell apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from compiler.lineage.classifiers import classifier_in
from runtime.errors import DataError
from runtime.models.class_names import check_classes, names_in, write_names
from runtime.models.classifier import PlannedResNet, build_resnet
from runtime.models.frozen import load_frozen_resnet
from runtime.models.model_files import write_loadable
from runtime.models.start import check_start, load_start
from runtime.steps.base import Result
from schemas.plan import ResNetPlan, RunPlan, StartPlan
from tests.exports import resnet, shapes_of
from tests.runtime.images.case import layout_of, plan_of

SHAPES = [
    resnet(), resnet(20, norm="group", width=5), resnet(34, stem="imagenet", channels=3, image_size=67),
    resnet(50, width=8, num_classes=3, image_size=33), resnet(152, width=2, norm="group", image_size=16),
]  # fmt: skip


def begun(folder: Path, model: ResNetPlan | None = None) -> RunPlan:
    """A plan that starts from a folder."""
    start = StartPlan(kind="folder", run=None, fingerprint=None, folder=str(folder), hub=None, revision=None)
    return plan_of(model=model).model_copy(update={"start": start})


def exported(folder: Path, model: ResNetPlan | None = None, **changes: Any) -> PlannedResNet:
    """A folder of weights as an export writes it, of another seed than `plan_of`'s."""
    plan = plan_of(model=model, seed=99)
    built = build_resnet(plan)
    torch.nn.init.constant_(dict(built.named_parameters())["bn1.weight"], 0.5)
    folder.mkdir(parents=True, exist_ok=True)
    write_loadable(built, folder, plan.model_copy(update=changes))
    return built


@pytest.mark.parametrize("plan", SHAPES, ids=lambda p: f"{p.depth}-{p.width}-{p.stem}-{p.norm}")
def test_the_compiler_sees_what_is_built(plan: ResNetPlan, tmp_path: Path) -> None:
    """Names and shapes of tests/exports.py are torchvision's, and a state dict alone shows every dimension."""
    state = PlannedResNet(plan).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == shapes_of(plan)
    save_file(state, tmp_path / "model.safetensors")
    assert classifier_in(tmp_path, plan.image_size).model == plan


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("bare", [False, True])
def test_a_start_has_the_folders_weights(norm: str, bare: bool, tmp_path: Path) -> None:
    """To the last bit, in fp32, trainable and in training mode; with a config.json or without, for images of any size."""
    model = resnet(norm=norm)
    saved = exported(tmp_path / "base", model).state_dict()
    if bare:
        (tmp_path / "base/config.json").unlink()
    plan = begun(tmp_path / "base", resnet(norm=norm, image_size=16, compile=True))
    read = load_start(plan, layout_of(plan, tmp_path))
    assert all(torch.equal(tensor, saved[name]) for name, tensor in read.state_dict().items())
    assert read.training
    assert all(weight.requires_grad and weight.dtype == torch.float32 for weight in read.parameters())
    assert not torch.equal(saved["conv1.weight"], build_resnet(plan).state_dict()["conv1.weight"])


def test_weights_of_sixteen_bits_are_trained_in_thirty_two(tmp_path: Path) -> None:
    """As an export with `export_dtype: bf16` holds them."""
    built = exported(tmp_path / "base")
    halves = {n: t.bfloat16() if t.is_floating_point() else t for n, t in built.state_dict().items()}
    save_file(halves, tmp_path / "base/model.safetensors")
    plan = begun(tmp_path / "base")
    found = load_start(plan, layout_of(plan, tmp_path)).state_dict()
    assert found["fc.weight"].dtype == torch.float32
    assert torch.equal(found["fc.weight"], halves["fc.weight"].float())


def test_the_random_numbers_of_the_run_are_not_touched(tmp_path: Path) -> None:
    """Whatever is built to hold the weights, the run's generator stays where it was."""
    exported(tmp_path / "base")
    plan = begun(tmp_path / "base")
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    load_start(plan, layout_of(plan, tmp_path))
    load_frozen_resnet(tmp_path / "base", "the teacher")
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (resnet(14), "its blocks is (1, 1, 1), the plan's (2, 2, 2)"),
        (resnet(width=8), "its width is 4, the plan's 8"),
        (resnet(norm="group"), "its norm is 'batch', the plan's 'group'"),
        (resnet(num_classes=3), "its num_classes is 10, the plan's 3"),
        (resnet(channels=3), "its channels is 1, the plan's 3"),
    ],
)
def test_another_network_is_refused(model: ResNetPlan, said: str, tmp_path: Path) -> None:
    """A folder that changed since the plan was made: told by its config.json, and without one by the weights."""
    exported(tmp_path / "base")
    plan = begun(tmp_path / "base", model)
    with pytest.raises(DataError) as caught:
        load_start(plan, layout_of(plan, tmp_path))
    assert caught.value.code == "RC406"
    assert said in caught.value.message
    (tmp_path / "base/config.json").unlink()
    with pytest.raises(DataError, match=r"the start in .* can't be loaded") as caught:
        load_start(plan, layout_of(plan, tmp_path))
    assert caught.value.code == "RC401"


def test_damaged_folders(tmp_path: Path) -> None:
    """Cut off weights, no config for a teacher, a config of something else."""
    exported(tmp_path / "base")
    file = tmp_path / "base/model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    plan = begun(tmp_path / "base")
    for config in (None, "{}"):
        with pytest.raises(DataError, match=r"the start in .* can't be loaded"):
            load_start(plan, layout_of(plan, tmp_path))
        with pytest.raises(DataError, match=r"the teacher in .* can't be loaded"):
            load_frozen_resnet(tmp_path / "base", "the teacher")
        if config is not None:
            (tmp_path / "base/config.json").write_text(config)


def test_names_of_classes(tmp_path: Path) -> None:
    """The longest list of the prepared sources is kept, and one that differs refused; numbers for names say nothing."""

    def prepared(*names: str) -> Result:
        return Result("prepare", "k", tmp_path, {"classes": list(names)})

    plain = Result("train", "k", tmp_path, {})
    names = names_in({"a": prepared("cat"), "b": prepared("cat", "dog"), "train": plain})
    assert names == ("cat", "dog")
    assert names_in({"train": plain}) == ()
    check_classes(tmp_path, "the start", ("cat",))  # nothing is known of it
    write_names(tmp_path, names)
    assert json.loads((tmp_path / "classes.json").read_text()) == ["cat", "dog"]
    for same in (names, ("cat",), ("0", "1"), ("0", "dog"), ("cat", "dog", "fish")):
        check_classes(tmp_path, "the start", same)
    with pytest.raises(DataError, match="class 1 is `cow` in the data, and `dog` in the start in") as caught:
        check_classes(tmp_path, "the start", ("cat", "cow"))
    assert caught.value.code == "RC416"
    (tmp_path / "classes.json").write_text("{")
    with pytest.raises(DataError, match="holds no names of classes"):
        check_classes(tmp_path, "the start", ("cat", "cow"))


def test_a_training_asks_for_the_names(tmp_path: Path) -> None:
    """`check_start` compares those of the data with those beside the weights."""
    exported(tmp_path / "base")
    write_names(tmp_path / "base", ["cat", "dog"])
    plan = begun(tmp_path / "base")
    layout = layout_of(plan, tmp_path)
    check_start(plan, layout, None, ("cat", "dog"))
    with pytest.raises(DataError, match="class 0 is `dog` in the data"):
        check_start(plan, layout, None, ("dog", "cat"))

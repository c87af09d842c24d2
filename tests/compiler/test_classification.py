"""Recipes that classify images: what is decided where they say nothing, and what they may not say, each on its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler.job.emit import emit
from compiler.render.page import render_page
from compiler.render.plan import render_plan
from schemas.plan import PlainBudget, RunPlan
from schemas.resume import resume_conflicts
from tests.recipes import compile_text, plan_text

DIGITS = """\
name: digits
objective: classification
model: {depth: 8}
data:
  image: {size: 8, channels: 1}
  sources:
    digits: {builtin: digits}
training: {duration: 10ep, batch: 64}
evaluation: {holdout: 0.1}
"""
PHOTOS = """\
name: photos
objective: classification
data:
  image: {size: 64}
  sources:
    photos: {images: photos}
training: {duration: 200ba}
"""


def folder_of(folder: Path, *classes: str, images: int = 3) -> None:
    """Empty files in folders of classes: the compiler looks at names alone."""
    for name in classes:
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(images):
            (folder / "photos" / name / f"{number}.png").touch()


def codes(text: str, folder: Path, *overrides: str) -> list[tuple[str, str]]:
    """(code, path) of the errors of a recipe."""
    found = compile_text(text, folder, *overrides).findings
    return [(one.code, one.path) for one in found if one.severity.value == "error"]


def test_digits_are_a_plan(tmp_path: Path) -> None:
    """Classes, tokens and epochs follow from the source; an image is a sample and a token; there is no tokenizer."""
    plan = plan_text(DIGITS, tmp_path)
    assert (plan.resnet.num_classes, plan.resnet.width, plan.resnet.stem, plan.resnet.blocks) == (
        10,
        16,
        "small",
        (1, 1, 1),
    )
    assert plan.tokenizer is None
    assert plan.data.sequence_length == 1
    images = round(1797 * 0.9)
    assert plan.training.steps == round(10 * images / 64)
    assert plan.budget.tokens == plan.training.steps * 64
    assert type(plan.budget) is PlainBudget
    assert plan.budget.epochs == pytest.approx(10, rel=5e-3)
    assert plan.budget.train_flops == 6 * plan.resnet.macs * plan.budget.tokens
    assert [step.kind for step in plan.steps] == ["prepare", "train", "evaluate", "export"]
    assert all("tokenizer" not in step.inputs for step in plan.steps)
    assert plan.data.image is not None
    assert (plan.data.image.mean, plan.data.image.std) == ((0.5,), (0.5,))


def test_findings_of_a_plan_read_as_yaml_are_the_same_plan(tmp_path: Path) -> None:
    """The plan survives its own JSON: the union of models and budgets is told apart by what stands there."""
    plan = plan_text(DIGITS, tmp_path)
    again = RunPlan.model_validate_json(plan.model_dump_json(by_alias=True))
    assert again == plan
    assert type(again.budget) is PlainBudget


def test_photographs_have_the_large_network(tmp_path: Path) -> None:
    """From 64 pixels on the usual ResNet-18 with ImageNet's colours; classes are counted by their folders."""
    folder_of(tmp_path, "cat", "cow", "dog")
    plan = plan_text(PHOTOS, tmp_path)
    assert (plan.resnet.depth, plan.resnet.width, plan.resnet.stem, plan.resnet.num_classes) == (18, 64, "imagenet", 3)
    assert plan.resnet.num_parameters == 11_689_512 - 997 * 513
    assert plan.training.global_batch_samples == 256
    assert plan.data.image is not None
    assert plan.data.image.mean == (0.485, 0.456, 0.406)
    small = plan_text(PHOTOS, tmp_path, "data.image.size=32")
    assert small.resnet.stem == "small"


def test_every_image_is_counted_where_epochs_ask_for_it(tmp_path: Path) -> None:
    """Four classes of 100 files, a tenth held out: two epochs of 360 images in batches of 36 are 20 steps."""
    folder_of(tmp_path, "a", "b", "c", "d", images=100)
    plan = plan_text(PHOTOS, tmp_path, "training={duration: 2ep, batch: 36}")
    assert plan.evaluation.holdout == 0.1
    assert plan.training.steps == 20
    assert plan.data.sources["photos"].tokens == 400


@pytest.mark.parametrize(
    ("kind", "lr", "decay"),
    [("sgd", 0.1, 1e-4), ("adamw", 1e-3, 0.05), ("decoupled_adamw", 1e-3, 5e-5), ("decoupled_lionw", 2e-4, 1e-5)],
)
def test_usual_rates(kind: str, lr: float, decay: float, tmp_path: Path) -> None:
    """At 256 images He et al.'s rate for SGD, Liu et al.'s for Adam; decoupled decay is the rate's share of 0.05."""
    folder_of(tmp_path, "a", "b")
    plan = plan_text(PHOTOS, tmp_path, f"training.optimizer.kind={kind}")
    assert (plan.training.optimizer.lr, plan.training.optimizer.weight_decay) == (lr, decay)


OUT_OF_PLACE: dict[str, tuple[str, ...]] = {
    "model.family": ("model.family=llama",),
    "model.num_heads": ("model.num_heads=2",),
    "model.size": ("model.size=1M",),
    "tokenizer": ("tokenizer={vocab_size: 512}",),
    "data.sequence_length": ("data.sequence_length=128",),
    "data.selection": ("data.selection={min_bytes: 2}",),
    "data.curriculum": ("data.curriculum={by: length}",),
    "data.sources.digits": ("data.sources.digits={builtin: cpython-docs}",),
    "data.sources.digits.curriculum": ("data.sources.digits={builtin: digits, curriculum: {by: length}}",),
    "budget.tokens": ("budget={tokens: 1M}",),
    "budget.inference": ("budget={inference: {requests: 1M}}",),
    "evaluation.prompts": ("evaluation.prompts=[hello]",),
}


@pytest.mark.parametrize("path", OUT_OF_PLACE)
def test_keys_of_language_models_are_refused_on_their_line(path: str, tmp_path: Path) -> None:
    """One finding each, at the key, with the line to delete or write; the plan is checked on."""
    assert codes(DIGITS, tmp_path, *OUT_OF_PLACE[path]) == [("RC203", path)]


def test_all_of_them_come_together(tmp_path: Path) -> None:
    """Nobody mends a recipe finding by finding."""
    changes = [change for name, said in OUT_OF_PLACE.items() if "digits" not in name for change in said]
    found = {path for _, path in codes(DIGITS, tmp_path, *changes)}
    assert {name for name in OUT_OF_PLACE if "digits" not in name} - found <= {"budget.tokens"}  # one `budget` wins


TEXT = """\
name: text
model: {size: 1M}
tokenizer: {vocab_size: 512}
data: {sequence_length: 64, sources: {prose: {builtin: cpython-docs}}}
budget: {tokens: 1M tok}
"""


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("model.family", "model.family=resnet"),
        ("model.depth", "model.depth=18"),
        ("model.norm", "model.norm=group"),
        ("data.image", "data.image={size: 8}"),
        ("data.sources.prose", "data.sources.prose={builtin: digits}"),
        ("data.sources.prose", "data.sources.prose={mds: photos, content: images}"),
    ],
)
def test_keys_of_classifiers_are_refused_in_language_models(path: str, change: str, tmp_path: Path) -> None:
    """With the objective to write, if that is what was meant."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/index.json").touch()
    assert ("RC203", path) in codes(TEXT, tmp_path, change)


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        (("training={batch: 64}",), "RC304", "training"),
        (("training.duration=1ep", "training.batch=4000"), "RC301", "training.duration"),
        (("hardware={gpu: h100-sxm-80gb, count: 8}", "training.batch=4"), "RC205", "training.batch"),
        (("training.microbatch=7",), "RC205", "training.microbatch"),
        (("model.num_classes=9",), "RC416", "model.num_classes"),
        (("model.depth=18",), "RC204", "data.image.size"),
        (("model.depth=19",), "RC105", "model.depth"),
        (("model={depth: 18, width: 4096}", "data.image.size=256"), "RC502", "model.width"),
        (("training.activation_checkpointing=true",), "RC203", "training.activation_checkpointing"),
        (("hardware={gpu: h100-sxm-80gb, count: 8}", "training.sharding=full"), "RC504", "training.sharding"),
        (("objective={kind: classification, z_loss: 1e-4}",), "RC104", "objective.z_loss"),
        (("hardware=h100-sxm-80gb", "precision=fp8"), "RC503", "precision.compute"),
    ],
)
def test_what_cant_be_trained(changes: tuple[str, ...], code: str, path: str, tmp_path: Path) -> None:
    """Lengths, batches, layouts and shapes that don't go together, each at its key."""
    assert (code, path) in codes(DIGITS, tmp_path, *changes)


def test_smoothing_belongs_to_classes(tmp_path: Path) -> None:
    """A language model has no label smoothing here."""
    assert codes(TEXT, tmp_path, "objective={label_smoothing: 0.1}") == [("RC104", "objective.label_smoothing")]


@pytest.mark.parametrize(
    ("classes", "said", "code"),
    [((), "", "RC416"), (("one",), "", "RC416"), (("a", "b", "c"), "model.num_classes=2", "RC416")],
)
def test_classes_that_dont_fit(classes: tuple[str, ...], said: str, code: str, tmp_path: Path) -> None:
    """No folder, one class alone, more classes than were said."""
    folder_of(tmp_path, *classes)
    assert code in [found for found, _ in codes(PHOTOS, tmp_path, *([said] if said else []))]


def test_classes_elsewhere_must_be_said(tmp_path: Path) -> None:
    """Shards in a store show nothing: the recipe says how many classes there are, and how many images for epochs."""
    store = PHOTOS.replace("{images: photos}", "{mds: s3://bucket/photos, content: images}")
    assert codes(store, tmp_path) == [("RC416", "model")]
    assert codes(store, tmp_path, "model.num_classes=10") == []
    assert codes(store, tmp_path, "model.num_classes=10", "training.duration=2ep") == [("RC410", "training.duration")]
    assert (
        codes(store, tmp_path, "model.num_classes=10", "training.duration=2ep", "data.sources.photos.tokens=50k") == []
    )


def test_limits_hold_and_suggest_a_shorter_run(tmp_path: Path) -> None:
    """A classifier has limits of money and hours like any run, and what is offered meets them."""
    folder_of(tmp_path, "a", "b")
    limits = ("hardware={gpu: h100-sxm-80gb}", "training.duration=200000ba", "budget={max_cost: $0.2}")
    found = [one for one in compile_text(PHOTOS, tmp_path, *limits).findings if one.code == "RC302"]
    assert [one.path for one in found] == ["budget.max_cost"]
    assert "training.duration" in found[0].help + found[0].reason


def test_mixtures_phases_and_devices(tmp_path: Path) -> None:
    """Shares of two sources over time, several devices: as for text, one image a token."""
    folder_of(tmp_path, "0", "1")
    mixed = (
        "data.sources.photos={images: photos}",
        "data.mixture=[{from: 0dur, weights: {digits: 1}}, {from: 0.5dur, weights: {digits: 0.5, photos: 0.5}}]",
        "training.duration=100ba",
        "hardware={gpu: a100-sxm-80gb, count: 2}",
    )
    plan = plan_text(DIGITS, tmp_path, *mixed)
    assert plan.resnet.num_classes == 10
    drawn = [
        {name: share.samples for name, share in phase.sources.items() if share.samples} for phase in plan.data.phases
    ]
    assert drawn == [{"digits": 50 * 64}, {"digits": 25 * 64, "photos": 25 * 64}]
    assert (plan.parallelism.strategy, plan.parallelism.sharding) == ("ddp", "none")


def test_which_changes_a_resume_survives(tmp_path: Path) -> None:
    """Shape, classes and form of the images bind a checkpoint; the learning rate doesn't."""
    plan = plan_text(DIGITS, tmp_path)
    for change, path in (
        ("model.width=8", "model.width"), ("model.norm=group", "model.norm"), ("model.num_classes=11", "model.num_classes"),
        ("data.image.channels=3", "model.channels"), ("model.depth=14", "model.blocks"),
    ):  # fmt: skip
        assert path in dict(resume_conflicts(plan, plan_text(DIGITS, tmp_path, change)))
    assert resume_conflicts(plan, plan_text(DIGITS, tmp_path, "training.optimizer.lr=1e-3")) == ()
    text = plan_text(TEXT, tmp_path)
    assert "model.family" in dict(resume_conflicts(plan, text))
    assert "model.family" in dict(resume_conflicts(text, plan))


def test_what_people_see(tmp_path: Path) -> None:
    """Screen, page and job folder speak of images and classes, and of no law."""
    compiled = compile_text(DIGITS, tmp_path)
    screen = render_plan(compiled.expect())
    assert "resnet-8" in screen
    assert "10 classes" in screen
    assert "16.2k images" in screen
    assert "law" not in screen
    assert "vocabulary" not in render_page(compiled)
    job = emit(compiled.expect(), tmp_path / "jobs")
    readme = (Path(job) / "README.md").read_text()
    assert "resnet-8" in readme
    assert "A sample is an image, 1 × 8 × 8" in readme


def test_estimates_grow_with_what_they_are_of(tmp_path: Path) -> None:
    """More depth is slower, half precision faster on a GPU, more images take more memory."""
    folder_of(tmp_path, "a", "b")

    def estimate(*changes: str) -> Any:
        return plan_text(PHOTOS, tmp_path, "hardware={gpu: a100-sxm-80gb}", *changes).estimate

    base = estimate()
    assert estimate("model.depth=50").tokens_per_s_per_gpu < base.tokens_per_s_per_gpu
    assert estimate("precision=fp32").tokens_per_s_per_gpu < base.tokens_per_s_per_gpu
    assert estimate("training.microbatch=2").peak_memory_bytes < base.peak_memory_bytes
    assert estimate("data.image.size=128").peak_memory_bytes > base.peak_memory_bytes
    assert estimate("hardware.mfu=0.05").mfu == pytest.approx(0.05)
    assert base.tokens_per_s_per_gpu_low < base.tokens_per_s_per_gpu < base.tokens_per_s_per_gpu_high
    assert "order of magnitude" in base.method

"""passes/start_images.py: what a classifier takes from the folder that it starts from, and where the two don't agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler.explain import explain_value
from compiler.frontend.spans import SpanIndex
from schemas.diagnostics import Diagnostic, Severity
from tests.exports import export_of, resnet
from tests.recipes import compile_text, plan_text

DIGITS = """\
name: tuned
objective: classification
model: {start: base}
data: {sources: {digits: {builtin: digits}}}
training: {duration: 20ba, batch: 64}
"""
PHOTOS = DIGITS.replace("{digits: {builtin: digits}}", "{photos: {images: photos}}")
NAMES = tuple(str(digit) for digit in range(10))


def findings(text: str, folder: Path, *overrides: str) -> list[Diagnostic]:
    """All of them."""
    return list(compile_text(text, folder, *overrides).findings)


def photos(folder: Path, *classes: str) -> None:
    """An empty image for each class: the compiler looks at names alone."""
    for name in classes:
        (folder / "photos" / name).mkdir(parents=True)
        (folder / "photos" / name / "0.png").touch()


def test_dimensions_and_images_follow(tmp_path: Path) -> None:
    """Nothing else is said; each value says why, and is counted like that of any classifier."""
    export_of(tmp_path / "base", resnet(14, width=5, norm="group"), NAMES)
    plan = plan_text(DIGITS, tmp_path)
    assert plan.resnet == resnet(14, width=5, norm="group")
    assert plan.data.image is not None
    assert (plan.data.image.size, plan.data.image.channels, plan.data.image.mean) == (8, 1, (0.5,))
    assert plan.start is not None
    assert (plan.start.kind, plan.start.folder) == ("folder", "base")
    assert "`base`, whose weights the run starts from" in explain_value(plan, SpanIndex(), "model.width")
    assert plan.tokenizer is None


def test_what_the_weights_leave_open_is_the_recipes(tmp_path: Path) -> None:
    """Compilation, and the size of images with a warning, which the counts follow."""
    export_of(tmp_path / "base", resnet(), NAMES)
    said = ("training.compile=true", "data.image.size=16")
    (found,) = findings(DIGITS, tmp_path, *said)
    assert (found.code, found.severity, found.path) == ("RC207", Severity.WARNING, "data.image.size")
    assert "is 16, and `base` has learnt from images of 8 pixels" in found.message
    assert plan_text(DIGITS, tmp_path, *said).resnet == resnet(image_size=16, compile=True)
    assert findings(DIGITS, tmp_path, "data.image.size=8") == []


@pytest.mark.parametrize(
    ("said", "path", "both"),
    [
        ("model.depth=14", "model.depth", ("14", "8")),
        ("model.width=8", "model.width", ("8", "4")),
        ("model.stem=imagenet", "model.stem", ("imagenet", "small")),
        ("model.norm=group", "model.norm", ("group", "batch")),
        ("model.num_classes=12", "model.num_classes", ("12", "10")),
        ("data.image.channels=3", "data.image.channels", ("3", "1")),
    ],
)
def test_a_dimension_that_differs_is_an_error(said: str, path: str, both: tuple[str, str], tmp_path: Path) -> None:
    """It names both numbers, and the line to write is accepted."""
    export_of(tmp_path / "base", resnet(), NAMES)
    (found,) = findings(DIGITS, tmp_path, said)
    assert (found.code, found.path, found.severity) == ("RC207", path, Severity.ERROR)
    assert all(value in found.message for value in both)
    line = found.help.partition("   #")[0].replace(": ", "=")
    assert findings(DIGITS, tmp_path, f"{path.rpartition('.')[0]}.{line}") == []


def test_weights_alone_are_enough(tmp_path: Path) -> None:
    """torchvision's names and shapes show all but the size of the images, which the recipe says."""
    export_of(tmp_path / "base", resnet(18, width=6, channels=3, image_size=32), bare=True)
    (error,) = findings(DIGITS, tmp_path)
    assert (error.code, error.path) == ("RC207", "model.start.folder")
    assert "don't show how large their images are" in error.reason
    plan = plan_text(DIGITS, tmp_path, "data.image.size=32")
    assert plan.resnet == resnet(18, width=6, channels=3, image_size=32)


@pytest.mark.parametrize(
    ("classes", "outputs", "names", "said", "message"),
    [
        (("cat", "cow"), 2, ("cat", "cow"), None, None),
        (("cat", "cow"), 2, (), None, None),
        (("cat", "cow"), 2, ("0", "1"), None, None),
        (("cat", "cow"), 3, ("cat", "cow", "dog"), None, None),
        (("cat", "cow"), 3, (), 3, None),
        (("cat", "cow"), 3, ("0", "1", "2"), 3, None),
        (("cat", "cow"), 3, (), None, "the sources have 2 classes, and the run starts from `base` with 3"),
        (("cat", "cow"), 3, ("0", "1", "2"), None, "the sources have 2 classes, and the run starts from `base` with 3"),
        (("cat", "dog"), 3, ("cat", "cow", "dog"), None, "class 1 is `dog` here, and `cow` in `base`"),
        (("cat", "dog"), 2, ("cat", "cow"), 2, "class 1 is `dog` here, and `cow` in `base`"),
        (("a", "b", "c"), 2, (), None, "the sources have 3 classes, and the run starts from `base` with 2"),
    ],
)
def test_classes_must_be_the_same(
    classes: tuple[str, ...],
    outputs: int,
    names: tuple[str, ...],
    said: int | None,
    message: str | None,
    tmp_path: Path,
) -> None:
    """By their names where these are known; fewer of them than outputs only if names or the recipe say which."""
    photos(tmp_path, *classes)
    export_of(tmp_path / "base", resnet(num_classes=outputs), names)
    found = findings(PHOTOS, tmp_path, *([] if said is None else [f"model.num_classes={said}"]))
    assert [(one.code, one.path, one.message) for one in found] == (
        [] if message is None else [("RC207", "model.start", message)]
    )
    if message is None:
        assert (
            plan_text(PHOTOS, tmp_path, *([f"model.num_classes={said}"] if said else [])).resnet.num_classes == outputs
        )


def test_what_cannot_be_started_from(tmp_path: Path) -> None:
    """Missing, a language model's, damaged, pruned: one error at the folder, with the reason."""
    (error,) = findings(DIGITS, tmp_path)
    assert (error.code, error.path, error.severity) == ("RC401", "model.start.folder", Severity.ERROR)
    base = export_of(tmp_path / "base", removed=1)
    for config, said in (
        (None, "pruning took channels out of it"),
        ('{"model_type": "llama"}', "it is a `llama`, no classifier of images"),
        ("{", "holds no config.json that can be read"),
    ):
        if config is not None:
            (base / "config.json").write_text(config)
        (error,) = findings(DIGITS, tmp_path)
        assert (error.code, error.path) == ("RC207", "model.start.folder")
        assert said in error.reason


def test_weights_that_can_not_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An absolute folder or the hub's may be elsewhere, if the recipe says depth, width, stem and classes."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    known = ("model.depth=8", "model.width=4", "model.stem=small", "model.num_classes=10")
    for start, expected in (("/no/base", [("RC401", Severity.WARNING)]), ("{hub: org/base}", [])):
        text = DIGITS.replace("start: base", f"start: {start}")
        said = [(one.code, one.severity) for one in findings(text, tmp_path, *known) if one.code != "RC102"]
        assert said == expected
        (error,) = [one for one in findings(text, tmp_path, *known[:2]) if one.severity is Severity.ERROR]
        assert error.code == "RC207"
        assert "stem: ..., num_classes: ..." in error.help


def test_the_hubs_cache_is_a_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that was uploaded, at the commit that the recipe pins."""
    commit = "a" * 40
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    export_of(tmp_path / "models--org--base" / "snapshots" / commit, resnet(width=3), NAMES)
    text = DIGITS.replace("start: base", f"start: {{hub: org/base, revision: {commit}}}")
    assert plan_text(text, tmp_path).resnet == resnet(width=3)


RUNS = DIGITS.replace("model: {start: base}\n", "model: {depth: 8, width: 4}\n")


def test_a_run_gives_its_own(tmp_path: Path) -> None:
    """Dimensions, images and classes of an earlier run, like a folder's."""
    text = RUNS.replace("data: {", "data: {image: {size: 8, channels: 1}, ")
    said = "sequence=[{name: one, model: {width: 6}}, {name: two, model: {start: {run: one}}}]"
    plan = plan_text(text, tmp_path, said)
    assert plan.resnet == plan.earlier[0].resnet == resnet(width=6)
    larger = said.replace("{run: one}}", "{run: one}}, data: {image: {size: 16}}")
    (warning,) = findings(text, tmp_path, larger)
    assert (warning.code, warning.path) == ("RC207", "sequence[1].data.image.size")
    assert plan_text(text, tmp_path, larger).resnet == resnet(width=6, image_size=16)


def test_runs_of_other_classes(tmp_path: Path) -> None:
    """Photographs of a cat don't go on from the digit 0 without a word, nor one class of a run under another's number."""
    photos(tmp_path, "cat", "dog")
    other = "data: {sources: {digits: null, photos: {images: photos}}}"
    said = f"sequence=[{{name: one}}, {{name: two, model: {{start: {{run: one}}}}, {other}}}]"
    (error,) = findings(RUNS, tmp_path, said)
    assert (error.code, "the sources have 2 classes" in error.message) == ("RC207", True)
    for name in ("cat", "cow", "dog"):
        (tmp_path / "more" / name).mkdir(parents=True)
        (tmp_path / "more" / name / "0.png").touch()
    text = RUNS.replace("{digits: {builtin: digits}}", "{photos: {images: more}}")
    said = (
        "sequence=[{name: one}, {name: two, model: {start: {run: one}}, data: {sources: {photos: {images: photos}}}}]"
    )
    (error,) = findings(text, tmp_path, said)
    assert (error.code, error.message) == ("RC207", "run `two`: class 1 is `dog` here, and `cow` in the run `one`")


def test_a_language_model_becomes_no_classifier(tmp_path: Path) -> None:
    """Nor the reverse; both runs are named by what they learn."""
    llama = (
        "{name: one, objective: causal_lm, model: {depth: null, width: null, size: 1M}, budget: {tokens: 1M tok}, "
        "training: null, data: {sequence_length: 64, sources: {digits: null, prose: {builtin: cpython-docs}}}}"
    )
    found = findings(RUNS, tmp_path, f"sequence=[{llama}, {{name: two, model: {{start: {{run: one}}}}}}]")
    error = next(one for one in found if one.code == "RC207")
    assert "the run `one` learns causal_lm, this one classification" in error.message

"""compiler.lineage.references: folders that a classifier is compared with, as far as a compiler can see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from schemas.diagnostics import Severity
from tests.exports import export_of, resnet
from tests.recipes import compile_text, plan_text

DIGITS = """\
name: small
objective: classification
model: {depth: 8, width: 4}
data: {image: {size: 8, channels: 1}, sources: {digits: {builtin: digits}}}
training: {duration: 20ba, batch: 64}
evaluation: {bias: {against: out/base}}
"""
NAMES = tuple(str(digit) for digit in range(10))


def test_a_folder_is_a_reference(tmp_path: Path) -> None:
    """Of any depth and width, whole or pruned, and one that only the machine of the run has."""
    for plan, removed in ((None, 0), (resnet(), 0), (resnet(18, width=3, norm="group"), 0), (resnet(), 1)):
        if plan is not None:
            export_of(tmp_path / "out/base", plan, NAMES, removed=removed)
        found = compile_text(DIGITS, tmp_path)
        bias = found.expect().evaluation.bias
        assert found.findings == ()
        assert bias is not None
        assert (bias.against, bias.folder, bias.classes) == ("folder", "out/base", "labels")
    assert "compare" in [step.kind for step in plan_text(DIGITS, tmp_path).steps]


@pytest.mark.parametrize(
    ("changes", "names", "message", "severity"),
    [
        ({"num_classes": 7}, (), "the reference `out/base` has 7 classes, the model 10", Severity.ERROR),
        (
            {"channels": 3},
            NAMES,
            "the reference `out/base` reads images of 3 channels, and these have 1",
            Severity.ERROR,
        ),
        ({"image_size": 16}, NAMES, "has learnt from images of 16 pixels, and is to read 8", Severity.WARNING),
    ],
)
def test_a_reference_that_does_not_fit(
    changes: dict[str, Any], names: tuple[str, ...], message: str, severity: Severity, tmp_path: Path
) -> None:
    """Other outputs, other images: told at the line."""
    export_of(tmp_path / "out/base", resnet(**changes), names)
    (one,) = compile_text(DIGITS, tmp_path).findings
    assert (one.code, one.path, one.severity) == ("RC203", "evaluation.bias.against", severity)
    assert message in one.message


def test_other_names(tmp_path: Path) -> None:
    """Folders of images have names, and the reference has others under the same numbers."""
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "0.png").touch()
    export_of(tmp_path / "out/base", resnet(num_classes=2), ("cat", "fish"))
    text = DIGITS.replace("{digits: {builtin: digits}}", "{photos: {images: photos}}")
    (error,) = compile_text(text, tmp_path).findings
    assert error.message == "class 1 is `dog` here, and `fish` in the reference `out/base`"


@pytest.mark.parametrize(
    ("config", "reason"), [('{"model_type": "gpt2"}', "it is a `gpt2`, no classifier"), (None, "holds no config.json")]
)
def test_a_folder_of_something_else(config: str | None, reason: str, tmp_path: Path) -> None:
    """A language model, or weights whose images nobody has told."""
    export_of(tmp_path / "out/base", bare=True)
    if config is not None:
        (tmp_path / "out/base/config.json").write_text(config)
    (error,) = compile_text(DIGITS, tmp_path).findings
    assert error.message == "a classifier can't be compared with `out/base`"
    assert reason in error.reason


def test_an_unusable_start_is_told_alone(tmp_path: Path) -> None:
    """What the stand-in for it would not fit is nobody's mistake."""
    export_of(tmp_path / "out/base", resnet(), NAMES)
    text = DIGITS.replace("{depth: 8, width: 4}", "{start: out/none}").replace("image: {size: 8, channels: 1}, ", "")
    assert [one.code for one in compile_text(text, tmp_path).findings] == ["RC401"]

"""Preparing images: every form of file and array becomes the same pixels, each image has one side, and errors name their file."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from streaming import MDSWriter

from runtime.errors import DataError
from runtime.images.sources import classes_of, read_images
from runtime.layout import Layout
from runtime.steps import prepare
from runtime.steps.base import Context
from schemas.plan import RunPlan
from tests.runtime.images.case import DIGITS, layout_of, plan_of, prepare_source, resnet

RNG = np.random.default_rng(7)


def colours(size: int, channels: int = 3) -> NDArray[np.uint8]:
    """A random image."""
    shape = (size, size, channels) if channels > 1 else (size, size)
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def photos(folder: Path, per_class: dict[str, int], *, size: int = 8) -> dict[str, Any]:
    """Sources of one folder with random PNG images of each class."""
    for name, images in per_class.items():
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(images):
            Image.fromarray(colours(size)).save(folder / "photos" / name / f"{number:03d}.png")
    return {"photos": {"images": "photos"}}


def rows(folder: Path) -> list[tuple[NDArray[np.uint8], int]]:
    """Pixels and labels of an MDS folder."""
    from streaming.base.format import reader_from_json

    if not (folder / "index.json").exists():
        return []
    shards = json.loads((folder / "index.json").read_text())["shards"]
    readers = [reader_from_json(str(folder), "", shard) for shard in shards]
    return [(reader[i]["image"], reader[i]["label"]) for reader in readers for i in range(reader.samples)]


def made(plan: RunPlan, folder: Path, name: str = "photos", target: str = "out") -> dict[str, Any]:
    """Prepare one source into a folder."""
    return prepare_source(plan, folder, name, folder / target)


def test_digits_are_scikit_learns(tmp_path: Path) -> None:
    """All 1797, grey levels 0 to 16 as 0 to 255, none on both sides, counts by class as in the data set."""
    load_digits: Any = pytest.importorskip("sklearn.datasets").load_digits

    values = made(plan_of(), tmp_path, "digits")
    found = rows(tmp_path / "out/train") + rows(tmp_path / "out/heldout")
    theirs = load_digits()
    expected = sorted(
        zip((np.rint(theirs.images * 255 / 16)).astype(np.uint8).tolist(), theirs.target.tolist(), strict=True)
    )
    assert sorted((pixels[..., 0].tolist(), label) for pixels, label in found) == expected
    assert values["train"]["samples"] + values["heldout"]["samples"] == values["documents"] == 1797
    counts = np.bincount(theirs.target)
    assert (np.array(values["train"]["per_class"]) + values["heldout"]["per_class"]).tolist() == counts.tolist()
    assert 0.07 < values["heldout"]["samples"] / 1797 < 0.13
    assert values["classes"] == [str(digit) for digit in range(10)]


def test_pixels_alone_decide_who_is_held_out(tmp_path: Path) -> None:
    """Twice the same image, under other names and in another class's order: the same side each time."""
    sources = photos(tmp_path, {"cat": 30, "dog": 30})
    first = made(plan_of(model=resnet(num_classes=2, channels=3), sources=sources), tmp_path)
    held = {pixels.tobytes() for pixels, _ in rows(tmp_path / "out/heldout")}
    for path in sorted((tmp_path / "photos/cat").iterdir()):
        path.rename(path.with_name(f"{999 - int(path.stem)}.png"))
    for number in range(20):
        Image.fromarray(colours(8)).save(tmp_path / "photos/dog" / f"new{number}.png")
    made(plan_of(model=resnet(num_classes=2, channels=3), sources=sources), tmp_path, target="more")
    trained = {pixels.tobytes() for pixels, _ in rows(tmp_path / "more/train")}
    assert held
    assert held <= {pixels.tobytes() for pixels, _ in rows(tmp_path / "more/heldout")}
    assert not held & trained
    assert first["train"]["per_class"][0] + first["heldout"]["per_class"][0] == 30


def test_few_images_hold_out_one(tmp_path: Path) -> None:
    """Where chance takes none of four images, one is held out all the same; none where the recipe says so."""
    sources = photos(tmp_path, {"cat": 2, "dog": 2})
    model = resnet(num_classes=2, channels=3)
    few = made(plan_of(model=model, sources=sources, evaluation={"holdout": 1e-6}), tmp_path)
    assert (few["train"]["samples"], few["heldout"]["samples"]) == (3, 1)
    none = made(plan_of(model=model, sources=sources, evaluation={"holdout": 0.0}), tmp_path, target="none")
    assert (none["train"]["samples"], none["heldout"]["samples"], none["heldout"]["local"]) == (4, 0, None)


def test_held_out_images_beyond_the_limit_are_left_out(tmp_path: Path) -> None:
    """`max_tokens` counts images; what is beyond is neither trained on nor kept."""
    sources = photos(tmp_path, {"cat": 30, "dog": 30})
    plan = plan_of(
        model=resnet(num_classes=2, channels=3), sources=sources, evaluation={"holdout": 0.5, "max_tokens": 5}
    )
    values = made(plan, tmp_path)
    assert values["heldout"]["samples"] == 5
    assert values["train"]["samples"] + 5 + values["unused_heldout"]["documents"] == 60
    assert values["unused_heldout"]["documents"] > 5


def test_sizes_and_modes_come_to_one_form(tmp_path: Path) -> None:
    """Grey, palette, transparent, 16 bit, JPEG, oblong and large files are all [8, 8, 3] or [8, 8, 1]."""
    base = tmp_path / "photos/all"
    base.mkdir(parents=True)
    grey = Image.fromarray(colours(8, 1))
    grey.save(base / "grey.png")
    grey.convert("P").save(base / "palette.gif")
    Image.fromarray(colours(8, 4)).save(base / "transparent.png")
    Image.fromarray(colours(40)).resize((40, 13)).save(base / "oblong.jpg")
    deep = np.full((8, 8), 0x8040, np.uint16)
    Image.fromarray(deep).save(base / "deep.png")
    for channels in (1, 3):
        plan = plan_of(model=resnet(num_classes=2, channels=channels), sources={"photos": {"images": "photos"}})
        source = plan.data.sources["photos"]
        found = {Path(i.place).name: i for i in read_images(source, (tmp_path,), size=8, channels=channels)}
        assert len(found) == 5
        assert all(i.pixels is not None and i.pixels.shape == (8, 8, channels) for i in found.values())
        assert np.array_equal(found["grey.png"].pixels[..., 0], np.asarray(grey))  # type: ignore[index]
        assert set(np.unique(found["deep.png"].pixels)) == {0x80}  # type: ignore[arg-type]


def encoded(kind: str) -> bytes:
    """A file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(colours(9)).save(buffer, kind)
    return buffer.getvalue()


MDS: dict[str, tuple[str, Callable[[], Any]]] = {
    "array": ("ndarray:uint8", lambda: colours(8)), "grey array": ("ndarray:uint8", lambda: colours(8, 1)),
    "bytes": ("bytes", lambda: encoded("png")), "jpeg": ("jpeg", lambda: Image.open(io.BytesIO(encoded("jpeg")))),
    "png": ("png", lambda: Image.fromarray(colours(20))),
}  # fmt: skip


def shards(folder: Path, encoding: str, value: Callable[[], Any], labels: list[int]) -> dict[str, Any]:
    """A source of MDS images with these labels."""
    with MDSWriter(out=str(folder / "mds"), columns={"image": encoding, "label": "int"}) as writer:
        for label in labels:
            writer.write({"image": value(), "label": label})
    return {"photos": {"mds": "mds", "content": "images"}}


@pytest.mark.parametrize("form", MDS)
def test_shards_of_images(form: str, tmp_path: Path) -> None:
    """Arrays, files' bytes and Streaming's own image columns, with labels that are numbers."""
    sources = shards(tmp_path, *MDS[form], [number % 3 for number in range(30)])
    plan = plan_of(model=resnet(num_classes=3), sources=sources)
    values = made(plan, tmp_path)
    assert values["classes"] == ["0", "1", "2"]
    both = np.array(values["train"]["per_class"]) + values["heldout"]["per_class"]
    assert both.tolist() == [10, 10, 10]
    assert all(pixels.shape == (8, 8, 1) for pixels, _ in rows(tmp_path / "out/train"))


def test_sources_with_names_share_their_numbers(tmp_path: Path) -> None:
    """Two folders: classes are sorted over both, and a class that both have is one."""
    photos(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "photos").rename(tmp_path / "one")
    photos(tmp_path, {"ant": 3, "dog": 3})
    sources = {"one": {"images": "one"}, "photos": {"images": "photos"}}
    plan = plan_of(model=resnet(num_classes=3, channels=3), sources=sources, evaluation={"holdout": 0.0})
    assert classes_of(plan, (tmp_path,)) == ("ant", "cat", "dog")
    assert made(plan, tmp_path, "one")["train"]["per_class"] == [0, 3, 3]
    assert made(plan, tmp_path, "photos", "two")["train"]["per_class"] == [3, 0, 3]


def broken(folder: Path) -> Path:
    """A file that is half of an image."""
    path = next((folder / "photos/cat").iterdir())
    path.write_bytes(path.read_bytes()[:60])
    return path


def test_a_broken_image_stops_or_is_left_out(tmp_path: Path) -> None:
    """The error names the file; `on_error: skip` counts it."""
    sources = photos(tmp_path, {"cat": 5, "dog": 5}, size=30)
    path, model = broken(tmp_path), resnet(num_classes=2, channels=3)
    with pytest.raises(DataError, match=path.name) as error:
        made(plan_of(model=model, sources=sources), tmp_path)
    assert error.value.code == "RC407"
    sources["photos"]["on_error"] = "skip"
    values = made(plan_of(model=model, sources=sources), tmp_path, target="again")
    assert values["skipped"]["broken"] == 1
    assert values["train"]["samples"] + values["heldout"]["samples"] == 9


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda f: (f / "photos/cow").mkdir(), "RC401", "the class `cow` in .* has no image"),
        (lambda f: (f / "photos").rename(f / "away"), "RC401", "there is no folder `photos`"),
        (lambda f: photos(f / "x", {"cow": 1}) and (f / "x/photos/cow").rename(f / "photos/cow"), "RC416",
         "3 classes, the network has 2 outputs"),
    ],
    ids=["empty class", "no folder", "more classes"],
)  # fmt: skip
def test_folders_that_cant_be_used(change: Callable[[Path], object], code: str, message: str, tmp_path: Path) -> None:
    """Each says which folder, and why."""
    sources = photos(tmp_path, {"cat": 3, "dog": 3})
    change(tmp_path)
    with pytest.raises(DataError, match=message) as error:
        made(plan_of(model=resnet(num_classes=2, channels=3), sources=sources), tmp_path)
    assert error.value.code == code


def test_a_class_of_broken_images_alone_is_refused(tmp_path: Path) -> None:
    """With `on_error: skip` a class would be lost without a sign."""
    sources = photos(tmp_path, {"cat": 1, "dog": 5}, size=30)
    broken(tmp_path)
    sources["photos"]["on_error"] = "skip"
    with pytest.raises(DataError, match="of the class `cat` of source `photos` no image can be read"):
        made(plan_of(model=resnet(num_classes=2, channels=3), sources=sources), tmp_path)


@pytest.mark.parametrize(
    ("labels", "said", "code", "message"),
    [
        ([0, 1, 7], {}, "RC416", "is of class 7, the network has classes 0 to 2"),
        ([0, -1], {}, "RC416", "is of class -1"),
        ([0, 1], {"label": "kind"}, "RC411", "has no column `kind`; it has `image`, `label`"),
        ([0, 1], {"label": "image"}, "RC411", "holds no whole number"),
        ([0, 1], {"column": "pixels"}, "RC411", "has no column `pixels`"),
    ],
)
def test_labels_and_columns_that_cant_be_used(
    labels: list[int], said: dict[str, str], code: str, message: str, tmp_path: Path
) -> None:
    """Each says which row or column, and what there is."""
    sources = shards(tmp_path, *MDS["array"], labels)
    sources["photos"] |= said
    with pytest.raises(DataError, match=message) as error:
        made(plan_of(model=resnet(num_classes=3), sources=sources), tmp_path)
    assert error.value.code == code


def test_identity_is_what_the_samples_depend_on(tmp_path: Path) -> None:
    """Size, channels, held-out share, files and class names; not depth, batch or place."""
    sources = photos(tmp_path, {"cat": 3, "dog": 3})

    def key(**changes: Any) -> str:
        model = changes.pop("model", resnet(num_classes=2, channels=3))
        plan = plan_of(model=model, sources=sources, **changes)
        layout: Layout = layout_of(plan, tmp_path)
        return json.dumps(prepare.identity(plan.steps[0], Context(plan, layout), {}))

    base = key()
    assert key(model=resnet(20, num_classes=2, channels=3), batch=16) == base
    assert key(model=resnet(num_classes=2, channels=1)) != base
    assert key(model=resnet(num_classes=2, channels=3, image_size=9)) != base
    assert key(evaluation={"holdout": 0.2}) != base
    Image.fromarray(colours(8)).save(tmp_path / "photos/cat/new.png")
    assert key() != base
    digits = plan_of(sources=DIGITS)
    assert "digits" in json.dumps(prepare.identity(digits.steps[0], Context(digits, layout_of(digits, tmp_path)), {}))


@pytest.mark.parametrize("name", [b"caf\xe9", b"two\nlines", b"red\x1b[31m"])
def test_a_class_whose_name_is_no_text_is_refused(name: bytes, tmp_path: Path) -> None:
    """Bytes that aren't UTF-8 can't be written down, and control codes would act on terminals; other signs are fine."""
    fine = photos(tmp_path, {"a b <c> $x_1$": 2, "Кот 猫": 2})
    plan = plan_of(model=resnet(num_classes=3, channels=3), sources=fine)
    assert classes_of(plan, (tmp_path,))[:2] == ("a b <c> $x_1$", "Кот 猫")
    folder = bytes(tmp_path / "photos") + b"/" + name
    os.mkdir(folder)
    with open(folder + b"/1.png", "wb") as file:
        Image.fromarray(colours(8)).save(file, "PNG")
    with pytest.raises(DataError, match="is no text in UTF-8") as caught:
        classes_of(plan, (tmp_path,))
    str(caught.value).encode()

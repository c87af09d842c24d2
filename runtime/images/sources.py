"""Images as each kind of source holds them, whole or broken, with the name or number of their class."""

from __future__ import annotations

import gzip
import importlib.util
import io
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from runtime.data import mds
from runtime.data.locate import FoundFile, find_folder
from runtime.errors import DataError, first_line
from schemas.plan import RunPlan
from schemas.sources import BuiltinSource, ImagesSource, MdsSource, Source

__all__ = ["FoundImage", "Pixels", "classes_of", "digits_file", "image_files", "read_images"]

Pixels = NDArray[np.uint8]
"""[height, width, channels]."""

_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp"})
_DIGIT_LEVELS: Final = 16
_DIGIT_SIZE: Final = 8


class FoundImage(NamedTuple):
    """What a reader came across.

    Args:
        place: file, or shard and row.
        label: name of the class, or its number where names are not known.
        pixels: of the wanted size and channels; None if the image is broken.
        problem: why it is broken.
    """

    place: str
    label: str | int
    pixels: Pixels | None
    problem: str = ""


def read_images(source: Source, roots: tuple[Path, ...], *, size: int, channels: int) -> Iterator[FoundImage]:
    """All images of a source, in order, each brought to one form.

    Args:
        source: of images.
        roots: folders in which relative paths are looked up, in turn.
        size: height and width to which an image is scaled, bilinearly, without keeping its shape.
        channels: 1 (grey) or 3 (red, green, blue).

    Raises:
        DataError: nothing is there (RC401), a damaged shard (RC408), no such column (RC411).
        RunFailed: an object store can't be reached (RC607).
    """
    if isinstance(source, ImagesSource):
        for file in image_files(source, roots):
            yield _decoded(file.path, str(file.path), Path(file.name).parts[0], size, channels)
    elif isinstance(source, MdsSource):
        for place, row in mds.rows(source, (source.image_column, source.label), roots):
            label = row[source.label]
            if not isinstance(label, int | np.integer):
                raise DataError(
                    "RC411",
                    f"{place}: column `{source.label}` holds no whole number",
                    "name the column of class numbers with `label:`",
                )
            yield _decoded(row[source.image_column], place, int(label), size, channels)
    else:
        for number, (pixels, label) in enumerate(_digits()):
            yield _decoded(pixels, f"digits:{number}", str(label), size, channels)


def classes_of(plan: RunPlan, roots: tuple[Path, ...]) -> tuple[str, ...]:
    """Names of the classes in the order of their numbers: sorted over all sources that have names, else the numbers themselves.

    Raises:
        DataError: there are more than the network has outputs (RC416); a source has no folder of a class (RC401).
    """
    names: set[str] = set()
    for source in plan.data.sources.values():
        if isinstance(source, ImagesSource):
            names |= {Path(file.name).parts[0] for file in image_files(source, roots)}
        elif isinstance(source, BuiltinSource):
            names |= {str(digit) for digit in range(10)}
    wanted = plan.resnet.num_classes
    if len(names) > wanted:
        raise DataError(
            "RC416",
            f"the sources have {len(names)} classes, the network has {wanted} outputs",
            "compile the recipe again where the images are, or set `model.num_classes`",
        )
    named = sorted(names)
    return (*named, *(str(number) for number in range(len(named), wanted)))


def image_files(source: ImagesSource, roots: tuple[Path, ...]) -> list[FoundFile]:
    """Images below the folders of the classes, sorted by name; `name` begins with the class.

    Raises:
        DataError: there is no such folder, it has no class, or a class has no image (RC401).
    """
    folder = find_folder(source.images, roots)
    if folder is None:
        where = ", ".join(str(root) for root in roots)
        message = f"there is no folder `{source.images}`; looked in {where}"
        raise DataError("RC401", message, "check the path, or give an absolute one")
    found: list[FoundFile] = []
    for of_class in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        if any(unicodedata.category(character) in {"Cc", "Cs"} for character in of_class.name):
            # It goes into reports, terminals and pictures.
            message = f"the name of the class folder {of_class.name!r} in {folder} is no text in UTF-8"
            raise DataError("RC401", message, "rename it")
        files = sorted(path for path in of_class.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
        if not files:
            raise DataError(
                "RC401", f"the class `{of_class.name}` in {folder} has no image", "add some, or remove the folder"
            )
        found += [FoundFile(path.relative_to(folder).as_posix(), path) for path in files]
    if not found:
        message = f"{folder} has no folder with images"
        raise DataError("RC401", message, "give each class a folder of its own, with PNG or JPEG files")
    return found


def digits_file() -> Path:
    """scikit-learn's file of handwritten digits, found without importing the package.

    Raises:
        DataError: scikit-learn is not installed here (RC401).
    """
    spec = importlib.util.find_spec("sklearn")
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise DataError(
            "RC401", "scikit-learn's digits are not here", "install scikit-learn: `pip install scikit-learn`"
        )
    return path


def _digits() -> Iterator[tuple[Pixels, int]]:
    """(pixels [8, 8, 1], digit) of each of the 1797 images; their grey levels 0 to 16 become 0 to 255."""
    with gzip.open(digits_file()) as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.int64)
    grey = np.rint(table[:, :-1] * (255 / _DIGIT_LEVELS)).astype(np.uint8)
    for pixels, label in zip(grey.reshape(-1, _DIGIT_SIZE, _DIGIT_SIZE, 1), table[:, -1], strict=True):
        yield pixels, int(label)


def _decoded(value: Any, place: str, label: str | int, size: int, channels: int) -> FoundImage:
    """An image from a file, from encoded bytes, from PIL or from an array, as pixels."""
    from PIL import Image, UnidentifiedImageError

    try:
        if isinstance(value, np.ndarray):
            image = _of_array(value)
        elif isinstance(value, Image.Image):
            image = value
        else:
            image = Image.open(io.BytesIO(value.read_bytes() if isinstance(value, Path) else value))
        image = _of_bytes(image).convert("L" if channels == 1 else "RGB")
        if image.size != (size, size):
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype=np.uint8).reshape(size, size, channels)
    except UnidentifiedImageError:
        return FoundImage(place, label, None, "not an image that can be read (its bytes are of no known format)")
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError) as error:
        return FoundImage(place, label, None, f"not an image that can be read ({first_line(error)})")
    return FoundImage(place, label, pixels)


def _of_array(value: NDArray[Any]) -> Any:
    """A PIL image of uint8 values [height, width] or [height, width, 1, 3 or 4]."""
    from PIL import Image

    if value.dtype != np.uint8:
        raise ValueError(f"an array of {value.dtype}, not uint8")
    return Image.fromarray(value[..., 0] if value.ndim == 3 and value.shape[2] == 1 else value)


def _of_bytes(image: Any) -> Any:
    """A grey image of 16 or 32 bits a pixel as one of 8, which PIL itself would cut off at 255."""
    from PIL import Image

    if not image.mode.startswith("I"):
        return image
    return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))

"""The teacher of a distillation: a Hugging Face folder that someone else made, so it is found, pinned and compared."""

from __future__ import annotations

from pathlib import Path

from runtime.data.locate import find_folder
from runtime.errors import DataError
from runtime.files import hash_file
from schemas.plan import RunPlan
from schemas.techniques.distillation import DistillationAlgorithm

__all__ = ["check_tokenizer", "content", "find", "folder_of"]

_OURS = {".json", ".safetensors"}


def folder_of(plan: RunPlan, roots: tuple[Path, ...]) -> Path | None:
    """The folder of a plan's teacher; None where the plan has none.

    Raises:
        DataError: there is no such folder (RC401).
    """
    specs = [spec for spec in plan.algorithms if isinstance(spec, DistillationAlgorithm)]
    return find(specs[0], roots) if specs else None


def find(spec: DistillationAlgorithm, roots: tuple[Path, ...]) -> Path:
    """The teacher's folder, looked up like any path of the recipe.

    Raises:
        DataError: there is no such folder (RC401).
    """
    folder = find_folder(spec.teacher, roots)
    if folder is None:
        looked = ", ".join(str(root) for root in roots)
        message = f"there is no teacher `{spec.teacher}`; looked in {looked}"
        raise DataError("RC401", message, "check `distillation.teacher`")
    return folder


def content(folder: Path) -> dict[str, str]:
    """sha256 of each file that the teacher is read from, by name; about a second a gigabyte."""
    return {path.name: hash_file(path) for path in sorted(folder.iterdir()) if path.suffix in _OURS}


def check_tokenizer(folder: Path, tokenizer: Path) -> None:
    """Refuse a teacher whose token ids mean other words; one without tokenizer.json can't be asked.

    Args:
        folder: the teacher's.
        tokenizer: folder of the run's own tokenizer.

    Raises:
        DataError: the vocabularies differ (RC406).
    """
    from tokenizers import Tokenizer

    theirs = folder / "tokenizer.json"
    if not theirs.is_file():
        return
    try:
        words = Tokenizer.from_file(str(theirs)).get_vocab(with_added_tokens=True)
    except Exception as error:  # `tokenizers` raises plain Exception
        message = f"the teacher's tokenizer {theirs} can't be read: {error}"
        raise DataError("RC406", message, "fetch or export the teacher again") from error
    ours = Tokenizer.from_file(str(tokenizer / "tokenizer.json")).get_vocab(with_added_tokens=True)
    differing = sum(words.get(word) != number for word, number in ours.items())
    if differing:
        raise DataError(
            "RC406",
            f"the teacher in {folder} has another tokenizer: {differing:,} of {len(ours):,} tokens mean other words there",
            f"take the teacher's: `tokenizer: {{kind: pretrained, path: {folder}}}`",
        )

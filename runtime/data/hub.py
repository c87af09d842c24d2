"""Data sets of Hugging Face `datasets`: from the hub, or a folder written by `save_to_disk`. No remote code is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.data.locate import find_folder
from runtime.errors import DataError, RunError, RunFailed, first_line
from schemas.sources import HubSource

if TYPE_CHECKING:
    from datasets import Dataset

__all__ = ["hub_identity", "texts"]


def texts(source: HubSource, roots: tuple[Path, ...], *, offline: bool) -> Iterator[tuple[str, object]]:
    """(place, value of the text column) of each row, memory-mapped.

    Raises:
        DataError: no such data set, split (RC401) or column (RC407).
        RunFailed: the hub can't be reached (RC607).
    """
    data = _open(source, roots, offline=offline)
    if source.text not in data.column_names:
        columns = ", ".join(f"`{name}`" for name in data.column_names[:8])
        raise DataError(
            "RC407", f"`{source.hf}` has no column `{source.text}`; it has {columns}", "name the column with `text:`"
        )
    for row, value in enumerate(data.select_columns([source.text])):
        yield f"{source.hf}:row {row}", value[source.text]


def hub_identity(source: HubSource, *, offline: bool) -> str:
    """What pins a data set of the hub: the commit, by `datasets`' own hash of its builder."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(
            source.hf,
            source.config,
            revision=source.revision,
            download_config=datasets.DownloadConfig(local_files_only=offline),
        )
    except Exception as error:
        raise _failure(source, error) from error
    return f"{source.hf}@{builder.hash}"


def _open(source: HubSource, roots: tuple[Path, ...], *, offline: bool) -> Dataset:
    import datasets

    folder = find_folder(source.hf, roots)
    try:
        if folder is None:
            return datasets.load_dataset(
                source.hf,
                source.config,
                split=source.split,
                revision=source.revision,
                download_config=datasets.DownloadConfig(local_files_only=offline),
            )
        saved = datasets.load_from_disk(str(folder))
    except Exception as error:
        raise _failure(source, error, folder) from error
    if isinstance(saved, datasets.Dataset):
        return saved
    if source.split not in saved:
        raise DataError(
            "RC401", f"{folder} has no split `{source.split}`; it has {', '.join(saved)}", "name one with `split:`"
        )
    return saved[source.split]


def _failure(source: HubSource, error: Exception, folder: Path | None = None) -> RunError:
    """What `datasets` raises (it has no common base) as one of ours: not there, damaged, or not to be reached."""
    reason = first_line(error)
    missing = isinstance(error, FileNotFoundError | ValueError) and not isinstance(error, ConnectionError)
    if missing:
        return DataError(
            "RC401",
            f"the data set `{source.hf}` can't be opened: {reason}",
            "check name, `config:` and `split:`; a folder must be one that `save_to_disk` wrote",
        )
    if folder is not None:
        message = f"the data set in {folder} is damaged: {reason}"
        return DataError("RC408", message, "save it again with `save_to_disk`, or fetch the folder again")
    return RunFailed(
        "RC607",
        f"the hub can't be reached for the data set `{source.hf}`: {reason}",
        "check the network and the name (a private one needs HF_TOKEN); "
        "without network, fetch it elsewhere, `save_to_disk` it and give that folder",
    )

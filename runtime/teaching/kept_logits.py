"""What teachers said of each train sample, kept by a step `logits`: written as MDS beside the samples, read by their numbers.

One row a sample, in the samples' order, of P positions (tokens of a sample; 1 of an image) and the k largest parts of each:

    ids     [P, k] uint16 or uint32   tokens or classes
    scores  [P, k] float16            logits / T less the largest, which fp16 holds to 2^-11 of their distance from the top
    rest    [P]    float32            probability of all others
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import torch

from runtime.data.shards import ShardWriter, damaged
from runtime.errors import first_line
from runtime.files import read_json
from runtime.teaching.divergence import TopK

if TYPE_CHECKING:
    from streaming.base.format import Reader

__all__ = ["COLUMNS", "Row", "RowWriter", "TeacherRows", "folder_size", "of_batch", "stack"]

COLUMNS: Final = ("ids", "scores", "rest")
# fp16 ends at -65504; e^-60000 is 0 anyway.
_LOWEST: Final = -60_000.0

Row = tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]
"""ids, scores and rest of one sample."""


def _id_type(width: int) -> str:
    return "uint16" if width <= 1 << 16 else "uint32"


class RowWriter(ShardWriter):
    """Writes rows into a folder.

    Args:
        folder: where the shards go.
        positions, k: shape of a row.
        width: size of the vocabulary, or number of classes.
    """

    def __init__(self, folder: Path, *, positions: int, k: int, width: int) -> None:
        self._ids = _id_type(width)
        columns = {
            "ids": f"ndarray:{self._ids}:{positions},{k}",
            "scores": f"ndarray:float16:{positions},{k}",
            "rest": f"ndarray:float32:{positions}",
        }
        super().__init__(folder, columns)
        self._positions = positions

    def write(self, found: TopK) -> None:
        """Append what was said of a batch, shapes [batch, P, k] and [batch, P] (of images without P)."""
        batch = found.ids.shape[0]
        shape = (batch, self._positions)
        ids = found.ids.reshape(*shape, -1).cpu().numpy().astype(self._ids)
        scores = found.scores.clamp_min(_LOWEST).reshape(*shape, -1).cpu().numpy().astype(np.float16)
        rest = found.rest.reshape(shape).float().cpu().numpy()
        for row in range(batch):
            self.append(dict(zip(COLUMNS, (ids[row], scores[row], rest[row]), strict=True)))


class TeacherRows:
    """Rows by number, read where they are asked for; a folder of this machine that nobody changes.

    Args:
        folder: of a step `logits`.

    Raises:
        DataError: there is no whole index (RC408).
    """

    def __init__(self, folder: Path) -> None:
        from streaming.base.format import reader_from_json

        index = read_json(folder / "index.json")
        try:
            self._shards: list[Reader] = [reader_from_json(str(folder), "", shard) for shard in index["shards"]]
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(folder, f"{folder / 'index.json'} is missing or damaged") from error
        self._ends = list(accumulate(shard.samples for shard in self._shards))
        self._folder = folder

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def __getitem__(self, number: int) -> Row:
        """The row of a sample.

        Raises:
            DataError: its shard is missing or damaged (RC408).
        """
        place = bisect_right(self._ends, number)
        before = self._ends[place - 1] if place else 0
        try:
            found: Mapping[str, Any] = self._shards[place][number - before]
            ids, scores, rest = (found[name] for name in COLUMNS)
        except (OSError, ValueError, KeyError, IndexError, RuntimeError) as error:
            raise damaged(self._folder, f"row {number} of {self._folder} can't be read: {first_line(error)}") from error
        return ids, scores, rest


def stack(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    """The part of a batch that carries rows: teacher_ids [batch, P, k] int64, teacher_scores, teacher_rest [batch, P]."""
    ids, scores, rest = (np.stack(column) for column in zip(*rows, strict=True))
    return {
        "teacher_ids": torch.from_numpy(ids.astype(np.int64)),
        "teacher_scores": torch.from_numpy(scores),
        "teacher_rest": torch.from_numpy(rest),
    }


def of_batch(batch: Mapping[str, Any], student: torch.Tensor) -> TopK:
    """What a batch's teachers said, of the positions that the student has logits of, [batch, length, vocabulary]: where
    samples were cut short, of their beginnings, about which a causal model says the same.
    """
    positions = student.shape[1] if student.dim() == 3 else 1
    return TopK(*(batch[f"teacher_{name}"][:, :positions] for name in COLUMNS))


def folder_size(folder: Path) -> int:
    """Bytes of all rows on disk."""
    return sum(os.path.getsize(path) for path in folder.glob("*.mds"))

"""Which document each token of a train split comes from: one row a document, or a part of one, in packing order.

`train-documents.npy` is a structured array of `digest` (16 bytes, blake2b of the whole document) and `tokens` (int64, the
end of text included). Sample s of the split covers tokens [s L, (s + 1) L) of the rows laid end to end, and the rows cover
nothing else.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROW", "TABLE", "DocumentTable", "open_table"]

TABLE: Final = "train-documents.npy"

ROW: Final = np.dtype([("digest", "S16"), ("tokens", "<i8")])
"""24 bytes a row."""

# numpy pads its own headers to a multiple of 64; one of 128 has room for any number of rows.
_HEADER_BYTES: Final = 128
_BLOCK_ROWS: Final = 1 << 14


class DocumentTable:
    """Writes a table row by row; memory doesn't grow with it.

    Args:
        path: of the file, in a folder that appears whole.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("w+b")
        self._file.write(_header(0))
        self._waiting: list[tuple[bytes, int]] = []

    def add(self, digest: bytes, tokens: int) -> None:
        """Append the tokens of a document, or of a part of it."""
        self._waiting.append((digest, tokens))
        if len(self._waiting) >= _BLOCK_ROWS:
            self._flush()

    def finish(self, tokens: int) -> None:
        """Keep the rows of the first `tokens` tokens: what comes after fills no sample, or was held out in the end."""
        self._flush()
        rows = self._rows_that_hold(tokens)
        self._file.truncate(_HEADER_BYTES + rows * ROW.itemsize)
        self._file.seek(0)
        self._file.write(_header(rows))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _flush(self) -> None:
        self._file.write(np.array(self._waiting, ROW).tobytes())
        self._waiting = []

    def _rows_that_hold(self, tokens: int) -> int:
        """How many rows hold the first `tokens`; the last of them is cut."""
        self._file.seek(_HEADER_BYTES)
        rows, left = 0, tokens
        while left > 0 and (data := self._file.read(_BLOCK_ROWS * ROW.itemsize)):
            block = np.frombuffer(data, ROW).copy()
            ends = np.cumsum(block["tokens"])
            if ends[-1] < left:
                rows, left = rows + len(block), left - int(ends[-1])
                continue
            last = int(np.searchsorted(ends, left))
            block["tokens"][last] -= ends[last] - left
            rows += last + 1
            self._file.seek(_HEADER_BYTES + (rows - 1) * ROW.itemsize)
            self._file.write(block[last].tobytes())
            left = 0
        return rows


def open_table(path: Path) -> NDArray[Any]:
    """The rows of a table, of type `ROW`, mapped and not read."""
    rows: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return rows


def _header(rows: int) -> bytes:
    """An .npy header of version 1.0 (numpy.lib.format) of one length for any number of rows."""
    text = f"{{'descr': {ROW.descr!r}, 'fortran_order': False, 'shape': ({rows},), }}".ljust(_HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + (_HEADER_BYTES - 10).to_bytes(2, "little") + text.encode()

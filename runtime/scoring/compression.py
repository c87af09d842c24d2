"""Compression ratio: how much of a text zstd can't foretell from the rest of it."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zstandard import ZstdCompressor

__all__ = ["ZSTD_LEVEL", "compression_ratio"]

ZSTD_LEVEL: Final = 3
"""zstd's own default: 22 is hundreds of times slower, and ranks documents alike."""


def compression_ratio(data: bytes) -> float:
    """Compressed by plain bytes; NaN without a byte.

    zstd level 3, each document on its own without a dictionary. The frame's 9 bytes count, so a text of a few words
    has a ratio above 1. Low is repetitive. Another release of zstd may move it by some thousandths.
    """
    return len(_compressor().compress(data)) / len(data) if data else math.nan


@functools.cache
def _compressor() -> ZstdCompressor:
    from zstandard import ZstdCompressor

    return ZstdCompressor(level=ZSTD_LEVEL, write_checksum=False, write_content_size=False)

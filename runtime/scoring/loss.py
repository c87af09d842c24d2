"""Loss of documents under a causal language model: what it could not foretell, in nats a token."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import torch
from torch.nn import functional

from runtime.errors import DataError, first_line
from runtime.models.frozen import load_frozen
from runtime.tokenizer import pieces

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["MOST_TOKENS", "LossScorer"]

MOST_TOKENS: Final = 1024
"""Of a window; a model with fewer positions has windows of as many as it has."""

# Of a batch, padding included: 16 windows of full length.
_BATCH_TOKENS: Final = 1 << 14


class _Window(NamedTuple):
    """A part of a document; `ids` has two tokens at least, and all but the first are foretold."""

    document: int
    ids: list[int]


class LossScorer:
    """Mean nats per token of each document, all but its first token, read by a model with the model's own tokenizer.

    A long document is cut into windows that share one token, so each token is foretold once, from its own window alone.
    Numbers are equal to about 1e-5 whatever else is in the batch. NaN under two tokens.

    Args:
        folder: Hugging Face folder with config.json, *.safetensors and tokenizer.json.

    Raises:
        DataError: the model can't be loaded (RC401), or has no tokenizer (RC406).
    """

    def __init__(self, folder: Path) -> None:
        self._model = load_frozen(folder, "the model that scores")
        self._tokenizer = _tokenizer(folder)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.nn.Module.to(self._model, self._device)
        self._window = min(MOST_TOKENS, getattr(self._model.config, "max_position_embeddings", None) or MOST_TOKENS)

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """Loss of each text."""
        sums, counts = [0.0] * len(texts), [0] * len(texts)
        windows = [window for i, text in enumerate(texts) for window in self._windows(i, text)]
        # Of similar length, so that little is padded.
        windows.sort(key=lambda window: len(window.ids))
        for batch in _batches(windows):
            for window, loss in zip(batch, self._losses(batch), strict=True):
                sums[window.document] += loss
                counts[window.document] += len(window.ids) - 1
        return [total / count if count else math.nan for total, count in zip(sums, counts, strict=True)]

    def _windows(self, document: int, text: str) -> Iterator[_Window]:
        ids = [i for piece in pieces(text) for i in self._tokenizer.encode(piece, add_special_tokens=False).ids]
        step = self._window - 1
        for start in range(0, len(ids) - 1, step):
            yield _Window(document, ids[start : start + step + 1])

    @torch.no_grad()
    def _losses(self, batch: Sequence[_Window]) -> list[float]:
        """Sum of nats over each window. What pads a window stands after it, where a causal model doesn't look."""
        length = len(batch[-1].ids)
        ids = torch.zeros(len(batch), length, dtype=torch.long)
        targets = torch.full((len(batch), length - 1), -100)
        for row, window in enumerate(batch):
            ids[row, : len(window.ids)] = torch.tensor(window.ids)
            targets[row, : len(window.ids) - 1] = ids[row, 1 : len(window.ids)]
        logits = self._model(input_ids=ids.to(self._device), use_cache=False).logits[:, :-1].float()
        nats = functional.cross_entropy(
            logits.flatten(0, 1), targets.to(self._device).flatten(), ignore_index=-100, reduction="none"
        )
        found: list[float] = nats.view(len(batch), -1).double().sum(1).tolist()
        return found


def _batches(windows: Sequence[_Window]) -> Iterator[Sequence[_Window]]:
    """Windows that are padded to the last one of each batch."""
    start = 0
    for end in range(1, len(windows) + 1):
        is_last = end == len(windows)
        if is_last or (end + 1 - start) * len(windows[end].ids) > _BATCH_TOKENS:
            yield windows[start:end]
            start = end


def _tokenizer(folder: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # `tokenizers` raises plain Exception
        message = (
            f"the tokenizer of the model that scores, {folder / 'tokenizer.json'}, can't be read: {first_line(error)}"
        )
        raise DataError("RC406", message, "export the model together with its tokenizer") from error
    tokenizer.encode_special_tokens = True
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer

"""A tokenizer as prepared data needs it: fast, in batches, on documents of any size, and with exact counts.

Works on `tokenizers` alone, whatever class of `transformers` the folder names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import DataError, first_line
from runtime.files import read_json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["TextTokenizer", "load", "padding_id", "pieces"]

# A `tokenizers` encoding takes about 30 times its text while it is made; so 1 MB at a time, whatever the document.
PIECE_CHARACTERS = 1 << 20
# Between a word and the end of its line the pre-tokenizers of GPT-2, Llama 3 and Qwen always cut: ids stay the same.
_LINE_END = re.compile(r"\w(?=\r?\n)")


def pieces(text: str, limit: int = PIECE_CHARACTERS) -> Iterator[str]:
    """Cut a text into pieces of at most `limit` characters, where the tokens of byte-level BPE don't change.

    Where the last half of a piece has no line that ends in a word, the cut is before its last blank, or anywhere.
    """
    start = 0
    while len(text) - start > limit:
        window = text[start + limit // 2 : start + limit]
        ends = [match.end() for match in _LINE_END.finditer(window)]
        blank = window.rfind(" ")
        cut = ends[-1] if ends else blank if blank > 0 else len(window)
        yield text[start : start + limit // 2 + cut]
        start += limit // 2 + cut
    yield text[start:]


@dataclass(frozen=True)
class TextTokenizer:
    """Text to ids and back.

    Args:
        backend: `tokenizers.Tokenizer`, which takes special tokens in a text for plain text.
        vocab_size: its tokens, special ones included; the highest id is one less.
        eos_token: ends each document.
        eos_token_id: id of it.
    """

    backend: Tokenizer
    vocab_size: int
    eos_token: str
    eos_token_id: int

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without special tokens."""
        return [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without special tokens."""
        text: str = self.backend.decode(list(ids), skip_special_tokens=True)
        return text

    def count_bytes(self, ids: Sequence[int]) -> int:
        """Bytes of UTF-8 that ids stand for, special tokens none; right to 2 bytes where a cut splits a character."""
        return len(self.decode(ids).encode())


def load(folder: Path) -> TextTokenizer:
    """The tokenizer of a step's folder (`tokenizer.json`, and its end-of-text token in `tokenizer_config.json`).

    Raises:
        DataError: the folder holds none that can be read, or none with an end-of-text token (RC406).
    """
    from tokenizers import Tokenizer

    try:
        backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
        eos = json.loads((folder / "tokenizer_config.json").read_bytes()).get("eos_token")
    except Exception as error:  # `tokenizers` raises plain Exception
        reason = first_line(error)
        raise DataError(
            "RC406", f"the tokenizer in {folder} can't be read: {reason}", "delete the folder and run again"
        ) from error
    eos = eos.get("content") if isinstance(eos, dict) else eos
    eos_id = backend.token_to_id(eos) if isinstance(eos, str) else None
    if not isinstance(eos, str) or eos_id is None:
        raise DataError(
            "RC406", f"the tokenizer in {folder} has no end-of-text token", "choose a tokenizer with an `eos_token`"
        )
    # A document that contains "<|endoftext|>" must not end there.
    backend.encode_special_tokens = True
    # Some have gaps in their ids; what the embedding needs is a row for the highest one.
    vocab_size = 1 + max(backend.get_vocab(with_added_tokens=True).values())
    return TextTokenizer(backend, vocab_size, eos, eos_id)


def padding_id(folder: Path) -> int | None:
    """The id that a tokenizer's folder fills samples up with; None where it has none, or its end-of-text token is used."""
    from tokenizers import Tokenizer

    configuration = read_json(folder / "tokenizer_config.json")
    named = [configuration.get(key) if isinstance(configuration, dict) else None for key in ("pad_token", "eos_token")]
    padding, end = (token.get("content") if isinstance(token, dict) else token for token in named)
    if not isinstance(padding, str) or padding == end:
        return None
    found: int | None = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id(padding)
    return found

"""Documents of a source as scoring reads them: text with its digest, in chunks that are the same at every reading."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from runtime.data.document_table import DocumentTable
from runtime.data.documents import Skipped, documents
from schemas.data import Selection
from schemas.sources import MdsSource, Source

__all__ = ["Corpus", "ScoredText", "SourceTexts", "TokenTexts", "chunks"]

# A chunk is what one process is given at a time, and what is lost when it is killed: about a second of work.
_CHUNK_CHARACTERS: Final = 1 << 20
_CHUNK_DOCUMENTS: Final = 4096


class ScoredText(NamedTuple):
    """A document.

    Args:
        digest: blake2b of its UTF-8 bytes, 16 bytes.
        text: never empty.
    """

    digest: bytes
    text: str


@dataclass(frozen=True)
class SourceTexts:
    """All documents of a source of text, held-out ones too.

    Args:
        source: what the plan says of it.
        roots: folders in which relative paths are looked up, in turn.
        selection: what is kept.
        offline: never ask a hub.
    """

    source: Source
    roots: tuple[Path, ...]
    selection: Selection
    offline: bool

    def __iter__(self) -> Iterator[ScoredText]:
        found = documents(self.source, self.roots, self.selection, Skipped(), offline=self.offline)
        return (ScoredText(document.digest, document.text) for document in found)


@dataclass(frozen=True)
class TokenTexts:
    """Samples of ready-made token shards: where documents begin is not known, so each sample is one, decoded.

    Args:
        source: what the plan says of it.
        roots: folders in which relative paths are looked up, in turn.
        tokenizer: folder of the tokenizer that made the tokens.
        samples: of the train split, which are the first ones.
    """

    source: MdsSource
    roots: tuple[Path, ...]
    tokenizer: Path
    samples: int

    def __iter__(self) -> Iterator[ScoredText]:
        from runtime.data.mds import texts, token_ids
        from runtime.tokenizer import load

        tokenizer = load(self.tokenizer)
        for _, value in itertools.islice(texts(self.source, self.roots), self.samples):
            ids = token_ids(value)
            text = "" if ids is None else tokenizer.decode(ids.tolist())
            yield ScoredText(hashlib.blake2b(text.encode(), digest_size=16).digest(), text)

    def write_table(self, path: Path, sequence_length: int) -> None:
        """The table of documents, as `prepare` writes it where it packs documents itself."""
        with DocumentTable(path) as table:
            for document in self:
                table.add(document.digest, sequence_length)
            table.finish(self.samples * sequence_length)


Corpus = SourceTexts | TokenTexts


def chunks(corpus: Corpus) -> Iterator[list[ScoredText]]:
    """The documents in lists of about a megabyte; which document is in which list depends on the corpus alone."""
    chunk: list[ScoredText] = []
    characters = 0
    for document in corpus:
        chunk.append(document)
        characters += len(document.text)
        if characters >= _CHUNK_CHARACTERS or len(chunk) >= _CHUNK_DOCUMENTS:
            yield chunk
            chunk, characters = [], 0
    if chunk:
        yield chunk

"""The step `prepare`: a source's documents (or images) become samples of the plan's form, train and held out apart.

Ready-made MDS shards of tokens are checked, and used where they are.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from runtime.bars import bar
from runtime.data.document_table import TABLE, DocumentTable
from runtime.data.documents import Document, Skipped, documents, is_heldout
from runtime.data.identity import content_hash, source_identity
from runtime.data.mds import MdsIndex, check_sizes, first_sample, read_index, token_ids
from runtime.data.packing import token_dtype
from runtime.data.shards import COLUMN, SampleWriter, write_manifest
from runtime.data.splits import Splits
from runtime.errors import DataError
from runtime.images import preparing
from runtime.steps.base import Context, Inputs, Result
from runtime.tokenizer import TextTokenizer, load, pieces
from schemas.counted import several
from schemas.plan import Step
from schemas.sources import MdsSource, Source

__all__ = ["identity", "run"]

_FORMAT = 2
# Enough for all threads of the tokenizer, and little memory (a batch takes about 30 times its characters).
_BATCH_CHARACTERS = 1 << 21


class _Piece(NamedTuple):
    """A document, or a part of a long one."""

    document: Document
    text: str
    is_first: bool
    is_last: bool


def identity(step: Step, context: Context, inputs: Inputs) -> dict[str, Any]:  # noqa: ARG001  # the contract
    """What the samples depend on, besides the tokenizer (which is an input)."""
    plan, roots = context.plan, context.layout.roots
    name, source = _source(step, context)
    if plan.is_classifier:
        return preparing.identity(name, source, context)
    found: dict[str, Any] = {
        "format": _FORMAT,
        "name": name,
        "source": source_identity(name, source, roots, offline=plan.execution.offline),
        "sequence_length": plan.data.sequence_length,
        "selection": plan.data.selection.model_dump(mode="json"),
        "holdout": plan.evaluation.holdout,
        "max_tokens": plan.evaluation.max_tokens,
        "library": importlib.metadata.version("tokenizers"),
    }
    if isinstance(source, MdsSource) and source.content == "tokens":
        found["remote"] = read_index(source, roots).remote
    return found


def run(step: Step, context: Context, inputs: Inputs, folder: Path) -> dict[str, Any]:
    """Write train/, heldout/ and the table of the trained documents below `folder`, and say what they hold.

    Bits per byte of the held-out split are `nats_per_token * tokens / (ln 2 * bytes)`. What is not known of ready-made
    shards (bytes, documents) is None.

    Raises:
        DataError: no sample (RC401), a broken document (RC407), damaged (RC408) or unfit (RC411, RC406) shards.
        RunFailed: a hub or an object store can't be reached (RC607).
    """
    name, source = _source(step, context)
    if context.plan.is_classifier:
        return preparing.prepare(name, source, context, folder)
    tokenizer = load(_tokenizer(context, inputs).folder)
    if isinstance(source, MdsSource) and source.content == "tokens":
        return _ready_made(name, source, tokenizer, context, folder)
    return _prepare(name, source, tokenizer, context, folder)


def _source(step: Step, context: Context) -> tuple[str, Source]:
    name = step.source or ""
    return name, context.plan.data.sources[name]


def _tokenizer(context: Context, inputs: Inputs) -> Result:
    kinds = {step.id: step.kind for step in context.plan.steps}
    return next(result for name, result in inputs.items() if kinds[name] == "tokenizer")


def _prepare(name: str, source: Source, tokenizer: TextTokenizer, context: Context, folder: Path) -> dict[str, Any]:
    plan = context.plan
    books = _write(name, source, tokenizer, context, folder, share=plan.evaluation.holdout)
    if not books["train"]["samples"]:
        # Perhaps chance held out all of the few documents that there are: then the end of the text is held out instead.
        shutil.rmtree(folder / "heldout", ignore_errors=True)
        books = _write(name, source, tokenizer, context, folder, share=0.0)
    if not books["train"]["samples"]:
        raise DataError(
            "RC401",
            f"the source `{name}` is too small for one sample of {plan.data.sequence_length} tokens: it has "
            f"{several(books['documents'], 'document')} ({several(books['bytes'], 'byte')})",
            "give more text, or a smaller `data.sequence_length`",
        )
    write_manifest(folder)
    found = content_hash(source, context.layout.roots, offline=plan.execution.offline)
    return {"source": name, "column": COLUMN, "content_sha256": found, **books}


def _write(
    name: str, source: Source, tokenizer: TextTokenizer, context: Context, folder: Path, *, share: float
) -> dict[str, Any]:
    """Write both splits, with documents held out by `share`; returns the books."""
    plan = context.plan
    skipped, seen = Skipped(), _Seen()
    found = documents(source, context.layout.roots, plan.data.selection, skipped, offline=plan.execution.offline)
    length, dtype = plan.data.sequence_length, token_dtype(tokenizer.vocab_size)
    with (
        SampleWriter(folder / "train", dtype=dtype, sequence_length=length) as train,
        SampleWriter(folder / "heldout", dtype=dtype, sequence_length=length) as heldout,
        DocumentTable(folder / TABLE) as table,
    ):
        splits = Splits(plan.evaluation, length, dtype, tokenizer.count_bytes, train=train, heldout=heldout)
        for batch in _batches(_pieces(_watched(found, name, seen))):
            for piece, ids in zip(batch, tokenizer.encode([piece.text for piece in batch]), strict=True):
                is_held = is_heldout(piece.document.digest, share)
                end = [tokenizer.eos_token_id] if piece.is_last else []
                splits.add(ids + end, len(piece.text.encode()), is_heldout=is_held, starts_document=piece.is_first)
                if not is_held:
                    table.add(piece.document.digest, len(ids) + len(end))
        books = splits.finish()
        table.finish(books["train"]["tokens"])
    return {"documents": seen.documents, "bytes": seen.num_bytes, "skipped": skipped.as_dict(), **books}


class _Seen:
    """Documents that were used, and their bytes."""

    def __init__(self) -> None:
        self.documents = 0
        self.num_bytes = 0


def _watched(found: Iterator[Document], name: str, seen: _Seen) -> Iterator[Document]:
    """Count documents as they go by; on a terminal, show how many bytes are done."""
    with bar(f"prepare {name}", unit="B") as shown:
        for document in found:
            seen.documents += 1
            seen.num_bytes += document.num_bytes
            shown.update(document.num_bytes)
            yield document


def _pieces(found: Iterator[Document]) -> Iterator[_Piece]:
    for document in found:
        left = len(document.text)
        for part in pieces(document.text):
            is_first = left == len(document.text)
            left -= len(part)
            yield _Piece(document, part, is_first, left == 0)


def _batches(found: Iterator[_Piece]) -> Iterator[list[_Piece]]:
    """Pieces in lists that the tokenizer's threads share."""
    batch: list[_Piece] = []
    characters = 0
    for piece in found:
        batch.append(piece)
        characters += len(piece.text)
        if characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _ready_made(
    name: str, source: MdsSource, tokenizer: TextTokenizer, context: Context, folder: Path
) -> dict[str, Any]:
    """Shards of tokens as they are: the first samples are for training, the last ones held out."""
    plan = context.plan
    length = plan.data.sequence_length
    index = read_index(source, context.layout.roots)
    check_sizes(index)
    _check_column(index, source.column, length, tokenizer.vocab_size)
    write_manifest(folder, ready_made=index)
    held = _num_heldout(index.samples, plan.evaluation.holdout, plan.evaluation.max_tokens // length)
    known = {"remote": index.remote, "local": None, "documents": None, "bytes": None}
    first = index.samples - held
    return {
        "source": name,
        "column": source.column,
        "content_sha256": index.sha256,
        "remote": index.remote,
        "documents": None,
        "bytes": None,
        "skipped": Skipped().as_dict(),
        "dropped_tail_tokens": 0,
        "unused_heldout": {"documents": 0, "bytes": 0},
        "train": {**known, "first_sample": 0, "samples": first, "tokens": first * length},
        "heldout": {**known, "first_sample": first, "samples": held, "tokens": held * length},
    }


def _check_column(index: MdsIndex, column: str, length: int, vocab_size: int) -> None:
    """Is the column what the plan says? One sample is decoded.

    Raises:
        DataError: no such column, type or length (RC411); an id that the tokenizer doesn't have (RC406).
    """
    if column not in index.columns:
        columns = ", ".join(f"`{name}`" for name in index.columns)
        raise DataError(
            "RC411", f"{index.remote} has no column `{column}`; it has {columns}", "name one with `column:`"
        )
    tokens = token_ids(first_sample(index, column))
    if tokens is None:
        raise DataError(
            "RC411",
            f"column `{column}` of {index.remote} is `{index.columns[column]}`, not an array of token ids",
            "write it as `ndarray:uint16` or `ndarray:uint32`, or say `content: text` if it holds text",
        )
    if tokens.shape != (length,):
        fix = f"write `sequence_length: {len(tokens)}`" if tokens.ndim == 1 else "write the shards again"
        raise DataError(
            "RC411", f"samples of {index.remote} have the shape {tokens.shape}; the plan's have {length} tokens", fix
        )
    lowest, highest = int(tokens.min()), int(tokens.max())
    if highest >= vocab_size or lowest < 0:
        raise DataError(
            "RC406",
            f"{index.remote} holds the token id {lowest if lowest < 0 else highest}, the tokenizer has {vocab_size} tokens",
            "name the tokenizer that made the shards",
        )


def _num_heldout(samples: int, holdout: float, most: int) -> int:
    """Samples held out: the share wanted, at least one if there are two, at most `most`."""
    return min(max(1, round(samples * holdout)), max(1, most), samples - 1) if holdout else 0

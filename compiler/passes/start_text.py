"""Starts of language models: weights in a folder as far as they can be seen, their tokenizer, and how far they can read."""

from __future__ import annotations

from pathlib import Path

from compiler.draft import Draft
from compiler.lineage.pretrained import described, read_config, unlike
from compiler.notes import Beginning
from compiler.passes.tokenizer import size_of_folder
from schemas.diagnostics import Severity
from schemas.model import Start
from schemas.plan import ModelPlan, TokenizerPlan

__all__ = ["DIMENSIONS", "NoDecoderError", "follow", "of_folder"]

DIMENSIONS = ("hidden_size", "num_layers", "num_heads", "intermediate_size", "vocab_size")
"""What a model's size follows from, and so must be said of one that can't be seen from here."""


class NoDecoderError(ValueError):
    """Why a folder holds no language model that can be built here."""


def of_folder(draft: Draft, folder: Path, said: Start) -> Beginning:
    """What is known of a language model's weights in a folder.

    Raises:
        NoDecoderError: it can't be started from.
    """
    config = read_config(folder)
    if config is None:
        raise NoDecoderError(f"{folder} holds no config.json that can be read")
    found = described(folder)
    if found is None:
        raise NoDecoderError(unlike(config))
    return Beginning(f"`{said.folder or said.hub}`", found.as_plan(), _tokenizer(draft, folder, said))


def _tokenizer(draft: Draft, folder: Path, said: Start) -> TokenizerPlan | None:
    """The tokenizer that lies beside the weights; None if there is none."""
    size = size_of_folder(folder)
    if size is None:
        return None
    return TokenizerPlan(
        kind="pretrained",
        vocab_size=size,
        max_bytes=draft.recipe.tokenizer.max_bytes,
        path=said.folder,
        hub=said.hub,
        revision=said.revision,
    )


def follow(draft: Draft, beginning: Beginning, model: ModelPlan) -> Draft:
    """The draft with a finding where sequences are longer than those that the weights were trained on."""
    wanted = draft.recipe.data.sequence_length
    if wanted <= model.max_sequence_length:
        return draft
    table = model.family == "gpt2"
    longest = (
        f"{beginning.name} has {'positions for' if table else 'seen no more than'} {model.max_sequence_length} tokens"
    )
    finding = draft.diagnostic(
        "RC207",
        f"sequences of {wanted} tokens are too long: {longest}"
        if table
        else f"sequences of {wanted} tokens: {longest}",
        "data",
        "sequence_length",
        help=f"sequence_length: {model.max_sequence_length}",
        reason="learned positions end there" if table else "rotary positions beyond that are new to the weights",
        severity=Severity.ERROR if table else Severity.WARNING,
    )
    return draft.find(finding)

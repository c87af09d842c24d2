"""Where the tokenizer comes from and how many tokens it has, which must be known before launch."""

from __future__ import annotations

import json
from pathlib import Path

from compiler.draft import Draft
from compiler.provenance import From, Reason
from schemas.plan import TokenizerPlan

__all__ = ["DEFAULT_VOCABULARY", "tokenizer"]

DEFAULT_VOCABULARY = 32_768


def _size_of_folder(folder: Path) -> int | None:
    """Tokens of a tokenizer.json: its vocabulary and added tokens, by the highest id."""
    try:
        content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        vocabulary = content["model"]["vocab"]
        ids = list(vocabulary.values()) if isinstance(vocabulary, dict) else range(len(vocabulary))
        added = [token["id"] for token in content.get("added_tokens", [])]
        return int(max([*ids, *added])) + 1
    except (OSError, ValueError, KeyError, TypeError):
        return None


def tokenizer(draft: Draft) -> Draft:
    """Fill `tokenizer`. The size is the recipe's, the default, or read from the folder; a hub's can't be looked up here."""
    said = draft.recipe.tokenizer
    size, why = said.vocab_size, From("tokenizer.vocab_size")
    reason: From | Reason = why
    if size is None and said.kind == "bpe":
        size, reason = DEFAULT_VOCABULARY, Reason("default of a tokenizer trained on the sources")
    elif said.path is not None:
        found = next((s for root in draft.roots if (s := _size_of_folder(root / said.path)) is not None), None)
        if size is None and found is not None:
            size, reason = found, Reason(f"highest token id of {said.path}/tokenizer.json, plus one")
        elif size is not None and found is not None and size != found:
            draft = draft.find(
                draft.diagnostic(
                    "RC406",
                    f"the tokenizer in `{said.path}` has {found} tokens, the recipe says {size}",
                    "tokenizer",
                    "vocab_size",
                    help=f"vocab_size: {found}",
                )
            )
    if size is None:
        where = f"`{said.path}` holds no tokenizer.json that can be read here" if said.path else "the hub is not asked"
        draft = draft.find(
            draft.diagnostic(
                "RC406",
                "the size of the tokenizer's vocabulary is not known before launch",
                "tokenizer",
                "path" if said.path else "hub",
                help="vocab_size: 50257   # what the tokenizer has, special tokens included",
                reason=f"{where}, so the recipe must say it",
            )
        )
        size = DEFAULT_VOCABULARY
    section = TokenizerPlan(
        kind=said.kind, vocab_size=size, max_bytes=said.max_bytes, path=said.path, hub=said.hub, revision=said.revision
    )
    return draft.fill("tokenizer", section, {"vocab_size": reason})

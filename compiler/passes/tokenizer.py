"""Where the tokenizer comes from and how many tokens it has, which must be known before launch."""

from __future__ import annotations

import json
from pathlib import Path

from compiler.draft import Draft
from compiler.notes import Beginning
from compiler.provenance import From, Reason
from schemas.plan import TokenizerPlan

__all__ = ["DEFAULT_VOCABULARY", "size_of_folder", "tokenizer"]

DEFAULT_VOCABULARY = 32_768


def size_of_folder(folder: Path) -> int | None:
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
    """Fill `tokenizer`: the start's where the recipe says none; of one that it says, the size may have to be read."""
    if draft.is_classifier:
        return draft.fill("tokenizer", None, {"": Reason("images have no tokenizer")})
    beginning = draft.beginning
    if beginning is not None and beginning.tokenizer is not None and draft.spans.value("tokenizer") is None:
        reason = f"the tokenizer of {beginning.name}, whose ids the weights have learnt"
        return draft.fill("tokenizer", beginning.tokenizer, {"": Reason(reason)})
    draft, section, why = _said(draft)
    if beginning is not None:
        draft = _learnt(draft, section, beginning)
    return draft.fill("tokenizer", section, {"vocab_size": why})


def _said(draft: Draft) -> tuple[Draft, TokenizerPlan, From | Reason]:
    """What the recipe says, with the reason for its size: the recipe's, the default, or read from the folder."""
    said = draft.recipe.tokenizer
    size, why = said.vocab_size, From("tokenizer.vocab_size")
    reason: From | Reason = why
    if size is None and said.kind == "bpe":
        size, reason = DEFAULT_VOCABULARY, Reason("default of a tokenizer trained on the sources")
    elif said.path is not None:
        found = next((s for root in draft.roots if (s := size_of_folder(root / said.path)) is not None), None)
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
    return draft, section, reason


def _learnt(draft: Draft, section: TokenizerPlan, beginning: Beginning) -> Draft:
    """A finding where the run's token ids would mean other words than those that the weights it starts from have learnt."""
    theirs = beginning.tokenizer
    if beginning.run is not None:
        same = theirs is not None and _words(section) == _words(theirs)
        help_ = "delete the line: a run that starts from another one takes its tokenizer"
    else:
        same = section.kind == "pretrained"
        start = draft.recipe.model.start
        place = f"path: {start.folder}" if start is not None and start.folder else f"hub: {start.hub if start else ''}"
        size = "" if theirs is not None else ", vocab_size: 50257"
        help_ = f"tokenizer: {{kind: pretrained, {place}{size}}}"
    if same:
        return draft
    what = "a tokenizer that is trained on the sources" if section.kind == "bpe" else "another tokenizer"
    finding = draft.diagnostic(
        "RC406",
        f"{what} gives words other ids than {beginning.name} has learnt",
        "tokenizer",
        help=help_,
        reason="trained weights know the ids of one tokenizer alone",
    )
    return draft.find(finding)


def _words(section: TokenizerPlan) -> TokenizerPlan:
    """What token ids depend on; a pretrained tokenizer has no text to be trained on."""
    return section if section.kind == "bpe" else section.model_copy(update={"max_bytes": 0})

"""Exact dimensions of the model: those of the weights that it starts from, else what the recipe says and what follows."""

from __future__ import annotations

from compiler.draft import Draft
from compiler.notes import Beginning
from compiler.passes.decoder import check_family, decoder
from compiler.passes.resnet import resnet
from compiler.provenance import Because, From, Reason
from schemas.plan import ModelPlan

__all__ = ["model"]


def model(draft: Draft) -> Draft:
    """Fill `model`."""
    beginning = draft.beginning
    if draft.is_classifier:
        return resnet(draft)
    if beginning is not None and isinstance(beginning.model, ModelPlan):
        return _as_started(draft, beginning, beginning.model)
    return decoder(draft)


def _as_started(draft: Draft, beginning: Beginning, trained: ModelPlan) -> Draft:
    """Fill `model` with the dimensions of the weights that the run starts from."""
    said = draft.recipe.model
    own: dict[str, object] = {"compile": draft.recipe.training.compile}
    why: dict[str, Because] = {
        key: Reason(f"as in {beginning.name}, whose weights the run starts from") for key in type(trained).model_fields
    }
    why["compile"] = From("training.compile")
    own["attention"] = said.attention
    why["attention"] = From("model.attention")
    if "dropout" in said.model_fields_set:
        own["dropout"], why["dropout"] = said.dropout, From("model.dropout")
    length = draft.recipe.data.sequence_length
    if trained.family == "llama" and length > trained.max_sequence_length:
        own["max_sequence_length"], why["max_sequence_length"] = length, From("data.sequence_length")
    judged = any(finding.code == "RC406" for finding in draft.findings)
    if trained.vocab_size < draft.tokenizer.vocab_size and not judged:
        tokens = draft.tokenizer.vocab_size
        message = f"the tokenizer has {tokens} tokens, {beginning.name} only {trained.vocab_size} rows for them"
        help_ = "delete the line: the tokenizer follows the start"
        draft = draft.find(draft.diagnostic("RC406", message, "tokenizer", help=help_))
    own["vocab_size"] = max(trained.vocab_size, draft.tokenizer.vocab_size)  # more only after an error
    return check_family(draft).fill("model", trained.model_copy(update=own), why)

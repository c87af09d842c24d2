"""Exact dimensions of the model, from what the recipe fixes and the size that is wanted."""

from __future__ import annotations

from typing import Final

from compiler.draft import Beginning, Draft
from compiler.estimate.architecture import (
    Dimensions,
    count_embedding,
    count_parameters,
    pad_vocabulary,
    solve,
)
from compiler.passes.resnet import resnet
from compiler.passes.targets import FALLBACK_PARAMETERS
from compiler.provenance import Because, From, Reason
from schemas.diagnostics import Severity
from schemas.plan import ModelPlan, ResNetPlan
from schemas.units import format_count

__all__ = ["model"]

# Dimension of the solver -> key of the recipe.
_KEYS: Final = {
    "hidden": "hidden_size",
    "layers": "num_layers",
    "heads": "num_heads",
    "kv_heads": "num_kv_heads",
    "intermediate": "intermediate_size",
}
_KV_GROUPED: Final = (
    "8, as in all sizes of Llama 3: they divide over a machine's GPUs, and the cache of serving is smaller"
)
_KV_PLAIN: Final = (
    "as many as heads: grouped-query attention is llama's, from a width of 2048 on, where the size sets the heads"
)
# Whole layers and heads meet a size within a few per cent; a quarter off is another model than the one asked for.
_SIZE_TOLERANCE: Final = 0.25


def _vocabulary(draft: Draft) -> tuple[Draft, int, Because]:
    said, tokens = draft.recipe.model.vocab_size, draft.tokenizer.vocab_size
    padded = pad_vocabulary(tokens)
    if said is None:
        return (
            draft,
            padded,
            Reason(f"the tokenizer's {tokens} tokens, padded to a multiple of 64 for the matrix kernels"),
        )
    if said < tokens:
        draft = draft.find(
            draft.diagnostic(
                "RC406",
                f"the tokenizer has {tokens} tokens, the model's embedding only {said} rows",
                "model",
                "vocab_size",
                help=f"vocab_size: {padded}",
                reason="token ids from the last row on would be out of range",
            )
        )
        return draft, padded, Reason("repaired")
    return draft, said, From("model.vocab_size")


def _check_family(draft: Draft) -> Draft:
    """Findings about keys that the family has no use for: a value that nothing reads is a surprise at hour three."""
    said = draft.recipe.model
    for key, family, set_ in (
        ("dropout", "gpt2", said.dropout > 0),
        ("rope_theta", "llama", said.rope_theta != type(said).model_fields["rope_theta"].default),
    ):
        if set_ and said.family != family:
            message = f"{said.family} has no `{key}`"
            draft = draft.find(
                draft.diagnostic("RC203", message, "model", key, help=f"delete this line, or take `family: {family}`")
            )
    return draft


def _check_size(draft: Draft, d: Dimensions) -> Draft:
    """A warning where the dimensions that the recipe fixes leave no way to the size that it asks for."""
    wanted, counted = draft.recipe.model.size, count_parameters(d)
    if not isinstance(wanted, int) or abs(counted - wanted) <= _SIZE_TOLERANCE * wanted:
        return draft
    return draft.find(
        draft.diagnostic(
            "RC204",
            f"the model has {format_count(counted)} parameters, not the {format_count(wanted)} asked",
            "model",
            "size",
            help=f"size: {format_count(counted)}   # or let other dimensions follow from the size",
            reason=f"vocabulary ({d.vocabulary}) and the dimensions that the recipe fixes come first",
            severity=Severity.WARNING,
        )
    )


def _check(draft: Draft, d: Dimensions) -> Draft:
    """Findings about dimensions that can't be built."""
    rules = [
        (d.hidden % d.heads == 0, "num_heads", f"{d.heads} heads don't divide a width of {d.hidden}", "num_heads", d.hidden),
        (d.heads % d.kv_heads == 0, "num_kv_heads", f"{d.kv_heads} key-value heads don't divide {d.heads} heads",
         "num_kv_heads", d.heads),
        (d.family != "gpt2" or d.kv_heads == d.heads, "num_kv_heads", "gpt2 has as many key-value heads as heads", "", 0),
        (d.family != "llama" or d.hidden % d.heads != 0 or (d.hidden // d.heads) % 2 == 0, "num_heads",
         f"a head of size {d.hidden // d.heads} is odd, and rotary positions turn pairs", "num_heads", d.hidden),
    ]  # fmt: skip
    for holds, key, message, divisor_of, whole in rules:
        if not holds:
            fitting = [n for n in range(1, whole + 1) if whole % n == 0 and whole // n % 2 == 0] if divisor_of else []
            wanted = d.heads if key == "num_heads" else d.kv_heads
            nearest = min(fitting, key=lambda n: abs(n - wanted), default=d.heads)
            draft = draft.find(draft.diagnostic("RC204", message, "model", key, help=f"{key}: {nearest}"))
    return draft


def _as_started(draft: Draft, beginning: Beginning, trained: ModelPlan | ResNetPlan) -> Draft:
    """Fill `model` with the dimensions of the weights that the run starts from."""
    said = draft.recipe.model
    own: dict[str, object] = {"compile": draft.recipe.training.compile}
    why: dict[str, Because] = {
        key: Reason(f"as in {beginning.name}, whose weights the run starts from") for key in type(trained).model_fields
    }
    why["compile"] = From("training.compile")
    if isinstance(trained, ModelPlan):
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
    return _check_family(draft).fill("model", trained.model_copy(update=own), why)


def model(draft: Draft) -> Draft:
    """Fill `model`."""
    beginning = draft.beginning
    if beginning is not None and beginning.model is not None:
        return _as_started(draft, beginning, beginning.model)
    if draft.is_classifier:
        return resnet(draft)
    said = draft.recipe.model
    fixed = frozenset(name for name, key in _KEYS.items() if getattr(said, key) is not None)
    if draft.targets.parameters == 0 and not {"hidden", "layers"} <= fixed:
        draft = draft.find(
            draft.diagnostic(
                "RC102",
                "nothing says how large the model is",
                "model",
                help="model: {size: 125M}",
                reason="give `size`, or `hidden_size` and `num_layers`, or `size: auto` with a budget",
            )
        )
    draft, vocabulary, vocabulary_why = _vocabulary(draft)
    start = Dimensions(
        family=said.family,
        vocabulary=vocabulary,
        hidden=said.hidden_size or 0,
        layers=said.num_layers or 0,
        heads=said.num_heads or 0,
        kv_heads=said.num_kv_heads or said.num_heads or 0,
        intermediate=said.intermediate_size or 0,
        positions=draft.recipe.data.sequence_length,
        tied=said.tie_embeddings,
    )
    both = {"hidden", "layers"} <= fixed
    wanted = draft.targets.parameters or float(FALLBACK_PARAMETERS)
    d = solve(wanted, start, fixed)
    draft = _check_size(_check_family(_check(draft, d)), d)
    chosen = Reason(
        f"closest to {format_count(wanted)} parameters at a usual ratio of width to depth (compiler/estimate/architecture.py)"
        if not both
        else "follows from hidden_size"
    )
    why: dict[str, Because] = {
        key: From(f"model.{key}") if getattr(said, key) is not None else chosen for key in _KEYS.values()
    }
    if said.num_kv_heads is None:
        why["num_kv_heads"] = Reason(_KV_GROUPED if d.kv_heads < d.heads else _KV_PLAIN)
    family_rule = Reason("usual for the family")
    section = ModelPlan(
        family=d.family,
        num_parameters=count_parameters(d),
        num_embedding_parameters=count_embedding(d),
        vocab_size=d.vocabulary,
        hidden_size=d.hidden,
        num_layers=d.layers,
        num_heads=d.heads,
        num_kv_heads=d.kv_heads,
        intermediate_size=d.intermediate,
        max_sequence_length=d.positions,
        tie_embeddings=d.tied,
        dropout=said.dropout,
        rope_theta=said.rope_theta,
        norm_eps=1e-5,
        init_std=said.init_std,
        attention=said.attention,
        compile=draft.recipe.training.compile,
    )
    return draft.fill(
        "model",
        section,
        {
            **why,
            "vocab_size": vocabulary_why,
            "num_parameters": Reason("counted from the dimensions, shared matrices once"),
            "num_embedding_parameters": Reason("counted from the dimensions"),
            "max_sequence_length": From("data.sequence_length"),
            "norm_eps": family_rule,
            "compile": From("training.compile"),
        },
    )

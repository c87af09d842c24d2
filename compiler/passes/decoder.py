"""Exact dimensions of a language model, from what the recipe fixes and the size that is wanted."""

from __future__ import annotations

from typing import Final

from compiler.draft import Draft
from compiler.estimate.architecture import (
    Dimensions,
    count_parameters,
    pad_vocabulary,
    section_of,
    solve,
)
from compiler.passes.targets import FALLBACK_PARAMETERS
from compiler.provenance import Because, From, Reason
from schemas.diagnostics import Severity
from schemas.units import format_count

__all__ = ["check_family", "decoder"]

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
_NORM_EPS: Final = 1e-5


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


def check_family(draft: Draft) -> Draft:
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


def decoder(draft: Draft) -> Draft:
    """Fill `model` of a language model that starts from random weights, or from ones that can't be seen from here."""
    said = draft.recipe.model
    fixed = frozenset(name for name, key in _KEYS.items() if getattr(said, key) is not None)
    sized = {"hidden", "layers"} <= fixed
    if draft.targets.parameters == 0 and not sized:
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
    wanted = draft.targets.parameters or float(FALLBACK_PARAMETERS)
    d = solve(wanted, start, fixed)
    draft = _check_size(check_family(_check(draft, d)), d)
    section = section_of(
        d,
        dropout=said.dropout,
        rope_theta=said.rope_theta,
        norm_eps=_NORM_EPS,
        init_std=said.init_std,
        attention=said.attention,
        compile=draft.recipe.training.compile,
    )
    return draft.fill("model", section, {**_reasons(draft, d, wanted, sized), "vocab_size": vocabulary_why})


def _reasons(draft: Draft, d: Dimensions, wanted: float, sized: bool) -> dict[str, Because]:
    """Where each dimension comes from; those of `wanted` parameters from the search, unless the recipe gives width and layers."""
    said = draft.recipe.model
    chosen = Reason(
        "follows from hidden_size"
        if sized
        else f"closest to {format_count(wanted)} parameters at a usual ratio of width to depth "
        "(compiler/estimate/architecture.py)"
    )
    why: dict[str, Because] = {
        key: From(f"model.{key}") if getattr(said, key) is not None else chosen for key in _KEYS.values()
    }
    if said.num_kv_heads is None:
        why["num_kv_heads"] = Reason(_KV_GROUPED if d.kv_heads < d.heads else _KV_PLAIN)
    return {
        **why,
        "num_parameters": Reason("counted from the dimensions, shared matrices once"),
        "num_embedding_parameters": Reason("counted from the dimensions"),
        "max_sequence_length": From("data.sequence_length"),
        "norm_eps": Reason("usual for the family"),
        "compile": From("training.compile"),
    }
